"""Tasks made of tasks: agreement with what stands, every way to switch, tags, and bad fields."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from support import judges as laws

from promptax import predict
from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.expectations import expected_losses
from promptax.tasks import (
    Categorical,
    CategoricalMixture,
    DirichletCategorical,
    Episode,
    HiddenMarkov,
    LinearRegression,
    LiveAndDie,
    Mixture,
    PartitionTree,
    Product,
    Switching,
    Tagged,
)

KEY = jax.random.key(5)
COINS = Categorical((0.2, 0.8)), Categorical((0.7, 0.3))


def rows_of(task, words):
    with enumeration.double_precision():
        return np.exp(np.asarray(laws.read(task.bayes(), words)))


# --- mixtures and products ------------------------------------------------------------------


def test_a_mixture_of_coins_is_the_mixture_that_was_there():
    words, weights = laws.all_sequences(2, 6), (0.3, 0.7)
    mixture = Mixture(COINS, weights)
    known = CategoricalMixture(tuple(coin.probabilities for coin in COINS), weights)
    np.testing.assert_allclose(rows_of(mixture, words), rows_of(known, words), rtol=0, atol=1e-12)
    weighted = jnp.array([[0.25, 0.75], [2.0, 0.5], [1.0, 0.0]])  # not one-hot: the same evidence
    np.testing.assert_allclose(
        predict(mixture.bayes(), weighted), predict(known.bayes(), weighted), rtol=1e-5
    )


@pytest.mark.slow
def test_a_mixture_of_points_weighs_densities():
    parts = LinearRegression(1, 1.0, 0.5), LinearRegression(1, 3.0, 0.5)
    task = Mixture(parts, (0.4, 0.6))
    drawn = np.asarray(task.sample(KEY, 8).inputs, float)
    with enumeration.double_precision():
        rows = jnp.asarray(drawn)
        prediction = laws.predictions(task.bayes(), rows[None])
        loss = float(task.outcome.log_loss(prediction, Episode(rows[None])).sum())
        evidence = float(task.log_evidence(rows))
    assert -loss == pytest.approx(evidence, abs=1e-9)


@pytest.mark.slow
def test_a_part_that_lost_thousands_of_nats_wins_them_back():
    rng = np.random.default_rng(0)
    half = 40_000
    tokens = np.concatenate([rng.random(half) < 0.8, rng.random(half) < 0.25]).astype(np.int32)
    single = np.asarray(predict(Mixture(COINS).bayes(), tokens), float)
    ones = np.concatenate([[0], np.cumsum(tokens)[:-1]])
    odds = (np.arange(2 * half) - ones) * math.log(0.2 / 0.7) + ones * math.log(0.8 / 0.3)
    assert odds.max() > 10_000 and (np.abs(odds[half:]) < 5).any()
    share = scipy.special.expit(odds)
    np.testing.assert_allclose(np.exp(single[:, 1]), share * 0.8 + (1 - share) * 0.3, atol=1e-4)


# --- switches -------------------------------------------------------------------------------


def every_path(task, length):
    """(part and beginning of each segment, probability) of every way in which segments come."""
    count = len(task.parts)
    for first, *later in itertools.product(range(count), *[(None, *range(count))] * (length - 1)):
        segments, chance, part = [(first, 0)], task.weights[first], first
        for time, to in enumerate(later, start=1):
            if to is None:
                chance *= 1 - task.hazard
                continue
            next_in_order = float(to == (part + 1) % count)
            chance *= task.hazard
            chance *= task.weights[to] if task.next_part == "redraw" else next_in_order
            segments, part = [*segments, (to, time)], to
        if chance > 0:
            yield segments, chance


@pytest.mark.parametrize("next_part", ["redraw", "alternate"])
def test_evidence_and_predictions_sum_over_every_way_to_switch(next_part):
    parts = DirichletCategorical((1.0, 0.5)), Categorical((0.3, 0.7))
    task, length = Switching(parts, (0.4, 0.6), 0.15, next_part), 4
    # of the part that learns and the known one, P(ones and zeros), in closed form
    closed = (
        lambda zeros, ones: scipy.special.beta(1 + zeros, 0.5 + ones) / scipy.special.beta(1, 0.5),
        lambda zeros, ones: 0.3**zeros * 0.7**ones,
    )
    words = laws.all_sequences(2, length)
    expected = []
    for word in np.asarray(words):
        total = 0.0
        for segments, chance in every_path(task, length):
            ends = [begin for _, begin in segments[1:]] + [length]
            for (part, begin), end in zip(segments, ends, strict=True):
                ones = int(word[begin:end].sum())
                chance *= closed[part](end - begin - ones, ones)
            total += chance
        expected.append(total)
    assert sum(expected) == pytest.approx(1)
    np.testing.assert_allclose(np.exp(laws.log_evidence(task, words)), expected, rtol=1e-12)
    said = laws.of_tokens(rows_of(task, words), words).prod(axis=1)
    np.testing.assert_allclose(said, expected, rtol=1e-12)


def test_known_parts_that_switch_are_a_hidden_chain():
    chain = HiddenMarkov(
        (0.4, 0.6), ((0.9, 0.1), (0.1, 0.9)), tuple(coin.probabilities for coin in COINS)
    )
    words = laws.all_sequences(2, 6)
    for latent in ("fresh", "resumed"):
        task = Switching(COINS, (0.4, 0.6), 0.1, "alternate", latent)
        np.testing.assert_allclose(rows_of(task, words), rows_of(chain, words), atol=1e-6)


def draws_follow_their_evidence(task, length):
    """Pearson's χ² over every sequence of 40,000 draws."""
    draws = jax.jit(jax.vmap(lambda key: task.sample(key, length).tokens))(
        jax.random.split(KEY, 40_000)
    )
    places = task.symbols ** np.arange(length - 1, -1, -1)
    counts = np.bincount(np.asarray(draws) @ places, minlength=task.symbols**length)
    chances = np.exp(laws.log_evidence(task, laws.all_sequences(task.symbols, length)))
    assert abs(chances.sum() - 1) < 1e-9
    likely = chances > 0
    assert counts[~likely].sum() == 0
    return scipy.stats.chisquare(counts[likely], 40_000 * chances[likely]).pvalue > 1e-3


