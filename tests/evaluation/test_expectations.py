"""Merged beliefs are judged by sums over every sequence, those of each task in the contracts;
counts and beliefs agree."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws
from support.assorted import Counted
from support.exact_tasks import COIN, COINS, TWO, Sticky

from promptax.analysis import promptability
from promptax.evaluation import Expectations, evaluate, expected_losses, regret
from promptax.evaluation.exact import beliefs
from promptax.evaluation.exact.enumeration import double_precision
from promptax.predictors import LSTM, Transformer
from promptax.protocol.entries import condition
from promptax.protocol.exchangeable import Uniform
from promptax.specs import traced
from promptax.tasks import (
    Categorical,
    CategoricalMixture,
    ContextTree,
    DirichletCategorical,
    MarkovChain,
)

LENGTH = 5


def by_sequences(predictor, bayes, length):
    """Expected log loss of each step [time], a sum over every sequence of `length` symbols."""
    tokens = laws.all_sequences(bayes.symbols, length)
    with double_precision():
        losses = -laws.of_tokens(laws.read(predictor, tokens), tokens)
        chances = np.exp(laws.of_tokens(laws.read(bayes, tokens), tokens).sum(axis=1))
    comes = chances > 0
    return chances[comes] @ losses[comes]


@pytest.mark.parametrize("target", [COINS, MarkovChain()], ids=type)
@pytest.mark.parametrize(
    "judged", [Uniform(2), condition(Sticky().bayes(), [1, 1, 0])], ids=["uniform", "sticky"]
)
def test_merged_beliefs_of_two_predictors_equal_every_sequence(judged, target):
    bayes = target.bayes()
    merged = beliefs.merged_losses(judged, bayes, LENGTH)[0]
    np.testing.assert_allclose(merged, by_sequences(judged, bayes, LENGTH), atol=1e-9)
    np.testing.assert_allclose(expected_losses(judged, target, LENGTH), merged, atol=1e-9)


@pytest.mark.parametrize(
    ("judged", "target"),
    [(COINS, COIN), (TWO, COINS), (COINS, TWO), (DirichletCategorical((0.5, 2.0)), COINS)],
)
def test_beliefs_equal_counts_over_long_sequences(judged, target):
    by_counts = expected_losses(judged.bayes(), target, 60)
    merged = beliefs.merged_losses(judged.bayes(), target.bayes(), 60)[0]
    np.testing.assert_allclose(merged, by_counts, atol=1e-10)


def test_what_never_comes_costs_nothing_and_what_is_excluded_costs_all():
    sure, coin = Categorical((1.0, 0.0)), Categorical((0.5, 0.5))
    one_sided = Sticky((1.0, 1.0)).bayes()  # after the silent 0 only zeros come
    np.testing.assert_array_equal(expected_losses(one_sided, sure, 4), 0.0)
    assert np.isinf(expected_losses(one_sided, coin, 1)[0])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [LSTM(width=4), Transformer(width=8)])
def test_a_network_is_judged_exactly_on_few_steps(architecture):
    network = architecture.build(jax.random.key(0), 2)
    expected = by_sequences(network, COINS.bayes(), 4)
    np.testing.assert_allclose(expected_losses(network, COINS, 4), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"at most 10 .*got 16 after 4 of 12 steps.*evaluate"):
        expected_losses(network, COINS, 12, most=10)


def test_floats_that_differ_in_their_last_bits_are_equal_and_others_are_not():
    counts = np.array([[1.0, 2.0], [1.0 + 1e-14, 2.0], [1.0, 2.1], [2.0, 1.0], [1.0, 2.0]])
    first, group = beliefs.distinct((counts, np.array([0, 0, 0, 0, 1])))
    assert first.tolist() == [0, 2, 3, 4] and group.tolist() == [0, 0, 1, 2, 3]
    small = np.array([-0.0, 0.0, 3e-16, -np.inf, 1e6, 1e6 + 1e-9, 1e6 + 1e-3])
    assert beliefs.distinct(small[:, None])[1].tolist() == [0, 0, 0, 1, 2, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prior", "target"),
    [
        (Sticky(), Sticky()),
        (COINS, Sticky()),
        (MarkovChain(concentration=(0.3, 1.5)), TWO),
        (ContextTree(depth=2), MarkovChain()),
    ],
)
def test_best_prompts_equal_trying_every_word(prior, target):
    length = 6
    expectations = Expectations(target, length)
    best = expectations.best_prompts(prior.bayes(), range(5))
    oracle = np.asarray(target.oracle_entropy(length)).sum()
    for prompt_length, prompt in enumerate(best):
        words = list(itertools.product(range(2), repeat=prompt_length))
        regrets = [
            by_sequences(
                condition(prior.bayes(), word) if word else prior.bayes(), target.bayes(), length
            ).sum()
            - oracle
            for word in words
        ]
        np.testing.assert_allclose(prompt.regret, min(regrets), atol=1e-6)
        assert len(prompt.tokens) == prompt_length
        np.testing.assert_allclose(regrets[words.index(prompt.tokens)], prompt.regret, atol=1e-6)
        after = expectations.regrets_after_words(
            prior.bayes(), np.array(words, int).reshape(len(words), prompt_length)
        )
        np.testing.assert_allclose(after, regrets, atol=1e-6)


def test_one_object_answers_for_every_length():
    expectations = Expectations(TWO, 20)
    assert expectations.at(20) is expectations and expectations.at(5) is expectations.at(5)
    np.testing.assert_allclose(expectations.at(5).floor, expectations.floor[:5], atol=1e-12)
    assert expectations.loss(TWO.bayes()) is expectations.floor
    np.testing.assert_allclose(
        expectations.regret(COINS.bayes()),
        expected_losses(COINS.bayes(), TWO, 20) - expectations.oracle_loss,
        atol=1e-12,
    )


@pytest.mark.slow
def test_what_is_not_exact_is_refused_by_name():
    with pytest.raises(ValueError, match="at least 1 step; got 0"):
        Expectations(COIN, 0)
    with pytest.raises(ValueError, match="target's 2 symbols; got 3"):
        expected_losses(Uniform(3), COIN, 4)
    with pytest.raises(ValueError, match="at most 200,000 different beliefs of MixturePosterior"):
        many = CategoricalMixture(np.full((2, 12), 1 / 12), (0.5, 0.5))
        expected_losses(many.bayes(), many, 100)


def test_other_numbers_and_lengths_compile_nothing():
    traces = []
    beliefs.merged_losses(Counted(jnp.log(jnp.array([0.2, 0.8])), traces), COIN.bayes(), 20)
    count = len(traces)
    beliefs.merged_losses(Counted(jnp.log(jnp.array([0.4, 0.6])), traces), COIN.bayes(), 50)
    assert 0 < len(traces) == count


MARKOV_REGRETS = {  # 8 steps after a symbol 0, nats; known from sums in another program
    (0.3, 1.5): (2.9907122, 2.1727791, 0.8179330),
    (1.0, 1.0): (None, None, 0.9701400),
    (0.5, 0.5): (None, None, 1.2567182),
}
BY_STEP = (0.16778, 0.16451, 0.11516, 0.09780, 0.08102, 0.07161, 0.06293, 0.05711)


@pytest.mark.parametrize("concentration", MARKOV_REGRETS)
def test_known_regrets_of_markov_chains(concentration):
    chain = MarkovChain(concentration=concentration)
    expectations = Expectations(chain, 8)
    values = expectations.floor, expectations.oracle_loss, expectations.regret(chain.bayes())
    for value, expected in zip(values, MARKOV_REGRETS[concentration], strict=True):
        if expected is not None:
            np.testing.assert_allclose(value.sum(), expected, atol=1e-6)
    if concentration == (0.3, 1.5):
        np.testing.assert_allclose(values[2], BY_STEP, atol=6e-6)


def test_evaluate_knows_a_chain_s_expectations_and_agrees_with_them():
    chain = MarkovChain(concentration=(0.3, 1.5))
    results = evaluate(jax.random.key(3), {"coins": COINS.bayes()}, chain, 2000, 8)
    exact = regret(results).sel(repetition=0, time=8)
    plain = regret(results, controls=False).sel(repetition=0, time=8)
    np.testing.assert_allclose(exact.regret.sel(predictor="bayes"), 0.8179330, atol=1e-6)
    for name in ("bayes", "coins"):
        away = plain.regret.sel(predictor=name) - exact.regret.sel(predictor=name)
        assert abs(float(away)) < 4 * float(plain.standard_error.sel(predictor=name))


@pytest.mark.slow
def test_where_order_matters_long_sequences_are_exact_or_refused():
    chain = MarkovChain(concentration=(0.3, 1.5))
    best = promptability(chain, TWO, 6, 50)
    without = Expectations(TWO, 50).regret(chain.bayes()).sum()
    np.testing.assert_allclose(best.table["regret"][0], without, atol=1e-9)
    prompted = condition(chain.bayes(), best.best_prompt)
    after = Expectations(TWO, 50).regret(prompted).sum()
    np.testing.assert_allclose(best.best_regret, after, atol=1e-9)
    with pytest.raises(ValueError, match=r"most 200,000 .*TreePosterior.* or more after 49"):
        promptability(ContextTree(depth=3), ContextTree(depth=3))


def test_words_are_read_piece_by_piece_as_at_once(monkeypatch):
    words = np.random.default_rng(0).integers(0, 2, (5, 11))
    with double_precision():
        bayes = traced(MarkovChain()).bayes()
        states, chances = beliefs._read(bayes, 12, words)
        monkeypatch.setattr(beliefs, "PIECE", 4)
        again, by_pieces = beliefs._read(bayes, 12, words)
    np.testing.assert_allclose(by_pieces, chances, rtol=1e-12)
    laws.same(again, states, rtol=1e-12)
