"""Every predictor by name, and compiled ways of reading that the laws of predictors share.

Numbers are traced, all pieces have `PIECE` steps, prompts too, and what is read whole has two
pieces: so that most laws share what was compiled. A new exact predictor compiles five programs.
"""

import collections
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import protocol, specs
from promptax.predictors import Architecture, Network
from promptax.protocol import mixture
from promptax.protocol.exchangeable import Uniform
from promptax.protocol.predictor import WEIGHTS, Embedded
from promptax.protocol.prompted import Prompt, Prompted

from . import judges as laws

PIECE = 4
LENGTH = 2 * PIECE
TRACES = collections.Counter()


def networks():
    """Every architecture's examples: its first over 2 symbols, the others over 3."""
    for case in laws.examples(Architecture):
        symbols = 3 if case.marks else 2
        yield pytest.param(f"{case.id}-{symbols}", marks=case.marks), (case.values[0], symbols)


def exact():
    """The exact predictor of every task that has one, and the uniform one."""
    for case in laws.exact_tasks():
        yield pytest.param(f"{case.id}-bayes", marks=case.marks), case.values[0]
    yield pytest.param("Uniform-3"), None


def by_name(cases):
    return {case.values[0]: made for case, made in cases}


NETWORKS, EXACT = list(networks()), list(exact())
ARCHITECTURES, EXACT_TASKS = by_name(NETWORKS), by_name(EXACT)
# Mixtures of prompts: of a network, of exact predictors, one of which rules histories out
BELOW = {
    "LSTM-0-2": laws.SLOW,
    "DirichletCategorical-0-bayes": (),
    "CategoricalMixture-2-bayes": laws.SLOW,
}
MIXTURES = {f"mixture-{name}": name for name in BELOW}


@functools.cache
def named(name):
    """A predictor, made when a test asks for it."""
    if name in MIXTURES:
        prompts = [[0, 1], [0, 0], [1, 1]]
        return mixture.mix(named(MIXTURES[name]), prompts, (0.2, 0.5, 0.3))
    if name in EXACT_TASKS:
        task = EXACT_TASKS[name]
        return Uniform(3) if task is None else task.bayes()
    architecture, symbols = ARCHITECTURES[name]
    return laws.build(architecture, 1, symbols)


# --- reading --------------------------------------------------------------------------------


@eqx.filter_jit
def _start(predictor, capacity):
    TRACES["start"] += 1
    return predictor.start(capacity)


@eqx.filter_jit
def _advance(predictor, state, inputs):
    TRACES["advance"] += 1
    return predictor.advance(state, inputs)


@eqx.filter_jit
def read_batch(predictor, state, batch):
    return predictor.advance_batch(state, batch)


@eqx.filter_jit
def read_apart(predictor, state, batch):
    return jax.vmap(lambda row: predictor.advance(state, row))(batch)


@eqx.filter_jit
def single_steps(predictor, state, tokens):
    def step(state, token):
        state, prediction = predictor.advance(state, token[None])
        return state, prediction.log_probs[0]

    return jax.lax.scan(step, state, tokens)[1]


def start(predictor, capacity=None):
    return _start(specs.traced(predictor), capacity)


def go_on(predictor, state, inputs):
    return _advance(specs.traced(predictor), state, inputs)


def read(predictor, inputs):
    """From the start, which reads the prompt."""
    inner = predictor.predictor if isinstance(predictor, Prompted) else predictor
    return go_on(inner, start(predictor), inputs)


def rows_of(predictor, tokens):
    return np.asarray(read(predictor, tokens)[1].log_probs)


def tokens_for(predictor, length=LENGTH, seed=0):
    return jax.random.randint(jax.random.key(seed), (length,), 0, predictor.symbols)


# --- prompts --------------------------------------------------------------------------------


class EmbeddedPrompt(Prompt):
    """Embedding rows as a prompt."""

    rows: jax.Array

    def inputs(self):
        return Embedded(self.rows)


def prompted(predictor):
    """The predictor behind each kind of prompt that it can read."""
    tokens = tokens_for(predictor, PIECE, seed=5)
    yield protocol.condition(predictor, tokens)
    if WEIGHTS in predictor.reads:
        weights = jnp.full((PIECE, predictor.symbols), 1 / predictor.symbols)
        yield protocol.condition(predictor, weights)
    if isinstance(predictor, Network):
        rows = jax.random.normal(jax.random.key(2), (PIECE, predictor.embedding_width))
        yield Prompted(predictor, EmbeddedPrompt(rows))
