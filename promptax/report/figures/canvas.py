"""Drawing aids that know nothing of prompts: panels in inches, labels at curve ends, scales.

Figures are laid out in inches by hand: nothing depends on a renderer, so a figure is the same
on every backend and in every thread.
"""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from promptax.report.figures import style

_LINE = 0.175  # inches from one line of small text to the next
_SMALLEST_RANGE = 0.05  # nats; an axis never magnifies less than this
_NAME_WIDTH = 19  # letters of small text that fit beside a panel


@dataclasses.dataclass(frozen=True)
class EndLabel:
    """The name of a curve and a remark, wanted at height `value` on the right of its panel."""

    name: str
    remark: str
    value: float
    color: str

    @property
    def text(self) -> str:
        """Name and remark in at most two lines; only the name is ever shortened."""
        return two_lines(self.name, self.remark)

    @property
    def height(self) -> float:
        """Inches from the label below to the label above."""
        return _LINE * (1.1 + self.text.count("\n"))


def stacked_panels(
    title: str, names: Sequence[str], heights: Sequence[float], notes: Sequence[str]
) -> tuple[Figure, list[Axes]]:
    """Panels below one another, with room on the right for names; heights in inches."""
    left, right, gap = 0.72, 1.78, 0.72
    lines = [line for note in notes for line in wrapped_note(note)]
    top, bottom = 0.88, 0.62 + _LINE * len(lines)
    height = top + bottom + sum(heights) + gap * (len(heights) - 1)
    figure = Figure(figsize=(style.WIDTH, height))
    figure_title(figure, title)
    axes: list[Axes] = []
    edge = height - top
    for name, its in zip(names, heights, strict=True):
        box = (
            left / style.WIDTH,
            (edge - its) / height,
            (style.WIDTH - left - right) / style.WIDTH,
            its / height,
        )
        panel = figure.add_axes(box)
        panel.set_title(name, pad=19)
        axes.append(panel)
        edge -= its + gap
    footnotes(figure, lines)
    return figure, axes


def figure_title(figure: Figure, text: str) -> None:
    """The title of a whole figure, at its upper left."""
    height = figure.get_size_inches()[1]
    figure.text(
        0.1 / style.WIDTH,
        1 - 0.1 / height,
        shortened(text, 62),
        va="top",
        fontsize=style.TEXT + 1,
        color=style.MUTED,
    )


def footnotes(figure: Figure, lines: Sequence[str]) -> None:
    """Small print along the lower edge, one entry per line."""
    height = figure.get_size_inches()[1]
    for index, line in enumerate(reversed(lines)):
        figure.text(
            0.1 / style.WIDTH,
            (0.08 + _LINE * index) / height,
            line,
            va="bottom",
            fontsize=style.NOTE,
            color=style.MUTED,
        )


def wrapped_note(text: str) -> list[str]:
    """Small print cut into lines that fit the width of a figure."""
    return textwrap.wrap(plain(text), 86)


def end_label_height(labels: Sequence[EndLabel]) -> float:
    """Inches that these labels need below one another."""
    return sum(label.height for label in labels)


def label_ends(panel: Axes, labels: Sequence[EndLabel]) -> None:
    """Write each name beside the panel at the height where its curve ends, none on another."""
    if not labels:
        return
    labels = sorted(labels, key=lambda label: label.value)
    figure = panel.get_figure(root=True)
    assert figure is not None
    height = panel.get_position().height * figure.get_size_inches()[1]
    to_axes = panel.transData + panel.transAxes.inverted()
    low, high = panel.get_ylim()
    ends = [float(to_axes.transform((0.0, np.clip(label.value, low, high)))[1]) for label in labels]
    sizes = [label.height / height for label in labels]
    for label, end, place in zip(labels, ends, spread(ends, sizes), strict=True):
        panel.plot(
            [1.0, 1.045],
            [end, place],
            color=label.color,
            linewidth=1,
            clip_on=False,
            transform=panel.transAxes,
        )
        panel.text(
            1.055,
            place,
            label.text,
            transform=panel.transAxes,
            va="center",
            fontsize=style.SMALL,
            linespacing=1.05,
            color=style.INK,
        )


def band_of(name: str) -> str:
    """The label of the band around a curve, by which a page's charts find it; labels that begin
    with "_" stay out of legends."""
    return f"_band of {name}"


def spread(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Centres near the wanted ones, in the same order, so that no two items overlap.

    Items stay within 0..1 as long as their sizes add up to no more than 1.
    """
    order = np.argsort(np.asarray(wanted), kind="stable")
    placed = np.asarray(wanted, float)[order]
    half = np.asarray(sizes, float)[order] / 2
    edge = -half[0]
    for index in range(len(placed)):
        placed[index] = max(placed[index], edge + half[index])
        edge = placed[index] + half[index]
    edge = max(1 + half[-1], float((2 * half).sum()) - half[0])
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], edge - half[index])
        edge = placed[index] - half[index]
    centres = np.empty_like(placed)
    centres[order] = placed
    return [float(centre) for centre in centres]


def upper_limit(values: np.ndarray) -> float:
    """The largest value to show, in nats: all of them, unless a few would flatten the rest.

    A value is left out when it exceeds four times the upper quartile and what remains is worth
    looking at (a quarter nat or more). Whoever calls this must print the values left out.
    """
    values = values[np.isfinite(values)]
    if not values.size or values.max() <= _SMALLEST_RANGE:
        return _SMALLEST_RANGE
    kept = values[values <= 4 * np.quantile(values, 0.75)]
    if kept.size and 0.25 <= kept.max() < values.max():
        return float(1.2 * kept.max())
    return float(values.max())


def smallest(values: np.ndarray) -> float:
    """The smallest finite value, 0 if there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.min()) if finite.size else 0.0


