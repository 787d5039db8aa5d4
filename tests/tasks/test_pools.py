"""Finite pools: sums over the pool by hand, zeros, one pool for all programs, and refusals."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import load, predict, save
from promptax.evaluation.exact import enumeration
from promptax.protocol.mixture import RESPONSIBILITY
from promptax.tasks import (
    CategoricalMixture,
    ContextTree,
    DirichletCategorical,
    FinitePool,
    HiddenMarkov,
    LiveAndDie,
    MarkovChain,
)
from promptax.tasks.pools.chains import ChainsPosterior
from promptax.tasks.pools.drawing import copy_of, draw_latents, tables_of
from promptax.tasks.pools.hierarchical import HierarchicalMixture

DICE = FinitePool(DirichletCategorical((1.0, 0.0, 2.0)), 3)


def log_chances(task, tokens):
    """log P(sequence | each latent of the pool) [component, sequence], by the source's oracle."""
    with enumeration.double_precision():
        latents = copy_of(draw_latents(task.source, task.size, task.seed))

        def log_chance(latent, sequence):
            rows = task.source.oracle(latent, sequence)
            return jnp.sum(jnp.take_along_axis(rows, sequence[:, None], axis=1))

        by_sequence = jax.vmap(log_chance, in_axes=(None, 0))
        return np.asarray(jax.vmap(by_sequence, in_axes=(0, None))(latents, tokens))


@pytest.mark.slow
@pytest.mark.parametrize("task", FinitePool.examples(), ids=str)
def test_evidence_is_the_mean_over_the_latents_that_the_source_drew(task):
    if task.outcome.alphabet is None:
        return
    tokens = laws.all_sequences(task.symbols, 4)
    expected = np.exp(log_chances(task, tokens)).mean(axis=0)
    np.testing.assert_allclose(np.exp(laws.log_evidence(task, tokens)), expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("task", [DICE, FinitePool(MarkovChain(), 2)], ids=str)
def test_the_hierarchical_mixture_weighs_both_by_their_evidence(task):
    """Every sequence: log [share · P_pool(x) + (1 - share) · P_prior(x)]."""
    tokens, share = laws.all_sequences(task.symbols, 5), 0.3
    pool, prior = (np.exp(laws.log_evidence(part, tokens)) for part in (task, task.source))
    expected = share * pool + (1 - share) * prior
    predictor = task.hierarchical(share)
    with enumeration.double_precision():
        prediction = laws.predictions(predictor, tokens)
        said = np.exp(laws.of_tokens(prediction.log_probs, tokens).sum(axis=1))
        weights = np.asarray(prediction.internals[RESPONSIBILITY])[:, -1]
    possible = expected > 0
    # Rows drawn in float32 miss a sum of 1 by up to 1e-7 each; the predictor divides by it.
    np.testing.assert_allclose(said[possible], expected[possible], rtol=5e-7, atol=1e-12)
    np.testing.assert_allclose(
        weights[possible, 0], share * pool[possible] / expected[possible], rtol=5e-7, atol=1e-9
    )
    single = np.exp(laws.of_tokens(laws.read(predictor, tokens), tokens).sum(axis=1))
    np.testing.assert_allclose(single[possible], expected[possible], atol=1e-6)
    assert (said[~possible] == 0).all() and np.isfinite(weights).all()


def test_what_excludes_what_came_has_weight_zero():
    """Two known chains, one of which never says 1 twice; then what neither of them says."""
    tables = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]]])
    posterior = ChainsPosterior(tables, np.array([0.5, 0.5]))
    state, _ = posterior.advance(posterior.start(), jnp.array([1, 1]))
    np.testing.assert_array_equal(state.odds.log_weights[0], [-np.inf, 0.0])
    rows = np.exp(predict(posterior, [1, 1, 0, 1, 1]))
    np.testing.assert_allclose(rows[:2], [[0.5, 0.5], [0.75, 0.25]], rtol=1e-6)
    np.testing.assert_array_equal(rows[2:], 0.5)
    alone = ChainsPosterior(tables[:1], np.ones(1))
    rows = predict(alone, [1, 1, 1, 0])
    assert rows[1, 1] == -np.inf
    np.testing.assert_allclose(rows[2:], math.log(0.5), rtol=1e-6)


