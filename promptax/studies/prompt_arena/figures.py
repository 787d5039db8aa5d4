"""The page: for each track a table, curves by cost, profiles, and who leads at which cost."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from promptax.report.figures import canvas, style
from promptax.report.pages.study import Part
from promptax.studies.prompt_arena.conditions import BESIDE, EXACT, NETWORK, SAMPLED
from promptax.studies.prompt_arena.reading import (
    KINDS,
    Reader,
    Row,
    final_gap,
    front,
    mean_gaps,
    means,
    profiles,
    reached,
    table,
)

NAMED = 6  # curves with a name; the others are grey
_COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LEAST, MOST = 1e-3, 3.0  # gaps beyond are drawn there: the axis is logarithmic
_GAP_TITLE = "Gap [random prompts' median gap]"
_CLIPPED = f"Gaps beyond {LEAST:g} and {MOST:g} are drawn there."

_START = (
    "A prompt of a few symbols is put before what a predictor reads, so that it predicts one "
    "target better. Which prompt is the best? Here the predictor is exact and the prompts are few, "
    "so that the loss behind every one of them is known, and with it the best. The searches do not "
    "know it. Each has the same budget, and says at any time which prompt it would take.\n\n"
    "The gap of a prompt is how much more is lost behind it than behind the best one: 0 is the "
    "best prompt, 1 is as bad as a random one (the median of all). Hard instances are made so that "
    "going downhill gets stuck; easy ones are controls; on a plateau most prompts are impossible, "
    "so that no change of one symbol says where to go. Every run on an exact predictor draws names "
    "for the symbols, so that none of them is the first."
)
_ABOUT = {
    EXACT: (
        "Does the search search? An evaluation gives a prompt's expected loss without noise, "
        "over all sequences. Cost counts evaluations; a gradient costs three."
    ),
    SAMPLED: (
        "Does it cope with noise? Losses are means over batches of drawn sequences. Cost counts "
        "tokens: every symbol that is read is one, three where a derivative goes through it. What "
        "a search recommends is judged afterwards on exact losses, which it never sees."
    ),
    NETWORK: (
        "And on a network? It learned to predict what the exact predictor knows. It reads prompts "
        "of 6 symbols, so that the loss behind all 4,096 is computed. Cost counts tokens. Rates "
        "are not raced here, and all runs have one network. What gradients tune on it stands "
        "below, at equal tokens."
    ),
}
_COLUMNS = (
    "The order: how often a run has a smaller gap than a run of another search on the same "
    "instance, over all others (wins; a tie counts half). Place: searches with the same number are "
    "not told apart from the first of them: the 95 % interval of the chance that the one has the "
    "smaller gap contains one half.\n\n"
    "Gap: at the end of the budget, the mean over the middle half of all runs, with a 95 % "
    "interval; above 10, or with no prompt at all, it counts as 10. Solved: runs that end at a "
    "best prompt, on instances of that kind. Cost: what is "
    "expected to be spent until a best prompt, if runs that fail are begun anew: the geometric "
    "mean over instances, of those where a run ever found one.\n\n"
    "First wins: how often a run of the first line has a smaller gap than one of this line; a tie "
    "counts half. Hindsight: the gap at the best of several rates, which nobody knows beforehand. "
    "It is not ranked. Searches that are called “raced” pay for that choice."
)
_BESIDE = {
    SAMPLED: (
        "Rows of weights over symbols, tuned by gradients on the same batches, at equal tokens. A "
        "prompt of symbols is a special case, so that a gap may be below 0: better than every "
        "prompt of symbols. These are ranked with nothing. An exact predictor has no embedding and "
        "no weights to tune: see the network."
    ),
    NETWORK: (
        "At equal tokens: rows of a prompt that may be anything (soft), weights over symbols "
        "(simplex) or any numbers for symbols (real), two soft prompts as a mixture, a low-rank "
        "change of the weights, all weights, and two short prompts of symbols as a mixture. A gap "
        "below 0 is better than every prompt of 6 symbols. These are ranked with nothing."
    ),
}


def parts(results: Mapping[str, xr.DataTree]) -> list[Part]:
    """What this is, and a part for each track of which there are results."""
    reader = Reader(results)
    tracks = [t for t in reader.tracks() if reader.searches(t) and reader.instances(t)]
    about = [Part("What this is", _START, ())] if tracks else []
    tuned = [_beside(reader, track) for track in tracks if reader.beside(track)]
    return [*about, *(_part(reader, track) for track in tracks), *tuned]


def _part(reader: Reader, track: str) -> Part:
    rows = table(reader, track)
    unit = "evaluations" if track == EXACT else "tokens"
    order = [row.search for row in rows]
    named = f"the {min(NAMED, len(rows))} first searches of the table by name, the others in grey"
    drawn = [
        (f"The gap by cost (middle half of all runs): {named}.", _gaps(reader, track, order, unit)),
        (
            "Aims reached by cost, gaps of 1 down to 0 on every instance; runs that stop early are "
            f"begun anew: {named}. Higher is better.",
            _aims(reader, track, order, unit),
        ),
        (
            f"Runs that end with at most such a gap: {named}. Higher is better.",
            _profiles(reader, track, order),
        ),
        (
            "Who leads at which cost: nothing else has a smaller gap for as little.",
            pareto(reader, track, unit),
        ),
    ]
    about = f"{_ABOUT[track]}\n\n{_COLUMNS}{_left_out(reader, track)}"
    return Part(f"{track.capitalize()} track", about, drawn, _lines(rows))


def _lines(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The table of a track, in words; of the kinds of instances those that the track has."""
    kinds = [kind for kind in KINDS if not all(np.isnan(row.solved[kind]) for row in rows)]
    return [
        {
            "search": row.search,
            "place": str(row.place),
            "wins": f"{row.wins:.2f}",
            "gap": f"{row.gap:.3f}",
            "95 %": f"{row.interval[0]:.3f}–{row.interval[1]:.3f}",
            **{f"solved {kind}": _share(row.solved[kind]) for kind in kinds},
            "cost": _cost(row),
            "first wins": "–" if number == 0 else f"{row.behind_first:.2f}",
            "hindsight": "–" if np.isnan(row.hindsight) else f"{row.hindsight:.3f}",
        }
        for number, row in enumerate(rows)
    ]


