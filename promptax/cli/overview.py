"""Which commands there are, and what each is for, without importing any of them.

A command's module brings JAX and more, which takes longer to import than the help takes to read. So
the first words about a command come from its file's docstring.
"""

import difflib
import importlib
import importlib.util
from importlib.machinery import ModuleSpec
from types import ModuleType

from rich.table import Table

from promptax.cli import commands, sources
from promptax.cli.printing import plain, say, show
from promptax.cli.words import expect

HELP = ("-h", "--help")


def command_names(group: str = "") -> list[str]:
    """The commands, those of groups included: "demo", …, "lm write"; or those of one group."""
    members = importlib.import_module(f"{commands.__name__}.{group}".rstrip(".")).COMMANDS
    names = [f"{group} {member}".strip() for member in members]
    return [part for name in names for part in (command_names(name) if _is_group(name) else [name])]


def command_named(arguments: list[str]) -> str | None:
    """The command that a line starts with; None if it asks for help on all of them, or on a group.

    Raises:
        ValueError: there is no such command; the message names the nearest.
    """
    words = arguments[:2] if arguments and _is_group(arguments[0]) else arguments[:1]
    given = " ".join(words)
    if not words or words[-1] in HELP or _is_group(given):
        return None
    names = command_names()
    near = difflib.get_close_matches(given, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    expect(given in names, f"Expected a command: {', '.join(names)}; got {given!r}.{hint}")
    return given


def module_of(name: str) -> ModuleType:
    """The module of a command, imported."""
    return importlib.import_module(_spec(name).name)


def about(name: str) -> str:
    """The first paragraph of the docstring of a command's file."""
    return sources.docstring(_spec(name).name)


def print_commands(arguments: list[str]) -> None:
    """Every command with what it is for; of one group, if the line starts with its name."""
    group = arguments[0] if arguments and _is_group(arguments[0]) else ""
    say("usage: promptax COMMAND [--plugin MODULE] [flags]\n")
    shown = Table.grid(padding=(0, 2))
    for name in command_names(group):
        shown.add_row(plain(f"  {name}"), plain(about(name)))
    show(shown)
    say("\npromptax COMMAND --help shows its flags.")


def _spec(name: str) -> ModuleSpec:
    """Where the module of a command or a group is; only the packages around it are imported."""
    spec = importlib.util.find_spec(f"{commands.__name__}.{name.replace(' ', '.')}")
    assert spec is not None, f"COMMANDS names {name}, which has no file"
    return spec


def _is_group(name: str) -> bool:
    return name in commands.COMMANDS and _spec(name).submodule_search_locations is not None
