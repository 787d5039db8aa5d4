"""Sums over counts are judged by sums over every sequence."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax.evaluation import Expectations, expected_losses
from promptax.evaluation.exact import enumeration
from promptax.predictors import LSTM
from promptax.protocol.entries import condition
from promptax.protocol.exchangeable import Uniform
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

LENGTH = 6
TARGETS = [case for case in laws.exact_tasks() if case.values[0].bayes().exchangeable]
targets = pytest.mark.parametrize("target", TARGETS)


def by_sequences(predictor, target, length):
    """Expected regret of each step [time], a sum over every sequence of `length` symbols."""
    tokens = laws.all_sequences(target.symbols, length)
    _, evidence = laws.judge(target, tokens)
    with enumeration.double_precision():
        losses = -laws.of_tokens(laws.read(predictor, tokens), tokens)
        oracle = np.asarray(target.oracle_entropy(length))
    comes = evidence[:, -1] > -np.inf
    return np.exp(evidence[comes, -1]) @ losses[comes] - oracle


def judged(symbols):
    """Exchangeable predictors that differ from the target's own, one of them behind a prompt."""
    predictors = {
        case.id: case.values[0].bayes() for case in TARGETS if case.values[0].symbols == symbols
    }
    laplace = DirichletCategorical((1.0,) * symbols).bayes()
    predictors["prompted"] = condition(laplace, jnp.array([1, 0, 1]))
    predictors["uniform"] = Uniform(symbols)
    return predictors


@pytest.mark.parametrize("symbols", [2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 6])
def test_size_counts_the_count_vectors(symbols, length):
    vectors = {
        tuple(np.bincount(word, minlength=symbols))
        for n in range(length)
        for word in itertools.product(range(symbols), repeat=n)
        for word in [np.array(word, int)]
    }
    assert enumeration.size(symbols, length) == len(vectors)


@targets
@pytest.mark.parametrize("length", [1, LENGTH])
def test_the_table_holds_each_count_vector_once_with_its_probability(target, length):
    table = enumeration.count_table(target.bayes(), length)
    tokens = laws.all_sequences(target.symbols, length)
    _, evidence = laws.judge(target, tokens)
    one_hot = np.eye(target.symbols)[np.asarray(tokens)]
    before = np.cumsum(one_hot, axis=1) - one_hot  # counts [sequence, time, symbol]
    expected = {}
    for sequence in range(len(tokens)):
        chance = np.exp(evidence[sequence, -1])
        for step in range(length):
            row = expected.setdefault(
                tuple(before[sequence, step].astype(int)), np.zeros(target.symbols)
            )
            row[int(tokens[sequence, step])] += chance
    assert len(table.counts) == enumeration.size(target.symbols, length) == len(expected)
    for counts, joint in zip(table.counts, table.joint, strict=True):
        by_hand = expected.pop(tuple(int(c) for c in counts))
        # Rows drawn in float32 miss a sum of 1 by up to 1e-7; the predictor divides by it.
        np.testing.assert_allclose(joint, by_hand, rtol=1e-7 * LENGTH, atol=1e-12)
    assert not expected
    np.testing.assert_array_equal(table.length, table.counts.sum(axis=1))
    per_step = np.bincount(table.length, weights=table.joint.sum(axis=1))
    np.testing.assert_allclose(per_step, 1.0, atol=1e-12)


@targets
def test_expected_regret_is_the_sum_over_every_sequence(target):
    for name, predictor in judged(target.symbols).items():
        expected = by_sequences(predictor, target, LENGTH)
        for length in (1, LENGTH):  # of each step, so the shorter ones are in it
            got = Expectations(target, length).regret(predictor)
            what = f"{name}, length {length}"
            np.testing.assert_allclose(got, expected[:length], atol=1e-9, err_msg=what)


@targets
def test_the_target_s_own_bayes_is_the_best_and_never_below_the_oracle(target):
    expectations = Expectations(target, LENGTH)
    assert np.all(expectations.floor - expectations.oracle_loss > -1e-12)
    for name, predictor in judged(target.symbols).items():
        assert np.all(expectations.floor <= expectations.loss(predictor) + 1e-9), name


def test_a_predictor_that_excludes_what_comes_has_infinite_regret():
    wrong, coin = Categorical((1.0, 0.0)).bayes(), Categorical()
    got = expected_losses(wrong, coin, 3)
    assert np.all(np.isinf(got)) and not np.isnan(got).any()


def test_known_values():
    regret = Expectations(Categorical(), 1).regret(DirichletCategorical().bayes())
    np.testing.assert_allclose(regret, math.log(2) + 0.2 * math.log(0.2) + 0.8 * math.log(0.8))


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [Categorical(), CategoricalMixture(), Categorical((0.5, 0.3, 0.2))],
    ids=["coin", "two coins", "die"],
)
def test_the_best_hard_prompt_is_the_best_of_all_orders(target):
    prior, length, steps = DirichletCategorical((1.0,) * target.symbols).bayes(), 3, 4
    best = Expectations(target, steps).best_prompt(prior, length)
    regrets = {
        word: by_sequences(condition(prior, jnp.array(word)), target, steps).sum()
        for word in itertools.product(range(target.symbols), repeat=length)
    }
    np.testing.assert_allclose(best.regret, min(regrets.values()), atol=1e-9)
    assert len(best.tokens) == length
    np.testing.assert_allclose(regrets[best.tokens], best.regret, atol=1e-9)


def test_the_best_prompt_of_no_symbols_is_no_prompt():
    prior, target = DirichletCategorical().bayes(), Categorical()
    expectations = Expectations(target, 4)
    best = expectations.best_prompt(prior, 0)
    assert best.tokens == ()
    expected = expectations.regret(prior).sum()
    np.testing.assert_allclose(best.regret, expected, atol=1e-12)


def test_what_cannot_be_enumerated_says_so():
    network, many = LSTM(width=4).build(jax.random.key(0), 2), Categorical((0.1,) * 10).bayes()
    coin = Categorical().bayes()
    assert enumeration.counts_suffice(100, coin, DirichletCategorical().bayes())
    assert not enumeration.counts_suffice(10, coin, network)
    assert not enumeration.counts_suffice(100, many)
    with pytest.raises(ValueError, match=r"10 symbols at length 100 .* Sample instead"):
        enumeration.count_table(many, 100)
    with pytest.raises(ValueError, match="Expected a predictor that depends on counts alone"):
        enumeration.losses(network, enumeration.count_table(coin, 3))


def test_the_callers_precision_stays():
    expected_losses(Uniform(2), Categorical(), 3)
    assert jnp.zeros(()).dtype == jnp.float32
