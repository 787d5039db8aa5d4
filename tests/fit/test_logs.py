"""What logs hear of a fit, and what is left of it in files."""

import json
import os
import struct
import sys
import time
import types

import jax
import numpy as np
import pytest

import promptax as px
from promptax.files import StoreError
from promptax.fit import MetricsFile, TensorBoard, WeightsAndBiases
from promptax.fit.cost import UNITS, Cost
from promptax.fit.logs import Log, Metrics, base
from promptax.predictors import Constant
from promptax.tasks import Categorical


def some_metrics(begin, end, steps=6, repetitions=2):
    """Steps begin + 1 to end of a made-up fit, of which one loss is not finite."""
    loss = np.arange(steps * repetitions, dtype=np.float32).reshape(repetitions, steps) / 3
    loss[0, 1] = np.inf
    times = np.broadcast_to(np.arange(1.0, steps + 1), (repetitions, steps))
    cost = Cost(**{name: times * (index + 1) for index, name in enumerate(UNITS)})
    part = slice(begin, end)
    return Metrics(
        begin, steps, loss[:, part], np.full_like(loss[:, part], 0.1), cost.of_steps(part)
    )


def lines_of(path):
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_every_step_has_a_line(tmp_path):
    log = MetricsFile(tmp_path / "deep" / "metrics.jsonl", "tuning")
    for bounds in ((0, 0), (0, 2), (2, 6)):
        log.hear(some_metrics(*bounds))
    lines = lines_of(log.path)
    assert [(line["step"], line["repetition"]) for line in lines] == [
        (step, repetition) for step in range(1, 7) for repetition in (0, 1)
    ]
    assert lines[2]["loss"] is None and {line["fit"] for line in lines} == {"tuning"}
    assert np.float32(lines[3]["loss"]) == np.float32(7) / np.float32(3)
    assert lines[-1]["sequences"] == 6 and lines[-1]["tokens_forward"] == 12


def test_a_resumed_fit_leaves_no_gap_and_no_double(tmp_path):
    whole, path = tmp_path / "whole", tmp_path / "resumed"
    other = MetricsFile(path, "other")
    other.hear(some_metrics(0, 1))
    before = path.read_text()
    for bounds in ((0, 0), (0, 2), (2, 6)):
        MetricsFile(whole).hear(some_metrics(*bounds))
    for bounds in ((0, 0), (0, 5)):  # killed beyond its checkpoint, while it wrote a line
        MetricsFile(path).hear(some_metrics(*bounds))
    path.write_text(path.read_text() + '{"fit": "fit", "st')
    for bounds in ((0, 3), (3, 6)):
        MetricsFile(path).hear(some_metrics(*bounds))
    assert path.read_text() == before + whole.read_text()


def test_a_file_that_cannot_grow_is_left_as_it_was(tmp_path, monkeypatch):
    log = MetricsFile(tmp_path / "metrics.jsonl")
    log.hear(some_metrics(0, 2))
    before, write = log.path.read_text(), os.write
    monkeypatch.setattr("os.write", lambda handle, data: write(handle, data[:10]))
    with pytest.raises(StoreError, match="no room"):
        log.hear(some_metrics(2, 6))
    assert log.path.read_text() == before


def test_a_long_fit_is_thinned(tmp_path, monkeypatch):
    metrics, path = some_metrics(0, 6), tmp_path / "metrics.jsonl"
    MetricsFile(path, most=6).hear(metrics)
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == [1, 1, 2, 2, 4, 4, 6, 6]
    monkeypatch.setattr(base, "MOST_LINES", 6)
    assert [step for step, _ in metrics.means()] == [1, 2, 4, 6]
    with pytest.raises(ValueError, match="at least 1 line of each fit; got most=0"):
        MetricsFile(path, most=0)


