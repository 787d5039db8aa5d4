"""How the command line prints: lines and tables."""

from rich.console import Console
from rich.table import Table

console = Console()


def say(text: str, style: str = "") -> None:
    """Print a line."""
    console.print(text, style=style, highlight=False, soft_wrap=True, markup=False)


def print_rows(
    title: str,
    headings: tuple[str, ...],
    rows: list[tuple[str, ...]],
    words: tuple[str, ...] = (),
) -> None:
    """A table of numbers, but for its first column and those that hold words."""
    shown = Table(title=title, title_justify="left")
    for heading in headings:
        left = heading == headings[0] or heading in words
        shown.add_column(heading, justify="left" if left else "right")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
