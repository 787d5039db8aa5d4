"""What is asked of everything that comes in, before it is cast or computed with.

A number is looked at as it was given: once 2^33 has become an int32 it is 0, and nobody can tell. A
dataclass takes anything for any field: a width of 2.5 would travel far, and fail where nobody knows
its name. So the fields of a spec are held against their annotations, and whoever builds it is told.
"""

import dataclasses
import functools
import json
import math
import numbers
import os
import sys
import traceback
import types
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
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

LARGEST, SMALLEST = (float(getattr(np.finfo(np.float32), name)) for name in ("max", "tiny"))
"""The largest float32, and the smallest that is not rounded to 0 where it is computed with."""
LEAST_CONCENTRATION = 1e-36  # below, log gamma draws overflow float32, and no row comes out


def check(condition: bool | np.bool_, message: str) -> None:
    """Raise ValueError(message) unless the condition holds."""
    if not condition:
        raise ValueError(message)


def warn(message: str) -> None:
    """Warn, with the line that called promptax, however deep inside it the reason was seen."""
    inside, level = os.path.dirname(__file__) + os.sep, 1
    for number, (frame, _) in enumerate(traceback.walk_stack(sys._getframe()), start=1):
        if frame.f_code.co_filename.startswith(inside):
            level = number + 1
    warnings.warn(message, stacklevel=level)


def check_distribution(name: str, values: tuple[float, ...]) -> None:
    """Complain unless the values are a probability distribution (to 1e-6)."""
    total = math.fsum(values)
    check(
        len(values) > 0 and all(value >= 0 for value in values) and abs(total - 1) <= 1e-6,
        f"Expected {name} that are not negative and sum to 1; got {shown(values)}, which sum to "
        f"{total:.6g}. Divide by the sum, or correct the entry that is off.",
    )


def check_concentration(name: str, values: tuple[float, ...]) -> None:
    """Complain about concentrations of which float32 can draw no row of probabilities."""
    smallest = min((value for value in values if value > 0), default=1.0)
    check(
        smallest >= LEAST_CONCENTRATION and math.fsum(values) <= LARGEST,
        f"Expected {name} of 0 or at least {LEAST_CONCENTRATION:g}, with a sum of at most "
        f"{LARGEST:.3g}; got {shown(values)}. Write 0 for a symbol that never comes.",
    )


def check_whole_numbers(**values: Any) -> None:
    """Complain about arguments, given by their names, that are neither whole numbers nor None."""
    for name, value in values.items():
        check(
            value is None or fits(value, int),
            f"Expected {name}, a whole number; got {value!r}.",
        )


def check_kind(value: Any, kind: type, example: str) -> None:
    """Complain about an argument that is no instance of a class.

    Raises:
        TypeError: it is not; `example` shows one that is.
    """
    if not isinstance(value, kind):
        raise TypeError(
            f"Expected {with_article(kind.__name__)}, such as {example}; got {kind_of(value)}."
        )


