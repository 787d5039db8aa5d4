"""A spec is its own config: here it becomes JSON and back, and is found by name.

Whatever promptax keeps on disk is a `Record`, a frozen dataclass that is also a pytree. A `Spec` is
a record of plain numbers, words and tuples: a task, an architecture, a tuner, fit settings. Its
numbers are data (`traced` turns them into arrays, so another coin bias compiles nothing), its whole
numbers and words are structure.

An open set is a base class with many members; it names itself where it is defined:

    class Task(Spec, open_as="task", default="DirichletCategorical"): ...

A command with a field of type `Task` then takes any member, and `promptax list` and the tests know
the set. `members(base)` lists the concrete subclasses that have been imported: a new member is one
new file, wherever it lives.
"""

import dataclasses
import difflib
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any, ClassVar, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np
import tyro

from promptax import files
from promptax.axes import as_key as as_key
from promptax.axes import on_device as on_device
from promptax.axes import traced as traced
from promptax.checks import behind_fields, check_fields, check_plain_fields, parse_json
from promptax.checks import check as check
from promptax.checks import check_concentration as check_concentration
from promptax.checks import check_distribution as check_distribution
from promptax.checks import check_kind as check_kind
from promptax.checks import check_whole_numbers as check_whole_numbers
from promptax.checks import floats as floats
from promptax.checks import kind_of as kind_of
from promptax.checks import unmasked as unmasked
from promptax.checks import with_article as with_article
from promptax.doors import behind_door

T = TypeVar("T")
Arrays = dict[str, np.ndarray]
MOST_JSON = 2**24  # bytes of a spec in a file


class OpenSet(NamedTuple):
    """A base class, and the name of the member that is taken unless another is asked for."""

    base: type
    default: str


open_sets: dict[str, OpenSet] = {}
"""Every open set that is imported, by the word for one of its members: "task", "network", …"""


class Record(eqx.Module):
    """Anything that can be written as JSON plus named arrays: a frozen dataclass and a pytree."""


class Spec(Record):
    """A record of plain fields: what to build, not the built thing.

    Every field is checked against its annotation first (`promptax.checks`). Subclasses validate the
    rest in `__check_init__`, with messages that say what was expected, what came and how to fix it.

    `class Base(Spec, open_as=WORD, default=MEMBER)` makes an open set of the subclasses of `Base`.
    """

    doors: ClassVar[Mapping[str, Callable[..., tuple[Any, ...]]]] = {}
    """Methods that users call, by name: what looks at their arguments first, and returns those that
    the method then gets. A base class names them once; members write the bare methods."""
    returns: ClassVar[Mapping[str, tuple[type, str]]] = {}
    """What such methods must return, by name: the class, and an example of a call."""

    def __init_subclass__(cls, open_as: str = "", default: str = "") -> None:
        if "__check_init__" in cls.__dict__:
            cls.__check_init__ = behind_fields(cls.__check_init__)  # pyright: ignore[reportAttributeAccessIssue] - any method
        for name, look in cls.doors.items():
            if name in cls.__dict__:
                setattr(cls, name, behind_door(look, cls.__dict__[name], cls.returns.get(name)))
        if open_as:
            check(default != "", f"Expected default=MEMBER beside open_as={open_as!r}; got none.")
            open_sets[open_as] = OpenSet(cls, default)

    def __check_init__(self) -> None:
        check_fields(self)

    @classmethod
    def examples(cls) -> "tuple[Spec, ...]":
        """Small instances; they feed the contract tests of the open set that the class is in."""
        return (cls(),)


def later(default: Any, **options: Any) -> Any:
    """A field added after results were already stored.

    JSON leaves the field out where it holds its default. What was stored without the field is then
    still the same thing, and has the same identity."""
    return eqx.field(default=default, metadata={"later": True}, **options)


def renamed_from(name: str) -> dict[str, str]:
    """Metadata of a field, for `eqx.field(metadata=…)`, that had another name when things were
    already stored: what was stored under that name is read into it."""
    return {"was": name}


# --- the members of an open set -------------------------------------------------------------


def members(base: type[T]) -> dict[str, type[T]]:
    """The concrete subclasses of `base`, by name, in the order of their definition: those of
    promptax, and those that have been imported."""
    # What promptax has is known once its rooms are imported; to name the door is no import upwards.
    importlib.import_module("promptax.front_door")
    by_name: dict[str, type[T]] = {}
    for subclass in _subclasses(base):
        if not inspect.isabstract(subclass):
            by_name.setdefault(subclass.__name__, subclass)
    return by_name


