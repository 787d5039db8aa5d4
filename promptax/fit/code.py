"""Whose code a run uses.

A member is stored by its name and fields. Those of promptax keep their meaning; a member in a file
of yours is changed while it is written, under the same name. So what is kept of it also knows its
code, and what other code has measured is measured anew. A function in a field is told by its code,
too, and by what it takes from elsewhere.
"""

import dataclasses
import dis
import functools
import hashlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any

import numpy as np
from jaxtyping import Array

from promptax import files
from promptax.specs import plugins

GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")  # what reads a name of the file


def in_words(thing: Any) -> str:
    """What Python says of a thing, in every process: without its place in memory."""
    written = repr(thing)
    if " at 0x" not in written:
        return written
    return getattr(thing, "__qualname__", type(thing).__name__)  # a function, or a class, by name


def details_of(thing: Any, tell: Callable[[Any], Any]) -> Any:
    """What is known of a function: its name, its code if it is yours, and what it takes from where
    it was made. Of a method, whose it is; of an object that Python does not write out, its fields,
    but for those that begin with "_". As JSON.

    Args:
        tell: describes a part.
    """
    if inspect.ismodule(thing):
        return thing.__name__
    if inspect.ismethod(thing):
        return [tell(thing.__func__), tell(thing.__self__)]
    if inspect.isfunction(thing):
        parts = {name: part for name, part in _parts_of(thing, tell) if part}
        return {"function": in_words(thing), **parts} if parts else in_words(thing)
    if isinstance(thing, type):
        return in_words(thing)
    if callable(wrapped := getattr(thing, "__wrapped__", None)):
        return tell(wrapped)
    written = repr(thing)
    if hasattr(thing, "__dict__") and (" at 0x" in written or "..." in written):
        public = {name: it for name, it in vars(thing).items() if not name.startswith("_")}
        return {"class": type(thing).__name__, "fields": tell_all(public, tell)}
    return in_words(thing)


def tell_all(parts: Mapping[str, Any], tell: Callable[[Any], Any]) -> dict[str, Any]:
    """All parts, by name."""
    return {name: tell(part) for name, part in parts.items()}


def _parts_of(function: Any, tell: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
    """What makes a function another one than those that have its name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    yield "encloses", tell_all({name: _content(cell) for name, cell in cells}, tell)
    keywords = sorted((function.__kwdefaults__ or {}).items())
    yield "defaults", tell([*(function.__defaults__ or ()), *keywords])
    if is_guest(function):
        yield "module", function.__module__
        yield "code", hashlib.sha256(_text_of(function).encode()).hexdigest()[:20]
        names = sorted(set(_names_in(function.__code__)) & set(function.__globals__))
        taken = {name: function.__globals__[name] for name in names}
        yield "takes", tell_all({n: value for n, value in taken.items() if _counts(value)}, tell)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not there yet
        return None


def _names_in(code: CodeType) -> Iterator[str]:
    """The names of its file that a function reads, also in functions inside it."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname in GLOBAL)
    for inner in filter(inspect.iscode, code.co_consts):
        yield from _names_in(inner)


def _counts(value: Any) -> bool:
    """Whether a global name counts: numbers and texts, and functions of yours."""
    plain = bool | int | float | str | tuple | np.ndarray | Array
    return isinstance(value, plain) or (inspect.isfunction(value) and is_guest(value))


def _text_of(function: Any) -> str:
    """The text of a function; where that is nowhere, or several stand in a line, what Python made
    of it."""
    if function.__name__ != "<lambda>":
        try:
            return inspect.getsource(function)
        except (OSError, TypeError):
            pass
    return _compiled(function.__code__)


def _compiled(code: CodeType) -> str:
    """A function's code and constants, without places in memory."""
    parts = [_constant(it) for it in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {parts}"


def _constant(constant: Any) -> str:
    if inspect.iscode(constant):
        return _compiled(constant)
    return str(sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant))


def code_of(thing: Any) -> dict[str, str]:
    """Digests of the code of all classes in a tree of records that are yours, by module: not of
    promptax, and not of a library that is no plugin.

    The whole file counts, since a class calls what stands beside it; not what that file imports. Of
    a script that is run, and of a notebook, the text of the class alone counts.
    """
    guests = {kind for kind in _classes(thing) if is_guest(kind)}
    named = sorted((kind.__module__, kind.__qualname__, _digest_of_code(kind)) for kind in guests)
    return {
        f"{module}.{name}" if module == "__main__" else module: digest
        for module, name, digest in named
    }


def is_guest(kind: Any) -> bool:
    """Whether a class or function is of a plugin, or of a file that is not installed."""
    module = kind.__module__ or ""  # a function may be of none
    package = module.split(".")[0]
    if package == "promptax":
        return False
    if package in {name.split(".")[0] for name in plugins}:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    installed = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")
    return not file.startswith(tuple(f"{root}{os.sep}" for root in installed))


def _classes(thing: Any) -> Iterator[type]:
    """The classes of all records in a tree."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        yield type(thing)
        parts = [getattr(thing, field.name, None) for field in dataclasses.fields(thing)]
    elif isinstance(thing, Mapping):
        parts = list(thing.values())
    else:
        parts = thing if isinstance(thing, list | tuple) else []
    for part in parts:
        yield from _classes(part)


@functools.cache
def _digest_of_code(kind: type) -> str:
    """Of one class; the empty text if its code is nowhere, as that of a class made by a call."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    try:
        if kind.__module__ == "__main__" or file is None:
            code = _text(kind).encode()
        else:
            code = files.read_bytes(file)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(code).hexdigest()[:20]


def _text(kind: type) -> str:
    """The text of a class; before Python 3.13 that of its methods, if it stands in a notebook."""
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        methods = inspect.getmembers(kind, inspect.isfunction)
        # what dataclasses write has no text, and the name <string> for a file
        written = [m for _, m in methods if m.__code__.co_filename != "<string>"]
        here = [method for method in written if method.__module__ == kind.__module__]
        return "".join(map(inspect.getsource, here))
