"""A run that was stopped or killed goes on bit for bit; what a checkpoint keeps, and refuses."""

import json
import os
import signal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.judges import same
from support.processes import start

from promptax import Checkpoint, FitSettings, files, pretrain, store
from promptax.files import StoreError
from promptax.fit import MetricsFile
from promptax.predictors import LSTM
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(11)
COIN, COINS = Categorical((0.2, 0.8)), DirichletCategorical()

RESUMED = FitSettings(steps=70, batch=2, length=4, repetitions=2, schedule="cosine")


def pretraining(settings=RESUMED, key=KEY, **more):
    return pretrain(key, LSTM(width=4), COINS, settings, **{"callbacks": ()} | more)


@pytest.mark.slow
def test_a_stopped_run_resumes_bit_for_bit(tmp_path):
    whole = pretraining()
    for stop_at in (1, 20, 50):
        place = tmp_path / f"{stop_at}.checkpoint"
        stop = lambda done, total, note, at=stop_at: done >= at  # noqa: E731
        part = pretraining(checkpoint=Checkpoint(place), callbacks=[stop])
        steps = part.loss.shape[1]
        assert stop_at <= steps < 70
        np.testing.assert_array_equal(part.loss, whole.loss[:, :steps])
        resumed = pretraining(checkpoint=Checkpoint(place))
        same(resumed, whole)
        same(pretraining(checkpoint=Checkpoint(place)), whole)  # a finished run is only read


