"""The figure of a diagnosis: what longer prompts are worth, beside the floor and a mixture."""

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from promptax.report.figures import canvas, style
from promptax.report.wording import nats

_EXACTLY, _UP_TO, _MIXTURE = "#56B4E9", "#0072B2", "#D55E00"


def regret_by_length(diagnosis: xr.Dataset) -> Figure:
    """Regret against the length of the best prompt, from the table of a `Diagnosis`.

    Lines: `regret` of exactly that length, `best_up_to` it; marks: `mixture` where it was tried;
    dashed: the `floor`. The horizontal axis is logarithmic from one symbol on.

    Raises:
        KeyError: a Dataset that is not the `table` of a `Diagnosis`.
    """
    curves = [("this length", "regret", _EXACTLY), ("up to this length", "best_up_to", _UP_TO)]
    if "mixture" in diagnosis:
        count = diagnosis.sizes["component"]
        curves.append((f"mixture of {count}", "mixture", _MIXTURE))
    floor, top = float(diagnosis["floor"]), _top(diagnosis)
    steps = diagnosis.attrs["steps"]
    notes = [
        f"Exact expectations over {steps} steps. The horizontal axis is logarithmic from 1 on.",
        *([] if bool(diagnosis["exhaustive"].all()) else [_TRIED]),
    ]
    labels = [canvas.EndLabel("floor", _short(floor), floor, style.INK)]
    with style.house_style():
        pair = f"{_named(diagnosis, 'prior')} → {_named(diagnosis, 'target')}"
        title = "Regret after reading the best prompt, by its length"
        figure, (panel,) = canvas.stacked_panels(title, [canvas.shortened(pair, 48)], [2.9], notes)
        panel.set_ylim(-0.03 * top, top)
        panel.axhline(floor, color=style.INK, linewidth=1.2, linestyle=(0, (4, 2)))
        for name, variable, color in curves:
            curve = diagnosis[variable].dropna("prompt_length")
            mixed = variable == "mixture"
            panel.plot(
                curve["prompt_length"].values,
                np.where(np.isfinite(curve.values), curve.values, np.nan),
                label=name,
                color=color,
                marker="o" if mixed else None,
                markerfacecolor=style.PAPER,
                linewidth=1.7 if variable == "best_up_to" else 1.0,
                zorder=3 if mixed else 2,
                clip_on=not mixed,
            )
            last = float(curve[-1])
            remark = f"↑ {_short(last)}" if last > top else _short(last)
            labels.append(canvas.EndLabel(name, remark, min(last, top), color))
        _scale(panel, int(diagnosis["prompt_length"][-1]))
        canvas.label_ends(panel, labels)
    return figure


_TRIED = "Of the longest prompts not all were tried: theirs are upper bounds."


def _short(value: float) -> str:
    """Two decimals, four where two would show nothing."""
    return f"{value:.4f}" if 0 < value < 0.01 else nats(value)


def _top(diagnosis: xr.Dataset) -> float:
    """The height of the panel: what a prompt of use can have, never a useless one's regret."""
    names = [name for name in ("best_up_to", "mixture") if name in diagnosis]
    values = np.concatenate([diagnosis[name].values for name in names])
    finite = values[np.isfinite(values)]
    highest = float(finite.max()) if finite.size else 1.0
    return 1.25 * max(highest, float(diagnosis["floor"]), 0.05)


def _scale(panel: Axes, longest: int) -> None:
    panel.set_xscale("symlog", linthresh=1, linscale=0.4)
    panel.set_xlim(0, max(1, longest))
    panel.xaxis.set_major_locator(FixedLocator([0, *(10**power for power in range(7))]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.set_xlabel("symbols in the prompt")
    panel.set_ylabel("regret [nats]")


def _named(diagnosis: xr.Dataset, which: str) -> str:
    """The class of the prior or the target."""
    return str(json.loads(diagnosis.attrs[which])["class"])
