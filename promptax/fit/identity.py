"""What makes a run this run: its description. What is known of code is in `code`."""

import collections
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from promptax.axes import Tree
from promptax.fit.code import code_of, details_of, in_words
from promptax.fit.objectives import LogLoss, Objective
from promptax.fit.settings import FitSettings
from promptax.specs import Arrays, left_out, to_json
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
    the log loss; what is known of `functions` in its fields; and the code of members that are not
    promptax's."""
    arrays: Arrays = {}  # a recorded task's sequences may be many
    described = to_json(task, arrays)
    key = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    functions: list[Any] = []
    parts = {
        "key": np.asarray(key).tolist(),
        "task": described,
        "data": _digest(arrays),
        "settings": to_json(settings),
        "structure": _structure(start, other=_noting(functions)),
        "weights": _digest(start),
        "shapes": _shapes((start, arrays)),
    }
    if type(objective) is not LogLoss:  # runs were stored before there were other objectives
        parts["objective"] = to_json(objective)
    if details := _details(functions):
        parts["functions"] = details
    if code := code_of((start, task, objective)):
        parts["code"] = code
    return json.dumps(parts)


def _digest(tree: Tree) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(_numbers(leaf).tobytes() if eqx.is_array(leaf) else in_words(leaf).encode())
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


def _noting(things: list[Any]) -> Callable[[Any], str]:
    """Says the name of a thing, and adds it to the list."""

    def note(thing: Any) -> str:
        things.append(thing)
        return in_words(thing)

    return note


def _structure(
    thing: Any,
    static: bool = False,
    within: tuple[int, ...] = (),
    *,
    other: Callable[[Any], Any],
) -> Any:
    """Classes and fields of all records in a tree, as JSON: two networks of the same shapes may cut
    them into other heads, or read a prompt elsewhere.

    Args:
        static: whether arrays are told by their numbers, too, which are no weights.
        within: the places of what the thing is a part of, which is not told again.
        other: tells functions, and objects of other kinds.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if id(thing) in within:
        return "what it is a part of"
    place = (*within, id(thing))
    told = functools.partial(_structure, static=static, within=place, other=other)
    if isinstance(thing, Mapping):
        return {_name_of(key): told(part) for key, part in thing.items()}
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return {"class": type(thing).__name__, "parts": [told(part) for part in thing]}
    if isinstance(thing, list | tuple | collections.deque):
        return [told(part) for part in thing]
    if isinstance(thing, set | frozenset):
        return sorted(json.dumps(told(part)) for part in sorted(thing, key=in_words))
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
    return other(thing)


def _name_of(key: Any) -> str:
    """The key of a dict as one of JSON, in which 1 and "1" differ."""
    return key if isinstance(key, str) else f"{type(key).__name__} {in_words(key)}"


def _details(things: Sequence[Any]) -> list[Any]:
    """What is known of functions and other objects but their names, where there is anything. Each
    is told once, however many know it."""
    seen: dict[int, tuple[str, Any]] = {}

    def tell(thing: Any) -> Any:
        if id(thing) not in seen:
            seen[id(thing)] = f"number {len(seen)}", thing  # it is kept, and so is its place
            return details_of(thing, functools.partial(_structure, static=True, other=tell))
        return seen[id(thing)][0]

    told = [(thing, tell(thing)) for thing in things]
    return [details for thing, details in told if details != in_words(thing)]
