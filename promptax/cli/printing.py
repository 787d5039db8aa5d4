"""How the command line prints: results to standard output, everything else to standard error.

Text comes from users, models and files, and none of it is markup. On a terminal it is made visible
(`progress.visible`); a file or a pipe gets text as it is. Results are on disk before they are
printed. If printing fails, because a pipe was closed or a disk is full, the command goes on
without printing, and says so at its end (`lost_output`).
"""

import contextlib
import io
import math
import os
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from promptax.progress import visible

AS_IT_IS: dict[str, Any] = {"highlight": False, "emoji": False, "markup": False}
complaints = Console(stderr=True, **AS_IT_IS)
lost_output: list[OSError] = []
"""What kept results from being printed, if something did."""


class _Page(io.StringIO):
    """What rich would print to standard output: it goes there in one write, which may fail."""

    @property
    def encoding(self) -> str:
        return getattr(sys.stdout, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return sys.stdout.isatty()


def plain(text: str, style: str = "") -> Text:
    """Text of any origin for rich: no markup, no emoji, no control characters."""
    return Text(visible(text), style=style)


def say(text: str, style: str = "") -> None:
    """Print a line of results."""
    show(plain(text, style), soft_wrap=True)


def note(text: str, style: str = "") -> None:
    """Print a line that is no result, to standard error: what happens, where things lie."""
    if complaints.quiet:  # another process prints
        return
    try:
        complaints.print(plain(text, style), soft_wrap=True)
    except OSError:  # nobody reads it
        return


def show(content: RenderableType, **options: Any) -> None:
    """Print something of rich among the results."""
    page = _Page()
    Console(file=page, **AS_IT_IS).print(content, **options)
    write(page.getvalue(), is_styled=True)


def write(text: str, is_styled: bool = False) -> None:
    """Write text to standard output as it is; on a terminal, visibly.

    `is_styled`: it was made here, with a terminal's own sequences for colours.
    """
    if complaints.quiet or lost_output:
        return
    on_terminal = sys.stdout.isatty() and not is_styled
    try:
        sys.stdout.write(visible(text) if on_terminal else text)
        sys.stdout.flush()
    except OSError as error:
        lost_output.append(error)
        discard_output()


def print_rows(
    title: str,
    headings: tuple[str, ...],
    rows: list[tuple[str, ...]],
    words: tuple[str, ...] = (),
) -> None:
    """Print a table. Its first column and those in `words` hold words, the others numbers."""
    shown = Table(title=plain(title), title_justify="left")
    for heading in headings:
        left = heading == headings[0] or heading in words
        shown.add_column(plain(heading), justify="left" if left else "right")
    for row in rows:
        shown.add_row(*map(plain, row))
    show(shown)


def print_regrets(results: Any) -> None:
    """Print the table of one target: a Dataset of regrets, as `promptax.report.table` takes it."""
    from promptax.report import table  # with xarray, which most commands do without

    rows = table(results)
    lengths = [key.split("_")[1] for key in rows[0] if key.startswith("regret_")]
    reference = results.attrs.get("reference", "oracle")
    what = "regret in nats" if reference == "oracle" else f"nats above {reference}"
    most = max(int(str(row["repetitions"])) for row in rows)
    spread = "median; quartiles or, of one repetition, ± 2 errors" if most > 1 else "± 2 errors"
    title = f"{results.attrs['target']}: {what} ({spread})"
    cells = [
        (
            str(row["group"]),
            str(row["predictor"]),
            *(
                f"{row[f'regret_{n}']:.3f}  ({_interval(row[f'low_{n}'], row[f'high_{n}'])})"
                for n in lengths
            ),
        )
        for row in rows
    ]
    headings = ("", "predictor", *(f"{n} steps" for n in lengths))
    print_rows(title, headings, cells, words=("predictor",))


def _interval(low: Any, high: Any) -> str:
    """Two numbers in words, unless nobody knows them."""
    return "error unknown" if math.isnan(low) else f"{low:.3f} … {high:.3f}"


# --- streams --------------------------------------------------------------------------------


def prepare_streams() -> None:
    """Make standard streams safe to use: all three are there, and take every character.

    Where one is closed, the next file that is opened would take its place, and its text. What the
    encoding of a terminal does not have is written as an escape, such as "\\xb1".
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            stream = os.fdopen(number, "r" if number == 0 else "w", closefd=False)
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)  # other streams keep their ways
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Send what is still printed to nowhere, after printing failed once. Otherwise Python would
    fail again when it empties its buffers at the end."""
    with contextlib.suppress(OSError):  # a stream without a file has no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
