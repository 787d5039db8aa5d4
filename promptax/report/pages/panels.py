"""The panels of any figure as charts that answer the pointer, read from the figure itself.

What becomes a curve of a chart:

- a line with a label that has two places or more;
- a horizontal line with a label (`axhline`), at every place of the other curves;
- beside a line, its band: what `fill_between` drew with the label `canvas.band_of(name)`.

Everything else, such as single marks, bars and vertical lines, is in the picture alone. Axes are
those of the panel: limits, kinds of scale, and the ticks with their labels.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from promptax.report.figures import canvas

MOST_PLACES = 200  # of a curve: a page of a study has many figures

Points = Mapping[float, float]  # what a curve has at each of its places across


def has_curves(figure: Figure) -> bool:
    """Whether `view_of` finds a chart in this figure."""
    return bool(_panels(figure))


def view_of(figure: Figure) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The charts of a figure that `has_curves`, one for each panel with curves; and all curves'
    names and looks."""
    panels = _panels(figure)
    ups = [panel.get_ylabel() for panel in panels]
    names = [_title(panel) or up or "value" for panel, up in zip(panels, ups, strict=True)]
    charts = []
    for number, (panel, name, up) in enumerate(zip(panels, names, ups, strict=True), 1):
        target = f"{name} ({number})" if names.count(name) > 1 else name
        heading = target if up in ("", name) else f"{target} · {up}"
        charts.append({"target": target, "heading": heading, **_chart(panel)})
    lines = {
        str(line.get_label()): line
        for panel in panels
        for line in (*_curves(panel), *_horizontals(panel))
    }
    methods = [
        {"name": name, "color": to_hex(line.get_color()), "dash": _dash_of(line)}
        for name, line in lines.items()
    ]
    labels = (panel.get_xlabel() for panel in reversed(figure.get_axes()))  # of the lowest alone
    across = next(filter(None, labels), "")
    title = charts[0]["heading"]
    view = {"title": title, "across": across, "rest": None, "exact": True, "charts": charts}
    return view, methods


def short(value: float | None, least: float = 0.0) -> float | None:
    """Four digits; 0 of what is smaller than `least`; None where there is no number."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.4g}") if abs(value) >= least else 0.0


def _panels(figure: Figure) -> list[Axes]:
    return [panel for panel in figure.get_axes() if _curves(panel)]


def _title(panel: Axes) -> str:
    """The house sets titles at the left, Matplotlib in the centre."""
    titles = (panel.get_title(loc=place) for place in ("left", "center", "right"))
    return next(filter(None, titles), "")


def _labelled(panel: Axes) -> list[tuple[Line2D, bool, bool]]:
    """The lines of a panel that have a label, and whether they lie at data across, and upwards.

    Matplotlib's own labels of lines that were given none begin with "_".
    """
    lines = [line for line in panel.get_lines() if not str(line.get_label()).startswith("_")]
    found = []
    for line in lines:
        is_across, is_up = line.get_transform().contains_branch_seperately(panel.transData)
        found.append((line, is_across, is_up))
    return found


def _curves(panel: Axes) -> list[Line2D]:
    return [
        line
        for line, is_across, is_up in _labelled(panel)
        if is_across and is_up and line.get_linestyle() != "None" and len(_points(panel, line)) > 1
    ]


def _horizontals(panel: Axes) -> list[Line2D]:
    return [line for line, is_across, is_up in _labelled(panel) if is_up and not is_across]


def _points(panel: Axes, line: Line2D) -> dict[float, float]:
    """A curve's values by place, within the panel's limits across.

    Places have six digits; of several points at one place the last one counts. Without a finite
    place there is no point; a value may be anything.
    """
    low, high = _limits(panel.xaxis)
    across, up = (np.asarray(values, float) for values in line.get_data(orig=False))
    return {
        place: float(value)
        for place, value in zip(map(_rounded, across), up, strict=True)
        if low <= place <= high
    }


def _chart(panel: Axes) -> dict[str, Any]:
    """The axes and curves of a panel.

    Each curve is thinned by itself, so that a sparse one keeps its points beside a dense one. A
    chart has the places of them all, and there every value that a curve has.
    """
    lines = {str(line.get_label()): line for line in _curves(panel)}
    points = {name: _points(panel, line) for name, line in lines.items()}
    places = sorted({place for values in points.values() for place in _thinned(values)})
    horizontals = {
        str(line.get_label()): short(float(np.asarray(line.get_ydata(), float)[0]))
        for line in _horizontals(panel)
    }
    axes = {"across": panel.xaxis, "up": panel.yaxis}
    return {
        "across": places,
        "ranges": {name: _limits(axis) for name, axis in axes.items()},
        "scales": {name: axis.get_scale() for name, axis in axes.items()},
        "ticks": {name: _ticks(axis) for name, axis in axes.items()},
        "lines": {
            **{name: _curve(panel, name, values, places) for name, values in points.items()},
            **{name: {"median": [value] * len(places)} for name, value in horizontals.items()},
        },
    }


def _thinned(points: Points) -> list[float]:
    places = sorted(points)
    every = np.unique(np.linspace(0, len(places) - 1, MOST_PLACES).round().astype(int))
    return [places[index] for index in every]


def _curve(
    panel: Axes, name: str, points: Points, places: Iterable[float]
) -> dict[str, list[float | None]]:
    """The values of a curve at these places, and both ends of its band if it has one."""
    low, high = panel.get_ylim()
    least = 0.0 if panel.get_yscale() == "log" else 1e-6 * abs(high - low)  # else what is left of 0
    parts = {"median": points, **_band(panel, name)}
    return {
        part: [short(values.get(place), least) for place in places]
        for part, values in parts.items()
    }


def _band(panel: Axes, name: str) -> dict[str, Points]:
    """The lowest and highest vertex of a band at each place: `fill_between` puts two there."""
    low: dict[float, float] = {}
    high: dict[float, float] = {}
    bands = [band for band in panel.collections if band.get_label() == canvas.band_of(name)]
    for path in (path for band in bands for path in band.get_paths()):
        for place, value in np.asarray(path.vertices):
            place = _rounded(place)
            low[place] = min(low.get(place, np.inf), value)
            high[place] = max(high.get(place, -np.inf), value)
    return {"low": low, "high": high} if low else {}


def _limits(axis: Axis) -> list[float]:
    """The lowest and the highest number that an axis shows."""
    return sorted(map(_rounded, axis.get_view_interval()))


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Where an axis has labels, and which."""
    low, high = _limits(axis)
    places, formatter = (
        [float(place) for place in axis.get_majorticklocs()],
        axis.get_major_formatter(),
    )
    labels = formatter.format_ticks(places)
    if formatter.get_offset():  # labels that mean something only with what stands at the axis' end
        labels = [f"{place:g}" for place in places]
    ticks = zip(map(_rounded, places), labels, strict=True)
    return [(place, label) for place, label in ticks if label and low <= place <= high]


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _dash_of(line: Line2D) -> list[float]:
    """The dashes of a line in pixels; none of a solid one."""
    return [] if line.get_linestyle() == "-" else [8.0, 4.0]
