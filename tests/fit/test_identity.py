"""What makes a run this run: everything that its numbers depend on, and nothing else."""

import collections
import copy
import enum
import functools
import json
import os
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
from support.processes import ROOT

from promptax import FitSettings, store
from promptax.fit.identity import identity_of
from promptax.formats.identities import agree, difference
from promptax.predictors import Transformer
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


SCALE, mean = 1, 1
ACTIVATIONS = {1: lambda x: x, 2: lambda x: 2 * x}


def enclosing(number):
    return lambda inputs: number * inputs


def with_default(number):
    return lambda inputs, by=number: by * inputs


def named(number):
    """A function of a file of the user's, which is in a module of that name."""

    def relu(inputs):
        return inputs

    relu.__module__ = f"module_{number}"
    return relu


def scaled(inputs):
    return (lambda inner: inner * SCALE)(inputs)


def taking(number):
    """A function whose number is a global one, read inside another function."""
    return types.FunctionType(scaled.__code__, {"SCALE": number}, "scaled")


def with_attribute(number):
    """One that reads an attribute, in a file with a number of that name."""
    code = (lambda inputs: inputs.mean()).__code__
    return types.FunctionType(code, {"mean": number}, "with_attribute")


class Plain:
    """Something that Python does not write out."""

    def __init__(self, number):
        self.number = number
        self.me = self
        self._calls = {}

    def method(self):
        return self.number


def knowing(number):
    """Several that know each other."""
    all_of_them = [Plain(number) for _ in range(12)]
    for one in all_of_them:
        one.others = all_of_them
    return all_of_them[0]


MADE = {
    "a closure": enclosing,
    "jit": lambda number: jax.jit(enclosing(number)),
    "vmap": lambda number: jax.vmap(enclosing(1), in_axes=number - 1),
    "a layer": lambda number: eqx.nn.Lambda(enclosing(number)),
    "a schedule": optax.constant_schedule,
    "a default": with_default,
    "a file": named,
    "a global": taking,
    "one of a line": lambda number: ACTIVATIONS[number],
    "an object": Plain,
    "several objects": knowing,
    "a method": lambda number: Plain(number).method,
    "an object's dict": lambda number: (lambda inside: lambda: inside)(Plain(number).__dict__),
    "a partial": lambda number: functools.partial(max, np.arange(number, 300_000.0)),
    "a partial of a function": lambda number: functools.partial(enclosing(number), 1),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_functions_are_told_apart_by_code_and_by_what_they_take(make):
    one, again, other = (identity_of(KEY, Noted(make(n)), COINS, RESUMED) for n in (1, 1, 2))
    assert agree(one, again) and not agree(one, other)
    assert " was " in difference(one, other)


def test_what_a_function_does_not_take_does_not_count():
    one, other = (
        identity_of(KEY, Noted(with_attribute(number)), COINS, RESUMED) for number in (1, 2)
    )
    assert agree(one, other)
    used = Plain(1)
    before = identity_of(KEY, Noted(used), COINS, RESUMED)
    used._calls["predict"] = 1
    assert agree(before, identity_of(KEY, Noted(used), COINS, RESUMED))


def test_a_checkpoint_that_says_nothing_of_functions_is_of_the_same_run():
    one, other = (identity_of(KEY, Noted(enclosing(n)), COINS, RESUMED) for n in (1, 2))
    older = json.loads(one)
    del older["functions"]
    assert agree(json.dumps(older), one) and agree(json.dumps(older), other)
    assert store.OtherRun("", one, other).has_other_weights_alone  # a study begins it anew


def test_numbers_that_python_calls_equal_are_the_same_settings():
    for part, is_same in (("settings", True), ("structure", False), ("functions", False)):
        one, other = (json.dumps({part: {"clip": clip}}) for clip in (1, 1.0))
        assert agree(one, other) == is_same


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
        (
            types.SimpleNamespace(a=np.zeros(2000)),
            types.SimpleNamespace(a=np.r_[np.zeros(1999), 1]),
        ),
        (collections.deque([1]), collections.deque([2])),
        (collections.deque([np.arange(2000)]), collections.deque([np.r_[:1000, 1001:2001]])),
    ],
)
def test_whatever_a_field_holds_is_told_apart(one, other):
    again = one if one is jax.nn.relu else copy.deepcopy(one)  # a copy of it has no name
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
exec("def of_no_file(x): return x in {'alpha', 'beta', 'gamma', 'delta'}")
def closed(module): return lambda: module
of_functions = jax.jit(jax.vmap(lambda x: x)), jax.nn.relu, optax.adam(1e-3), object(), Plain()
of_functions += of_no_file, closed(optax)
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
