"""Reading a command line into a command's flags: they are the fields of the specs, by tyro.

A field whose annotation is the base class of an open set is a choice among its members. The flag
that chooses one (`--network lstm`) brings that member's own flags (`--network.width 64`); it also
takes JSON of the whole spec, or @FILE with it. `Task | None` is none unless one is named.
"""

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from promptax.cli.mistakes import read_flags
from promptax.cli.words import expect, take

if TYPE_CHECKING:
    from promptax.specs import OpenSet


def _with_defaults(member: type) -> Any:
    return member()


@dataclasses.dataclass(frozen=True)
class Choice:
    """How a command takes a member of an open set; see `choice`."""

    default: str = ""
    make: Callable[[type], Any] = _with_defaults
    must_be_named: bool = False


def choice(
    default: str = "",
    *,
    make: Callable[[type], Any] = _with_defaults,
    must_be_named: bool = False,
) -> Any:
    """A command's field that takes a member of an open set, where it is not the usual choice.

    `default`: the member to take unless another is named; "" is the default of the open set.
    `make`: the member's instance whose values the flags change. `must_be_named`: it has no default,
    and `promptax study NAME` says it without its flag.

        target: Task = choice("Categorical")
    """
    return dataclasses.field(metadata={"choice": Choice(default, make, must_be_named)})


ANYWHERE = """--plugin MODULE imports members of your own. --coordinator HOST:PORT --num-processes N
--process-id K: this is process K of N that share the work, with process 0 at that address."""


def parse(flags: type, name: str, arguments: list[str], about: str) -> Any:
    """A command's flags from its arguments; each open set's field takes the chosen member's type.

    `name`: of the command, such as "lm write"; `about`: what it is for, for its help.
    """
    members, notes = {}, []
    for field in dataclasses.fields(flags):
        kind = field.type if _is_needed(field) else typing.get_args(field.type)[0]
        is_plain = not isinstance(kind, type) or kind in (str, int, float, bool)
        for open_set in () if is_plain else _open_sets():
            if kind is open_set.base:
                members[field.name], arguments = _chosen(field, open_set, name, arguments)
                notes.append(_names(field, open_set))
    made = dataclasses.make_dataclass(
        flags.__name__,
        [_field(field, member) for field, member in members.items()],
        bases=(flags,),
        frozen=True,
        kw_only=True,
    )
    description = "\n\n".join([about, *notes, ANYWHERE])
    choices = [f"--{field}" for field in members]
    how = {"prog": f"promptax {name}", "description": description}
    given = read_flags(made, arguments, choices, **how)
    _check_numbers(given)
    return given


class Bounds(NamedTuple):
    """The least and the most that a flag takes."""

    least: int
    most: int = 2**31 - 1  # what JAX counts with


NUMBERS = {
    **dict.fromkeys(("seed",), Bounds(-(2**31), 2**32 - 1)),
    **dict.fromkeys(("length", "longest", "prior_prompt_length", "pretraining_steps"), Bounds(0)),
    **dict.fromkeys(("steps", "sequences", "repetitions", "updates", "rounds"), Bounds(1)),
    **dict.fromkeys(("mixture", "trained_length", "top_k", "context", "cores"), Bounds(1)),
}
"""What the whole numbers of commands may be, by their flags; what is built from flags, such as a
task, checks itself."""


def _check_numbers(flags: Any) -> None:
    """Complain about numbers that no command takes, before any of them does something."""
    for name, bounds in NUMBERS.items():
        value = getattr(flags, name, None)
        expect(
            not isinstance(value, int) or bounds.least <= value <= bounds.most,
            f"Expected --{name.replace('_', '-')} from {bounds.least:,} to {bounds.most:,}; got "
            f"{value}.",
        )
    for name in ("temperature", "top_p", "typical_p", "tolerance"):
        value = getattr(flags, name, None)
        expect(
            not isinstance(value, float) or (math.isfinite(value) and value >= 0),
            f"Expected --{name.replace('_', '-')} of at least 0; got {value}.",
        )


def _open_sets() -> "list[OpenSet]":
    from promptax import specs  # with JAX; not before a field needs it

    return list(specs.open_sets.values())


