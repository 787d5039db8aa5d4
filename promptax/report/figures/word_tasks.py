"""The figures of a word task: held-out loss and accuracy, by demonstrations and while tuning."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from promptax.report import wording
from promptax.report.figures import canvas, style

_COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
_MARKERS = "os^Dv"
_PANELS = {"log_loss": "Held-out loss [nats per answer]", "correct": "Held-out accuracy"}


def tuning_curves(shown: xr.Dataset, curves: Mapping[str, xr.Dataset]) -> Figure:
    """Draw held-out `log_loss` (logarithmic) and accuracy by step of each curve [step, repetition,
    sequence], and as dashed lines those behind demonstrations (`shown`, of `few_shot`), where
    they answer right. Bands: two standard errors over inputs."""
    title = f"{shown.attrs['task']}: tuned, and shown".capitalize()
    inputs, draws = shown.sizes["sequence"], shown.sizes["draw"]
    note = (
        f"{inputs} held-out inputs; the loss of the answer alone, on a logarithmic axis. Bands: "
        "± 2 standard errors over inputs. Dashed: behind demonstrations (shots), mean of "
        f"{wording.count(draws, 'draw')}."
    )
    by_shots = shown.sel(answers="right").mean("draw")
    with style.house_style():
        figure, panels = canvas.stacked_panels(title, list(_PANELS.values()), [3.0, 2.6], [note])
        for panel, variable in zip(panels, _PANELS, strict=True):
            values = {name: curve[variable].mean("repetition") for name, curve in curves.items()}
            labels = list(_curves(panel, values, "step"))
            means = by_shots[variable].astype(float).mean("sequence")
            for shots, value in zip(shown["shots"].values, means.values, strict=True):
                name, look = f"{shots} shots", {"color": style.MUTED, "linestyle": (0, (4, 2))}
                panel.axhline(value, label=name, linewidth=1.0, **look)
                labels.append(_label(name, value, style.MUTED))
            _finish(panel, variable, labels)
        panels[-1].set_xlabel("step")
    return figure


def shot_curves(ways: Mapping[str, xr.Dataset]) -> Figure:
    """Draw held-out `log_loss` (logarithmic) and accuracy by the number of demonstrations of each
    way to show them [answers, shots, draw, sequence], one kind of answers in each. Bands: two
    standard errors over inputs."""
    first = next(iter(ways.values()))
    title = f"{first.attrs['task']}: by demonstrations".capitalize()
    note = (
        f"{first.sizes['sequence']} held-out inputs, mean of "
        f"{wording.count(first.sizes['draw'], 'draw')} of the demonstrations; the loss of the "
        "answer alone, on a logarithmic axis. Bands: ± 2 standard errors over inputs."
    )
    with style.house_style():
        figure, panels = canvas.stacked_panels(title, list(_PANELS.values()), [3.0, 2.6], [note])
        for panel, variable in zip(panels, _PANELS, strict=True):
            values = {
                name: scores[variable].isel(answers=0).mean("draw") for name, scores in ways.items()
            }
            _finish(panel, variable, list(_curves(panel, values, "shots")))
        panels[-1].set_xlabel("demonstrations")
    return figure


def _curves(
    panel: Axes, values: Mapping[str, xr.DataArray], axis: str
) -> Iterator[canvas.EndLabel]:
    """Draw means over inputs along an axis, each with its band; yields the names of their ends."""
    last = 1
    for index, (name, of_inputs) in enumerate(values.items()):
        color = _COLORS[index % len(_COLORS)]
        mean = of_inputs.astype(float).mean("sequence").values
        spread = of_inputs.astype(float).std("sequence", ddof=1).values
        error = spread / np.sqrt(of_inputs.sizes["sequence"])
        places = of_inputs[axis].values
        low = np.maximum(mean - 2 * error, 0.05 * mean)  # above 0, on a logarithmic axis
        band = {"label": canvas.band_of(name), "color": color, "alpha": 0.15, "linewidth": 0}
        panel.fill_between(places, low, mean + 2 * error, **band)
        marker = _MARKERS[index % len(_MARKERS)]
        drawn = {"color": color, "marker": marker, "markersize": 3.5, "clip_on": False}
        panel.plot(places, mean, label=name, **drawn, zorder=3)
        last = max(last, int(places[-1]))
        yield _label(name, mean[-1], color)
    panel.set_xlim(0, last)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _finish(panel: Axes, variable: str, labels: Sequence[canvas.EndLabel]) -> None:
    """Give a panel the axis of its variable, and the names of its curves."""
    if variable == "log_loss":
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_minor_locator(NullLocator())
    else:
        panel.set_ylim(-0.02, 1.02)
    canvas.label_ends(panel, labels)


def _label(name: str, value: float, color: str) -> canvas.EndLabel:
    return canvas.EndLabel(name, f"{value:.2f}", float(value), color)
