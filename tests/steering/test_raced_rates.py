"""Rates that are raced inside a search: who goes on, and what that reads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.landscape import HARD, run

from promptax import FitSettings
from promptax.steering import Annealing, BeamSearch, RacedRates
from promptax.steering.base import Tuning
from promptax.steering.search_loop import run_search
from promptax.steering.search_problem import SearchProblem, Sizes
from promptax.tasks import Categorical, DirichletCategorical

COLD = Annealing(length=HARD.length, start_temperature=0.0, end_temperature=0.0, schedule="linear")
LAPLACE = DirichletCategorical().bayes()
STEPS = 40


def test_the_better_rate_goes_on_and_its_choice_is_paid():
    """Hill climbing and a walk that accepts everything take turns for half of the steps. Then both
    prompts are read once more, and the steps that are left are those of hill climbing."""
    raced = RacedRates(search=COLD, rate="start_temperature", rates=(1e6, 0.0))
    runs = run(raced, HARD, seeds=20, steps=STEPS)
    assert (runs.read[:, -1] == 2 * STEPS + 2).all()
    assert (runs.read[:, STEPS // 2 - 1] == STEPS + 2).all(), "read where the first round ends"
    falls = np.diff(runs.gap[:, STEPS // 2 :], axis=1) <= 1e-4
    assert falls.mean() > 0.9, "hill climbing never rises; it leads in nearly all runs"


def test_a_round_is_judged_on_the_sequences_of_several_steps():
    """The prompts of the round's end are read in so many steps, and the variants go on meanwhile;
    without noise a second look says nothing, and once is enough."""
    raced = RacedRates(COLD, "start_temperature", (1e6, 0.0), validation_steps=4)
    runs = run(raced, HARD, seeds=3, steps=STEPS)
    steps = np.diff(runs.read, prepend=0, axis=1)
    judging = np.flatnonzero(steps[0] != 2).tolist()
    assert judging == list(range(STEPS // 2 - 1, STEPS // 2 + 3))
    assert (steps[:, judging] == 4).all(), "two of the step, and a prompt of each variant"

    problem = SearchProblem(LAPLACE, Sizes(HARD.outcome, HARD.length, None, 1), steps=STEPS)
    assert raced.looks_of_a_round(problem) == 4
    assert raced.looks_of_a_round(dataclasses.replace(problem, steps=8)) == 2, "half of a round"
    expected = dataclasses.replace(problem, weights=jnp.ones(1))
    assert raced.looks_of_a_round(expected) == 1


def test_the_winner_ends_its_schedule_where_the_budget_ends():
    """Judging is paid by the steps that it leaves no room for, in the forecast too."""
    raced = RacedRates(Annealing(length=2), rates=(0.05, 0.8), validation_steps=8)  # pyright: ignore
    settings = FitSettings(steps=1000, batch=4, length=5, repetitions=3, budget=4400)
    given = jax.random.key(0), LAPLACE, Categorical((0.2, 0.8)), settings, (), None, ()
    state, cost = run_search(raced, Tuning(*given))
    reading = 2 + 4 * 5  # tokens of a prompt
    steps = 1 + (4400 - 2 * reading - 8 * 2 * reading) // (2 * reading)
    assert (np.sum(~np.isnan(state.loss), axis=1) == steps).all()
    assert (cost.final()["tokens_forward"] > 4400 - 2 * reading).all(), "nothing else fits"
    winner = np.take_along_axis(np.asarray(state.member.ages), state.member.leader[:, None], 1)
    planned = steps * 1.5 / 2 - 7 * 0.5
    assert np.abs(winner - planned).max() <= 1.0, "turns are whole"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": "length"}, r"Expected a number of Annealing as the rate .*; got 'length'"),
        ({"rates": (0.1, 0.2, 0.3)}, "Expected 2, 4, 8 or so rates, .*; got 3"),
        ({"validation_steps": 0}, "Expected validation_steps of at least 1; got 0"),
        ({"rates": (0.1, -1.0)}, "Expected temperatures of at least 0"),
    ],
)
def test_rates_that_cannot_be_raced_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        RacedRates(**{"search": Annealing(), "rates": (0.1, 1.0), **fields})


def test_a_search_that_knows_its_steps_is_refused():
    with pytest.raises(ValueError, match="Expected a number of BeamSearch"):
        RacedRates(search=BeamSearch(), rates=(0.1, 1.0))
