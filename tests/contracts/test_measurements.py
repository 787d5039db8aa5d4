"""Laws that every measurement obeys. What needs a result is slow: a measurement is a whole run."""

import json
import math
import re

import numpy as np
import pytest
import xarray as xr
from support import judges as laws

from promptax import load, specs
from promptax.axes import AXES
from promptax.experiments.conditions import Condition, result_path
from promptax.experiments.executors import measure
from promptax.experiments.measurement import Measurement
from promptax.experiments.sweeps import sweep
from promptax.studies import Study

assert Study  # importing the studies brings in every measurement that they consist of
every_measurement = pytest.mark.parametrize("measurement", laws.examples(Measurement))
CLOCKS = "seconds"  # the unit of what is never the same twice


@pytest.fixture(scope="module")
def results():
    """The results of a measurement with seed 3, once for all laws."""
    trees = {}

    def of(measurement):
        key = repr(measurement)
        if key not in trees:
            trees[key] = measure(specs.to_json(Condition(measurement, 3)))
        return trees[key]

    return of


def assert_equal(ours, theirs):
    """Two trees of results hold the same groups and numbers, clocks aside."""
    assert list(ours.children) == list(theirs.children)
    for name, group in ours.children.items():
        timed = [key for key, values in group.items() if values.attrs.get("unit") == CLOCKS]
        xr.testing.assert_equal(
            group.to_dataset().drop_vars(timed), theirs[name].to_dataset().drop_vars(timed)
        )


@every_measurement
def test_it_is_data_with_an_identity(measurement):
    condition = Condition(measurement, 3)
    again = specs.from_json(json.loads(json.dumps(specs.to_json(condition))))
    assert again == condition and again.identity() == condition.identity()
    assert again.identity() != Condition(measurement, 4).identity()
    assert math.isfinite(measurement.work()) and measurement.work() > 0


@pytest.mark.slow
@every_measurement
def test_stages_are_labelled_groups(measurement, results):
    groups = results(measurement).children
    assert groups
    for name, group in groups.items():
        assert re.fullmatch(r"[A-Za-z0-9.-]+", name), name
        assert group.to_dataset().data_vars, name
        assert set(group.to_dataset().dims) <= set(AXES), (name, group.to_dataset().dims)
        losses = [key for key in group.data_vars if "loss" in str(key) or key == "regret"]
        assert all(group[key].attrs.get("unit") == "nats" for key in losses), name


@pytest.mark.slow
@every_measurement
def test_what_a_sweep_keeps_is_what_is_measured_alone(measurement, results, tmp_path):
    condition = Condition(measurement, 3)
    assert sweep({"it": condition}, tmp_path, callbacks=()) == {}
    assert_equal(load(result_path(tmp_path, condition)), results(measurement))
    assert not [*(tmp_path / "unfinished").iterdir()]


@pytest.mark.slow
@every_measurement
def test_what_is_shared_is_the_first_stage(measurement, results):
    shared = measurement.shared()
    if shared is None:
        return
    assert shared.shared() == shared, "it shares itself"
    first = next(iter(results(measurement).children))
    alone = results(shared)
    assert list(alone.children) == [first]
    xr.testing.assert_equal(alone[first].to_dataset(), results(measurement)[first].to_dataset())


@pytest.mark.slow
@every_measurement
def test_numbers_are_rows_of_a_table(measurement, results):
    rows = measurement.numbers(results(measurement))
    assert rows and len({tuple(row.items()) for row in rows}) == len(rows)
    assert all(isinstance(value, str | int | float) for row in rows for value in row.values())
    finite = [
        value for row in rows for value in row.values() if isinstance(value, float | np.floating)
    ]
    assert any(math.isfinite(value) for value in finite)
