"""The figures of a network that is trained and held against named predictors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from promptax.report.figures import canvas, style
from promptax.report.wording import nats

COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#661100")
MARKERS = "os^DvPX*"
DASHES = (0, (4, 2))  # of what others are compared with
FIRST = "network"  # drawn first, and with a full line
HEIGHT = 3.0  # inches of a panel
MARKS = 6  # most intervals between the numbers of an axis: more run into one another

Curve = tuple[Any, Any]  # across, and up


def lines(
    title: str,
    panels: Mapping[str, Mapping[str, Curve]],
    across: str,
    up: str,
    note: str,
    *,
    log_across: bool = False,
    log_up: bool = False,
    limits: tuple[float, float] | None = None,
    dashed: Sequence[str] = (),
) -> Figure:
    """Curves in panels below one another, each with its name at its end.

    Args:
        panels: by the panel's title, the curves by name: (across, up), of one length.
        across, up: what the axes show, with units.
        note: what is shown and how it was measured, small, below.
        log_across, log_up: logarithmic axes; points that such an axis cannot show are left out, and
            curves of which nothing remains are named in a note.
        limits: what every panel shows upwards; None: as far as its curves go.
        dashed: names of curves that are what others are compared with.
    """
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colors = {name: COLORS[index % len(COLORS)] for index, name in enumerate(names)}
    heights = [HEIGHT] * len(panels)
    missing = _not_shown(panels, log_across, log_up)
    notes = [text for text in (note, missing) if text]
    with style.house_style():
        figure, axes = canvas.stacked_panels(title, list(panels), heights, notes)
        for panel, curves in zip(axes, panels.values(), strict=True):
            labels = []
            for index, (name, (xs, ys)) in enumerate(curves.items()):
                x, y = _shown(xs, ys, log_across, log_up)
                if not len(x):
                    continue
                marker = MARKERS[index % len(MARKERS)]
                look = (DASHES, "") if name in dashed else ("-", marker)
                _draw(panel, name, (x, y), style.Look(colors[name], *look))
                labels.append(canvas.EndLabel(name, "", float(y[-1]), colors[name]))
            if log_across and labels:
                canvas.logarithmic(panel, across=True)
            elif all(np.allclose(xs, np.round(xs)) for xs, _ in curves.values()):
                panel.xaxis.set_major_locator(MaxNLocator(MARKS, integer=True))
            if log_up and labels:
                canvas.logarithmic(panel, across=False)
            else:
                panel.yaxis.set_major_locator(MaxNLocator(MARKS))
            if limits:
                panel.set_ylim(*limits)
            panel.set_ylabel(up)
            canvas.label_ends(panel, labels)
        axes[-1].set_xlabel(across)
    return figure


def _shown(xs: Any, ys: Any, log_across: bool, log_up: bool) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(xs, float), np.asarray(ys, float)
    kept = np.isfinite(y)
    if log_across:
        kept &= x > 0
    if log_up:
        kept &= y > 0
    return x[kept], y[kept]


def _not_shown(panels: Mapping[str, Mapping[str, Curve]], log_across: bool, log_up: bool) -> str:
    """The curves that have no point to show, in words; "" where there is none."""
    absent = [
        f"{name} ({panel})" if panel else name
        for panel, curves in panels.items()
        for name, (xs, ys) in curves.items()
        if not len(_shown(xs, ys, log_across, log_up)[0])
    ]
    need = "finite value above 0" if log_across or log_up else "finite value"
    return f"Not shown, since there is no {need}: {', '.join(absent)}." if absent else ""


def _draw(panel: Axes, name: str, curve: Curve, look: style.Look) -> None:
    length = len(curve[0])
    every = max(1, length // 8)
    panel.plot(
        *curve,
        label=name,
        color=look.color,
        linestyle=look.line,
        marker=look.marker,
        markevery=(0 if length < 8 else every // 2, every),
        markeredgewidth=0,
        linewidth=1.7 if look.marker else 1.4,
    )


def regret_curves(final: xr.Dataset) -> Figure:
    """Cumulative regret to the oracle [predictor, time] in nats of a network and of algorithms."""
    shown = sorted(_distinct(final), key=lambda name: name != FIRST)
    time = final.time.values
    curves = {name: (time, final["regret"].sel(predictor=name).values) for name in shown}
    return lines(
        f"Regret at the end of training · {final.attrs['target']}",
        {"": curves},
        "time",
        "regret [nats]",
        "Cumulative regret to the oracle, which knows what is hidden.",
        dashed=[name for name in shown if name != FIRST],
    )


def regret_reading(final: xr.Dataset) -> str:
    """The last values of `regret_curves`, in words."""
    ends = final["regret"].isel(time=-1)
    listed = [f"{name} {nats(float(ends.sel(predictor=name)))}" for name in _distinct(final)]
    return f"On {final.attrs['target']}, after {int(final.time[-1])} steps: {', '.join(listed)}."


def _distinct(final: xr.Dataset) -> list[str]:
    """The predictors to show: not the oracle, which loses nothing, and no `bayes` that stands there
    already under the name of an algorithm. A network that predicts as well is no algorithm."""
    names = [name for name in final.predictor.values.tolist() if name != "oracle"]
    if "bayes" in names:
        regret = final["regret"]
        bayes = regret.sel(predictor="bayes").values
        algorithms = [name for name in names if name not in ("bayes", FIRST)]
        others = (regret.sel(predictor=name).values for name in algorithms)
        if any(np.allclose(values, bayes, rtol=1e-5, atol=1e-5) for values in others):
            names.remove("bayes")
    return names


def distances_by_step(learned: xr.Dataset) -> Figure:
    """How far a network is from each algorithm [algorithm, step] while it is trained."""
    steps = learned.step.values
    curves = {
        name: (steps, learned["distance"].sel(algorithm=name).values)
        for name in learned.algorithm.values.tolist()
    }
    return lines(
        f"Distance from algorithms · {learned.attrs['target']}",
        {"": curves},
        "updates",
        "distance",
        "Of symbols: mean of the divergences to and from the algorithm, nats for each symbol. Of "
        "numbers: squared difference of means. The axis is logarithmic.",
        log_up=True,
    )


def accuracy_by_step(learned: xr.Dataset) -> Figure:
    """The shares of right answers to the last and to the first question of a sequence, while a
    network is trained."""
    curves = {
        f"{which} answer": (learned.step.values, learned[f"{which}_accuracy"].values)
        for which in ("last", "first")
    }
    return lines(
        f"Right answers · {learned.attrs['target']}",
        {"": curves},
        "updates",
        "accuracy",
        "The last answer of each sequence, and the first, which has no context; right is the "
        "likeliest symbol.",
        limits=(-0.02, 1.02),
    )


def accuracy_reading(learned: xr.Dataset) -> str:
    """The last values of `accuracy_by_step`, in words."""
    last, first = (float(learned[f"{which}_accuracy"][-1]) for which in ("last", "first"))
    target, step = learned.attrs["target"], int(learned.step[-1])
    return (
        f"On {target}, {last:.0%} of last answers are right after {step} updates, and {first:.0%} "
        "of first ones."
    )


def distance_reading(learned: xr.Dataset) -> str:
    """The last values of `distances_by_step`, in words."""
    ends = learned["distance"].isel(step=-1)
    listed = [f"{name} {float(ends.sel(algorithm=name)):.3g}" for name in ends.algorithm.values]
    step = int(learned.step[-1])
    return f"On {learned.attrs['target']}, distance after {step} updates: {', '.join(listed)}."