def test_tensorboard_reads_the_means(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    log = TensorBoard(tmp_path)
    log.hear(some_metrics(0, 3))
    log.close()
    (file,) = tmp_path.iterdir()
    data, seen = file.read_bytes(), {}
    while data:  # a record: length, its checksum, an event, its checksum
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        seen |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        data = data[16 + length :]
    assert seen["loss", 1] == pytest.approx(1.0) and seen["loss", 2] == pytest.approx(7 / 3)
    assert seen["sequences", 3] == 3 and seen["rate", 1] == pytest.approx(0.1)


@pytest.mark.slow
def test_weights_and_biases_keeps_a_run_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")  # it would send them to its makers
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    log = WeightsAndBiases(project="coins", mode="offline", dir=str(tmp_path))
    log.hear(some_metrics(0, 2))
    log.hear(some_metrics(2, 3))
    log.close()
    (kept,) = tmp_path.rglob("*.wandb")
    patience = time.monotonic() + 30  # a process of its own writes the file
    while b"tokens_forward" not in kept.read_bytes():
        assert time.monotonic() < patience
        time.sleep(0.05)


class Run:
    """A run of Weights & Biases that knows two steps already."""

    def __init__(self):
        self.logged, self.ended_with = {1: None, 2: None}, None

    @property
    def step(self):
        return len(self.logged) + 1

    def log(self, numbers, step):
        assert step not in self.logged
        self.logged[step] = numbers

    def finish(self, exit_code):
        self.ended_with = exit_code


def test_a_resumed_run_of_weights_and_biases_gets_each_step_once(monkeypatch):
    run, given = Run(), []
    module = types.SimpleNamespace(init=lambda **settings: given.append(settings) or run)
    monkeypatch.setitem(sys.modules, "wandb", module)
    log = WeightsAndBiases(project="coins", id="a")
    log.hear(some_metrics(0, 4))
    log.hear(some_metrics(4, 6))
    log.close()
    assert given == [{"project": "coins", "id": "a"}] and run.ended_with == 0
    assert list(run.logged) == [1, 2, 3, 4, 5, 6]
    assert run.logged[3]["loss"] == pytest.approx(5 / 3) and "step" not in run.logged[3]
    log.hear(some_metrics(0, 4))
    log.fail()
    assert run.ended_with == 1


class Full(Log):
    """A log that has room for so many steps, and none for an end."""

    def __init__(self, room):
        self.room, self.ends = room, []

    def hear(self, metrics):
        if metrics.end > self.room:
            raise OSError(f"no room for step {metrics.end}")

    def close(self):
        self.ends.append("closed")
        raise OSError("no room for an end")

    def fail(self):
        self.ends.append("failed")
        raise OSError("no room for an end")


def test_all_logs_end_whichever_of_them_fails():
    logs = [Full(2), Full(9)]
    with pytest.raises(OSError, match="for step 4"), base.Logs(logs) as told:
        told.start(0, some_metrics)
        assert [told.tell(end, some_metrics) for end in (2, 4)] == [False, True]
    assert [log.ends for log in logs] == [["failed"], ["failed"]]
    with pytest.raises(OSError, match="for an end"), base.Logs(logs):
        pass
    assert [log.ends for log in logs] == [["failed", "closed"], ["failed", "closed"]]
    with pytest.raises(OSError, match="for an end"), base.Logs([Full(2)]) as told:
        told.start(3, some_metrics)
        pytest.fail("the loop began")


def test_a_log_that_fails_costs_no_step(tmp_path):
    """The checkpoint is not due for hours, and keeps the steps that the log had no room for."""
    checkpoint = px.Checkpoint(tmp_path / "checkpoint", every_seconds=1e6)
    settings = px.FitSettings(steps=12, batch=2, length=3, repetitions=2)

    def pretrain(*callbacks, checkpoint=checkpoint):
        given = jax.random.key(0), Constant(), Categorical((0.2, 0.8)), settings
        return px.pretrain(*given, checkpoint=checkpoint, callbacks=callbacks)

    full, begun = Full(2), []
    with pytest.raises(OSError, match=r"for step [3-9]"):
        pretrain(full)
    resumed = pretrain(lambda done, total, note: begun.append(done))
    assert begun[0] > 3 and full.ends == ["failed"]
    whole = pretrain(checkpoint=None)
    np.testing.assert_array_equal(resumed.loss, whole.loss)
    for ours, theirs in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("make", "module", "extra"),
    [
        (lambda: TensorBoard("runs"), "tensorboardX", "tensorboard"),
        (lambda: WeightsAndBiases(), "wandb", "wandb"),
    ],
)
def test_a_package_that_is_not_there_is_named(make, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{module} .* pip install '\.\[{extra}\]'"):
        make()
