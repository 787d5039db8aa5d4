"""Rates that are raced inside a search: who goes on, and what that reads."""

import numpy as np
import pytest
from support.landscape import HARD, run

from promptax.steering import Annealing, BeamSearch, RacedRates

COLD = Annealing(length=HARD.length, start_temperature=0.0, end_temperature=0.0, schedule="linear")
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


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": "length"}, r"Expected a number of Annealing as the rate .*; got 'length'"),
        ({"rates": (0.1, 0.2, 0.3)}, "Expected 2, 4, 8 or so rates, .*; got 3"),
        ({"rates": (0.1, -1.0)}, "Expected temperatures of at least 0"),
    ],
)
def test_rates_that_cannot_be_raced_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        RacedRates(**{"search": Annealing(), "rates": (0.1, 1.0), **fields})


def test_a_search_that_knows_its_steps_is_refused():
    with pytest.raises(ValueError, match="Expected a number of BeamSearch"):
        RacedRates(search=BeamSearch(), rates=(0.1, 1.0))