def kind_of(value: Any) -> str:
    """What came, in the words of a message: the name of its class, or that it is one."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def shown(value: Any) -> str:
    """A value in the words of a message: short, whatever it holds."""
    if isinstance(value, ARRAYS) and value.ndim > 0:
        return f"an array of shape {value.shape}, {value.dtype}"
    return f"{value!r:.80}"


def with_article(name: str) -> str:
    """The name of a class behind "a" or "an"."""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


# --- the fields of a spec ---------------------------------------------------------------------


def check_fields(spec: Any) -> None:
    """Complain about the first field whose value is not of the kind that its annotation names.

    Whole numbers of NumPy become whole numbers of Python, which are structure, not data.

    Floats must be finite, unless the default is not, and float32 must hold them.

    Raises:
        ValueError: says the field, the kind, the value, and the default if there is one.
    """
    for field, kind in _fields(type(spec)):
        value, name = getattr(spec, field.name), f"{type(spec).__name__}.{field.name}"
        if isinstance(value, np.integer) and fits(int(value), kind):
            object.__setattr__(spec, field.name, int(value))
        elif not fits(value, kind):
            missing = field.default is dataclasses.MISSING
            hint = "" if missing else f" The default is {field.default!r}."
            raise ValueError(f"Expected {kind_in_words(kind)} as {name}; got {shown(value)}.{hint}")
        endless = isinstance(field.default, float) and math.isinf(field.default)
        if not endless and not all(map(_is_held, _floats(value))):
            raise ValueError(  # words are made now: a spec that holds specs takes long to write
                f"Expected what is finite and held by float32 as {name}: 0, or from "
                f"{SMALLEST:.3g} to {LARGEST:.3g} in size; got {shown(value)}."
            )


def check_plain_fields(thing: Any) -> None:
    """Complain about the first field of a built thing that is there, and not of its kind: whole
    numbers, words and tuples of them, other specs; arrays are judged where they are used. What was
    measured may be NaN."""
    for field, kind in _fields(type(thing)):
        value = getattr(thing, field.name)
        are_numbers = is_of_arrays(kind)
        is_wrong = (
            isinstance(value, str | dict) if are_numbers else not fits(_without_nan(value), kind)
        )
        if is_wrong and value is not None:
            name = f"{type(thing).__name__}.{field.name}"
            raise ValueError(f"Expected {kind_in_words(kind)} as {name}; got {shown(value)}.")


def _without_nan(value: Any) -> Any:
    """A field with 0 in place of NaN."""
    if isinstance(value, tuple):
        return tuple(map(_without_nan, value))
    return 0.0 if isinstance(value, float) and math.isnan(value) else value


def _is_held(number: float) -> bool:
    """Whether float32 holds a number: neither infinite, nor 0 where it is not."""
    return number == 0 or SMALLEST <= abs(number) <= LARGEST


def behind_fields(check_init: Callable[[Any], None]) -> Callable[[Any], None]:
    """A class's own checks, which may rely on what the annotations of its fields say."""

    @functools.wraps(check_init)
    def check_all(self: Any) -> None:
        check_fields(self)
        check_init(self)

    return check_all


# --- what functions are given ------------------------------------------------------------------


def makes_numbers(values: Any) -> bool:
    """Whether an array of numbers can be made of what may be nested lists of anything."""
    if isinstance(values, Tracer | jax.ShapeDtypeStruct | jax.Array):
        return True
    try:
        return np.asarray(values).dtype.kind in "biuf"
    except ValueError:  # rows of several lengths
        return False


SINGLE = (int, float, str, np.generic)


def unmasked(values: Any, where: str = "") -> Any:
    """The values, unless some of a NumPy array, or of arrays in a list, are masked: read as they
    lie, what was put out of sight would count.

    Args:
        where: whose argument it is, for the message.
    """
    if isinstance(values, list | tuple) and not all(isinstance(value, SINGLE) for value in values):
        for value in values:
            unmasked(value, where)
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        raise ValueError(
            f"Expected an array without masked entries{where}; got {np.ma.count_masked(values):,} "
            f"of {values.size:,} masked. Leave them out (values.compressed()), or write numbers in "
            "their place (values.filled(number))."
        )
    return values


def as_numbers(name: str, values: Any) -> np.ndarray:
    """An argument as an array of float64, whatever its shape; what holds no numbers is refused."""
    if not makes_numbers(values):
        got = f"{values!r:.60}" if type(values) in PLAIN else f"a {type(values).__name__}"
        raise TypeError(f"Expected numbers as {name}; got {got}.")
    return np.asarray(unmasked(values, f" as {name}"), float)


def as_tuple(values: Any) -> Any:
    """A list, an array or another sequence as a tuple; what is none stays what it is: the field is
    refused by its name."""
    is_sequence = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str | bytes)
    return tuple(unmasked(values)) if is_sequence else values


