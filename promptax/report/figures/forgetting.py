"""The figure of a stream of tasks: what is forgotten while others are learned."""

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from promptax.checks import check
from promptax.report.figures import canvas, style
from promptax.report.wording import signed

_NAMED = 8  # of a longer stream so many curves carry names, which would not fit otherwise


def forgetting_curves(table: xr.Dataset) -> Figure:
    """The loss of every task of a stream against how many were learned, from the table of
    `promptax.analysis.forgetting`.

    A task's curve is thin until its turn, has a mark where it was learned, and is strong from there
    on: as far as it rises behind the mark, the task is forgotten. The band is one standard error
    over streams. Beside the curve stands what was forgotten at the end, in nats.

    Raises:
        ValueError: what is not that table.
    """
    check(
        isinstance(table, xr.Dataset) and {"loss", "loss_error", "forgotten"} <= {*table},
        f"Expected the table of promptax.analysis.forgetting; got {type(table).__name__}.",
    )
    tasks, steps = table["task"].values, table["step"].values
    losses, errors = table["loss"].transpose("task", "step").values, table["loss_error"]
    errors = errors.transpose("task", "step").values
    places = np.linspace(0, 0.88, max(len(tasks), 2))  # the pale end is lost on white paper
    shades = [to_hex(color) for color in matplotlib.colormaps[style.TIME_COLORS](places)]
    named = tasks[np.linspace(0, len(tasks) - 1, min(len(tasks), _NAMED), dtype=int)]
    labels = []
    for task, curve, color in zip(tasks, losses, shades, strict=False):
        if task in named and np.isfinite(curve[-1]):
            remark = signed(float(table["forgotten"].sel(task=task)))
            label = canvas.EndLabel(f"task {int(task) + 1}", remark, float(curve[-1]), color)
            labels.append(label)
    notes = [
        "A mark: the task was learned just now. Strong from there on. Numbers: nats forgotten "
        "by the end. Band: one standard error over streams."
    ]
    with style.house_style():
        title = "What a stream of tasks forgets"
        heights = [max(2.9, canvas.end_label_height(labels))]
        figure, (panel,) = canvas.stacked_panels(title, ["Loss of every task"], heights, notes)
        for place, color in enumerate(shades[: len(tasks)]):
            curve, turn = losses[place], place + 1
            panel.plot(steps[: turn + 1], curve[: turn + 1], color=color, linewidth=0.7, alpha=0.6)
            panel.plot(steps[turn:], curve[turn:], label=f"task {place + 1}", color=color, zorder=3)
            panel.plot(steps[[turn]], curve[[turn]], "o", color=color, zorder=4)
            low, high = curve - errors[place], curve + errors[place]
            panel.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
        canvas.short_numbers(panel, float(panel.get_ylim()[1]))
        panel.set_xlim(0, max(1, int(steps[-1])))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("tasks learned")
        panel.set_ylabel("loss [nats]")
        canvas.label_ends(panel, labels)
    return figure