LEARNING = DirichletCategorical((0.5, 0.5)), DirichletCategorical((5.0, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize(("next_part", "latent"), [("redraw", "resumed"), ("alternate", "fresh")])
def test_sequences_that_switch_are_drawn_by_their_evidence(next_part, latent):
    task = Switching(LEARNING, (0.3, 0.7), 0.3, next_part, latent)
    assert draws_follow_their_evidence(task, 6)


@pytest.mark.slow
@pytest.mark.parametrize("latent", ["fresh", "resumed"])
def test_what_the_oracle_loses_where_entropies_change_by_step(latent):
    """A chain that starts from one state: its entropy depends on how long it has spoken."""
    still = HiddenMarkov((1.0, 0.0), ((0.5, 0.5), (0.0, 1.0)), ((0.5, 0.5), (0.05, 0.95)))
    task = Switching((still, COINS[0]), (0.6, 0.4), 0.2, "alternate", latent)

    def loss(key):
        episode = task.sample(key, 12)
        rows = task.oracle(episode.latent, episode.tokens)
        return -jnp.take_along_axis(rows, episode.tokens[:, None], axis=1)[:, 0]

    losses = np.asarray(jax.jit(jax.vmap(loss))(jax.random.split(KEY, 20_000)))
    for step, entropy in enumerate(np.asarray(task.oracle_entropy(12))):
        laws.assert_zero(losses[:, step] - entropy, f"loss minus its expectation at step {step}")


def test_resumed_parts_that_learn_have_no_exact_predictor():
    task = Switching(LEARNING, latent="resumed")
    assert not task.has_bayes and task.has_oracle
    with pytest.raises(NotImplementedError, match="depend on what they read"):
        task.bayes()


def test_a_product_of_what_does_not_learn_does_not_learn():
    pair = Product(COINS[0], COINS[1])
    assert not pair.bayes().learns and Product(COINS[0], LEARNING[0]).bayes().learns
    assert Switching((pair, Categorical((0.1, 0.2, 0.3, 0.4))), latent="resumed").has_bayes


@pytest.mark.slow
def test_parts_whose_states_grow():
    """Two readings are one, with a capacity and without; a state that is full says nothing."""
    tokens = jnp.array([0, 1, 1, 0, 1, 2, 0])
    advance = eqx.filter_jit(lambda predictor, state, tokens: predictor.advance(state, tokens))
    for task in (
        Switching((LiveAndDie(symbols=3), Categorical((0.2, 0.3, 0.5))), hazard=0.2),
        Tagged((LiveAndDie(), PartitionTree(depth=2)), place=5),
    ):
        bayes = task.bayes()
        whole = predict(bayes, tokens)
        for state in (bayes.start(), bayes.start(7)):
            state, first = advance(bayes, state, tokens[:3])
            _, second = advance(bayes, state, tokens[3:])
            both = np.concatenate([first.log_probs, second.log_probs])
            np.testing.assert_allclose(both, whole, atol=1e-6)


@pytest.mark.slow
def test_a_state_that_is_full_says_nothing():
    bayes = Switching(hazard=0.2).bayes()
    state, first = bayes.advance(bayes.start(3), jnp.array([0, 1, 1]))
    state, last = bayes.advance(state, jnp.array([0]))  # says it before it is read
    assert np.isfinite(first.log_probs).all() and np.isfinite(last.log_probs).all()
    assert np.isnan(bayes.advance(state, jnp.array([0]))[1].log_probs).all()


@pytest.mark.slow
def test_float32_predicts_as_float64_also_late():
    biases = np.resize(np.repeat((0.05, 0.9, 0.4, 0.98), 63), 3_000)
    tokens = (np.random.default_rng(0).random(3_000) < biases).astype(np.int32)
    task = Switching(LEARNING, hazard=0.01)
    single = np.asarray(predict(task.bayes(), tokens), float)
    with enumeration.double_precision():
        double = np.asarray(predict(task.bayes(), tokens))
    np.testing.assert_allclose(np.exp(single).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(single, double, atol=5e-5)
    assert abs((single - double)[np.arange(3_000), tokens].sum()) < 5e-3


# --- tags -----------------------------------------------------------------------------------


def test_behind_its_tag_a_source_is_known():
    task = Tagged((DirichletCategorical(), Categorical()), dropped=0.25)
    told = np.asarray(predict(task.bayes(), [3, 0, 1, 1]))
    np.testing.assert_allclose(np.exp(told[0]), [0.0875, 0.1625, 0.375, 0.375], rtol=1e-5)
    np.testing.assert_allclose(np.exp(told[1:, :2]), [[0.2, 0.8]] * 3, rtol=1e-5)
    assert np.isneginf(told[1:, 2:]).all()
    untold = np.asarray(predict(task.bayes(), [0, 1, 1]))
    mixture = predict(Mixture(task.parts).bayes(), [0, 1, 1])
    np.testing.assert_allclose(untold[1:, :2], mixture[1:], rtol=1e-5)


def test_a_tag_costs_the_same_before_and_behind():
    """H(tag, text) = H(tag) + H(text | tag) = H(text) + H(tag | text)."""
    parts = DirichletCategorical(), Categorical()
    before, behind = (
        expected_losses(task.bayes(), task, 5).sum()
        for task in (Tagged(parts, dropped=0.0), Tagged(parts, dropped=0.0, place=4))
    )
    assert before == pytest.approx(behind, abs=1e-9)


# --- what does not fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Mixture(()), "at least one task as a part; got none"),
        (lambda: Mixture(COINS, (1.0,)), "one weight for each of the 2 parts; got 1 weights"),
        (
            lambda: Mixture((COINS[0], DirichletCategorical((1.0, 1.0, 1.0)))),
            "over one alphabet, or over the same points; got Categorical over 2 symbols, Dirichlet",
        ),
        (lambda: Product(LinearRegression(), COINS[0]), "over alphabets; got LinearRegression"),
        (lambda: Tagged(dropped=1.5), "dropped, a probability from 0 to 1; got 1.5"),
        (lambda: Tagged(place=-1), "place, a whole number of at least 0; got -1"),
        (lambda: Switching(hazard=-0.1), "a hazard, a probability from 0 to 1; got -0.1"),
        (lambda: Switching((LinearRegression(),), (1.0,)), "over an alphabet; got parts over"),
        (lambda: Switching(next_part="other"), "one of 'redraw', 'alternate' as Switching.next_p"),
        (
            lambda: Switching().bayes().start(10**9),
            "at most 2 GiB; one with room for 1,000,000,000 sy",
        ),
    ],
)
def test_fields_that_do_not_fit(build, message, as_users_see_it):
    with pytest.raises(ValueError, match=message):
        build()
