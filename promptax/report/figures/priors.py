"""The figure of effective priors: what each predictor's predictions are worth in pseudo-counts."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from promptax.report import wording
from promptax.report.figures import canvas, style

_ROW = 0.42  # inches from one predictor to the next
_MARKS = "osD^"
_NONE, _ALL = 0.02, 1e5  # pseudo-counts at the ends of the axis
_TICKS = {0.1: "0.1", 1.0: "1", 10.0: "10", 100.0: "100", 1e3: "1e3", 1e4: "1e4", 1e5: "1e5"}


def effective_priors(priors: xr.Dataset, outcomes: tuple[str, ...], title: str) -> Figure:
    """`pseudo_counts` [predictor, repetition, symbol] on a logarithmic axis, a row for each
    predictor: medians, and small marks for each repetition where there are several; beside them
    what they sum to and `fit_error`, how far the predictor is from that prior, in nats."""
    counts = priors["pseudo_counts"].transpose("predictor", "repetition", "symbol").values
    errors = priors["fit_error"].transpose("predictor", "repetition").values
    names = [str(name) for name in priors["predictor"].values]
    notes = ["Right: the sum of the pseudo-counts, and the distance from that prior in nats."]
    if counts.shape[1] > 1:
        notes.append("Medians; small marks: each repetition.")
    if np.nanmax(counts) > _ALL or np.nanmin(counts) < _NONE:
        notes.append("Marks at an end of the axis are beyond it.")
    lines = [line for note in notes for line in canvas.wrapped_note(note)]
    top, bottom = 0.95, 0.62 + 0.175 * len(lines)
    inner = _ROW * len(names)
    height = top + inner + bottom
    colors = ("#E69F00", "#0072B2", "#009E73", "#CC79A7")
    with style.house_style():
        figure = Figure(figsize=(style.WIDTH, height))
        canvas.figure_title(figure, title)
        canvas.footnotes(figure, lines)
        panel = figure.add_axes((0.24, bottom / height, 0.5, inner / height))
        shown = np.clip(counts, _NONE, _ALL)
        with np.errstate(all="ignore"):
            middle = np.nanmedian(shown, axis=1)
        for row in range(len(names)):
            panel.plot(
                middle[row], [row] * middle.shape[1], color=style.FAINT, linewidth=3, zorder=1
            )
            for symbol in range(middle.shape[1]):
                look: dict[str, Any] = {"color": colors[symbol % 4], "marker": _MARKS[symbol % 4]}
                label = outcomes[symbol] if row == 0 else None
                panel.plot(
                    middle[row, symbol],
                    row,
                    linestyle="",
                    markersize=7,
                    label=label,
                    zorder=3,
                    **look,
                )
                if counts.shape[1] > 1:
                    repetition_counts = shown[row, :, symbol]
                    at = np.full(len(repetition_counts), row + 0.24)
                    panel.plot(
                        repetition_counts, at, linestyle="", markersize=2.5, alpha=0.8, **look
                    )
            worth = float(np.nanmedian(counts[row].sum(axis=1)))
            panel.text(
                1.04,
                row,
                f"{_worth(worth)} · off by {wording.nats(float(np.nanmedian(errors[row])))}",
                transform=panel.get_yaxis_transform(),
                va="center",
                fontsize=style.SMALL,
            )
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator(list(_TICKS)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _TICKS.get(value, "")))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.set_xlim(_NONE / 1.5, _ALL * 1.5)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set_yticks(range(len(names)), [canvas.two_lines(name) for name in names])
        panel.tick_params(axis="y", labelcolor=style.INK)
        panel.grid(True, axis="x")
        panel.grid(False, axis="y")
        panel.set_xlabel("pseudo-count")
        panel.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=len(outcomes),
            frameon=False,
            fontsize=style.SMALL,
            handletextpad=0.2,
        )
    return figure


def _worth(strength: float) -> str:
    """A sum of pseudo-counts in few letters."""
    return f"{strength:,.0f}" if 100 <= strength < _ALL else f"{strength:.2g}"


def reading(priors: xr.Dataset) -> str:
    """Which predictor comes closest to a prior, and how strong the priors are, in a sentence."""
    errors = priors["fit_error"].median("repetition", skipna=True)
    strengths = (
        priors["pseudo_counts"].sum("symbol", skipna=False).median("repetition", skipna=True)
    )
    near = str(priors["predictor"].values[int(errors.values.argmin())])
    far = str(priors["predictor"].values[int(errors.values.argmax())])
    weak, strong = float(strengths.min()), float(strengths.max())
    steps = wording.count(int(priors.attrs["steps"]), "flip")
    if priors.sizes["predictor"] == 1:
        off = wording.nats(float(errors[0]))
        return f"Worth {_worth(weak)} flips; off by {off} nats over {steps}."
    return (
        f"Worth {_worth(weak)} to {_worth(strong)} flips. Over {steps} “{near}” is closest to a "
        f"prior, off by {wording.nats(float(errors.min()))} nats, “{far}” the farthest, by "
        f"{wording.nats(float(errors.max()))}."
    )
