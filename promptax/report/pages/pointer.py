"""What answers the pointer in a page: curves, the panels of a figure or all targets side by side.

`pointer` is a part of its own, made of results; `beneath` folds the curves of one figure up below
its picture. Both are drawn by uPlot (MIT, in `uplot`), which is inside the page, with its licence,
since pages are handed on alone; the page still loads nothing. Without scripts, and on paper, they
are not there: the pictures and tables of the page say the same.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from promptax.report import summaries
from promptax.report.figures import canvas, curves, style
from promptax.report.pages import panels

HERE = Path(__file__).parent
MOST_POINTS = 400  # of a curve: about as many as a chart has pixels
HEADING_OF_ONE, HEADING_OF_SEVERAL = "Read off the curves", "Compare the targets"
HOW = (
    "Move the pointer over a chart, or focus it and press the arrow keys: the table shows the "
    'median over repetitions<span class="more">, and the quartiles in brackets</span>. Its boxes '
    "hide and show a method."
)
HOW_OF_FIGURE = (
    "Move the pointer over a chart, or focus it and press the arrow keys: the table shows the "
    "values there{}. Its boxes hide and show a curve."
)
AND_BAND = '<span class="more">, and in brackets the band around a curve</span>'


def pointer(targets: Sequence[xr.Dataset]) -> str:
    """The markup of the part, with its data, style and scripts; it shows itself once they run."""
    views = [view for view in (_regrets(targets), _losses(targets)) if view is not None]
    heading = HEADING_OF_ONE if len(targets) == 1 else HEADING_OF_SEVERAL
    names = [summaries.target_name(results) for results in targets]
    return f"""<section class="pointer" aria-labelledby="compare" hidden>
<h2 id="compare">{heading}</h2>
<p class="note">{HOW}</p>
{_charts(views, _methods(targets), names)}
</section>
{library()}"""


def beneath(figure: Figure) -> str:
    """The curves of a figure, folded up: to stand below its picture, in a page with `library`.

    What it shows is said in `panels`. "" if there is no curve.
    """
    if not panels.has_curves(figure):
        return ""
    view, methods = panels.view_of(figure)
    names = [chart["target"] for chart in view["charts"]]
    lines = [line for chart in view["charts"] for line in chart["lines"].values()]
    note = HOW_OF_FIGURE.format(AND_BAND if any("low" in line for line in lines) else "")
    return f"""<details class="pointer" hidden><summary>{HEADING_OF_ONE}</summary>
<p class="note">{note}</p>
{_charts([view], methods, names)}
</details>"""


def library() -> str:
    """The style and the scripts, which a page has once, behind everything that they bring alive."""
    return f"""<style>{_shipped("uplot/uPlot.min.css")}{_shipped("pointer.css")}</style>
<script>{_licence()}{_shipped("uplot/uPlot.iife.min.js")}</script>
<script>{_shipped("pointer.js")}</script>"""


def _charts(
    views: Sequence[Mapping[str, Any]], methods: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> str:
    """Where the charts come, the table of values with a column for each name, and the data."""
    data = json.dumps({"views": views, "methods": methods}, separators=(",", ":"), allow_nan=False)
    heads = "".join(
        f'<th scope="col">{escape(name)}<span class="place"></span></th>' for name in names
    )
    return f"""<fieldset class="views" aria-label="What is drawn"></fieldset>
<div class="charts"></div>
<div class="scroll" role="region" tabindex="0" aria-label="Values at the pointer">
<table class="legend"><thead><tr><th scope="col" class="position"></th>{heads}</tr></thead>
<tbody></tbody></table></div>
<script type="application/json">{_inside_script(data)}</script>"""


def _shipped(name: str) -> str:
    """A file that lies beside this one."""
    return (HERE / name).read_text(encoding="utf-8")


def _licence() -> str:
    """The terms of uPlot, which ask to go with every copy, as a comment of its script."""
    return f"/*! uPlot\n\n{_shipped('uplot/LICENSE').strip()}\n*/\n"


def _inside_script(data: str) -> str:
    """JSON in which nothing can end the script around it."""
    return data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _methods(targets: Sequence[xr.Dataset]) -> list[dict[str, Any]]:
    """All predictors in the order of the tables, each with the look that it has in the figures."""
    looks: dict[str, style.Look] = {}
    for results in targets:
        looks = {**style.looks(results), **looks}
    return [
        {"name": name, "color": look.color, "dash": _dash(look)} for name, look in looks.items()
    ]


def _dash(look: style.Look) -> list[float]:
    """The dashes of a line in pixels; none of a solid one."""
    return [] if isinstance(look.line, str) else [2.0 * length for length in look.line[1]]


def _regrets(targets: Sequence[xr.Dataset]) -> dict[str, Any]:
    """Cumulative regret over time."""
    charts = []
    for results in targets:
        summary = summaries.summarise(results)
        peaks = np.nanmax(np.where(np.isfinite(summary["median"]), summary["median"], -np.inf), 1)
        limit = canvas.upper_limit(peaks)
        low = min(0.0, canvas.smallest(summary["median"].values))
        is_wide = canvas.spans_magnitudes(peaks, limit)
        charts.append(_chart(results, summary, (1.1 * low - 0.02 * limit, 1.05 * limit), is_wide))
    lengths = [summaries.evaluated_lengths(results)[0] for results in targets]
    return {
        "title": "Regret over time [nats]",
        "across": "tokens",
        "rest": lengths[0],
        "charts": charts,
    }


def _losses(targets: Sequence[xr.Dataset]) -> dict[str, Any] | None:
    """The tuning loss; None where some target has none."""
    losses = [summaries.smoothed_tuning_loss(results) for results in targets]
    if not all(loss.sizes["predictor"] for loss in losses):
        return None
    charts = []
    for results, loss in zip(targets, losses, strict=True):
        limits = curves.loss_limits(loss["median"].values, summaries.loss_floor(results))
        charts.append(_chart(results, loss, limits, False))
    return {
        "title": "Tuning loss [nats per sequence]",
        "across": "tuning steps",
        "rest": int(losses[0]["step"].values[-1]),
        "charts": charts,
    }


def _chart(
    results: xr.Dataset, summary: xr.Dataset, limits: tuple[float, float], is_wide: bool
) -> dict[str, Any]:
    """`median`, `low` and `high` of each predictor, of at most MOST_POINTS times or steps.

    `is_wide`: the vertical axis is to be logarithmic above 1 nat.
    """
    axis = "time" if "time" in summary.dims else "step"
    every = np.unique(np.linspace(0, summary.sizes[axis] - 1, MOST_POINTS).round().astype(int))
    thinned = summary.isel({axis: every})
    order = [name for members in summaries.groups(results).values() for name in members]
    shown = set(thinned["predictor"].values.tolist())
    lines = {name: _line(thinned.sel(predictor=name)) for name in order if name in shown}
    return {
        "target": summaries.target_name(results),
        "across": thinned[axis].values.tolist(),
        "ranges": {"up": [float(f"{limit:.4g}") for limit in limits]},
        "scales": {"up": "symlog" if is_wide else "linear"},
        "lines": lines,
    }


def _line(summary: xr.Dataset) -> Mapping[str, list[float | None]]:
    """The three curves of one predictor with four digits; None where there is no number."""
    return {
        part: [panels.short(value) for value in summary[part].values]
        for part in ("median", "low", "high")
    }
