"""What makes a run this run, and a kept result this result: its description, and whose code it is.

A member is stored by its name and fields. Those of promptax keep their meaning; a member in a file
of yours is changed while it is written, under the same name. So what is kept of it also knows its
code, and what other code has measured is measured anew.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from promptax import files
from promptax.axes import Tree
from promptax.fit.objectives import LogLoss, Objective
from promptax.fit.settings import FitSettings
from promptax.specs import Arrays, left_out, plugins, to_json
from promptax.tasks.base import Task


def identity_of(
    key: Array,
    start: Tree,
    task: Task,
    settings: FitSettings,
    objective: Objective = LogLoss(),
) -> str:
    """What makes a run this run: its key, data, settings, and what it starts from (classes and
    fields as `structure`, numbers as `weights`, and their `shapes`); its objective, if that is not
    the log loss; and the code of members that are not promptax's."""
    arrays: Arrays = {}  # a recorded task's sequences may be many
    described = to_json(task, arrays)
    key = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    parts = {
        "key": np.asarray(key).tolist(),
        "task": described,
        "data": _digest(arrays),
        "settings": to_json(settings),
        "structure": _structure(start),
        "weights": _digest(start),
        "shapes": _shapes((start, arrays)),
    }
    if type(objective) is not LogLoss:  # runs were stored before there were other objectives
        parts["objective"] = to_json(objective)
    if code := code_of((start, task, objective)):
        parts["code"] = code
    return json.dumps(parts)


def _digest(tree: Tree) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(_numbers(leaf).tobytes() if eqx.is_array(leaf) else _in_words(leaf).encode())
    return digest.hexdigest()


def _numbers(array: Any) -> np.ndarray:
    """An array, or random keys, as numbers on the host."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return np.asarray(array)


def _shapes(tree: Tree) -> str:
    """A digest of how the arrays of a tree are cut, which their bytes do not say."""
    arrays = [leaf for leaf in jax.tree.leaves(tree) if eqx.is_array(leaf)]
    cut = "".join(f"{array.dtype} {array.shape};" for array in arrays)
    return hashlib.sha256(cut.encode()).hexdigest()


def _in_words(thing: Any) -> str:
    """What Python says of a thing, in every process: without its place in memory."""
    with np.printoptions(threshold=sys.maxsize):
        written = repr(thing)
    if " at 0x" not in written:
        return written
    return getattr(thing, "__qualname__", type(thing).__name__)  # a function, or a class, by name


def _structure(thing: Any, static: bool = False, within: tuple[int, ...] = ()) -> Any:
    """Classes and fields of all records in a tree, as JSON: two networks of the same shapes may cut
    them into other heads, or read a prompt elsewhere.

    Args:
        static: whether arrays are told by their numbers, too, which are no weights.
        within: the places of what the thing is a part of, which is not told again.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if id(thing) in within:
        return "what it is a part of"
    told = functools.partial(_structure, static=static, within=(*within, id(thing)))
    if isinstance(thing, Mapping):
        return {_name_of(key): told(part) for key, part in thing.items()}
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return {"class": type(thing).__name__, "parts": [told(part) for part in thing]}
    if isinstance(thing, list | tuple):
        return [told(part) for part in thing]
    if isinstance(thing, set | frozenset):
        return sorted(json.dumps(told(part)) for part in thing)
    if isinstance(thing, functools.partial):
        return told([thing.func, thing.args, thing.keywords], static=True)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = {
            field.name: told(value, static=static or field.metadata.get("static", False))
            for field in dataclasses.fields(thing)
            if not left_out(field, value := getattr(thing, field.name, None))
        }
        return {"class": type(thing).__name__, **fields}
    if isinstance(thing, np.ndarray | Array) and not static:
        return "array"
    if isinstance(thing, np.ndarray | Array):
        return [str(thing.dtype), list(thing.shape), _digest(thing)]
    return _of_another_kind(thing, functools.partial(told, static=True))


def _name_of(key: Any) -> str:
    """The key of a dict as one of JSON, in which 1 and "1" differ."""
    return key if isinstance(key, str) else f"{type(key).__name__} {_in_words(key)}"


def _of_another_kind(thing: Any, told: Callable[[Any], Any]) -> Any:
    """What is known of a function: its name, its text if it is yours, and what it takes from where
    it was made. Of a method, whose it is; of an object that Python does not write out, its fields.

    Args:
        told: describes a part.
    """
    if inspect.ismethod(thing):
        return [told(thing.__func__), told(thing.__self__)]
    if inspect.isfunction(thing):
        return {"function": thing.__qualname__} | {k: v for k, v in _parts_of(thing, told) if v}
    if not isinstance(thing, type) and callable(wrapped := getattr(thing, "__wrapped__", None)):
        return [type(thing).__name__, told(wrapped)]
    if not isinstance(thing, type) and " at 0x" in repr(thing) and hasattr(thing, "__dict__"):
        return {"class": type(thing).__name__, **told(vars(thing))}
    return _in_words(thing)


def _parts_of(function: Any, told: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
    """What makes a function another one than those that have its name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    yield "encloses", told({name: _content(cell) for name, cell in cells})
    keywords = sorted((function.__kwdefaults__ or {}).items())
    yield "defaults", told([*(function.__defaults__ or ()), *keywords])
    if _is_guest(function):
        yield "module", function.__module__
        yield "code", hashlib.sha256(_text_of(function).encode()).hexdigest()[:20]
        names = sorted(set(function.__code__.co_names) & set(function.__globals__))
        taken = {name: function.__globals__[name] for name in names}
        yield "takes", told({name: v for name, v in taken.items() if _is_said(v)})


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not there yet
        return None


def _is_said(value: Any) -> bool:
    """Whether a global name counts: numbers and texts, and functions of yours."""
    plain = bool | int | float | str | tuple | np.ndarray | Array
    return isinstance(value, plain) or (inspect.isfunction(value) and _is_guest(value))


def _text_of(function: Any) -> str:
    """The text of a function; where that is nowhere, what Python made of it."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return _compiled(function.__code__)


def _compiled(code: Any) -> str:
    """A function's code and constants, without places in memory."""
    parts = (_compiled(it) if inspect.iscode(it) else repr(it) for it in code.co_consts)
    return f"{code.co_code.hex()} {code.co_names} {list(parts)}"


def code_of(thing: Any) -> dict[str, str]:
    """Digests of the code of all classes in a tree of records that are yours, by module: not of
    promptax, and not of a library that is no plugin.

    The whole file counts, since a class calls what stands beside it; not what that file imports. Of
    a script that is run, and of a notebook, the text of the class alone counts.
    """
    guests = {kind for kind in _classes(thing) if _is_guest(kind)}
    named = sorted((kind.__module__, kind.__qualname__, _digest_of_code(kind)) for kind in guests)
    return {
        f"{module}.{name}" if module == "__main__" else module: digest
        for module, name, digest in named
    }


def _is_guest(kind: Any) -> bool:
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
