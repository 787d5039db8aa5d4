"""Curves drawn in characters, for terminals of any width, with and without Unicode.

Libraries that draw in terminals (plotext, plotille) need Unicode for frames or for dots, and an old
console over ssh may have none; so the few lines that one curve takes are here.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

FEWEST_COLUMNS, FEWEST_ROWS = 8, 3  # of a picture, without its numbers
LABEL = 7  # characters of a number on the left
BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille cell [row, column]


class Scale(NamedTuple):
    """How dots are put into a picture: so many in a cell, and what a cell without a frame shows."""

    across: int
    down: int
    corner: str
    side: str
    bottom: str


BRAILLE_CELLS = Scale(2, 4, "└", "│", "─")
ASCII_CELLS = Scale(1, 1, "+", "|", "-")


def draw_curve(
    steps: Sequence[int], values: Sequence[float], width: int, height: int, is_ascii: bool
) -> list[str]:
    """A curve of finite values over rising steps, as `height` lines of at most `width` characters.

    The frame has its highest and lowest value on the left and its first and last step below. A
    column shows the mean of its steps. What was higher during the first tenth of the steps is cut
    off: a loss usually begins far above where it is going.
    """
    scale = ASCII_CELLS if is_ascii else BRAILLE_CELLS
    columns = [*_means_by_column(steps, values, scale.across * max(FEWEST_COLUMNS, width - 9))]
    low, high = _limits(steps, values, [value for value in columns if value is not None])
    labels = [_label(number).rjust(LABEL) for number in (high, low)]
    cells = max(FEWEST_COLUMNS, width - 9)
    rows = max(FEWEST_ROWS, height - 2)
    dots = _dots(columns, low, high, scale.down * rows)
    lines = [
        f"{labels[0] if row == 0 else labels[1] if row == rows - 1 else ' ' * LABEL} {scale.side}"
        + "".join(_cell(dots, row, column, scale) for column in range(cells))
        for row in range(rows)
    ]
    first, last = f"{steps[0]:,}", f"{steps[-1]:,}"
    room = max(1, cells - len(first) - len(last))
    return [
        *(line.rstrip() for line in lines),
        " " * 8 + scale.corner + scale.bottom * cells,
        " " * 9 + first + (" " * room + last if cells > len(first) + len(last) else ""),
    ]


def _label(number: float) -> str:
    """A number in at most LABEL characters: four digits if there is room, else all that are before
    the point, or fewer digits and an exponent."""
    forms = (
        (".4g", ".0f", ".3g", ".2g", ".1g") if abs(number) >= 1 else (".4g", ".3g", ".2g", ".1g")
    )
    return next(text for form in forms if len(text := f"{number:{form}}") <= LABEL)


def _means_by_column(
    steps: Sequence[int], values: Sequence[float], columns: int
) -> list[float | None]:
    """The mean of the values whose steps fall into each column; between two such columns a straight
    line, where steps are fewer than columns."""
    sums, counts = [0.0] * columns, [0] * columns
    span = max(1, steps[-1] - steps[0])
    for step, value in zip(steps, values, strict=True):
        column = (step - steps[0]) * (columns - 1) // span
        sums[column] += value
        counts[column] += 1
    means = [total / count if count else None for total, count in zip(sums, counts, strict=True)]
    for (left, low), (right, high) in itertools.pairwise(
        [(column, mean) for column, mean in enumerate(means) if mean is not None]
    ):
        for column in range(left + 1, right):
            means[column] = low + (high - low) * (column - left) / (right - left)
    return means


def _limits(
    steps: Sequence[int], values: Sequence[float], means: Sequence[float]
) -> tuple[float, float]:
    """The lowest and the highest value in the frame; they differ."""
    start = steps[0] + (steps[-1] - steps[0]) / 10
    late = [value for step, value in zip(steps, values, strict=True) if step >= start]
    low, high = min(means), max(min(means), min(max(means), max(late)))
    margin = max(0.5, abs(low) / 100)  # adding less changes nothing that large
    return (low, high) if high > low else (low - margin, high + margin)


def _dots(columns: Sequence[float | None], low: float, high: float, rows: int) -> set:
    """The places (row, column) of all dots; neighbours are joined by the dots between them."""
    dots: set[tuple[int, int]] = set()
    before = None
    for column, value in enumerate(columns):
        if value is None:
            continue
        share = min(1.0, max(0.0, (high - value) / (high - low)))
        row = min(rows - 1, math.floor(share * rows))
        start = row if before is None else before + (row > before) - (row < before)
        dots |= {(at, column) for at in range(min(start, row), max(start, row) + 1)}
        before = row
    return dots


def _cell(dots: set, row: int, column: int, scale: Scale) -> str:
    """The character of one cell of the picture."""
    there = [
        (down, across)
        for down in range(scale.down)
        for across in range(scale.across)
        if (row * scale.down + down, column * scale.across + across) in dots
    ]
    if not there:
        return " "
    if scale is ASCII_CELLS:
        return "*"
    return chr(BRAILLE + sum(DOTS[down][across] for down, across in there))
