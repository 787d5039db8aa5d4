"""Show the members of the open sets with their fields: tasks, networks, tuners, studies."""

import dataclasses

from rich.markup import escape
from rich.table import Table

from promptax import specs, studies
from promptax.cli.printing import console


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """None of its own."""


def run(flags: Flags, command: str) -> None:
    """Print a table for each open set: its members, what they are, their fields."""
    del flags, command
    assert studies  # TODO
    for word, (base, _) in specs.open_sets.items():
        shown = Table(title=specs.plural(word), title_justify="left", show_lines=False)
        for heading in ("name", "what it is", "fields"):
            shown.add_column(heading)
        for name, member in specs.members(base).items():
            fields = [f.name for f in dataclasses.fields(member) if not f.name.startswith("_")]
            summary = " ".join((member.__doc__ or "").split("\n\n")[0].split())
            shown.add_row(name, escape(summary), ", ".join(fields))
        console.print(shown)