def _subclasses(base: type[T]) -> Iterator[type[T]]:
    for subclass in base.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def member(base: type[T], name: str) -> type[T]:
    """The member of an open set with that name; the error suggests the near miss."""
    by_name = members(base)
    by_word = {_bare(key): key for key in by_name}
    if _bare(name) not in by_word:
        incomplete = {_bare(key): text for key, text in incomplete_members(base).items()}
        check(_bare(name) not in incomplete, incomplete.get(_bare(name), ""))
        near = difflib.get_close_matches(_bare(name), list(by_word), n=1)
        hint = f" Did you mean {by_word[near[0]]!r}?" if near else ""
        raise ValueError(
            f"Expected the name of {with_article(base.__name__)}: {', '.join(sorted(by_name))}; got"
            f" {name!r}.{hint} A member of your own must be imported first (command line: --plugin "
            "MODULE)."
        )
    named = by_name[by_word[_bare(name)]]
    _refuse_namesakes(base, named)
    return named


def incomplete_members(base: type) -> dict[str, str]:
    """Classes of other people that are no members yet, by name: what they lack, in words. A class
    from which others derive is a base, and owes nothing."""
    return {
        subclass.__name__: f"{subclass.__name__} in {subclass.__module__} was found but lacks "
        f"{', '.join(sorted(subclass.__abstractmethods__))}; see docs/extending.md."
        for subclass in _subclasses(base)
        if inspect.isabstract(subclass) and not subclass.__subclasses__()
        if not subclass.__module__.startswith("promptax.")
    }


def _refuse_namesakes(base: type, named: type) -> None:
    """Complain if one of promptax and one of somebody else have that name: which is meant, nobody
    can tell."""
    modules = {
        subclass.__module__
        for subclass in _subclasses(base)
        if subclass.__name__ == named.__name__ and not inspect.isabstract(subclass)
    }
    ours = {module for module in modules if module.startswith("promptax.")}
    check(
        not ours or ours == modules,
        f"Expected classes with names of their own, by which they are stored and read; "
        f"{' and '.join(sorted(modules))} have one named {named.__name__}. Rename yours.",
    )


def members_elsewhere(base: type, package: str) -> Callable[[str], type]:
    """A package's `__getattr__`: the members of its open set that are defined in other rooms.

    `from promptax.tasks import Texts` works although `Texts` knows tokens and lies in `language`.
    """

    def find(name: str) -> type:
        by_name = {} if name.startswith("__") else members(base)
        if name not in by_name:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return by_name[name]

    return find


