"""The figures: curves by cost, the profile of runs, and who leads at which cost."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from promptax.report.figures import canvas, style
from promptax.studies.prompt_arena.reading import Reader, front, means, profiles, reached

NAMED = 6  # curves with a name; the others are grey
_COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LEAST, MOST = 1e-3, 3.0  # gaps beyond are drawn there: the axis is logarithmic
_GAP_TITLE = "Gap [random prompts' median gap]"
_CLIPPED = f"Gaps beyond {LEAST:g} and {MOST:g} are drawn there."


def gaps(reader: Reader, track: str, order: Sequence[str], unit: str) -> Figure:
    """The gap of every search by what it has spent."""
    return curves_by_cost(reader, track, means(reader, track), order, unit, "Gap by cost")


def curves_by_cost(
    reader: Reader,
    track: str,
    curves: Mapping[str, np.ndarray],
    order: Sequence[str],
    unit: str,
    title: str,
    logarithmic: bool = True,
) -> Figure:
    """Gaps by what was spent, which is logarithmic; gaps are too, where none can be below 0."""
    budgets = reader.budgets(track)
    note = _CLIPPED if logarithmic else f"Gaps beyond {MOST:g} are drawn there."
    with style.house_style():
        figure, (panel,) = canvas.stacked_panels(
            f"{title}: {track} track", [_GAP_TITLE], [4.2], [note]
        )
        _cost_axis(panel, budgets, unit)
        if logarithmic:
            _gap_axis(panel)
        else:
            panel.axhline(0.0, color=style.FAINT, linewidth=1, zorder=0)
        least = LEAST if logarithmic else -np.inf
        drawn = {name: np.clip(curve, least, MOST) for name, curve in curves.items()}
        _named_curves(panel, budgets, drawn, order, {n: f"{curves[n][-1]:.3f}" for n in curves})
    return figure


def aims(reader: Reader, track: str, order: Sequence[str], unit: str) -> Figure:
    """The run-time distribution: the share of aims reached by what was spent."""
    budgets, curves = reader.budgets(track), reached(reader, track)
    with style.house_style():
        figure, (panel,) = canvas.stacked_panels(
            f"Aims reached by cost: {track} track", ["Share of instances and aims"], [3.6], []
        )
        _cost_axis(panel, budgets, unit)
        panel.set_ylim(0, 1.02)
        _named_curves(panel, budgets, curves, order, {n: f"{c[-1]:.2f}" for n, c in curves.items()})
    return figure


def runs_by_gap(reader: Reader, track: str, order: Sequence[str]) -> Figure:
    """The performance profile: the share of runs by the gap that they end with."""
    thresholds = np.geomspace(LEAST, MOST, 60)
    curves = profiles(reader, track, thresholds)
    with style.house_style():
        figure, (panel,) = canvas.stacked_panels(
            f"Runs by their gap at the end: {track} track", ["Share of runs"], [3.6], []
        )
        panel.set_xscale("log")
        panel.set_xlim(LEAST, MOST)
        panel.set_xlabel("gap at most")
        panel.xaxis.set_major_formatter(FuncFormatter(_plain))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_ylim(0, 1.02)
        place = int(np.searchsorted(thresholds, 0.01))
        remarks = {name: f"{curve[place]:.0%} at 0.01" for name, curve in curves.items()}
        _named_curves(panel, thresholds, curves, order, remarks)
    return figure


def pareto(reader: Reader, track: str, unit: str) -> Figure:
    """All searches' gaps at all budgets as points, and the front of those that lead."""
    budgets, leading = reader.budgets(track), front(reader, track)
    with style.house_style():
        note = f"Grey: every search at every cost. {_CLIPPED}"
        figure, (panel,) = canvas.stacked_panels(
            f"Who leads at which cost: {track} track", [_GAP_TITLE], [3.6], [note]
        )
        _cost_axis(panel, budgets, unit)
        _gap_axis(panel)
        for values in means(reader, track).values():
            clipped = np.clip(values, LEAST, MOST)
            panel.plot(budgets, clipped, "o", color=style.FAINT, markersize=3, zorder=1)
        cost = [point[1] for point in leading]
        gap = [float(np.clip(point[2], LEAST, MOST)) for point in leading]
        panel.plot(cost, gap, "o-", label="who leads", color=_COLORS[0], zorder=3)
        names = [_together(point[0]) for point in leading]
        labels = [
            canvas.EndLabel(name, f"from {spent:,.0f}", gap[index], _COLORS[0])
            for index, (name, (_, spent, _)) in enumerate(zip(names, leading, strict=True))
            if name not in names[:index]
        ]
        canvas.label_ends(panel, labels[-NAMED:])
    return figure


def _together(names: Sequence[str]) -> str:
    """Searches that lead together: two by name, and how many more."""
    others = f", +{len(names) - 2}" if len(names) > 2 else ""
    return ", ".join(names[:2]) + others


def _named_curves(
    panel: Axes,
    across: np.ndarray,
    curves: Mapping[str, np.ndarray],
    order: Sequence[str],
    remarks: Mapping[str, str],
) -> None:
    """The first curves of the order by name and colour, the others in grey."""
    labels = []
    for index, name in reversed(list(enumerate(order))):
        named = index < NAMED
        color = _COLORS[index] if named else style.FAINT
        panel.plot(across, curves[name], label=name, color=color, zorder=3 if named else 1)
        if named:
            labels.append(canvas.EndLabel(name, remarks[name], float(curves[name][-1]), color))
    canvas.label_ends(panel, labels)


def _gap_axis(panel: Axes) -> None:
    """A logarithmic axis of gaps, with plain numbers."""
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
