"""What the laws of tasks look at, computed once for all of them.

Compiling takes most of the time, so that laws share programs: all episodes come from one, and all
that an oracle and an exact predictor say of them from another, whatever is asked of it. Evidence of
all short sequences, that of beginnings, and float64 rows make five for a new exact task.
"""

import collections
import json
import math

import equinox as eqx
import jax
import numpy as np

from promptax import protocol, specs
from promptax.evaluation.exact import enumeration

from . import judges as laws

EPISODES, LENGTH = 2000, 24  # of what all laws share
SHORT = 9  # where each step has its price
TRACES = collections.Counter()


@eqx.filter_jit
def draw(task, keys):
    TRACES["draw"] += 1
    return jax.vmap(lambda key: task.sample(key, LENGTH))(keys)


@eqx.filter_jit
def say(task, latents, inputs):
    """The oracle's parameters and the exact predictor's prediction [sequence, time]; None where
    there is no such thing."""
    TRACES["say"] += 1
    oracle = jax.vmap(task.oracle)(latents, inputs) if task.has_oracle else None
    prediction = None
    if task.has_bayes:
        bayes = task.bayes()
        prediction = bayes.advance_batch(bayes.start(), inputs)[1]
    return oracle, prediction


def once_for_each(function):
    """Remembers what a function of a task gave. Tasks may hold arrays, which have no hash."""
    given = {}

    def look_up(task):
        key = json.dumps(specs.to_json(task))
        if key not in given:
            given[key] = function(task)
        return given[key]

    return look_up


@once_for_each
def episodes_of(task):
    return draw(specs.traced(task), keys())


@once_for_each
def said_of(task):
    """What is said of `episodes_of`."""
    episodes = episodes_of(task)
    return say(specs.traced(task), episodes.latent, episodes.inputs)


def keys():
    return jax.random.split(jax.random.key(7), EPISODES)


def one_episode(task, length=LENGTH):
    """The beginning of the first of them."""
    episodes = episodes_of(task)
    first = jax.tree.map(lambda leaf: specs.on_device(leaf[0]), jax.device_get(episodes))
    scored = None if first.scored is None else first.scored[:length]
    inputs = specs.on_device(np.asarray(first.inputs)[:length])
    return protocol.Episode(inputs, latent=first.latent, scored=scored)


def all_short(task):
    """Every sequence of the greatest length that gives at most 3^8 of them."""
    length = min(8, int(math.log(3**8 + 1) / math.log(task.symbols)))
    return laws.all_sequences(task.symbols, length)


@once_for_each
def judged(task):
    """Of `all_short`: conditional and joint log probabilities by brute force."""
    return laws.judge(task, all_short(task))


@once_for_each
def read_precisely(task):
    """Log probabilities [sequence, time, symbol] of `all_short` by the exact predictor, float64."""
    with enumeration.double_precision():
        return np.asarray(laws.read(task.bayes(), all_short(task)))
