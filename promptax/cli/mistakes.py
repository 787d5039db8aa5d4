"""What is told about a line that tyro refuses, and in which order.

tyro says first what is missing, and reads no value then. It suggests flags that are nearly alike,
but neither one with two letters swapped nor a longer one that begins alike. This file adds these.
"""

import dataclasses
import difflib
import itertools
import re
from typing import Any

import tyro

from promptax.cli.printing import note
from promptax.cli.words import PROCESS_FLAGS, expect

NUMBERS_WITH_COMMAS = re.compile(r"[-+.\de]*\d[-+.\de]*(,[-+.\de]*\d[-+.\de]*)+")
FEWEST_ALIKE = 3  # letters at the beginning of a flag that stand for a longer one
PLACEHOLDER = "_"
KINDS = {int: "a whole number", float: "a number"}

registry = tyro.constructors.ConstructorRegistry()
"""How numbers are read: as Python does, with messages for people."""


@registry.primitive_rule
def _number_rule(info: Any) -> tyro.constructors.PrimitiveConstructorSpec | None:
    kind = info.type
    if kind not in KINDS:
        return None

    def read(words: list[str]) -> Any:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"Expected {KINDS[kind]}; got {words[0]!r}.") from None

    def is_one(value: Any) -> bool:
        return isinstance(value, int | kind)

    def write(value: Any) -> list[str]:
        return [str(value)]

    return tyro.constructors.PrimitiveConstructorSpec(1, kind.__name__.upper(), read, is_one, write)


def read_flags(made: type, arguments: list[str], choices: list[str], **options: Any) -> Any:
    """An instance of `made` from its arguments, by tyro.

    Wrong values and unknown flags are told before what is missing.

    Args:
        choices: the names of flags that were taken out of the arguments before.
        options: how tyro names the command, and what it is for.
    """
    missing = _missing(made, arguments)
    placeholders = [word for flag in missing for word in (flag, PLACEHOLDER)]
    try:
        given = tyro.cli(made, args=[*arguments, *placeholders], registry=registry, **options)
    except SystemExit as stop:
        if stop.code:
            for hint in hints(arguments, [*_flags(made), *choices, *PROCESS_FLAGS, "--plugin"]):
                note(hint, style="red")
        raise
    named = ", ".join(f"{flag} STR" for flag in missing)
    expect(not missing, f"Expected {named}; got none. {options['prog']} --help says what it is.")
    return given


def _missing(made: type, arguments: list[str]) -> list[str]:
    """The flags of words that must be given, and are not."""
    given = {word.split("=")[0].replace("_", "-") for word in arguments}
    needed = [
        "--" + field.name.replace("_", "-")
        for field in dataclasses.fields(made)
        if field.type is str and field.default is field.default_factory is dataclasses.MISSING
    ]
    is_help = not given.isdisjoint(("-h", "--help"))
    return [] if is_help else [flag for flag in needed if flag not in given]


def _flags(made: type, before: str = "--") -> list[str]:
    """The flags that set the fields of a class, and the fields of those that are classes."""
    flags = []
    for field in dataclasses.fields(made):
        name = before + field.name.replace("_", "-")
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            flags += _flags(field.type, name + ".")
        else:
            flags.append(name)
    return flags


def hints(arguments: list[str], flags: list[str]) -> list[str]:
    """What may have been meant where a line was refused, in words."""
    lines = []
    for word in arguments:
        flag = word.split("=")[0].replace("_", "-")
        meant = nearest(flag, flags) if flag.startswith("--") and flag not in flags else ""
        if meant:
            lines.append(f"Did you mean {meant} instead of {flag}?")
        if NUMBERS_WITH_COMMAS.fullmatch(word):
            lines.append(f"Separate numbers by spaces: {word.replace(',', ' ')}")
    return lines


def nearest(flag: str, flags: list[str]) -> str:
    """The flag that one with a slip most likely stands for: nearly alike, or a longer one of the
    same group that begins alike; "" if there is none."""
    near = difflib.get_close_matches(flag, flags, n=1, cutoff=0.8)
    if near or flag in ("--help", "--no-help"):
        return near[0] if near else ""
    group, name = _split(flag)
    names = {_split(other)[1]: other for other in flags if _split(other)[0] == group}
    lengths = {other: _alike(name, other) for other in names}
    best = max(lengths, key=lengths.__getitem__, default="")
    return names[best] if lengths.get(best, 0) >= FEWEST_ALIKE else ""


def _split(flag: str) -> tuple[str, str]:
    """The group of a flag, such as "--network", and its name in there; "" where it is in none."""
    group, _, name = flag.removeprefix("--").rpartition(".")
    return group, name


def _alike(first: str, second: str) -> int:
    """How many letters two words have in common at their beginning."""
    pairs = zip(first, second, strict=False)
    return len([*itertools.takewhile(lambda letters: letters[0] == letters[1], pairs)])
