"""Show the members of every open set with their fields: tasks, networks, tuners and the others."""

import dataclasses
import importlib
import pkgutil
import sys

from rich.table import Table

from promptax.cli.printing import plain, show
from promptax.cli.sources import ROOT, Member, members


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """None of its own."""


def run(flags: Flags, command: str) -> None:
    """Print a table for each open set: its members, what they are, their fields."""
    del flags, command
    # Only what a plugin defines must be imported; all the rest is read.
    by_word = imported_members() if "promptax.specs" in sys.modules else members()
    for word, rows in by_word.items():
        title = word[:-1] + "ies" if word.endswith("y") else word + "s"
        shown = Table(title=title, title_justify="left", show_lines=False)
        for heading in ("name", "what it is", "fields"):
            shown.add_column(heading)
        for member in rows:
            shown.add_row(*map(plain, (member.name, member.summary, ", ".join(member.fields))))
        show(shown)


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
    return Member(
        member.__name__, " ".join((member.__doc__ or "").split("\n\n")[0].split()), fields
    )
