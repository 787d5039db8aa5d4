"""The figures of a report: a labelled Dataset in, a matplotlib Figure out.

No pyplot and no disk: a figure belongs to whoever asked for it. Values that an axis leaves out
are always printed, and a note on the figure says what the spread is.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from promptax.report import summaries, wording
from promptax.report.figures import canvas, style
from promptax.report.wording import nats


def regret_over_time(results: xr.Dataset) -> Figure:
    """Cumulative regret [predictor, time] in nats: median over repetitions, quartiles as a band.

    One panel per group of predictors, with the baselines dashed in each; dotted lines mark the
    lengths of tuning and of pretraining.

    Raises:
        KeyError: the results lack regrets, as what `evaluate` returns does: take
            `promptax.regret` of it.
    """
    summary = summaries.summarise(results)
    medians, times = summary["median"].values, summary["time"].values
    peaks = _row_maxima(medians)
    limit = canvas.upper_limit(peaks)
    magnitudes = canvas.spans_magnitudes(peaks, limit)
    lowest = min(0.0, canvas.smallest(medians))
    notes = [summaries.spread_note(summary, "Band")]
    if magnitudes:
        notes.append("The vertical axis is linear up to 1 nat and logarithmic above.")
    if (peaks > limit).any():
        notes.append("Curves that leave a panel carry an arrow and their last value.")

    def scale(panel: Axes) -> None:
        panel.set_xlim(0, float(times[-1]))
        if magnitudes:
            canvas.linear_then_log(panel, lowest, limit * 1.2)
        below = 0.08 if magnitudes else 0.02 * limit
        panel.set_ylim(1.1 * lowest - below, limit * (1.25 if magnitudes else 1.05))
        canvas.mark_times(panel, _length_marks(results), int(times[-1]))
        canvas.short_numbers(panel, limit)
        panel.set_ylabel("regret [nats]")

    title = f"Cumulative regret over time · {summaries.target_name(results)}"
    return _curve_panels(results, summary, limit, scale, title, notes)


def tuning_curves(results: xr.Dataset) -> Figure:
    """Training loss [predictor, step] in nats per sequence: running mean, median over repetitions.

    The dashed line is the least loss possible, where the results know it (`target_entropy`).
    """
    title = f"Tuning loss · {summaries.target_name(results)}"
    curves = summaries.smoothed_tuning_loss(results)
    if not curves.sizes["predictor"]:
        return canvas.message(title, "No predictor was tuned by gradient steps.")
    steps = curves["step"].values
    floor = summaries.loss_floor(results)
    low, high = loss_limits(curves["median"].values, floor)
    start = _row_maxima(curves["median"].values).max()
    window = int(curves.attrs["window"])
    notes = [
        f"Running mean over {wording.count(window, 'step')}; band: quartiles over repetitions."
    ]
    if start > high:
        notes.append(f"Losses above {nats(high)}, up to {nats(start)}, are not shown.")

    def scale(panel: Axes) -> None:
        panel.set_xlim(0, float(steps[-1]))
        panel.set_ylim(low, high)
        canvas.short_numbers(panel, high)
        panel.set_ylabel("loss [nats per sequence]")
        if floor is not None:
            dashes = (0, (4, 2))
            panel.axhline(floor, label="floor", color=style.INK, linewidth=1.2, linestyle=dashes)

    labels = [] if floor is None else [canvas.EndLabel("floor", nats(floor), floor, style.INK)]
    return _curve_panels(results, curves, high, scale, title, notes, labels)


def _curve_panels(
    results: xr.Dataset,
    curves: xr.Dataset,
    limit: float,
    scale: Callable[[Axes], None],
    title: str,
    notes: Sequence[str],
    labels: Sequence[canvas.EndLabel] = (),
) -> Figure:
    """`median`, `low`, `high` [predictor, time or step] of `curves`, one panel per group.

    Baselines (and the given labels) are repeated in each panel; `scale` sets up a panel's axes.
    """
    shown = set(curves["predictor"].values)
    kinds = {
        group: [name for name in members if name in shown]
        for group, members in summaries.groups(results).items()
    }
    kinds = {group: members for group, members in kinds.items() if members}
    baselines = kinds.pop("baselines", [])
    panels = {group: baselines + members for group, members in kinds.items()}
    panels = panels or {"baselines": baselines}
    looks = style.looks(results)
    ends = {
        name: _end_label(name, curves["median"].sel(predictor=name).values, looks[name], limit)
        for name in shown
    }
    beside = [[*labels, *(ends[name] for name in members)] for members in panels.values()]
    heights = [max(2.3, canvas.end_label_height(panel_labels)) for panel_labels in beside]
    with style.house_style():
        figure, axes = canvas.stacked_panels(title, list(panels), heights, notes)
        for panel, members, panel_labels in zip(axes, panels.values(), beside, strict=True):
            scale(panel)
            for name in members:
                _draw_curve(panel, curves.sel(predictor=name), looks[name], name)
            canvas.label_ends(panel, panel_labels)
        axes[-1].set_xlabel("tokens" if "time" in curves.dims else "tuning steps")
    return figure


def _draw_curve(panel: Axes, curve: xr.Dataset, look: style.Look, name: str) -> None:
    """The median as a line; for all but baselines also the band from `low` to `high`."""
    (axis,) = curve["median"].dims
    across = curve[axis].values
    every = max(1, len(across) // 7)
    panel.plot(
        across,
        curve["median"].values,
        label=name,
        color=look.color,
        linestyle=look.line,
        marker=look.marker or None,
        markevery=(every // 2, every),
        markeredgewidth=0,
        linewidth=1.7 if look.marker else 1.4,
        zorder=3 if look.marker else 2,
    )
    if look.marker:
        low, high = curve["low"].values, curve["high"].values
        drawn = {"color": look.color, "alpha": 0.18, "linewidth": 0}
        panel.fill_between(across, low, high, label=canvas.band_of(name), **drawn)


def _end_label(name: str, curve: np.ndarray, look: style.Look, limit: float) -> canvas.EndLabel:
    """A curve's name and, if it stopped early or left the panel, what became of it."""
    finite = curve[np.isfinite(curve)]
    last = float(finite[-1]) if finite.size else 0.0
    if not np.isfinite(curve[-1]):
        return canvas.EndLabel(name, "(diverged)", last, style.FAINT)
    return canvas.EndLabel(name, f"↑ {nats(last)}" if last > limit else "", last, look.color)


def _length_marks(results: xr.Dataset) -> dict[int, str]:
    tuned, trained = (results.attrs.get(f"{kind}_length") for kind in ("tuning", "training"))
    marks: dict[int, str] = {}
    if trained is not None:
        marks[int(trained)] = f"trained on {int(trained)}"
    if tuned is not None:
        label = "tuned and trained" if tuned == trained else "tuned"
        marks[int(tuned)] = f"{label} on {int(tuned)}"
    return marks


def loss_limits(curves: np.ndarray, floor: float | None) -> tuple[float, float]:
    """The lowest and highest loss to show: from below the lowest one up to where all curves are a
    tenth into the run, if that is near."""
    after = _row_maxima(curves[:, curves.shape[1] // 10 :])
    low = min(canvas.smallest(curves), np.inf if floor is None else floor)
    excess = canvas.upper_limit(after - low)
    span = max(excess, 0.5)
    return low - 0.08 * span, low + 1.15 * span


def _row_maxima(rows: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(rows), rows, -np.inf).max(axis=1)