@pytest.mark.slow
def test_a_sequence_that_the_pool_excludes_is_the_priors():
    """A pool of one die that shows one face, behind it a prior that knows both."""
    memorising = FinitePool(CategoricalMixture(((1.0, 0.0), (0.0, 1.0)), (1.0, 0.0)), 2).bayes()
    generalising = CategoricalMixture(((1.0, 0.0), (0.5, 0.5))).bayes()
    rows = np.exp(predict(HierarchicalMixture(memorising, generalising, 0.9), [0, 1, 1]))
    np.testing.assert_allclose(rows[0], [0.9 + 0.1 * 0.75, 0.1 * 0.25], rtol=1e-5)
    np.testing.assert_allclose(rows[2], [0.5, 0.5], rtol=1e-6)


@pytest.mark.slow
def test_every_program_sees_the_same_pool():
    for source in (DirichletCategorical(), ContextTree(1)):
        small, large = (tables_of(source, size, 3) for size in (2, 4))
        np.testing.assert_array_equal(small, large[:2])
        assert not np.array_equal(tables_of(source, 4, 4), large)
        draw_latents.cache_clear()
        tables_of.cache_clear()
        with jax.enable_x64(True), jax.disable_jit():
            np.testing.assert_array_equal(tables_of(source, 4, 3), large)


@pytest.mark.slow
@pytest.mark.parametrize("task", FinitePool.examples(), ids=str)
def test_predictors_are_saved_and_loaded(task, tmp_path):
    predictor, inputs = task.hierarchical(), task.sample(jax.random.key(0), 6).inputs
    before = predict(task.bayes(), inputs), predict(predictor, inputs)
    with enumeration.double_precision():  # the same pool, in other floats
        predict(task.bayes(), np.asarray(inputs))
    save(tmp_path / "one", task.bayes())
    save(tmp_path / "other", predictor)
    after = (predict(load(tmp_path / name), inputs) for name in ("one", "other"))
    for rows, loaded in zip(before, after, strict=True):
        np.testing.assert_array_equal(rows, loaded)


@pytest.mark.slow
def test_a_chain_that_lost_thousands_of_nats_wins_them_back():
    rng, half = np.random.default_rng(0), 40_000
    tokens = np.concatenate([rng.random(half) < 0.8, rng.random(half) < 0.25]).astype(np.int32)
    coins = np.array([[0.2, 0.8], [0.7, 0.3]])
    tables = np.repeat(coins[:, None], 2, axis=1)
    rows = np.asarray(predict(ChainsPosterior(tables, np.array([0.5, 0.5])), tokens), float)
    ones = np.concatenate([[0], np.cumsum(tokens)[:-1]])
    zeros = np.arange(len(tokens)) - ones
    odds = zeros * math.log(0.2 / 0.7) + ones * math.log(0.8 / 0.3)
    assert odds.max() > 10_000 and (np.abs(odds[half:]) < 5).any()
    share = 1 / (1 + np.exp(-odds.clip(-700, 700)))
    np.testing.assert_allclose(np.exp(rows[:, 1]), share * 0.8 + (1 - share) * 0.3, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": HiddenMarkov()}, "looks back a known number of steps; got HiddenMarkov, whose"),
        ({"source": LiveAndDie()}, "whose lookback is None: nobody said it, or something"),
        ({"source": 3}, "an instance of Task as FinitePool.source; got 3"),
        ({"size": 0}, "a size, a whole number of at least 1; got 0"),
        ({"size": 2.5}, "a whole number as FinitePool.size; got 2.5"),
        ({"seed": -1}, "a seed of at least 0 and below 2\\^31; got -1"),
        ({"size": 2**24}, "at most 16,777,216 numbers; got 16,777,216 tasks of Dirichlet"),
    ],
)
def test_wrong_fields(fields, message, as_users_see_it):
    with pytest.raises(ValueError, match=message):
        FinitePool(**fields)


def test_wrong_shares_and_predictors_that_do_not_fit(as_users_see_it):
    with pytest.raises(ValueError, match="a share from 0 to 1, a probability; got 1"):
        DICE.hierarchical(1.5)
    with pytest.raises(ValueError, match="two predictors of one outcome; got 3 symbols and 2"):
        HierarchicalMixture(DICE.bayes(), DirichletCategorical().bayes(), 0.5)
    with pytest.raises(TypeError, match="Expected a Predictor, such as task"):
        HierarchicalMixture(DICE.bayes(), DICE, 0.5)