def _chosen(
    field: dataclasses.Field, open_set: "OpenSet", name: str, arguments: list[str]
) -> tuple[Any, list[str]]:
    """What a field's flag chooses, None if it may be left out and is; and the other arguments."""
    options = _options(field)
    if options.must_be_named and arguments and not arguments[0].startswith("-"):
        arguments = [f"--{field.name}", *arguments]
    word, arguments = take(f"--{field.name}", arguments)
    help_is_asked = not {"-h", "--help"}.isdisjoint(arguments)
    expect(
        not options.must_be_named or word is not None or help_is_asked,
        f"Expected promptax {name} NAME; got no name. {_names(field, open_set)}",
    )
    if word is None and not _is_needed(field):
        _expect_name(field, open_set, arguments)
        return None, arguments
    default = options.default or open_set.default
    member = _member(open_set.base, default if word is None else word, options.make)
    _expect_unread(field.name, member, arguments)
    return _with_parts(field.name, member, arguments)


def _with_parts(name: str, member: Any, arguments: list[str]) -> tuple[Any, list[str]]:
    """A member with the members inside it that flags choose, as `--tuner.search annealing` does
    for `Restarted`, and the other arguments. What has flags of its own is a part; a field that
    takes one word (`specs.argument`) is not."""
    if isinstance(member, type):
        return member, arguments
    for field in dataclasses.fields(member):
        if not (isinstance(field.type, type) and inspect.isabstract(field.type)):
            continue
        place = f"{name}.{field.name}"
        word, arguments = take(f"--{place}", arguments)
        before = getattr(member, field.name)
        part = before if word is None else _member(field.type, word, _with_defaults)
        part, arguments = _with_parts(place, part, arguments)
        if part is not before:
            member = dataclasses.replace(member, **{field.name: part})
    return member, arguments


def _is_needed(field: dataclasses.Field) -> bool:
    """Whether the field always holds something: its annotation is not `… | None`."""
    return not isinstance(field.type, types.UnionType)


def _expect_name(field: dataclasses.Field, open_set: "OpenSet", arguments: list[str]) -> None:
    """Complain about flags of a member where none was named."""
    given = [word for word in arguments if word.startswith(f"--{field.name}.")]
    expect(
        not given,
        f"Expected --{field.name} NAME beside {' '.join(given)}; got no name. "
        + _names(field, open_set),
    )


def _expect_unread(name: str, member: Any, arguments: list[str]) -> None:
    """Complain about flags that say how to read a file which JSON has named: it was read already,
    and what was read would only get other names."""
    if isinstance(member, type) or not getattr(member, "path", ""):
        return
    for part in ("path", "alphabet"):
        flag = f"--{name}.{part}"
        given = any(word == flag or word.startswith(f"{flag}=") for word in arguments)
        expect(
            not given,
            f"Expected {part} inside the JSON of --{name}, whose file {member.path} was read "
            f"already; got {flag} beside it.",
        )


def _options(field: dataclasses.Field) -> Choice:
    return field.metadata.get("choice", Choice())


def _names(field: dataclasses.Field, open_set: "OpenSet") -> str:
    from promptax import specs

    names = ", ".join(specs.members(open_set.base))
    options = _options(field)
    usual = "" if options.must_be_named else f" (default: {options.default or open_set.default})"
    usual = usual if _is_needed(field) else " (default: none)"
    return (
        f"--{field.name} NAME chooses among {names}{usual}, and --{field.name}.FIELD sets its "
        "fields, of which some are chosen by a NAME in the same way; or JSON of the whole spec, or "
        "@FILE with it."
    )


def _member(base: type, word: str, make: Callable[[type], Any]) -> Any:
    """The member of that name with its defaults, or the spec that JSON or @FILE gives; the class
    alone if some of its fields must be given."""
    from promptax import specs

    if word[:1] in ("{", "[", "@"):
        return specs.parse(base)(word)
    member = specs.member(base, word)
    try:
        return make(member)
    except ValueError:
        return member


def _field(name: str, member: Any) -> tuple[str, Any, Any]:
    """A field of the command: with the chosen member as its default, or to be built from flags;
    without a flag, where none was chosen."""
    if member is None:
        return name, Annotated[Any, tyro.conf.Suppress], dataclasses.field(default=None)  # pyright: ignore
    if isinstance(member, type):
        return name, member, dataclasses.field()
    return name, type(member), dataclasses.field(default_factory=lambda: member)