def floats(values: Any) -> Any:
    """Nested sequences or arrays of numbers as nested tuples of floats; tracers stay, and so does
    what is no number: the field is refused by its name."""
    if isinstance(values, Tracer | jax.ShapeDtypeStruct):
        return values
    if isinstance(values, np.ndarray | jax.Array):
        values = np.asarray(unmasked(values)).tolist()
    if isinstance(values, list | tuple):
        return tuple(floats(value) for value in values)
    if isinstance(values, bool) or (isinstance(values, int) and abs(values) > LARGEST):
        return values  # no number, or one that no float holds
    return float(values) if isinstance(values, numbers.Real) else values


@functools.cache
def _fields(cls: type) -> tuple[tuple[dataclasses.Field, Any], ...]:
    """The fields of a class that have a kind, with it."""
    try:
        kinds = typing.get_type_hints(cls)
    except NameError:  # annotations that only a type checker can read
        return ()
    return tuple((field, kinds[field.name]) for field in dataclasses.fields(cls))


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind. Kinds of which nothing is known here take everything."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is typing.Literal:
        return any(isinstance(value, type(part)) and value == part for part in parts)
    if origin is tuple:
        return _fits_tuple(value, parts) or (isinstance(value, ARRAYS) and is_of_numbers(kind))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            all(map(fits, entry, parts or (Any, Any))) for entry in value.items()
        )
    if kind is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if kind is float:
        is_held = isinstance(value, ARRAYS) and jnp.issubdtype(value.dtype, np.floating)
        return (is_held and value.ndim == 0) or _is_number(value)
    if kind in PLAIN or _is_member(kind):
        return isinstance(value, kind)
    return True


def is_of_numbers(kind: Any) -> bool:
    """Whether a kind of sequences, however nested, has numbers in it, of which arrays are made."""
    parts = typing.get_args(kind)
    return any(map(is_of_numbers, parts)) if parts else kind in (int, float)


def _fits_tuple(value: Any, parts: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple):
        return False
    if parts[-1] is Ellipsis:
        return all(fits(entry, parts[0]) for entry in value)
    return len(value) == len(parts) and all(map(fits, value, parts))


def _floats(value: Any) -> list[float]:
    """The floats in a field; whole numbers are no business of float32, nor is what is traced."""
    if isinstance(value, tuple):
        return [number for part in value for number in _floats(part)]
    is_scalar = isinstance(value, np.ndarray) and value.ndim == 0
    return [float(value)] if isinstance(value, float | np.floating) or is_scalar else []


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if isinstance(value, int):  # which may have more digits than any float
        return number and abs(value) <= LARGEST
    return number and not math.isnan(value)


def _is_member(kind: Any) -> bool:
    """Whether the kind is a class of specs, or of what is built from them."""
    return isinstance(kind, type) and issubclass(kind, eqx.Module)


def is_of_arrays(kind: Any) -> bool:
    """Whether the kind is one of jaxtyping's, such as Float[Array, "time"]."""
    return getattr(kind, "array_type", None) is not None


def kind_in_words(kind: Any) -> str:
    """A kind in the words of a message."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind_in_words(part) for part in parts)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, parts))
    if origin is tuple:
        size = "" if parts[-1] is Ellipsis else f"{len(parts)} "
        return f"a tuple of {size}{_plural(parts[0])}"
    if is_of_arrays(kind):
        return "numbers"
    if origin is dict and all(isinstance(part, type) for part in parts):
        return f"a dict from {_plural(parts[0])} to {_plural(parts[1])}"
    if isinstance(origin, type):
        return with_article(origin.__name__)
    return PLAIN[kind][0] if kind in PLAIN else f"an instance of {kind.__name__}"


def _plural(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"tuples of {_plural(typing.get_args(kind)[0])}"
    return PLAIN[kind][1] if kind in PLAIN else f"instances of {kind.__name__}"


# --- JSON --------------------------------------------------------------------------------------


def parse_json(text: str) -> Any:
    """The value of a JSON text, in which no object names a key twice: one of the values would not
    count, and nobody can tell which.

    Raises:
        ValueError: it is no JSON, or names a key twice.
    """
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"two values for the key {key!r:.60}")
            seen.add(key)
    return values