CHILD = """
import os, sys, time, jax, promptax.files
from promptax import Checkpoint, FitSettings, pretrain
from promptax.fit import MetricsFile
from promptax.predictors import LSTM
from promptax.tasks import DirichletCategorical
replace, written = os.replace, []
def slow(*names):
    if str(names[1]) == sys.argv[1]:
        written.append(names)
    if sys.argv[2] == "writing" and len(written) == 3:
        print("now", flush=True)
        time.sleep(60)
    replace(*names)
promptax.files.os.replace = slow
def callback(done, total, note):
    if sys.argv[2] == "between" and len(written) >= 3:
        print("now", flush=True)
        time.sleep(0.01)
settings = FitSettings(steps=70, batch=2, length=4, repetitions=2, schedule="cosine")
pretrain(jax.random.key(11), LSTM(width=4), DirichletCategorical(), settings,
         checkpoint=Checkpoint(sys.argv[1], every_seconds=0),
         callbacks=[callback, MetricsFile(sys.argv[3])])
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["writing", "between"])
def test_a_killed_run_resumes_bit_for_bit(moment, tmp_path):
    place, lines, whole = (tmp_path / name for name in ("checkpoint", "lines", "whole"))
    child = start(tmp_path, "-c", CHILD, place, moment, lines)
    assert child.stdout is not None and child.stdout.readline() == "now\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.communicate()
    before = lines.read_text()
    assert before.endswith("\n") and all(map(json.loads, before.splitlines()))
    begun = []
    note = lambda done, total, note: begun.append(done) and None  # noqa: E731
    resumed = pretraining(checkpoint=Checkpoint(place), callbacks=[note, MetricsFile(lines)])
    assert begun[0] > 1, "the run began anew"
    same(resumed, pretraining(callbacks=[MetricsFile(whole)]))
    assert lines.read_text() == whole.read_text() and whole.read_text().startswith(before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "key", "text"),
    [
        (FitSettings(steps=4, batch=2, length=4, learning_rate=0.5), KEY, "learning_rate"),
        (FitSettings(steps=5, batch=2, length=4), KEY, "steps"),
        (FitSettings(steps=4, batch=2, length=4), jax.random.key(12), "key"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(settings, key, text, tmp_path):
    place = tmp_path / "checkpoint"
    pretraining(FitSettings(steps=4, batch=2, length=4), checkpoint=Checkpoint(place))
    with pytest.raises(StoreError, match=f"got one of another run: .*{text}.* was .* and is"):
        pretraining(settings, key, checkpoint=Checkpoint(place))


# --- checkpoints -----------------------------------------------------------------------------


class Moving(eqx.Module):
    weight: jax.Array
    note: str = eqx.field(static=True, default="static")


def some_state(key=0):
    weight = jax.random.normal(jax.random.key(key), (3, 2))
    moments = optax.adam(1e-3).init({"a/b": weight})
    return {
        "tuned": (Moving(weight), None),
        "moments": moments,
        "key": jax.random.key(key),
        "step": np.array(key),
        "loss": np.full((2, 3), key / 3, np.float32),
        "count": 7 + key,
        "scalar": np.float32(key / 7),
    }


def test_a_checkpoint_restores_every_bit(tmp_path):
    path, state = tmp_path / "new" / "run.checkpoint", some_state(5)
    assert store.Checkpoint(path).restore("run", some_state()) is None
    store.Checkpoint(path).save("run", state)
    got = store.Checkpoint(path).restore("run", some_state())
    key = got.pop("key"), state.pop("key")
    assert key[0].dtype == key[1].dtype and jnp.all(key[0] == key[1])
    same(got, state)
    assert isinstance(got["step"], np.ndarray) and isinstance(got["loss"], np.ndarray)
    got["loss"][0] = 1.0  # an array of its own


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        (
            '{"task": "coins", "settings": {"rates": [0.1, 0.2], "steps": 3}}',
            '{"task": "coins", "settings": {"rates": [0.1, 0.3], "steps": 4}}',
            r"\['settings'\]\['rates'\]\[1\] was 0\.2 and is 0\.3 now",
        ),
        ('{"a": []}', '{"a": {}}', r"\['a'\] was \[\] and is {} now"),
        ('{"a": null}', '{"a": 1}', r"\['a'\] was None and is 1 now"),
        ("{}", '{"a": 1}', r"\['a'\] was 'absent' and is 1 now"),
        ("one", "another", r"\['identity'\] was 'one' and is 'another' now"),
    ],
)
def test_a_checkpoint_of_another_run_names_the_first_difference(tmp_path, there, wanted, words):
    place = Checkpoint(tmp_path / "checkpoint")
    place.save(there, {"a": np.zeros(1)})
    with pytest.raises(store.OtherRun, match=words):
        place.restore(wanted, {"a": np.zeros(1)})


@pytest.mark.slow
def test_checkpoints_that_do_not_say_what_they_start_from_are_resumed(tmp_path):
    settings, place = FitSettings(steps=4, batch=2, length=4), tmp_path / "checkpoint"
    whole = pretraining(settings, checkpoint=Checkpoint(place))
    older = Checkpoint(tmp_path / "older")
    saved, note = store._read(place, "checkpoint")
    said = json.loads(note["identity"])
    del said["structure"], said["shapes"]
    store._write(older.path, "checkpoint", saved, identity=json.dumps(said))
    same(pretraining(settings, checkpoint=older), whole)
    said["weights"] = "others"
    store._write(older.path, "checkpoint", saved, identity=json.dumps(said))
    with pytest.raises(store.OtherRun, match=r"\['weights'\] was 'others'"):
        pretraining(settings, checkpoint=older)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"a": jnp.ones(2), "b": jnp.ones(2)}, r"\['a'\]: float32 \[2\]; got float32 \[3\]"),
        ({"a": jnp.ones(3)}, r"\['b'\]: None; got float32 \[2\]"),
        ({"a": jnp.ones(3), "b": jnp.ones(2, int)}, r"\['b'\]: int32 \[2\]"),
        ({"a": jnp.ones(3), "b": jnp.ones(2), "c": 1}, r"\['c'\]: int; got None"),
    ],
)
def test_a_checkpoint_that_does_not_fit_says_so(tmp_path, like, message):
    checkpoint = store.Checkpoint(tmp_path / "it")
    checkpoint.save("run", {"a": jnp.ones(3), "b": jnp.ones(2)})
    with pytest.raises(files.StoreError, match=message):
        checkpoint.restore("run", like)


def test_a_checkpoint_and_a_record_are_not_confused(tmp_path):
    state = {"a": jnp.ones(3)}
    store.Checkpoint(tmp_path / "checkpoint").save("run", state)
    with pytest.raises(files.StoreError, match=r"Expected a record; got .* a checkpoint"):
        store.load(tmp_path / "checkpoint")
    store.save(tmp_path / "record", state)
    with pytest.raises(files.StoreError, match=r"Expected a checkpoint; got .* a record"):
        store.Checkpoint(tmp_path / "record").restore("run", state)
    path = tmp_path / "checkpoint"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(files.StoreError, match="truncated"):
        store.Checkpoint(tmp_path / "checkpoint").restore("run", state)


def test_a_checkpoint_is_due_by_the_clock(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(store.time, "monotonic", lambda: clock[0])
    checkpoint, always = (store.Checkpoint(tmp_path / "it", s) for s in (30.0, 0.0))
    assert always.due() and not checkpoint.due()
    clock[0] += 31
    assert checkpoint.due()
    checkpoint.save("run", {})
    assert always.due() and not checkpoint.due()
