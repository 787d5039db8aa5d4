"""The doors of the library: how functions and methods for users take what they are given.

What goes well is not looked at, so that a call costs nothing more; an error that an argument
brought about is said anew, with the argument's name.
"""

import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from promptax.checks import (
    ARRAYS,
    PLAIN,
    fits,
    is_of_arrays,
    is_of_numbers,
    kind_in_words,
    kind_of,
    makes_numbers,
    unmasked,
    with_article,
)
from promptax.platforms import as_numpy_promotes

Function = typing.TypeVar("Function", bound=Callable)
MISFITS = (AttributeError, TypeError, ValueError, IndexError, KeyError, OverflowError)


def door(function: Function) -> Function:
    """A function for users: an error that an argument of another kind brought about names it.

    What goes well is not looked at, and what the function refuses itself stays as it says. Whole
    numbers of NumPy arrive as Python's, which static arguments of programs have to be.

    Raises:
        TypeError: from the error that the argument brought about.
        ValueError: an array with masked entries.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            arguments = tuple(map(_as_python, arguments))
            named = {name: _as_python(value) for name, value in named.items()}
        except ValueError:
            _name_masked(function, arguments, named)
            raise
        try:
            with as_numpy_promotes():
                return function(*arguments, **named)
        except MISFITS as error:
            wrong = "" if str(error).startswith("Expected") else _misfit(function, arguments, named)
            if wrong == "":
                raise
            raise TypeError(wrong) from error

    return typing.cast(Function, call)


def _as_python(value: Any) -> Any:
    """A whole number of NumPy as one of Python; an array after a look that it hides nothing."""
    return int(value) if isinstance(value, np.integer) else unmasked(value)


def _name_masked(function: Callable, arguments: tuple, named: dict[str, Any]) -> None:
    """Complain about an argument with masked entries by its name, where the arguments fit."""
    with contextlib.suppress(TypeError):  # Python says which argument is missing, or too many
        given = inspect.signature(function).bind(*arguments, **named).arguments
        for name, value in given.items():
            unmasked(value, f" as {name} of {function.__name__}")


def _misfit(function: Callable, arguments: tuple, named: dict[str, Any]) -> str:
    """Which argument is not what its annotation says, in words; "" if none is."""
    signature = inspect.signature(function)
    try:
        given = signature.bind(*arguments, **named).arguments
    except TypeError:  # Python says which argument is missing, or too many
        return ""
    for name, value in given.items():
        kind = signature.parameters[name].annotation
        is_known = kind is not inspect.Parameter.empty and not isinstance(kind, str)
        if is_known and not _may_be(value, kind):
            got = f"{value!r:.60}" if type(value) in PLAIN else f"a {type(value).__name__}"
            return f"Expected {kind_in_words(kind)} as {name} of {function.__name__}; got {got}."
    return ""


def _may_be(value: Any, kind: Any) -> bool:
    """Whether a value is of the kind of an argument: looser than that of a field."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_may_be(value, part) for part in typing.get_args(kind))
    if is_of_arrays(kind):
        return isinstance(value, (*ARRAYS, list, tuple, int, float)) and makes_numbers(value)
    if origin is Sequence and isinstance(value, np.ndarray | jax.Array) and is_of_numbers(kind):
        return value.ndim > 0  # most code takes them
    if isinstance(origin, type) and origin is not tuple:  # Sequence[int], Callable[..., Any]
        return isinstance(value, origin) and not isinstance(value, str | bytes)
    is_class = isinstance(kind, type) and kind not in (*PLAIN, Any)
    return isinstance(value, kind) if is_class else fits(value, kind)


def behind_door(
    look: Callable[..., tuple[Any, ...]],
    method: Callable[..., Any],
    returns: tuple[type, str] | None = None,
) -> Any:
    """A method that gets its arguments after somebody looked at them: `look(self, …)` returns them,
    or complains. `returns`: the class of what it must return, and a call that makes one."""

    @functools.wraps(method)
    def looked_at(self: Any, *arguments: Any, **named: Any) -> Any:
        bound = signature.bind(self, *arguments, **named)
        value = method(self, *look(*bound.args, **bound.kwargs))
        if returns is not None and not isinstance(value, returns[0]):
            got = "an array" if isinstance(value, ARRAYS) else kind_of(value)
            called = f"{type(self).__name__}.{method.__name__}"
            raise TypeError(f"Expected {called} to return {with_article(returns[1])}; got {got}.")
        return value

    signature = inspect.signature(method)
    return looked_at