def _bare(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


plugins: list[str] = []  # what was imported by name, for processes that must know it too


class _InWorkingFolder:
    """Finds plugins in the working folder, and nothing else there: Python asks it last. On Python's
    path, a file in that folder would be run in place of a library of that name."""

    names: ClassVar[set[str]] = set()

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        del target
        is_plugin = path is None and name in cls.names
        return PathFinder.find_spec(name, [os.getcwd()]) if is_plugin else None


def import_plugin(module: str) -> None:
    """Import a user's module, installed or in the working folder, so that the members it defines
    are found."""
    if _InWorkingFolder not in sys.meta_path:
        sys.meta_path.append(_InWorkingFolder)
    _InWorkingFolder.names.add(module.split(".")[0])
    try:
        importlib.import_module(module)
        plugins.append(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not (module + ".").startswith(error.name + "."):
            raise
        raise ValueError(
            f"Expected --plugin to name an importable Python module; got {module!r}, which was "
            "not found. Run from the folder that holds it, or put that folder on PYTHONPATH."
        ) from error


# --- JSON -----------------------------------------------------------------------------------


def to_json(thing: Any, arrays: Arrays | None = None, path: str = "") -> Any:
    """Plain JSON values for a record; arrays go into `arrays` by path, or inline without it."""
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, np.integer | np.floating | np.bool_):
        return thing.item()
    if isinstance(thing, list | tuple):
        return [to_json(part, arrays, f"{path}/{i}") for i, part in enumerate(thing)]
    if isinstance(thing, Mapping):
        return {key: to_json(part, arrays, f"{path}/{key}") for key, part in thing.items()}
    if isinstance(thing, Record):
        fields = {
            field.name: to_json(getattr(thing, field.name), arrays, f"{path}/{field.name}")
            for field in dataclasses.fields(thing)
            if not left_out(field, getattr(thing, field.name))
        }
        return {"class": type(thing).__name__, **fields}
    if isinstance(thing, np.ndarray | jax.Array):
        return _array_to_json(np.asarray(unmasked(thing)), arrays, path.strip("/"))
    raise TypeError(
        f"Expected records, arrays, numbers, words, tuples or dicts; got {kind_of(thing)} at "
        f"{path or 'the top'}. Derive the class from promptax.specs.Record."
    )


def left_out(field: dataclasses.Field, value: Any) -> bool:
    """Whether JSON leaves a field out: one that was added `later`, at its default."""
    is_array = isinstance(value, np.ndarray | jax.Array)  # == would compare its numbers
    return field.metadata.get("later", False) and not is_array and value == field.default


def _array_to_json(array: np.ndarray, arrays: Arrays | None, name: str) -> dict[str, Any]:
    if arrays is None:
        return {"array": array.tolist(), "dtype": str(array.dtype), "shape": list(array.shape)}
    arrays[name] = array
    return {"array": name}


def from_json(data: Any, arrays: Mapping[str, np.ndarray] | None = None) -> Any:
    """The record that `to_json` wrote. Specs are validated again as they are built."""
    if isinstance(data, list):
        return tuple(from_json(part, arrays) for part in data)
    if not isinstance(data, dict):
        return data
    if "array" in data:
        return _array_from_json(data, arrays)
    if "class" not in data:
        return {key: from_json(part, arrays) for key, part in data.items()}
    check(isinstance(data["class"], str), f"Expected the name of a class; got {data['class']!r}.")
    cls = member(Record, data["class"])
    fields = {key: from_json(part, arrays) for key, part in data.items() if key != "class"}
    return _build(cls, fields)


def _array_from_json(data: dict, arrays: Mapping[str, np.ndarray] | None) -> Any:
    name = data["array"]
    if "dtype" in data:
        return _inline_array(data)
    if arrays is None or not isinstance(name, str) or name not in arrays:
        raise ValueError(
            f"Expected an array named {name!r:.60} beside the description; it is missing. The "
            "file is incomplete or was edited; write it again."
        )
    array = arrays[name]
    held = jax.dtypes.canonicalize_dtype(array.dtype)
    # the device would round what has more digits than it holds, such as counts beyond 2^24
    rounded = np.issubdtype(array.dtype, np.floating) and held != array.dtype
    return array if rounded else on_device(array)


def _inline_array(data: dict) -> np.ndarray:
    try:
        return np.asarray(data["array"], dtype=data["dtype"]).reshape(data["shape"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"Expected an array, dtype and shape; got {data!r:.99} ({error!r})."
        ) from error


def _build(cls: type, fields: dict[str, Any]) -> Any:
    names = [field.name for field in dataclasses.fields(cls)]
    now = {f.metadata["was"]: f.name for f in dataclasses.fields(cls) if "was" in f.metadata}
    fields = {now.get(name, name): value for name, value in fields.items()}
    if unknown := sorted(set(fields) - set(names)):
        near = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"Expected fields {names} for {cls.__name__}; got {unknown[0]!r}.{hint}")
    absent = [field for field in dataclasses.fields(cls) if field.name not in fields]
    missing = [f.name for f in absent if f.default is f.default_factory is dataclasses.MISSING]
    check(not missing, f"Expected the field {missing[:1]} of {cls.__name__}; it is missing.")
    if issubclass(cls, Spec):
        return cls(**fields)
    # Built things are not built anew, and their leaves may be None (one half of a partition).
    thing = object.__new__(cls)
    made = {f.name: f.default_factory() for f in absent if callable(f.default_factory)}
    for name, value in ({f.name: f.default for f in absent} | made | fields).items():
        object.__setattr__(thing, name, value)
    check_plain_fields(thing)
    return thing


JSON_ARGUMENT = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="JSON",
    instance_from_str=lambda words: from_json(parse_json(words[0])),
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda value: [json.dumps(to_json(value))],
)
"""A nested tuple, also of specs, as a word of the command line: Annotated[..., JSON_ARGUMENT]."""


def parse(base: type[T]) -> Callable[[str], T]:
    """A parser of a word of the command line: a member's name, JSON with a "class", or @FILE."""

    def parser(text: str) -> T:
        if text[:1] not in ("{", "[", "@"):
            return member(base, text)()
        if not text.startswith("@"):
            return _parsed(base, text, " Quote it for the shell, or write it to a file: @FILE.")
        path = files.path_of(text[1:])
        text = files.read_text(path, MOST_JSON)
        try:
            return _parsed(base, text)
        except (ValueError, TypeError) as error:
            raise ValueError(f"In {path}: {error}") from error

    return parser


def _parsed(base: type[T], text: str, hint: str = "") -> T:
    """The spec that is written there as JSON; the hint ends the message about what is no JSON."""
    try:
        data = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'Expected JSON such as {{"class": "{next(iter(members(base)), base.__name__)}"}}; got '
            f"{text[:60]!r} ({error}).{hint}"
        ) from error
    try:
        thing = from_json(files.as_written(data, "it") if isinstance(data, dict) else data)
    except RecursionError as error:
        raise ValueError(f"Expected JSON; {text[:60]!r} is nested too deeply.{hint}") from error
    if not isinstance(thing, base):
        raise ValueError(
            f"Expected JSON of {with_article(base.__name__)}; got {type(thing).__name__}."
        )
    return thing


def argument(base: type) -> Any:
    """How a spec inside a spec is written on the command line: Annotated[..., argument(base)]."""
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME|JSON|@FILE",
        instance_from_str=lambda words: parse(base)(words[0]),
        is_instance=lambda value: isinstance(value, base),
        str_from_instance=lambda value: [json.dumps(to_json(value))],
    )
