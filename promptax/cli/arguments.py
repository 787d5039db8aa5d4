"""Reading a command line into a command's flags: they are the fields of the specs, by tyro.

A field whose annotation is the base class of an open set is a choice among its members. The flag
that chooses one (`--network lstm`) brings that member's own flags (`--network.width 64`); it also
takes JSON of the whole spec, or @FILE with it.
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from typing import Any

import tyro

from promptax import platforms, specs
from promptax.specs import OpenSet, check


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


def import_plugins(arguments: list[str]) -> list[str]:
    """Import what --plugin names, wherever it stands; the other arguments are returned."""
    sys.path.insert(0, os.getcwd())
    others, remaining = [], list(arguments)
    while remaining:
        word = remaining.pop(0)
        if word == "--plugin" or word.startswith("--plugin="):
            check("=" in word or bool(remaining), "Expected --plugin MODULE; got no module.")
            specs.import_plugin(word.split("=", 1)[1] if "=" in word else remaining.pop(0))
        else:
            others.append(word)
    return others


ANYWHERE = """--plugin MODULE imports members of your own. --coordinator HOST:PORT --num-processes N
--process-id K: this is process K of N that share the work, with process 0 at that address."""
PROCESS_FLAGS = ("--coordinator", "--num-processes", "--process-id")


def take_process_flags(arguments: list[str]) -> tuple[dict[str, str | None], list[str]]:
    """The values of the flags that make this one of several processes, and the other arguments."""
    values = {}
    for flag in PROCESS_FLAGS:
        values[flag], arguments = _take(flag, arguments)
    return values, arguments


def join_processes(values: dict[str, str | None]) -> None:
    """Join other processes if the flags for that were given, or else use this machine's cores."""
    if not any(values.values()):
        platforms.use_cores()
        return
    missing = [flag for flag, value in values.items() if value is None]
    check(not missing, f"Expected {', '.join(PROCESS_FLAGS)} together; {missing} is missing.")
    coordinator, count, number = (str(value) for value in values.values())
    check(
        count.isdigit() and number.isdigit() and int(number) < int(count),
        f"Expected --process-id from 0 to --num-processes - 1; got {number} of {count}.",
    )
    check(
        ":" in coordinator,
        f"Expected --coordinator HOST:PORT of process 0; got {coordinator!r}.",
    )
    platforms.join(coordinator, int(count), int(number))


def parse(flags: type, name: str, arguments: list[str], about: str) -> Any:
    """A command's flags from its arguments; each open set's field takes the chosen member's type.

    `name`: of the command, such as "lm write"; `about`: what it is for, for its help.
    """
    members, notes = {}, []
    for field in dataclasses.fields(flags):
        for open_set in specs.open_sets.values():
            if field.type is open_set.base:
                members[field.name], arguments = _chosen(field, open_set, name, arguments)
                notes.append(_names(field.name, open_set))
    made = dataclasses.make_dataclass(
        flags.__name__,
        [_field(field, member) for field, member in members.items()],
        bases=(flags,),
        frozen=True,
        kw_only=True,
    )
    description = "\n\n".join([about, *notes, ANYWHERE])
    return tyro.cli(made, args=arguments, prog=f"promptax {name}", description=description)


def _chosen(
    field: dataclasses.Field, open_set: OpenSet, name: str, arguments: list[str]
) -> tuple[Any, list[str]]:
    """What a field's flag chooses, and the other arguments."""
    options = field.metadata.get("choice", Choice())
    if options.must_be_named and arguments and not arguments[0].startswith("-"):
        arguments = [f"--{field.name}", *arguments]
    word, arguments = _take(f"--{field.name}", arguments)
    help_is_asked = not {"-h", "--help"}.isdisjoint(arguments)
    check(
        not options.must_be_named or word is not None or help_is_asked,
        f"Expected promptax {name} NAME; got no name. {_names(field.name, open_set)}",
    )
    default = options.default or open_set.default
    return _member(open_set.base, default if word is None else word, options.make), arguments


def _names(field: str, open_set: OpenSet) -> str:
    names = ", ".join(specs.members(open_set.base))
    return f"--{field} NAME chooses among {names}; or JSON of the whole spec, or @FILE with it."


def _take(flag: str, arguments: list[str]) -> tuple[str | None, list[str]]:
    """The word after a flag, and the arguments without both."""
    for index, word in enumerate(arguments):
        if word.startswith(flag + "="):
            return word.split("=", 1)[1], arguments[:index] + arguments[index + 1 :]
        if word == flag:
            check(index + 1 < len(arguments), f"Expected a name after {flag}; got none.")
            return arguments[index + 1], arguments[:index] + arguments[index + 2 :]
    return None, arguments


def _member(base: type, word: str, make: Callable[[type], Any]) -> Any:
    """The member of that name with its defaults, or the spec that JSON or @FILE gives; the class
    alone if some of its fields must be given."""
    if word[:1] in ("{", "[", "@"):
        return specs.parse(base)(word)
    member = specs.member(base, word)
    try:
        return make(member)
    except ValueError:
        return member


def _field(name: str, member: Any) -> tuple[str, type, Any]:
    """A field of the command: with the chosen member as its default, or to be built from flags."""
    if isinstance(member, type):
        return name, member, dataclasses.field()
    return name, type(member), dataclasses.field(default_factory=lambda: member)
