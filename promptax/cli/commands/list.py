"""Show the members of every open set with their fields: tasks, networks, tuners and the others."""

import dataclasses
import difflib
import importlib
import pkgutil
import sys

import tyro
from rich.table import Table

from promptax.cli.printing import note, plain, show
from promptax.cli.sources import ROOT, Member, head, members
from promptax.cli.words import expect


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Which members are shown."""

    name: tyro.conf.Positional[str] = ""
    """A set, such as networks, or a member, such as LSTM; all by default."""


def run(flags: Flags, command: str) -> None:
    """Print a table for each open set: its members, what they are, their fields."""
    del command
    # Only what a plugin defines must be imported; all the rest is read.
    has_plugins = "promptax.specs" in sys.modules
    by_word = imported_members() if has_plugins else members()
    for word, rows in _asked(by_word, flags.name).items():
        shown = Table(title=_plural(word), title_justify="left", show_lines=False)
        for heading in ("name", "what it is", "fields"):
            shown.add_column(heading)
        for member in rows:
            shown.add_row(*map(plain, (member.name, member.summary, ", ".join(member.fields))))
        show(shown)
    if has_plugins:
        _tell_incomplete()


def imported_members() -> dict[str, list[Member]]:
    """What `sources.members` reads, as the classes say it; members of plugins are there too."""
    from promptax import specs

    for room in pkgutil.iter_modules([str(ROOT)]):
        if not room.name.startswith("_"):
            importlib.import_module(f"promptax.{room.name}")
    by_word = {}
    for word, (base, _) in sorted(specs.open_sets.items()):
        by_word[word] = sorted(_row(member) for member in specs.members(base).values())
    return by_word


def _row(member: type) -> Member:
    fields = tuple(f.name for f in dataclasses.fields(member) if not f.name.startswith("_"))
    return Member(member.__name__, head(member.__doc__), fields)


def _asked(by_word: dict[str, list[Member]], name: str) -> dict[str, list[Member]]:
    """One set by its name, or the sets with a member of that name, with it alone; all if the name
    is empty.

    Raises:
        ValueError: nothing has that name.
    """
    if not name:
        return by_word
    bare = name.replace("-", "").replace("_", "").lower()
    sets = {word: rows for word, rows in by_word.items() if bare in (word, _plural(word))}
    alone = {
        word: [member for member in rows if member.name.lower() == bare]
        for word, rows in by_word.items()
    }
    members = {word: rows for word, rows in alone.items() if rows}
    names = [*map(_plural, by_word), *(row.name for rows in by_word.values() for row in rows)]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    expect(
        bool(sets or members),
        f"Expected {', '.join(map(_plural, by_word))}, or a member's name; got {name!r}.{hint}",
    )
    return sets or members


def _plural(word: str) -> str:
    return word[:-1] + "ies" if word.endswith("y") else word + "s"


def _tell_incomplete() -> None:
    """Say which classes of plugins are no members yet."""
    from promptax import specs

    for base, _ in specs.open_sets.values():
        for text in specs.incomplete_members(base).values():
            note(f"warning: {text}", style="yellow")
