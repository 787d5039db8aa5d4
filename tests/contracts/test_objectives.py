"""Laws that every objective obeys: what a fit makes small, and its gradient."""

import inspect
import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges
from support.logits import leaky

from promptax import FitSettings, specs
from promptax.evaluation.exact import enumeration
from promptax.fit import MAML, Objective
from promptax.fit.updates import Program, loss_and_gradient
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.protocol.outcomes import Episode
from promptax.steering import VariationalPrompt
from promptax.tasks import Categorical

KEY = jax.random.key(3)
SETTINGS = FitSettings(steps=2, batch=4, length=6, learning_rate=1e-2)
TOKENS = jnp.array([[0, 1, 1, 1, 0, 1], [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [0, 1, 0, 0, 1, 1]])
ARCHITECTURES = {"LSTM": LSTM(width=3), "Transformer": Transformer(width=4, heads=2)}
# Networks with a derivative that is written by hand, which may have none of its own, or a wrong one
BY_HAND = {
    name: member.examples()[0]
    for name, member in judges.members(Architecture).items()
    if "jax.custom_" in Path(inspect.getfile(member)).read_text(encoding="utf-8")
}
EXAMPLES = judges.examples(Objective)
every_objective = pytest.mark.parametrize("objective", EXAMPLES)


def is_like_another(objective):
    """Whether networks are read by a class that has other members, which read them as this one
    does: three numbers with a memory then judge what is the member's own."""
    written = set(vars(type(objective)))
    reads = {"losses", "prepare", "inner_slope"} & written
    around = {
        "adapted",
        "loss_after_support",
        "losses_of_stream",
    } & written  # what is made of what was read
    return bool(around) or (not reads and type(objective).__bases__ != (Objective,))


def suited(objective, architecture="LSTM"):
    """A predictor that the objective fits: a network, or one behind a prompt with a posterior."""
    if is_like_another(objective):
        return objective.equip(leaky(), SETTINGS)
    network = (BY_HAND | ARCHITECTURES)[architecture].build(KEY, 2)
    for predictor in (network, VariationalPrompt(length=2).steer(KEY, network)):
        try:
            equipped = objective.equip(predictor, SETTINGS)
            objective.verify(equipped, SETTINGS)
            return equipped
        except TypeError:
            continue
    raise AssertionError(f"Expected {objective} to fit a network, or one behind a prompt.")


def value_and_gradient(objective, predictor, micro=4):
    """The objective of four sequences, and its gradient for every float of the predictor."""
    leaves, others = eqx.partition(predictor, eqx.is_inexact_array)
    program = Program(*eqx.partition(others, False), jnp.float32(1.0), specs.traced(objective))
    return compute(leaves, program, micro)


@eqx.filter_jit
def compute(leaves, program, micro):
    outcome = Categorical().outcome
    loss, (gradient, _) = loss_and_gradient(
        leaves, program, Episode(TOKENS), outcome, micro, None, KEY
    )
    return loss, gradient


@every_objective
def test_an_objective_survives_json(objective):
    assert specs.from_json(json.loads(json.dumps(specs.to_json(objective)))) == objective


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [case for case in EXAMPLES if case.id.endswith("-0") and not is_like_another(*case.values)],
)
def test_micro_batches_change_nothing(objective):
    predictor = suited(objective)
    whole, pieces = (value_and_gradient(objective, predictor, micro) for micro in (4, 2))
    assert np.isfinite(whole[0])
    judges.same(whole, pieces, rtol=1e-4, atol=1e-6)


def cases():
    """Every example on an LSTM; the first of each member also where products meet: attention. MAML
    takes derivatives of derivatives, which every network has to have."""
    for name in sorted(BY_HAND.keys() - ARCHITECTURES.keys()):
        yield pytest.param(MAML(support=3), name, id=f"MAML-{name}", marks=pytest.mark.slow)
    for case in EXAMPLES:
        yield pytest.param(*case.values, "LSTM", id=f"{case.id}-LSTM")
        if case.id.endswith("-0") and not is_like_another(*case.values):
            how = {"id": f"{case.id}-Transformer", "marks": pytest.mark.slow}
            yield pytest.param(*case.values, "Transformer", **how)


@pytest.mark.slow
@pytest.mark.parametrize(("objective", "architecture"), list(cases()))
def test_gradients_are_finite_differences(objective, architecture):
    """In float64, along a random direction, and through all inner steps."""
    if not objective.slope_is_of_value:
        return  # tests/fit/test_inner_steps.py looks at what they are
    with enumeration.double_precision():
        predictor = suited(objective, architecture)
        leaves, others = eqx.partition(predictor, eqx.is_inexact_array)
        keys = iter(jax.random.split(KEY, 100))
        direction = jax.tree.map(lambda leaf: jax.random.normal(next(keys), leaf.shape), leaves)

        def moved(by):
            step = jax.tree.map(lambda leaf, change: leaf + by * change, leaves, direction)
            return value_and_gradient(objective, eqx.combine(step, others))

        slopes = jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), moved(0)[1], direction))
        difference = (moved(1e-5)[0] - moved(-1e-5)[0]) / 2e-5
        np.testing.assert_allclose(float(sum(slopes)), float(difference), rtol=1e-6)
