"""Budgets, losses without noise, and prompts that the predictor thinks impossible."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import promptax as px
from promptax import FitSettings
from promptax.evaluation.exact.all_sequences import all_sequences
from promptax.evaluation.exact.expectations import expected_losses
from promptax.predictors import LSTM
from promptax.protocol.outcomes import Episode
from promptax.steering import Annealing, HardPrompt, RandomSearch, SoftPrompt
from promptax.steering.search_episodes import everything_of
from promptax.steering.search_problem import SearchProblem, Sizes
from promptax.steering.search_steps import WORD, in_words, minus
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, MarkovChain

KEY = jax.random.key(2)
COINS, COIN = DirichletCategorical((1.0, 1.0)), Categorical((0.2, 0.8))
BAG = CategoricalMixture(((1.0, 0.0), (0.3, 0.7)), (0.6, 0.4))
PROMPTS = np.array(list(itertools.product((0, 1), repeat=2)), np.int32)
ANNEALING = Annealing(length=2)


def anneal(search=ANNEALING, target=COIN, **settings):
    settings = FitSettings(**{"steps": 9, "batch": 4, "length": 5, "repetitions": 2} | settings)
    return search.tune(KEY, COINS.bayes(), target, settings, callbacks=())


# --- budget ---------------------------------------------------------------------------------


class Growing(Annealing):
    """Every step reads one prompt more than the step before."""

    def step(self, key, state, problem):
        prompts = jnp.tile(state.prompt, (9, 1))
        means = problem.means(prompts, wanted=jnp.arange(9) <= problem.step)
        return state, means[0]


class Shrinking(Annealing):
    """The first two steps read nine prompts, the others one. It shows how many are foretold."""

    def step(self, key, state, problem):
        prompts = jnp.tile(state.prompt, (9, 1))
        wanted = jnp.arange(9) < jnp.where(problem.step < 2, 9, 1)
        problem.means(prompts, wanted=wanted)
        return state, jnp.asarray(problem.steps, jnp.float32)


@pytest.mark.parametrize(
    ("search", "budget", "steps"),
    [
        (ANNEALING, 44 * 3, 3),  # two prompts of 2 rows, before 4 sequences of 5
        (ANNEALING, 44 * 4 - 1, 3),
        (ANNEALING, 10**9, 9),
        (Growing(length=2), 22 * (1 + 2 + 3), 3),
        (Growing(length=2), 22 * (1 + 2 + 3) - 1, 2),
        (Shrinking(length=2), 22 * (9 + 9 + 4), 6),
        (Shrinking(length=2), 22 * (9 + 9 + 4) - 1, 5),
    ],
)
def test_the_last_step_that_fits_the_budget_is_the_last(search, budget, steps):
    fitted = anneal(search, budget=budget)
    assert fitted.loss.shape == (2, steps) and np.isfinite(fitted.loss).all()
    assert (fitted.cost.final()["tokens_forward"] <= budget).all()
    np.testing.assert_array_equal(fitted.cost.final()["updates"], steps)
    np.testing.assert_array_equal(fitted.recommended[:, -1], fitted.prompt)


def test_schedules_go_on_where_more_steps_fit_than_were_foretold():
    fitted = anneal(Shrinking(length=2), budget=22 * (9 + 9 + 4))
    np.testing.assert_array_equal(fitted.loss[0], [2, 2, 3, 4, 5, 6])


def test_large_budgets_are_counted_exactly():
    """Float32 rounds above 2^24."""
    for left, spent in [(2**24 + 3, 1), (2**31 + 5, 2**30 + 7), (2**31, 2**31 - 1), (6, 7)]:
        words = minus(jnp.asarray(in_words(np.array(left))), jnp.int32(spent))
        assert int(words[0]) * WORD + int(words[1]) == left - spent


def test_a_schedule_ends_with_the_budget():
    """It is as if there had been no more steps."""
    limited, short = anneal(budget=44 * 3), anneal(steps=3)
    np.testing.assert_array_equal(limited.loss, short.loss)
    np.testing.assert_array_equal(limited.recommended, short.recommended)


def test_a_budget_in_evaluations_where_losses_are_exact():
    fitted = anneal(exact=True, budget=7)
    assert fitted.loss.shape == (2, 3)
    np.testing.assert_array_equal(fitted.cost.final()["sequences"], 3 * 2 * 6)  # counts 0..5


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"budget": 0}, "Expected a budget of at least 1, or None; got 0"),
        ({"budget": 2**61}, "Expected a budget of at most 1,152,921,504,606,846,976"),
        ({"budget": 43}, "Expected a budget of at least 44, which the first step reads; got 43"),
        ({"length": 20, "target": MarkovChain()}, "Expected at most 65,536 sequences"),
        ({"length": 20_000, "target": MarkovChain()}, r"at length 20000 make 10\^6,021"),
        (
            {"target": px.tasks.Recorded(sequences=np.zeros((2, 20), int))},
            "with an exact predictor",
        ),
        ({"search": HardPrompt(length=2)}, "can read any sequences with exact; got HardPrompt"),
    ],
)
def test_what_cannot_be_searched_is_named(settings, text):
    with pytest.raises(ValueError, match=text):
        anneal(**{"exact": "budget" not in settings} | settings)


def test_gradients_know_no_budget():
    network, settings = LSTM(width=4).build(KEY, 2), FitSettings(budget=100)
    with pytest.raises(ValueError, match="Expected no budget, which is for searches over prompts"):
        SoftPrompt(length=2).tune(KEY, network, COIN, settings, callbacks=())
    with pytest.raises(ValueError, match="Expected no exact, which is for searches over prompts"):
        px.pretrain(KEY, LSTM(width=4), COINS, FitSettings(exact=True), callbacks=())


# --- without noise --------------------------------------------------------------------------


TARGETS = [COIN, pytest.param(BAG, marks=pytest.mark.slow), MarkovChain()]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: type(t).__name__)
def test_probabilities_of_all_sequences_are_those_of_brute_force(target):
    reader = LSTM(width=4).build(KEY, 2)  # tells all of them apart
    tokens, probabilities = all_sequences(target, reader, 4)
    assert {tuple(row) for row in tokens.tolist()} == set(itertools.product((0, 1), repeat=4))
    with jax.enable_x64(True):
        expected = np.exp(jax.jit(jax.vmap(target.log_evidence))(tokens))
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)
    merged = all_sequences(target, COINS.bayes(), 4).probabilities
    assert len(merged) == (5 if target.bayes().exchangeable else 16)
    np.testing.assert_allclose(merged.sum(), 1.0, rtol=1e-12)


def exact_problem(predictor, target, **sizes):
    everything = everything_of(target, predictor, 4, 1)
    given = Sizes(target.outcome, 2, None, 1, **sizes)
    return SearchProblem(predictor, given, Episode(everything.tokens), everything.weights)


@pytest.mark.parametrize("target", TARGETS[1:], ids=lambda t: type(t).__name__)
def test_exact_means_are_expectations(target):
    means = np.asarray(jax.jit(exact_problem(COINS.bayes(), target).means)(PROMPTS))
    behind = [px.condition(COINS.bayes(), prompt) for prompt in PROMPTS]
    exact = [expected_losses(predictor, target, 4).sum() for predictor in behind]
    np.testing.assert_allclose(means, exact, rtol=1e-5)


def test_exact_slopes_are_those_of_the_expectation():
    """Probabilities of four flips of this coin are multiples of 1/625: as many rows say it too."""
    problem = exact_problem(COINS.bayes(), COIN)
    ways = np.rint(np.asarray(problem.weights) / len(problem.weights) * 625).astype(int)
    rows = jnp.asarray(np.repeat(np.asarray(problem.episodes.inputs), ways, axis=0))
    sampled = SearchProblem(problem.predictor, problem.sizes, Episode(rows))
    mean, slopes = jax.jit(problem.gradient)(jnp.asarray(PROMPTS[1]))
    expected = jax.jit(sampled.gradient)(jnp.asarray(PROMPTS[1]))
    np.testing.assert_allclose(mean, expected[0], rtol=1e-5)
    np.testing.assert_allclose(slopes, expected[1], rtol=1e-4, atol=1e-6)


class Counting(RandomSearch):
    """Draws 0 0, then 1 1."""

    def draw(self, key, problem):
        return jnp.full((self.candidates, self.length), problem.step, jnp.int32)

    @classmethod
    def examples(cls):
        return ()


def test_the_winner_of_the_last_step_is_recommended_where_no_luck_is_involved():
    exact, sampled = (
        anneal(search=Counting(length=2), steps=2, exact=exact) for exact in (True, False)
    )
    assert exact.recommended.tolist() == [[[0, 0], [1, 1]]] * 2
    assert sampled.recommended.tolist() == [[[0, 0], [0, 0]]] * 2


def test_what_never_comes_is_not_read():
    """A predictor may think it impossible, and 0 times an infinite derivative is no number."""
    everything = everything_of(Categorical((0.0, 1.0)), COINS.bayes(), 4, 1)
    np.testing.assert_array_equal(everything.tokens, np.ones((5, 4)))
    np.testing.assert_allclose(np.sort(everything.weights), [0, 0, 0, 0, 5], rtol=1e-6)


# --- impossible prompts ---------------------------------------------------------------------


def test_impossible_prompts_win_only_if_they_may():
    """Behind 1 0 a bag of coins that show one side alone predicts uniformly."""
    sides = CategoricalMixture(((1.0, 0.0), (0.0, 1.0)), (0.5, 0.5)).bayes()
    means, losses = {}, {}
    for may_win in (True, False):
        problem = exact_problem(sides, COIN, impossible_may_win=may_win)
        means[may_win] = np.asarray(jax.jit(problem.means)(PROMPTS))
        rows = jnp.array([2, 1, 0, 2])
        losses[may_win] = np.asarray(jax.jit(problem.losses)(PROMPTS, rows=rows))
    np.testing.assert_allclose(means[True][[1, 2]], 4 * np.log(2), rtol=1e-5)
    assert np.isposinf(means[False]).all()  # the others exclude what may come
    np.testing.assert_array_equal(losses[True], losses[False])  # nothing is read too far
