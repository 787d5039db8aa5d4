"""The arena's page: for each track a table, the curves of the best, and who leads at which cost."""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from promptax.report.figures import canvas, style
from promptax.report.pages.study import Part
from promptax.studies.prompt_arena.conditions import EXACT
from promptax.studies.prompt_arena.reading import Reader, Row, front, means, table

NAMED = 6  # curves with a name; the others are grey
_COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LEAST = 1e-3  # gaps below that are drawn there: the axis is logarithmic

_ABOUT = {
    EXACT: (
        "Does the search search? An evaluation gives a prompt's expected loss without noise, "
        "summed over all sequences. A gradient costs three evaluations."
    ),
    "sampled": (
        "Does it cope with noise? Losses are means over batches of drawn sequences, and every "
        "symbol that is read costs one token, three where a derivative goes through it. What a "
        "search recommends is judged on exact losses afterwards, which it never sees."
    ),
}
_GAP = (
    "A gap says how much worse a recommended prompt is than the best of all prompts: 0 is the best "
    "prompt, 1 is as bad as a random one. Impossible prompts cannot win. The mean is that of the "
    "middle half of all runs, with a 95 % interval of runs drawn anew within each instance; "
    "searches that share a place are not told apart. Solved: runs that end at a best prompt. Time: "
    "the cost until a gap of 0.01, restarts included."
)


def parts(results: Mapping[str, xr.DataTree]) -> list[Part]:
    """A part for each track of which there are results."""
    reader = Reader(results)
    return [_part(reader, track) for track in reader.tracks() if reader.searches(track)]


def _part(reader: Reader, track: str) -> Part:
    rows = table(reader, track)
    unit = "evaluations" if track == EXACT else "tokens"
    drawn = [
        (
            f"Mean gap of the middle half of all runs by cost; the {min(NAMED, len(rows))} best "
            "searches by name, the others in grey.",
            anytime_curves(reader, track, [row.search for row in rows], unit),
        ),
        (
            "Who leads at which cost: no other search has a smaller gap for as little.",
            pareto(reader, track, unit),
        ),
    ]
    return Part(f"{track.capitalize()} track", f"{_ABOUT[track]}\n\n{_GAP}", drawn, _table(rows))


def _table(rows: list[Row]) -> list[dict[str, str]]:
    """The table of a track, in words."""
    place, first, cells = 0, None, []
    for number, row in enumerate(rows):
        if first is None or row.interval[0] > first.interval[1]:
            place, first = number + 1, row
        low, high = row.interval
        cells.append(
            {
                "search": row.search,
                "place": str(place),
                "gap": f"{row.gap:.3f}",
                "95 %": f"{low:.3f} to {high:.3f}",
                "hard solved": _share(row.solved["hard"]),
                "easy solved": _share(row.solved["easy"]),
                "time": f"{row.running_time:,.0f}" if np.isfinite(row.running_time) else "never",
            }
        )
    return cells


def _share(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.0%}"


def anytime_curves(reader: Reader, track: str, order: list[str], unit: str) -> Figure:
    """The gap of every search by what it has spent; both axes logarithmic."""
    budgets, curves = reader.budgets(track), means(reader, track)
    note = f"Gaps below {LEAST:g} are drawn at {LEAST:g}."
    with style.house_style():
        figure, (panel,) = canvas.stacked_panels(
            f"Gap by cost: {track} track", ["Gap [random prompts' median gap]"], [4.2], [note]
        )
        _axes(panel, budgets, unit)
        labels = []
        for index, search in reversed(list(enumerate(order))):
            values = np.clip(curves[search], LEAST, 3.0)
            named = index < NAMED
            color = _COLORS[index] if named else style.FAINT
            panel.plot(budgets, values, color=color, zorder=3 if named else 1)
            if named:
                last = float(values[-1])
                labels.append(canvas.EndLabel(search, f"{curves[search][-1]:.3f}", last, color))
        canvas.label_ends(panel, labels)
    return figure


def pareto(reader: Reader, track: str, unit: str) -> Figure:
    """All searches' gaps at all budgets as points, and the front of those that lead."""
    budgets, leading = reader.budgets(track), front(reader, track)
    with style.house_style():
        figure, (panel,) = canvas.stacked_panels(
            f"Who leads at which cost: {track} track",
            ["Gap [random prompts' median gap]"],
            [3.6],
            [f"Grey: every search at every cost. Gaps below {LEAST:g} are drawn at {LEAST:g}."],
        )
        _axes(panel, budgets, unit)
        for values in means(reader, track).values():
            panel.plot(
                budgets, np.clip(values, LEAST, 3.0), "o", color=style.FAINT, markersize=3, zorder=1
            )
        cost = [point[1] for point in leading]
        gap = [float(np.clip(point[2], LEAST, 3.0)) for point in leading]
        panel.plot(cost, gap, "o-", color=_COLORS[0], zorder=3)
        labels, named = [], set()
        for (search, _, value), height in zip(reversed(leading), reversed(gap), strict=True):
            if search not in named and len(named) < NAMED:
                named.add(search)
                labels.append(canvas.EndLabel(search, f"{value:.3f}", height, _COLORS[0]))
        canvas.label_ends(panel, labels)
    return figure


def _axes(panel: Axes, budgets: np.ndarray, unit: str) -> None:
    """Both axes logarithmic, from the first budget to the last."""
    _cost_axis(panel, budgets, unit)
    panel.set_yscale("log")
    panel.set_ylim(0.8 * LEAST, 3.5)
    panel.yaxis.set_major_formatter(FuncFormatter(_plain))
    panel.yaxis.set_minor_locator(NullLocator())


def _cost_axis(panel: Axes, budgets: np.ndarray, unit: str) -> None:
    """A logarithmic axis of what was spent, with at most six numbers on it."""
    panel.set_xscale("log", base=2)
    panel.set_xlim(float(budgets[0]), float(budgets[-1]))
    panel.set_xlabel(f"spent [{unit}]")
    apart = max(1, math.ceil(len(budgets) / 6))
    panel.xaxis.set_major_locator(FixedLocator(budgets[::-1][::apart][::-1].tolist()))
    panel.xaxis.set_major_formatter(FuncFormatter(_plain))
    panel.xaxis.set_minor_locator(NullLocator())


def _plain(value: float, place: int) -> str:
    """A tick in plain numbers: the house's fonts have no powers."""
    del place
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"