def _cost(row: Row) -> str:
    """What a best prompt is expected to cost, and where it never comes."""
    if not row.reached:
        return "never"
    where = "" if row.reached == row.instances else f" on {row.reached} of {row.instances}"
    return f"{row.running_time:,.0f}{where}"


def _left_out(reader: Reader, track: str) -> str:
    """What is said of instances that are not complete."""
    missing = reader.incomplete(track)
    if not missing:
        return ""
    return f"\n\nNot complete yet, and left out: {', '.join(missing)}."


def _share(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.0%}"


def _beside(reader: Reader, track: str) -> Part:
    """What gradients tune, each at the best of its rates, and the search with the smallest gap."""
    labels = sorted(reader.beside(track), key=lambda label: final_gap(reader, track, label))
    first = min(reader.searches(track), key=lambda search: final_gap(reader, track, search))
    names = {label: label.removeprefix(BESIDE) for label in labels}
    names[first] = f"{first} (the search with the smallest gap)"
    rows = [
        {"what": names[label], "gap": f"{final_gap(reader, track, label):.3f}"}
        for label in sorted(names, key=lambda label: final_gap(reader, track, label))
    ]
    best = {}  # of each tuner the label of its best rate: they are sorted
    for label in labels:
        best.setdefault(names[label].split(", ")[0], label)
    curves = {name: mean_gaps(reader, track, label) for name, label in best.items()}
    curves[f"{first} (search)"] = mean_gaps(reader, track, first)
    order = [f"{first} (search)", *best]
    figure = curves_by_cost(
        reader, track, curves, order, "tokens", "Tuned by gradients", logarithmic=False
    )
    reading = (
        "The gap by cost: of each tuner at the best of its rates, and of the search with the "
        "smallest gap. 0 is the best prompt of symbols."
    )
    heading = f"Beside the {track} track: what gradients tune"
    return Part(heading, _BESIDE[track], [(reading, figure)], rows)


def _gaps(reader: Reader, track: str, order: Sequence[str], unit: str) -> Figure:
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


def _aims(reader: Reader, track: str, order: Sequence[str], unit: str) -> Figure:
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


def _profiles(reader: Reader, track: str, order: Sequence[str]) -> Figure:
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
        panel.plot(cost, gap, "o-", color=_COLORS[0], zorder=3)
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
        panel.plot(across, curves[name], color=color, zorder=3 if named else 1)
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
