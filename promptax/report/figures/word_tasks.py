"""The figure of a word task: held-out loss and accuracy while tuning, beside demonstrations."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from promptax.report.figures import canvas, style

_CURVES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
_MARKERS = "os^Dv"


def tuning_curves(shown: xr.Dataset, curves: Mapping[str, xr.Dataset]) -> Figure:
    """Held-out `log_loss` (logarithmic) and accuracy by step of each curve [step, repetition,
    sequence], and as dashed lines those behind demonstrations (`shown`, of `few_shot`), where
    they answer right. Bands: two standard errors over inputs."""
    title = f"{shown.attrs['task']}: tuned, and shown".capitalize()
    names = ("Held-out loss [nats per answer]", "Held-out accuracy")
    inputs, draws = shown.sizes["sequence"], shown.sizes["draw"]
    notes = [
        f"{inputs} held-out inputs; the loss of the answer alone, on a logarithmic axis. Bands: "
        "± 2 standard errors over inputs. Dashed: behind demonstrations (shots), mean of "
        f"{draws} draws."
    ]
    with style.house_style():
        figure, panels = canvas.stacked_panels(title, names, [3.0, 2.6], notes)
        for panel, variable in zip(panels, ("log_loss", "correct"), strict=True):
            labels, last = [], 1
            for index, (name, curve) in enumerate(curves.items()):
                color = _CURVES[index % len(_CURVES)]
                values = curve[variable].astype(float).mean("repetition")
                mean = values.mean("sequence").values
                error = values.std("sequence", ddof=1).values / np.sqrt(values.sizes["sequence"])
                steps = curve["step"].values
                low = np.maximum(mean - 2 * error, 0.05 * mean)
                panel.fill_between(steps, low, mean + 2 * error, color=color, alpha=0.15, lw=0)
                marker = _MARKERS[index % len(_MARKERS)]
                drawn = {"color": color, "marker": marker, "markersize": 3.5, "clip_on": False}
                panel.plot(steps, mean, **drawn, zorder=3)
                labels.append(canvas.EndLabel(name, _number(mean[-1]), float(mean[-1]), color))
                last = max(last, int(steps[-1]))
            means = shown[variable].sel(answers="right").astype(float).mean(("draw", "sequence"))
            for shots, value in zip(shown["shots"].values, means.values, strict=True):
                panel.axhline(value, color=style.MUTED, linewidth=1.0, linestyle=(0, (4, 2)))
                remark = canvas.EndLabel(
                    f"{shots} shots", _number(value), float(value), style.MUTED
                )
                labels.append(remark)
            panel.set_xlim(0, last)
            if variable == "log_loss":
                panel.set_yscale("log")
                panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                panel.yaxis.set_minor_locator(NullLocator())
            else:
                panel.set_ylim(-0.02, 1.02)
            canvas.label_ends(panel, labels)
        panels[-1].set_xlabel("step")
    return figure


def _number(value: float) -> str:
    return f"{value:.2f}"
