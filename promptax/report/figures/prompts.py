"""Figures about prompts: every hard prompt ranked, and how far prompts take the states."""

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from promptax.axes import labelled
from promptax.report import summaries
from promptax.report.figures import canvas, style


def prompt_ranking(
    exact: Float[np.ndarray, " candidate"],
    network: Float[np.ndarray, " candidate"],
    zeros: Int[np.ndarray, " candidate"],
    title: str,
) -> Figure:
    """Every hard prompt's loss above that of the best one, in nats: on a network against the exact
    predictor of its pretraining task. `zeros`: how many symbols 0 a prompt has, its colour."""
    across, up = exact - np.nanmin(exact), network - np.nanmin(network)
    top = 1.08 * max(float(np.nanmax(across)), float(np.nanmax(up)), 0.1)
    notes = ["Dashed: where a network would rank prompts as the exact predictor does."]
    lines = [line for note in notes for line in canvas.wrapped_note(note)]
    with style.house_style():
        height = 4.6
        figure = Figure(figsize=(style.WIDTH, height))
        canvas.figure_title(figure, title)
        canvas.footnotes(figure, lines)
        panel = figure.add_axes((0.13, 0.2, 0.66, 0.66))
        panel.plot([0, top], [0, top], color=style.MUTED, linewidth=1, linestyle=(0, (4, 2)))
        colors = matplotlib_colors(int(zeros.max(initial=0)) + 1)
        for count in range(int(zeros.max(initial=0)) + 1):
            chosen = zeros == count
            panel.scatter(
                across[chosen],
                up[chosen],
                s=22,
                color=colors[count],
                edgecolor=style.PAPER,
                linewidth=0.5,
                label=f"{count}",
                zorder=3,
            )
        panel.set_xlim(-0.02 * top, top)
        panel.set_ylim(-0.02 * top, top)
        panel.set_xlabel("exact predictor: above its best prompt [nats]")
        panel.set_ylabel("network [nats]")
        panel.legend(
            title="symbols 0",
            loc="center left",
            bbox_to_anchor=(1.03, 0.5),
            frameon=False,
            fontsize=style.SMALL,
            title_fontsize=style.SMALL,
        )
    return figure


def matplotlib_colors(count: int) -> np.ndarray:
    """Colours of an ordered scale [count, rgba]."""
    import matplotlib

    return matplotlib.colormaps[style.TIME_COLORS](np.linspace(0.0, 0.92, max(1, count)))


def prompt_distances(states: xr.Dataset) -> Figure:
    """How far the states of each predictor are from the nearest ordinary state, over its prompt
    (positions up to 0) and the tokens after it, as multiples of what is usual (`state_map`)."""
    names = [str(name) for name in states["predictor"].values]
    looks = style.looks(
        labelled(
            {},
            coords={
                "predictor": names,
                "group": (
                    "predictor",
                    ["baselines" if name in ("untuned",) else "prompts" for name in names],
                ),
            },
        )
    )
    prompts = states["prompt_distance"].transpose("predictor", "prompt").values
    after = states["distance"].transpose("predictor", "time").values
    ordinary = float(states["ordinary_distance"])
    curves = {}
    for name, row, later in zip(names, prompts, after, strict=True):
        row = row[np.isfinite(row)]
        x = np.concatenate([np.arange(-len(row) + 1, 1), states["time"].values])
        curves[name] = x, np.concatenate([row, later])
    most = max(float(np.nanmax(y)) for _, y in curves.values())
    ends = [
        canvas.EndLabel(name, "", _last(y), looks[name].color) for name, (_, y) in curves.items()
    ]
    title = f"Distance from ordinary states · {summaries.target_name(states)}"
    notes = ["Left of the dotted line: the rows of the prompt. Grey line: 95 % of ordinary states."]
    with style.house_style():
        heights = [max(2.6, canvas.end_label_height(ends))]
        figure, (panel,) = canvas.stacked_panels(title, ["multiples of usual"], heights, notes)
        for name, (x, y) in curves.items():
            look = looks[name]
            panel.plot(x, y, label=name, color=look.color, linestyle=look.line, linewidth=1.4)
        panel.set_yscale("symlog", linthresh=1.0, linscale=0.5)
        panel.set_ylim(0, 1.3 * most)
        first = min(int(x[0]) for x, _ in curves.values())
        panel.set_xlim(first - 0.5, float(states["time"].values[-1]))
        grey = {"color": style.FAINT, "linewidth": 1.5, "zorder": 0.5}
        panel.axhline(ordinary, label="95 % of ordinary states", **grey)
        panel.axvline(0.5, color=style.MUTED, linewidth=1, linestyle=(0, (1, 2)))
        canvas.plain_numbers(panel, most)
        panel.set_xlabel("tokens (prompt: up to 0)")
        panel.set_ylabel("distance")
        canvas.label_ends(panel, ends)
    return figure


def _last(values: Float[np.ndarray, " time"]) -> float:
    """The last one that is finite."""
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else float("nan")