def spans_magnitudes(values: np.ndarray, limit: float) -> bool:
    """Whether a linear axis up to `limit` would hide differences among a quarter of the values."""
    values = values[np.isfinite(values)]
    return limit > 10 and bool(values.size) and bool(np.quantile(values, 0.25) < limit / 8)


def linear_then_log(panel: Axes, low: float, high: float) -> None:
    """A vertical axis that is linear up to one nat and logarithmic above."""
    panel.set_yscale("symlog", linthresh=1.0, linscale=0.6)
    powers = 10.0 ** np.arange(0, np.ceil(np.log10(max(high, 10))) + 1)
    every = max(1, len(powers) // 5)
    steps = powers[::every] if len(powers) > 3 else np.outer(powers, [1, 2, 5]).ravel()
    ticks = [0.0, 0.5, *(step for step in steps if step <= high)]
    ticks += [-step for step in steps if -step >= low]
    panel.yaxis.set_major_locator(FixedLocator(sorted(ticks)))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(_tick))


def plain_numbers(panel: Axes, high: float) -> None:
    """Ticks of an axis that is linear up to 1 and logarithmic above in plain numbers: 0, 1, 2, 5,
    10, …, or powers of ten alone; where `high` is below 1, of an ordinary axis."""
    powers = 10.0 ** np.arange(0, np.ceil(np.log10(max(high, 1.0))) + 1)
    steps = powers if len(powers) > 3 else np.outer(powers, [1, 2, 5]).ravel()
    marks = FixedLocator([0.0, *(float(s) for s in steps if s <= 1.3 * high)])
    panel.yaxis.set_major_locator(marks if high >= 1 else MaxNLocator(4))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(_tick))


def logarithmic(panel: Axes, *, across: bool) -> None:
    """Make the axis across logarithmic, or else the one upwards, once everything is drawn.

    Ticks are plain numbers: powers of ten, with 2 and 5 of each on two decades or fewer, and with
    most digits on less than one. Matplotlib's own would read "10^{1}" as `style` shows them.
    """
    if across:
        panel.set_xscale("log")
    else:
        panel.set_yscale("log")
    axis = panel.xaxis if across else panel.yaxis
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    digits = (1, 2, 3, 4, 5, 6, 8) if decades < 1 else (1, 2, 5) if decades <= 2 else (1,)
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_tick))


def short_numbers(panel: Axes, high: float) -> None:
    """Numbers from ten thousand on in short form, lest they run out of the figure."""
    if high >= 1e4:
        panel.yaxis.set_major_formatter(FuncFormatter(_tick))


def mark_times(panel: Axes, marks: dict[int, str], last: int) -> None:
    """Dotted vertical lines with their names above the panel; marks beyond `last` are left out."""
    shown = sorted(time for time in marks if time <= last)
    width = panel.get_xlim()[1] - panel.get_xlim()[0]
    near = len(shown) > 1 and (shown[-1] - shown[0]) / width < 0.3
    sides = ["right", "left"] if near else ["center"] * len(shown)
    for time, side in zip(shown, sides, strict=True):
        panel.axvline(time, color=style.MUTED, linewidth=1, linestyle=(0, (1, 2)), zorder=0.5)
        panel.annotate(
            marks[time],
            (time, 1),
            (0, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            va="bottom",
            fontsize=style.NOTE,
            color=style.MUTED,
        )


def message(title: str, text: str) -> Figure:
    """A small figure that says in words why there is nothing to draw."""
    with style.house_style():
        figure = Figure(figsize=(style.WIDTH, 1.6))
        figure_title(figure, title)
        figure.text(0.5, 0.4, text, ha="center", va="center", color=style.MUTED)
    return figure


def two_lines(name: str, remark: str = "") -> str:
    """A name and a remark in at most two lines that fit beside a panel."""
    lines = textwrap.wrap(plain(f"{name} {remark}"), _NAME_WIDTH) or [""]
    if len(lines) > 2:
        second = plain(name).removeprefix(lines[0]).strip()
        room = _NAME_WIDTH - len(remark) - 1 if remark else _NAME_WIDTH
        lines = [lines[0], f"{shortened(second, room)} {remark}".strip()]
    return "\n".join(lines)


def shortened(text: str, letters: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return plain(text) if len(text) <= letters else plain(text[: letters - 1].rstrip()) + "…"


def plain(text: str) -> str:
    """Text on one line, its white space collapsed."""
    return " ".join(str(text).split())


def _tick(value: float, _position: Any) -> str:
    return (
        f"{value:g}" if abs(value) < 1e4 else f"{value:.3g}".replace("e+0", "e").replace("e+", "e")
    )
