"""What a search's step may ask, and what its readings cost."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import FitSettings, platforms
from promptax.predictors import LSTM, Transformer
from promptax.protocol.entries import condition
from promptax.steering import GradientSearch, HardPrompt, HardPromptMixture, SubspaceEvolution
from promptax.steering.base import Tuning
from promptax.steering.search_loop import run_search
from promptax.steering.search_problem import Readings, SearchProblem, Sizes
from promptax.steering.searches.hard_prompt import pairwise_sum
from promptax.tasks import Categorical, DirichletCategorical
from promptax.tasks.batches import sample_batch

KEY = jax.random.key(5)
DIE, DICE = Categorical((0.2, 0.3, 0.5)), DirichletCategorical((1.0, 1.0, 1.0))
PREDICTORS = {
    "exact": lambda: DICE.bayes(),
    "LSTM": lambda: laws.build(LSTM(width=6), 5, 3),
    "behind a prompt": lambda: condition(laws.build(Transformer(width=8, heads=2), 5, 3), [1, 2]),
}
PROMPTS = jnp.array([[0, 1, 2], [2, 2, 1], [1, 0, 0], [0, 0, 2], [1, 1, 1]])


def problem_of(predictor):
    episodes = sample_batch(DIE, jax.random.split(KEY, 4), 5)
    return SearchProblem(predictor, Sizes(DIE.outcome, 3, None, 1), episodes)


@pytest.mark.slow
@pytest.mark.parametrize("name", PREDICTORS)
def test_losses_of_first_rows_are_those_of_shorter_prompts(name):
    problem, rows = problem_of(PREDICTORS[name]()), jnp.array([3, 1, 2, 0, 3])
    grown = jax.jit(lambda: problem.losses(PROMPTS, rows=rows))()
    for prompt, count, losses in zip(PROMPTS, rows.tolist(), grown, strict=True):
        cut = jax.jit(lambda prompt: problem.losses(prompt[None]))(prompt[:count])
        np.testing.assert_allclose(losses, cut[0], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", PREDICTORS)
def test_prompts_side_by_side_lose_what_they_lose_one_by_one(name, monkeypatch):
    problem, rows = problem_of(PREDICTORS[name]()), jnp.array([3, 1, 2, 0, 3])
    alone = [jax.jit(lambda given: problem.losses(PROMPTS, rows=given))(r) for r in (None, rows)]
    monkeypatch.setattr(platforms, "prompts_at_once", lambda prompts: min(prompts, 2))
    for given, expected in zip((None, rows), alone, strict=True):
        together = jax.jit(lambda given: problem.losses(PROMPTS, rows=given))(given)
        np.testing.assert_allclose(together, expected, rtol=1e-5)


def test_prompts_without_rows_are_read_side_by_side(monkeypatch):
    monkeypatch.setattr(platforms, "prompts_at_once", lambda prompts: min(prompts, 2))
    losses = jax.jit(problem_of(DICE.bayes()).losses)(jnp.zeros((5, 0), jnp.int32))
    np.testing.assert_allclose(losses, jnp.broadcast_to(losses[0], losses.shape), rtol=1e-6)


def test_readings_are_counted_without_what_is_not_wanted():
    prompted = condition(DICE.bayes(), [1, 2])  # two more rows before each batch of prompts

    def read(wanted):
        problem = problem_of(prompted)
        losses = problem.losses(PROMPTS, rows=jnp.array([3, 1, 2, 0, 3]), wanted=wanted)
        problem.gradient(PROMPTS[0])
        return losses, problem.total()

    losses, total = jax.jit(read)(jnp.array([True, True, False, True, False]))
    np.testing.assert_array_equal(np.isinf(losses[:, 0]), [False, False, True, False, True])
    rows = 3 + 1 + 0 + 2 + 3 + 2
    expected = Readings(4, sequences=4 * 4, rows=rows, derivatives=1, derivative_rows=3)
    assert jax.tree.map(int, total) == expected


def test_tables_over_too_many_symbols_are_refused_before_they_are_made():
    many = Categorical((1 / 4096,) * 4096)
    search = SubspaceEvolution(length=50, dimensions=10**9)  # all 50 · 4096, squared: 168 GB
    with pytest.raises(ValueError, match="Expected tables of SubspaceEvolution over 4,096 symbols"):
        search.tune(KEY, many.bayes(), many, FitSettings(steps=1), callbacks=())


class Scanning(NamedTuple):
    """Reads its candidates in a scan of its own. No `Search`, which all laws would meet."""

    class_name: str = "Scanning"
    length: int = 3
    same_episodes: bool = False
    recommends: bool = False
    reads_parts: bool = False

    def prompt(self, state):
        return state[0]

    def updates(self, settings, symbols):
        return 1

    def batch(self, settings):
        return 2

    def plan(self, symbols):
        return ""

    def start(self, key, problem):
        return PROMPTS

    def step(self, key, state, problem):
        losses = jax.lax.map(lambda prompt: problem.losses(prompt[None])[0], state)
        return state, jnp.mean(losses)


@pytest.mark.usefixtures("as_users_see_it")
def test_readings_that_cannot_be_counted_are_refused():
    settings = FitSettings(length=5, repetitions=1)
    tuning = Tuning(KEY, DICE.bayes(), DIE, settings, (), None, ())
    with pytest.raises(TypeError, match="Expected a search's step to ask for losses and gradients"):
        run_search(Scanning(), tuning)
    early = SearchProblem(DICE.bayes(), Sizes(DIE.outcome, 3, None, 1))
    with pytest.raises(TypeError, match="asked for in `step`; `start` has no episodes"):
        early.losses(PROMPTS)


@pytest.mark.slow
def test_what_searches_cost():
    settings = FitSettings(steps=3, batch=4, length=5)
    cost = HardPrompt(length=2, sequences=16).tune(KEY, DICE.bayes(), DIE, settings, callbacks=())
    final = cost.cost.final()
    assert final["sequences"] == 9 * 16 and final["updates"] == 2  # 8 prompts and one
    assert final["tokens_forward"] == 9 * (2 + 16 * 5) and final["tokens_backward"] == 0
    assert np.isnan(final["operations"])  # nobody knows those of exact predictors
    network = LSTM(width=6).build(KEY, 3)
    search = GradientSearch(length=2, candidates=3, top=2)
    final = search.tune(KEY, network, DIE, settings, callbacks=()).cost.final()
    backward = 2 + 4 * 5
    assert final["tokens_backward"] == 3 * backward and final["sequences"] == 3 * 5 * 4
    assert final["tokens_forward"] == 3 * 5 * backward  # three swaps, the prompt itself, gradient
    weights = sum(leaf.size for leaf in jax.tree.leaves((network.torso, network.unembedding)))
    assert final["operations"] == 2 * weights * 3 * 6 * backward


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 7, 8, 37, 128, 200, 256, 1000, 2048])
def test_sums_are_those_of_numpy_bit_for_bit(count):
    values = 25 + 20 * jax.random.normal(KEY, (3, count))
    np.testing.assert_array_equal(jax.jit(pairwise_sum)(values), np.asarray(values).sum(1))


@pytest.mark.slow
def test_a_mixture_that_is_searched_scores_as_the_exhaustive_search_does():
    settings = FitSettings(length=5)
    mixture = HardPromptMixture(length=2, sequences=37)
    single = HardPrompt(length=2, sequences=37)
    both = [
        tuner.tune(KEY, DICE.bayes(), DIE, settings, callbacks=()) for tuner in (mixture, single)
    ]
    np.testing.assert_array_equal(both[0].scores, both[1].scores)
