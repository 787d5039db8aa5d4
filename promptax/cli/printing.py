"""How the command line prints: lines and tables."""

from typing import Any

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


def print_regrets(results: Any) -> None:
    """The table of one target: a Dataset of regrets, as `promptax.report.table` takes it."""
    from promptax.report import table  # brings matplotlib, which most commands do without

    rows = table(results)
    lengths = [key.split("_")[1] for key in rows[0] if key.startswith("regret_")]
    reference = results.attrs.get("reference", "oracle")
    what = "regret in nats" if reference == "oracle" else f"nats above {reference}"
    title = f"{results.attrs['target']}: {what} (median; quartiles or ± 2 errors)"
    cells = [
        (
            str(row["group"]),
            str(row["predictor"]),
            *(
                f"{row[f'regret_{n}']:.3f}  ({row[f'low_{n}']:.3f} … {row[f'high_{n}']:.3f})"
                for n in lengths
            ),
        )
        for row in rows
    ]
    headings = ("", "predictor", *(f"{n} steps" for n in lengths))
    print_rows(title, headings, cells, words=("predictor",))
