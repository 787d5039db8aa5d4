"""What a field of a spec may hold: its annotation says it, and whoever builds the spec is told.

A dataclass takes anything for any field. A width of 2.5 would travel far, and fail where nobody
knows its name; 1.5 inner steps would become another number of them in silence.
"""

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

ARRAYS = (np.ndarray, jax.Array, Tracer, jax.ShapeDtypeStruct)  # a traced spec's floats
PLAIN = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("True or False", "booleans"),
    str: ("text", "words"),
    type(None): ("None", "Nones"),
}
"""The plain kinds: one of them, and several, in the words of a message."""


def check_fields(spec: Any) -> None:
    """Complain about the first field whose value is not of the kind that its annotation names.

    Whole numbers of NumPy become whole numbers of Python, which are structure, not data.

    Raises:
        ValueError: says the field, the kind, the value, and the default if there is one.
    """
    for field, kind in _fields(type(spec)):
        value = getattr(spec, field.name)
        if isinstance(value, np.integer) and _fits(int(value), kind):
            object.__setattr__(spec, field.name, int(value))
        elif not _fits(value, kind):
            missing = field.default is dataclasses.MISSING
            hint = "" if missing else f" The default is {field.default!r}."
            raise ValueError(
                f"Expected {_words(kind)} as {type(spec).__name__}.{field.name}; got {value!r}."
                f"{hint}"
            )


def behind_fields(check_init: Callable[[Any], None]) -> Callable[[Any], None]:
    """A class's own checks, which may rely on what the annotations of its fields say."""

    @functools.wraps(check_init)
    def check_all(self: Any) -> None:
        check_fields(self)
        check_init(self)

    return check_all


def floats(values: Any) -> Any:
    """Nested sequences or arrays of numbers as nested tuples of floats; tracers stay, and so does
    what is no number: the field is refused by its name."""
    if isinstance(values, Tracer | jax.ShapeDtypeStruct):
        return values
    if isinstance(values, np.ndarray | jax.Array):
        values = np.asarray(values).tolist()
    if isinstance(values, list | tuple):
        return tuple(floats(value) for value in values)
    return float(values) if isinstance(values, numbers.Real) else values


@functools.cache
def _fields(cls: type) -> tuple[tuple[dataclasses.Field, Any], ...]:
    """The fields of a class that have a kind, with it."""
    try:
        kinds = typing.get_type_hints(cls)
    except NameError:  # annotations that only a type checker can read
        return ()
    return tuple((field, kinds[field.name]) for field in dataclasses.fields(cls))


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind. Kinds of which nothing is known here take everything."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is typing.Literal:
        return any(value is part or value == part for part in parts)
    if origin is tuple:
        return isinstance(value, ARRAYS) or _fits_tuple(value, parts)
    if kind is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, ARRAYS) or _is_number(value)
    if kind in PLAIN or _is_member(kind):
        return isinstance(value, kind)
    return True


def _fits_tuple(value: Any, parts: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple):
        return False
    if parts[-1] is Ellipsis:
        return all(_fits(entry, parts[0]) for entry in value)
    return len(value) == len(parts) and all(map(_fits, value, parts))


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and not math.isnan(value)


def _is_member(kind: Any) -> bool:
    """Whether the kind is a class of specs."""
    return isinstance(kind, type) and hasattr(kind, "examples")


def _words(kind: Any) -> str:
    """A kind in the words of a message."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(part) for part in parts)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, parts))
    if origin is tuple:
        size = "" if parts[-1] is Ellipsis else f"{len(parts)} "
        return f"a tuple of {size}{_plural(parts[0])}"
    return PLAIN[kind][0] if kind in PLAIN else f"an instance of {kind.__name__}"


def _plural(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"tuples of {_plural(typing.get_args(kind)[0])}"
    return PLAIN[kind][1] if kind in PLAIN else f"instances of {kind.__name__}"
