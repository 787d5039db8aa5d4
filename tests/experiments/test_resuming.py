"""A run that was stopped or killed goes on bit for bit; what a checkpoint keeps, and refuses."""

import collections
import copy
import enum
import functools
import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.judges import same
from support.processes import ROOT, start

from promptax import Checkpoint, FitSettings, files, pretrain, store
from promptax.files import StoreError
from promptax.fit import MetricsFile
from promptax.fit.identity import identity_of
from promptax.formats.identities import agree, difference
from promptax.predictors import LSTM, Transformer
from promptax.protocol.exchangeable import Uniform
from promptax.protocol.prompted import Prompted
from promptax.steering import HardPrompt
from promptax.steering.prompts.simplex_prompt import SoftmaxRows
from promptax.steering.prompts.soft_prompt import SoftRows
from promptax.steering.races.successive_halving import SuccessiveHalving
from promptax.steering.races.uniform_allocation import UniformAllocation
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


LINE, ROWS = Uniform(2), jnp.zeros((3, 2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Transformer(width=8, heads=4), Transformer(width=8, heads=2)),
        (Transformer(width=8), Transformer(width=8, positions="rotary")),
        (Prompted(LINE, SoftRows(ROWS)), Prompted(LINE, SoftRows(ROWS, before_begin=True))),
        (Prompted(LINE, SoftRows(ROWS)), Prompted(LINE, SoftmaxRows(ROWS))),
        (SuccessiveHalving(), UniformAllocation()),
        ((HardPrompt(length=2), COIN), (HardPrompt(length=3), COIN)),
    ],
)
def test_what_has_the_same_numbers_and_computes_something_else_is_another_run(one, other):
    def described(thing):
        built = thing.build(KEY, 2) if isinstance(thing, Transformer) else thing
        return json.loads(identity_of(KEY, built, COINS, RESUMED))

    assert described(one) == described(one)
    assert described(one)["structure"] != described(other)["structure"]


class Noted(eqx.Module):
    """Something of a user's, with a field that no array shows."""

    what: Any = eqx.field(static=True)


class Colour(enum.Enum):
    RED, BLUE = 1, 2


def enclosing(number):
    return lambda inputs: number * inputs


def named(module):
    """A function of a file of the user's, which is in that module."""

    def relu(inputs):
        return inputs

    relu.__module__ = module
    return relu


class Plain:
    """Something that Python does not write out."""

    def __init__(self, number):
        self.number = number
        self.me = self

    def method(self):
        return self.number


def taking(number):
    """A function whose number is a global one."""
    return types.FunctionType(scaled.__code__, {"SCALE": number}, "scaled")


def scaled(inputs):
    return SCALE * inputs  # noqa: F821


@pytest.mark.filterwarnings("ignore:A JAX array is being set as static")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Colour.RED, Colour.BLUE),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (frozenset({1}), frozenset({2})),
        (range(2), range(3)),
        (Path("a"), Path("b")),
        (b"a", b"b"),
        (np.int64(4), np.int64(2)),
        (np.longdouble(1.5), np.longdouble(2.5)),
        (np.arange(2), np.arange(1, 3)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        ([np.zeros(2)], [np.ones(2)]),
        (functools.partial(max, np.zeros(2)), functools.partial(max, np.ones(2))),
        (jax.nn.relu, jax.nn.gelu),
        (True, 1),
        (1, 1.0),
        (0.0, -0.0),
        ({1: 2}, {"1": 2}),
        (collections.namedtuple("One", "a")(1), collections.namedtuple("Other", "a")(1)),
        (enclosing(1), enclosing(2)),
        (jax.jit(enclosing(1)), jax.jit(enclosing(2))),
        (jax.vmap(enclosing(1)), jax.vmap(enclosing(1), in_axes=1)),
        (eqx.nn.Lambda(enclosing(1)), eqx.nn.Lambda(enclosing(2))),
        (optax.constant_schedule(0.1), optax.constant_schedule(0.2)),
        (lambda x, by=1: x, lambda x, by=2: x),
        (named("one"), named("other")),
        (taking(1), taking(2)),
        (Plain(2), Plain(3)),
        (Plain(2).method, Plain(3).method),
        (
            types.SimpleNamespace(a=np.zeros(2000)),
            types.SimpleNamespace(a=np.r_[np.zeros(1999), 1]),
        ),
        (collections.deque([1]), collections.deque([2])),
        (collections.deque([np.arange(2000)]), collections.deque([np.r_[:1000, 1001:2001]])),
    ],
)
def test_whatever_a_field_holds_is_told_apart(one, other):
    again = one if callable(one) else copy.deepcopy(one)  # copies of what jit makes forget it
    described = [identity_of(KEY, Noted(it), COINS, RESUMED) for it in (one, again, other)]
    assert agree(described[0], described[1]) and not agree(described[0], described[2])
    assert " was " in difference(described[0], described[2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (jnp.zeros((2, 3)), jnp.zeros((3, 2))),
        (jnp.zeros(2, jnp.int32), jnp.zeros(2, jnp.float32)),
        (jax.random.key(0), jax.random.key(1)),
    ],
)
def test_arrays_are_told_apart_by_numbers_and_by_shapes(one, other):
    first, again, second = (identity_of(KEY, it, COINS, RESUMED) for it in (one, one, other))
    assert agree(first, again) and not agree(first, second)


OF_A_PROCESS = """
import equinox as eqx, jax, optax
from promptax.fit.identity import identity_of
from promptax import FitSettings
from promptax.tasks import Categorical
class Plain:
    def __init__(self):
        self.words, self.me = {"alpha", "beta"}, self
class Noted(eqx.Module):
    what: object = eqx.field(static=True)
    network: eqx.nn.MLP
network = eqx.nn.MLP(2, 2, 2, 1, jax.nn.relu, key=jax.random.key(0))
of_functions = jax.jit(jax.vmap(lambda x: x)), jax.nn.relu, optax.adam(1e-3), object(), Plain()
what = {jax.nn.relu, max}, frozenset({frozenset({"alpha", "beta", "gamma"})}), of_functions
print(identity_of(jax.random.key(0), Noted(what, network), Categorical(), FitSettings()))
"""


@pytest.mark.slow
def test_every_process_says_the_same_of_a_run(tmp_path):
    said = {
        subprocess.run(
            [sys.executable, "-c", OF_A_PROCESS], env=os.environ | {"PYTHONHASHSEED": str(seed)},
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        for seed in (1, 2)
    }  # fmt: skip
    assert len(said) == 1


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
