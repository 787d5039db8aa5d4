"""Reading a command line into a command's dataclass: flags are the fields of the specs, by tyro.

A flag that chooses a member of an open set (`--network lstm`) brings that member's own flags
(`--network.width 64`); it also takes JSON of the whole spec, or @FILE with it.
"""

import dataclasses
import os
import sys
from typing import Any

import tyro

from promptax import platforms, specs
from promptax.predictors import Architecture, Transformer
from promptax.specs import check
from promptax.steering import SoftPrompt, Tuner
from promptax.studies import Genewein2025, Study
from promptax.tasks import Categorical, DirichletCategorical, Task

OPEN_SETS: dict[str, tuple[type, type]] = {
    "network": (Architecture, Transformer),
    "task": (Task, DirichletCategorical),
    "target": (Task, Categorical),
    "prior": (Task, DirichletCategorical),
    "tuner": (Tuner, SoftPrompt),
    "study": (Study, Genewein2025),
}


def import_plugins(arguments: list[str]) -> list[str]:
    """Import what --plugin names, wherever it stands; the other arguments are returned."""
    sys.path.insert(0, os.getcwd())
    rest, left = [], list(arguments)
    while left:
        word = left.pop(0)
        if word == "--plugin" or word.startswith("--plugin="):
            check("=" in word or bool(left), "Expected --plugin MODULE; got no module.")
            specs.import_plugin(word.split("=", 1)[1] if "=" in word else left.pop(0))
        else:
            rest.append(word)
    return rest


ANYWHERE = """--plugin MODULE imports members of your own. --coordinator HOST:PORT --num-processes N
--process-id K: this is process K of N that share the work, with process 0 at that address."""
PROCESS_FLAGS = ("--coordinator", "--num-processes", "--process-id")


def join_processes(arguments: list[str]) -> list[str]:
    """Join other processes if the flags for that are there, or else use this machine's cores; the
    other arguments are returned."""
    values, rest = {}, arguments
    for flag in PROCESS_FLAGS:
        values[flag], rest = _take(flag, rest)
    if not any(values.values()):
        platforms.use_cores()
        return rest
    missing = [flag for flag, value in values.items() if value is None]
    check(not missing, f"Expected {', '.join(PROCESS_FLAGS)} together; {missing} is missing.")
    coordinator, count, number = values.values()
    check(
        str(count).isdigit() and str(number).isdigit() and int(number) < int(count),
        f"Expected --process-id from 0 to --num-processes - 1; got {number} of {count}.",
    )
    check(
        ":" in coordinator,
        f"Expected --coordinator HOST:PORT of process 0; got {coordinator!r}.",
    )
    platforms.join(coordinator, int(count), int(number))
    return rest


def parse(kind: type, name: str, arguments: list[str], presets: dict[str, dict[str, Any]]) -> Any:
    """The command's dataclass from its flags; each open set's field takes the chosen member's type.

    `presets`: fields of members, by the member's name, where a command departs from the defaults.
    """
    chosen, rest = {}, list(arguments)
    if name in OPEN_SETS and rest and not rest[0].startswith("-"):
        rest.insert(0, f"--{name}")  # `study NAME` is `study --study NAME`
    for field in dataclasses.fields(kind):
        if field.name in OPEN_SETS and field.type is OPEN_SETS[field.name][0]:
            word, rest = _take(f"--{field.name}", rest)
            help_is_asked = not {"-h", "--help"}.isdisjoint(rest)
            check(
                field.name != name or word is not None or help_is_asked,
                f"Expected promptax {name} NAME; got no name. {_choices(field.name)}",
            )
            chosen[field.name] = _choose(*OPEN_SETS[field.name], word, presets)
    made = dataclasses.make_dataclass(
        kind.__name__,
        [_field(name, member) for name, member in chosen.items()],
        bases=(kind,),
        frozen=True,
        kw_only=True,
    )
    about = "\n\n".join([" ".join((kind.__doc__ or "").split()), *map(_choices, chosen), ANYWHERE])
    return tyro.cli(made, args=rest, prog=f"promptax {name}", description=about)


def _choices(field: str) -> str:
    names = ", ".join(specs.members(OPEN_SETS[field][0]))
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


def _choose(base: type, default: type, word: str | None, presets: dict[str, Any]) -> Any:
    """The chosen member with its defaults, or the spec that JSON or @FILE gives; the class alone if
    some of its fields must be given."""
    if word is not None and word[:1] in ("{", "[", "@"):
        return specs.parse(base)(word)
    member = default if word is None else specs.member(base, word)
    try:
        return member(**presets.get(member.__name__, {}))
    except ValueError:
        return member


def _field(name: str, chosen: Any) -> tuple[str, type, Any]:
    """A field of the command: with the chosen member as its default, or to be built from flags."""
    if isinstance(chosen, type):
        return name, chosen, dataclasses.field()
    return name, type(chosen), dataclasses.field(default_factory=lambda: chosen)
