"""Hidden Markov models: every path, states and candidates that come back, and bad fields."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import predict
from promptax.tasks import HiddenMarkov, HiddenMarkovMixture

KEY = jax.random.key(5)
STILL = ((1.0, 0.0), (0.0, 1.0))


def every_path(tokens, initial, transition, emission):
    """P(tokens) as a sum over every hidden path."""
    total = 0.0
    for path in itertools.product(range(len(initial)), repeat=len(tokens)):
        chance = initial[path[0]]
        for time, (state, token) in enumerate(zip(path, tokens, strict=True)):
            chance *= emission[state][token] * (transition[path[time - 1]][state] if time else 1)
        total += chance
    return total


@pytest.mark.parametrize(
    "task", [*HiddenMarkov.examples(), *HiddenMarkovMixture.examples()], ids=str
)
def test_evidence_is_the_sum_over_every_path(task):
    words = jax.random.randint(KEY, (20, 6), 0, task.symbols)
    models = task.models()
    weighted = [np.asarray(table).tolist() for table in models]
    expected = [
        sum(weight * every_path(word, *model) for *model, weight in zip(*weighted, strict=True))
        for word in words.tolist()
    ]
    np.testing.assert_allclose(np.exp(laws.log_evidence(task, words)), expected, rtol=1e-6)


def test_a_state_that_was_nearly_impossible_comes_back():
    """After 60 zeros its weight is 1e-60, which no float32 probability holds."""
    chain = HiddenMarkov((0.5, 0.5), STILL, ((1.0, 0.0), (0.1, 0.9)))
    rows = predict(chain.bayes(), [0] * 60 + [1, 1])
    assert float(rows[-1, 1]) == pytest.approx(math.log(0.9), abs=1e-6)


def test_a_candidate_that_lost_thousands_of_nats_wins_them_back():
    """40,000 symbols of one coin, then more of the other: what is said late is what counts say."""
    coins = ((0.2, 0.8), (0.7, 0.3))
    task = HiddenMarkovMixture(((1.0,),) * 2, (((1.0,),),) * 2, tuple((coin,) for coin in coins))
    rng = np.random.default_rng(0)
    half = 40_000
    tokens = np.concatenate([rng.random(half) < 0.8, rng.random(half) < 0.25]).astype(np.int32)
    rows = np.asarray(predict(task.bayes(), tokens), float)
    ones = np.concatenate([[0], np.cumsum(tokens)[:-1]])
    zeros = np.arange(len(tokens)) - ones
    odds = zeros * math.log(0.2 / 0.7) + ones * math.log(0.8 / 0.3)
    assert odds.max() > 10_000 and (np.abs(odds[half:]) < 5).any()
    share = 1 / (1 + np.exp(-odds.clip(-700, 700)))
    expected = share * 0.8 + (1 - share) * 0.3
    np.testing.assert_allclose(np.exp(rows[:, 1]), expected, atol=1e-4)


def test_paths_and_symbols_follow_their_law():
    task = HiddenMarkov()
    keys = jax.random.split(KEY, 20_000)
    episodes = jax.jit(jax.vmap(lambda key: task.sample(key, 3)))(keys)
    states, tokens = np.asarray(episodes.latent.states), np.asarray(episodes.tokens)
    stays = (states[:, 1:] == states[:, :-1]).mean(axis=1)
    laws.assert_zero(stays - 0.95, "share of states that stay")
    emitted = np.where(states == 0, tokens - 0.1, tokens - 0.8).mean(axis=1)
    laws.assert_zero(emitted, "symbols above their mean")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"initial": (1.0,)}, r"between the 1 states of initial; got rows of \[2, 2\]"),
        ({"emission": ((0.5, 0.5),)}, r"for each of the 2 states of initial, over"),
        ({"transition": ((0.5, 0.6), (0.5, 0.5))}, "transition probabilities of state 0"),
    ],
)
def test_models_that_do_not_fit(fields, message, as_users_see_it):
    with pytest.raises(ValueError, match=message):
        HiddenMarkov(**fields)


def test_candidates_that_do_not_fit(as_users_see_it):
    with pytest.raises(ValueError, match="initial of 1 candidates, one for each weight; got 2"):
        HiddenMarkovMixture(weights=(1.0,))
    one = ((1.0,), ((1.0,),), ((0.5, 0.5),))
    default = HiddenMarkovMixture()
    with pytest.raises(ValueError, match=r"symbols\) \[\(2, 2\), \(1, 2\)\]. Give the smaller"):
        HiddenMarkovMixture(
            *(
                (table[0], other)
                for table, other in zip(
                    (default.initial, default.transition, default.emission), one, strict=True
                )
            )
        )
    assert jnp.isfinite(HiddenMarkovMixture().oracle_entropy(3)).all()
