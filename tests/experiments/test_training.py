"""A network that is trained and held against named predictors: what is measured, and refused."""

import json
import re

import jax
import numpy as np
import pytest
import xarray as xr

from promptax import FitSettings, specs
from promptax.analysis.algorithms import hold_algorithms
from promptax.experiments.looks import Look
from promptax.experiments.training import Training
from promptax.fit import MAML, MetaSGD
from promptax.predictors import LSTM, Constant
from promptax.tasks import (
    Categorical,
    DirichletCategorical,
    LinearRegression,
    PrototypeClassification,
)
from promptax.tasks.regression.references import MinimumNorm

COINS = DirichletCategorical()
POINTS, NOVEL = PrototypeClassification(), PrototypeClassification(novel=True)


@pytest.mark.slow
def test_numbers_are_told_by_cosines_and_distances_too():
    """Of a training on regression; that on symbols is the example of the contracts."""
    task = LinearRegression(1)
    measurement = Training(
        network=LSTM(width=2),
        task=task,
        training=FitSettings(steps=2, batch=2, length=4),
        sources={"points": task},
        algorithms={"Bayes": task, "least squares": MinimumNorm(1)},
        looks=1,
        look_sequences=4,
        sequences=2,
        length=4,
    )
    groups = dict(measurement.stages(0))
    assert list(groups) == ["training", "points", "points.learning", "points.distances"]
    apart = groups["points.distances"]
    np.testing.assert_allclose(apart.cosine.sel(predictor="Bayes", algorithm="Bayes"), 1, rtol=1e-5)
    assert (apart.distance.sel(predictor="Bayes", algorithm="Bayes").dropna("time") == 0).all()
    assert np.isnan(apart.distance.sel(time=[1, 3])).all(), "questions are not scored"
    learned = groups["points.learning"]
    assert learned.step.values.tolist() == [0, 2] and "last_accuracy" not in learned
    ends = apart.distance.sel(predictor="network").mean("time")
    np.testing.assert_allclose(learned.distance.isel(step=-1), ends, rtol=1e-5)
    rows = measurement.numbers(xr.DataTree.from_dict(groups))
    assert [row["predictor"] for row in rows if row["networks_distance"] != ""] == [
        "Bayes",
        "least squares",
    ]


@pytest.mark.slow
def test_a_network_is_judged_after_its_inner_steps():
    """By the exact expectation, which a model without memory has, and beside itself as it is. Their
    rate is chosen on other sequences: one is far too long, one so short that nothing changes."""
    steps, coins = MAML(support=2, inner_loss="sum"), DirichletCategorical((1.0, 1.0))
    measurement = Training(
        network=Constant(),
        task=coins,
        training=FitSettings(steps=1, batch=2, length=4),
        sources={"coins": coins},
        looks=1,
        look_sequences=2,
        sequences=32,
        length=8,
        objective=steps,
        adapting=steps,
        inner_rates=(1e4, 0.2, 1e-6),
    )
    again = specs.from_json(json.loads(json.dumps(specs.to_json(measurement))))
    assert again == measurement
    judged = dict(measurement.stages(0))["coins"]
    assert judged.attrs["inner_rate"] == 0.2
    final = judged.isel(repetition=0)
    assert {"network", "without inner steps"} < set(final.predictor.values.tolist())
    after, before = (
        final["regret"].sel(predictor=name).values for name in ("network", "without inner steps")
    )
    np.testing.assert_allclose(after[0], before[0], rtol=1e-5)  # nothing was observed
    assert after[-1] < before[-1] - 1e-3


def test_work_counts_the_readings_of_inner_steps():
    fields = {"network": Constant(), "task": COINS, "sources": {"coins": COINS}, "length": 10}
    fields |= {"training": FitSettings(steps=9, batch=7, length=10), "sequences": 1, "looks": 1}
    plain = Training(**fields)
    inner = Training(**fields, objective=MAML(inner_steps=3, support=None))
    assert inner.work() - plain.work() == 2 * 9 * 7 * 10 * (4 * 10 - 1)
    adapting = Training(**fields, adapting=MAML())
    assert adapting.work() > plain.work()


def test_the_first_answer_is_right_by_memory_alone():
    """Copying needs a context: of one class for all points it misses the first answer alone."""
    task = PrototypeClassification(8, 4, 2, burstiness=1.0, kinds=1)
    sequences = 64
    look = Look({"a": hold_algorithms({}, task, jax.random.key(0), length=6, sequences=sequences)})
    memory, copying = look(task.by_memory()), look(task.by_copying())
    assert memory["a|first_accuracy"] > 0.9 and memory["a|last_accuracy"] > 0.9
    assert copying["a|last_accuracy"] > 0.9
    chance, error = 1 / 2, np.sqrt(1 / 4 / sequences)
    assert abs(copying["a|first_accuracy"] - chance) < 3 * error


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"training": FitSettings(repetitions=2)}, "Expected one network that is trained"),
        ({"looks": 0}, "Expected looks of at least 1; got 0"),
        ({"sources": {}}, "Expected sources whose letters and digits differ"),
        ({"sources": {"training": COINS}}, "none named 'training'"),
        ({"algorithms": {"network": COINS}}, "names of their own; got ['network']"),
        ({"sources": {"points": LinearRegression()}}, "got LinearRegression as 'points'"),
        ({"algorithms": {"a": Categorical((0.2, 0.3, 0.5))}}, "the task; 'a' predicts 3 symbols"),
        (
            {"task": POINTS, "sources": {"points": POINTS}, "algorithms": {"a": NOVEL}},
            "PrototypeClassification as 'a' has none",
        ),
        ({"in_context": True}, "Expected inner steps, adapting=MAML(), where in_context or inner"),
        ({"adapting": MAML(), "inner_rates": (0.1, -1.0)}, "inner_rates above 0; got (0.1, -1.0)"),
        (
            {"task": POINTS, "sources": {"points": POINTS}, "adapting": MAML()},
            "Expected in_context=True for a predictor of",
        ),
    ],
)
@pytest.mark.usefixtures("as_users_see_it")
def test_what_cannot_be_measured_is_named(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Training(**fields)


def test_rates_that_nobody_learned_are_refused_before_training():
    with pytest.raises(TypeError, match="Expected a predictor with the rates that MetaSGD learned"):
        Training(adapting=MetaSGD())
