"""The figure of internal states: where a prompt takes a network, and where it goes from there."""

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from promptax.report import summaries
from promptax.report.figures import canvas, style

_NUMBERED = 8  # prompts up to this length have every state numbered


def internal_states(states: xr.Dataset) -> Figure:
    """Two components of the internal state, one panel per predictor.

    Grey: `background` [sample, component], the untuned network on its pretraining sequences.
    Lines: `trajectory` [predictor, sequence, time, component], coloured by time. Numbered marks:
    `prompt_trajectory` [predictor, prompt, component], in reading order.

    Raises:
        KeyError: a Dataset that is not from `promptax.analysis.state_map`.
    """
    predictors = [str(name) for name in states["predictor"].values]
    columns = 2 if len(predictors) <= 12 else 3
    rows = -(-len(predictors) // columns)
    side, left, top, bottom, gap = 2.85 if columns == 2 else 1.85, 0.42, 0.75, 1.1, 0.42
    notes = canvas.wrapped_note(_what_is_shown(states))
    bottom += 0.175 * len(notes)
    height = top + rows * side * 0.8 + (rows - 1) * gap + bottom
    limits, zoomed = _limits(states)
    with style.house_style():
        figure = Figure(figsize=(style.WIDTH, height))
        canvas.figure_title(figure, f"Internal states · {summaries.target_name(states)}")
        canvas.footnotes(figure, notes)
        colors = _time_colors()
        norm = Normalize(0, max(1, states.sizes["time"] - 1))
        for index, name in enumerate(predictors):
            row, column = divmod(index, columns)
            edge = height - top - row * (side * 0.8 + gap) - side * 0.8
            box = (left + column * (side + 0.2)) / style.WIDTH, edge / height
            panel = figure.add_axes((*box, side / style.WIDTH, side * 0.8 / height))
            _draw_panel(panel, states.isel(predictor=index), colors, norm, limits[index])
            factor = f" ({zoomed[index]:.1f}× wider view)" if zoomed[index] > 1.05 else ""
            panel.set_title(
                canvas.shortened(name, 34 if columns == 2 else 20) + factor,
                fontsize=style.SMALL,
                pad=5,
            )
        _axis_words(figure, states, bottom)
        bar = figure.add_axes((0.3, (0.28 + 0.175 * len(notes)) / height, 0.4, 0.1 / height))
        ends = figure.colorbar(ScalarMappable(norm, colors), cax=bar, orientation="horizontal")
        ends.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.set_title(
            "tokens read after the prompt",
            fontsize=style.NOTE,
            fontweight="normal",
            color=style.MUTED,
            pad=4,
            loc="center",
        )
        bar.tick_params(labelsize=style.NOTE, length=0)
        bar.grid(False)
    return figure


def _draw_panel(
    panel: Axes,
    states: xr.Dataset,
    colors: Colormap,
    norm: Normalize,
    limits: tuple[float, float, float, float],
) -> None:
    """One predictor: background, its trajectories, the states of its prompt."""
    background = _finite(states["background"].transpose("sample", "component").values)
    panel.scatter(
        background[:, 0],
        background[:, 1],
        s=3,
        color=style.FAINT,
        linewidths=0,
        alpha=0.7,
        zorder=1,
    )
    paths = states["trajectory"].transpose("sequence", "time", "component").values
    steps = np.stack([paths[:, :-1], paths[:, 1:]], axis=2)  # [sequence, time, end, component]
    times = np.broadcast_to(np.arange(1, paths.shape[1]), steps.shape[:2])
    whole = np.isfinite(steps).all(axis=(2, 3))
    lines = LineCollection(
        list(steps[whole]),
        cmap=colors,
        norm=norm,
        linewidths=0.9,
        alpha=0.7,
        zorder=2,
    )
    lines.set_array(times[whole])
    panel.add_collection(lines)
    _draw_prompt(
        panel, _finite(states["prompt_trajectory"].transpose("prompt", "component").values)
    )
    panel.set_xlim(limits[0], limits[1])
    panel.set_ylim(limits[2], limits[3])
    panel.set_xticks([])
    panel.set_yticks([])
    for side in panel.spines.values():
        side.set_visible(True)


def _draw_prompt(panel: Axes, prompt: np.ndarray) -> None:
    """Numbered marks joined in reading order; of a long prompt, only the ends are numbered."""
    numbered = len(prompt) <= _NUMBERED
    panel.plot(prompt[:, 0], prompt[:, 1], color=style.PROMPT_COLOR, linewidth=1, zorder=4)
    for index, (across, up) in enumerate(prompt):
        label = str(index + 1) if numbered or index in (0, len(prompt) - 1) else ""
        panel.plot(
            [across],
            [up],
            marker="o",
            markersize=12 if label else 4,
            zorder=5 + index,
            color=style.PROMPT_COLOR,
            markeredgecolor=style.PAPER,
            markeredgewidth=0.8,
            clip_on=False,
        )
        panel.annotate(
            label,
            (across, up),
            ha="center",
            va="center_baseline",
            fontsize=9,
            color=style.PAPER,
            zorder=5.5 + index,
            fontweight="bold",
        )


def _limits(states: xr.Dataset) -> tuple[list[tuple[float, float, float, float]], list[float]]:
    """(left, right, low, high) per predictor, and how much wider than the narrowest view it is.

    All panels share one view unless one would need more than two and a half times the room of
    another; then each has its own, never smaller than the background.
    """
    background = _finite(states["background"].values)
    views = []
    for index in range(states.sizes["predictor"]):
        panel = states.isel(predictor=index)
        parts = [
            background,
            *(
                _finite(panel[name].values.reshape(-1, panel.sizes["component"]))
                for name in ("trajectory", "prompt_trajectory")
            ),
        ]
        points = np.concatenate(parts) if any(len(part) for part in parts) else np.zeros((1, 2))
        views.append((points.min(axis=0), points.max(axis=0)))
    sizes = [float(np.max(high - low)) or 1.0 for low, high in views]
    if max(sizes) <= 2.5 * min(sizes):
        shared = np.min([low for low, _ in views], 0), np.max([high for _, high in views], 0)
        views = [shared] * len(views)
        sizes = [1.0] * len(views)
    limits = []
    for low, high in views:
        room = 0.07 * np.maximum(high - low, 1e-6)
        limits.append((*_pair(low, high, room, 0), *_pair(low, high, room, 1)))
    return limits, [size / min(sizes) for size in sizes]


def _pair(low: np.ndarray, high: np.ndarray, room: np.ndarray, axis: int) -> tuple[float, float]:
    return float(low[axis] - room[axis]), float(high[axis] + room[axis])


def _axis_words(figure: Figure, states: xr.Dataset, bottom: float) -> None:
    """Name the two components once, with the share of variance that each explains."""
    height = figure.get_size_inches()[1]
    shares = np.atleast_1d(states.attrs.get("explained_variance", []))
    labels = [
        f"component {index + 1}"
        + (f" ({shares[index]:.0%} of variance)" if len(shares) > 1 else "")
        for index in range(2)
    ]
    small = {"fontsize": style.SMALL, "color": style.MUTED}
    figure.text(0.5, (bottom - 0.1) / height, labels[0], ha="center", va="top", **small)
    figure.text(
        0.2 / style.WIDTH,
        0.5 + 0.5 * (bottom - 0.75) / height,
        labels[1],
        ha="center",
        va="center",
        rotation=90,
        **small,
    )


def _what_is_shown(states: xr.Dataset) -> str:
    what = str(states.attrs.get("what", "internal state"))
    return (
        f"{what[:1].upper()}{what[1:]}. Grey: the untuned network on its pretraining sequences. "
        "Lines: on sequences of the target. Numbered marks: while reading the prompt."
    )


def _time_colors() -> Colormap:
    """Dark to bright over time, without the pale end that is lost on white paper."""
    shades = matplotlib.colormaps[style.TIME_COLORS](np.linspace(0, 0.88, 256))
    return LinearSegmentedColormap.from_list("time", shades)


def _finite(points: np.ndarray) -> np.ndarray:
    return points[np.isfinite(points).all(axis=-1)]
