"""Fields: every member of every open set refuses, by name, what is not of a field's kind."""

import dataclasses
import inspect
import itertools
import math
import re
import typing
from collections.abc import Sequence

import jax
import numpy as np
import pytest
from support import judges as laws

from promptax import FitSettings, specs
from promptax.decisions import BernoulliBandit
from promptax.doors import door
from promptax.fit import MAML
from promptax.predictors import GRU
from promptax.specs import Spec
from promptax.tasks import MarkovChain, Points, Symbols, Task

WRONG = {
    int: (1.5, True, "1", None, (1,)),
    float: (math.nan, "0.5", None, (0.5,)),
    bool: (1, "yes"),
    str: (3, None),
    tuple[float, ...]: (0.5, ("a",), (math.nan, 1.0)),
    tuple[int, ...]: ((0.5,), ("a",)),
    tuple[str, ...]: ((1,),),
}
STRANGE = (3, -1, b"\xff", 1j, object(), np.full((2, 2), np.nan), np.zeros((0, 2)), {"a": 1})
"""What no field expects; some mean something to some."""
MEMBERS = laws.members(Spec)


def fields_of(member):
    kinds = typing.get_type_hints(member)
    for field in dataclasses.fields(member):
        for value in WRONG.get(kinds[field.name], ()):
            yield field.name, value


@pytest.mark.filterwarnings("ignore:A JAX array is being set as static")
@pytest.mark.parametrize("name", MEMBERS)
def test_what_is_not_of_the_kind_is_refused_by_name(name, as_users_see_it):
    for spec, (field, value) in itertools.product(
        MEMBERS[name].examples()[:1], fields_of(MEMBERS[name])
    ):
        with pytest.raises((ValueError, TypeError)) as error:
            dataclasses.replace(spec, **{field: value})
        assert "Expected" in str(error.value), (field, value, error.value)
    for spec, field, value in itertools.product(
        MEMBERS[name].examples()[:1], inspect.signature(MEMBERS[name]).parameters, STRANGE
    ):
        try:
            dataclasses.replace(spec, **{field: value})
        except (ValueError, TypeError) as error:
            assert "Expected" in str(error), (field, value, error)


@pytest.mark.parametrize("name", [n for n, cls in MEMBERS.items() if issubclass(cls, Task)])
def test_every_task_looks_at_keys_and_lengths_first(name, as_users_see_it):
    task, key = MEMBERS[name].examples()[0], jax.random.key(0)
    for length in (2.5, -1, None):
        with pytest.raises(ValueError, match=f"^Expected length, a whole .*; got {length}"):
            task.sample(key, length)
    with pytest.raises(TypeError, match=r"^Expected one random key, .* got None"):
        task.sample(None, 3)


SAID = {
    "Expected a whole number as GRU.width; got 2.5. The default is 128.": lambda: GRU(width=2.5),
    "Expected an instance of Outcome as Points.answer; got 2.": lambda: Points(2, 2),
    "Expected a tuple of 2 numbers as BernoulliBandit.prior; got (1.0,). The default is "
    "(1.0, 1.0).": lambda: BernoulliBandit(prior=(1,)),
    "Points do not answer points.": lambda: Points(1, Points(1, Symbols(2))),
    "Expected an outcome, such as Symbols(2)": lambda: GRU(width=2).build(None, 2.5),
}


@pytest.mark.parametrize("message", SAID)
def test_messages_say_the_kind_the_value_and_the_default(message, as_users_see_it):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        SAID[message]()


def test_arrays_are_no_words(as_users_see_it):
    for array in (np.full((2, 2), np.nan), np.zeros((0, 2))):
        with pytest.raises(ValueError, match=r"^Expected one of .* as FitSettings.clip_over"):
            FitSettings(clip_over=array)
    with pytest.raises(ValueError, match=r"^Expected a tuple of words as MAML.adapts"):
        MAML(adapts=np.ones(2))


def test_an_array_for_whole_numbers_is_not_blamed():
    @door
    def third(numbers: Sequence[int], place: int) -> int:
        return numbers[place]

    for numbers in (np.arange(2), jax.numpy.arange(2), [0, 1]):
        with pytest.raises(TypeError, match=r"^Expected a whole number as place of third"):
            third(numbers, "x")
    with pytest.raises(TypeError, match=r"^Expected a Sequence as numbers of third"):
        third(3, 0)


def test_whole_numbers_of_numpy_are_structure(as_users_see_it):
    (order,) = np.arange(2, 3)
    assert type(MarkovChain(order).order) is int
    assert MarkovChain(order) == MarkovChain(2)


def test_annotations_that_cannot_be_read_check_nothing(as_users_see_it):
    class Odd(Spec):
        size: "Unheard" = 3  # noqa: F821

    specs.check(Odd(2.5).size == 2.5, "what has no readable kind takes everything")
