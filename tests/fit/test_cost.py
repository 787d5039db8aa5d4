"""What fits by gradients cost, and that costs are kept to the last digit."""

import jax
import numpy as np
import pytest

from promptax import FitSettings, load, save, specs
from promptax.fit import MAML, Bootstrapped, ImplicitMAML
from promptax.fit.cost import cumulative
from promptax.predictors import LSTM
from promptax.protocol.entries import condition
from promptax.steering import FullWeights, PromptMixture, SoftPrompt
from promptax.tasks import Categorical

KEY = jax.random.key(2)
SETTINGS = FitSettings(steps=3, batch=4, length=5, repetitions=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuner", "readers", "tuned"),
    [(SoftPrompt(length=2), 1, 0), (FullWeights(), 1, 1), (PromptMixture(SoftPrompt(2)), 2, 0)],
)
def test_an_update_costs_what_it_reads(tuner, readers, tuned):
    """2 operations for each weight forward, 2 backward, 2 more where the weight is tuned."""
    network = LSTM(width=4).build(KEY, 2)
    weights = sum(leaf.size for leaf in jax.tree.leaves((network.torso, network.unembedding)))
    cost = tuner.tune(
        KEY, condition(network, [1, 0, 1]), Categorical(), SETTINGS, callbacks=()
    ).cost
    # prompts once, then the batch; so does each component of a mixture
    tokens = readers * (3 + getattr(tuner, "length", 0) + 4 * 5)
    each_step = np.tile([1, 2, 3], (2, 1))
    np.testing.assert_array_equal(cost.updates, each_step)
    np.testing.assert_array_equal(cost.sequences, readers * 4 * each_step)
    np.testing.assert_array_equal(cost.tokens_forward, tokens * each_step)
    np.testing.assert_array_equal(cost.tokens_backward, tokens * each_step)
    np.testing.assert_array_equal(cost.operations, (4 + 2 * tuned) * weights * tokens * each_step)


def test_readings_of_inner_steps_count_all_that_is_read():
    steps = {"inner_steps": 3, "support": 4}
    assert MAML(**steps).readings(9) == 3 + 1
    assert ImplicitMAML(**steps, solver_steps=5).readings(9) == 3 + 1 + 2 * 5
    every = ImplicitMAML(inner_steps=3, support=None, solver_steps=5)
    assert every.readings(9) == 9 * (3 + 1 + 2 * 5)
    squared = Bootstrapped(**steps, target_steps=2, distance="squared")
    assert squared.readings(9) == (3 + 1) + 1 + 1  # inner steps, the target's last, the query
    assert Bootstrapped(**steps, target_steps=2).readings(9) == squared.readings(9) + 1


def test_costs_beyond_float32_are_kept_to_the_last_digit(tmp_path):
    names = ("sequences", "tokens_forward", "tokens_backward", "operations", "updates")
    cost = cumulative(**{name: np.array([[2**24 + 1, 2**40 + 1]]) for name in names})
    again = load(save(tmp_path / "cost.safetensors", cost))
    np.testing.assert_array_equal(again.sequences, [[2**24 + 1, 2**40 + 2**24 + 2]])


def test_results_from_before_costs_were_counted_load():
    stored = {"class": "Fitted", "predictor": None, "loss": None, "diverged": None, "scores": None}
    fitted = specs.from_json(stored)
    assert fitted.cost is None
    with pytest.raises(ValueError, match=r"kept before costs were counted\. Fit again"):
        _ = fitted.costs
