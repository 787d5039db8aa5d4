"""The figure of regret at a few lengths: one bar and one number per predictor."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from promptax.report import summaries, wording
from promptax.report.figures import canvas, style
from promptax.report.wording import nats

_ROW = 0.31  # inches from one bar to the next


def regret_bars(
    results: xr.Dataset,
    lengths: Sequence[int] | None = None,
    printed: Mapping[tuple[str, int], float] | None = None,
) -> Figure:
    """Cumulative regret in nats as one bar per predictor, one panel per length (in tokens).

    By default at the tuning length and at the last one. Whiskers are quartiles over repetitions,
    or two standard errors for a single repetition; the dashed line is the target's Bayes optimum.
    Dots are the medians of each pretrained network, where repetitions have the coordinate
    `pretraining`; diamonds what a paper printed, by predictor and length.

    Raises:
        KeyError: the results lack regrets, as what `evaluate` returns does: take
            `promptax.regret` of it.
        ValueError: a length that was not evaluated.
    """
    printed = printed or {}
    summary = summaries.summarise(results)
    wanted = summaries.evaluated_lengths(results, lengths)
    rows = _bar_rows(results)
    bayes = summaries.find(results, summaries.TARGET_BAYES)
    notes = [summaries.spread_note(summary, "Whisker")]
    results_by_pretraining = summaries.by_pretraining(results)
    notes += (
        ["Dots: each pretrained network."]
        if results_by_pretraining.sizes["pretraining"] > 1
        else []
    )
    notes += ["Diamond: the value printed in the paper."] if printed else []
    notes += [] if bayes is None else [f"Dashed line: {bayes}."]
    at = summary.sel(time=wanted)
    limit = canvas.upper_limit(at["median"].values)
    if (at["median"].values > limit).any():
        notes.append("Bars with a cut are longer than drawn; their number counts.")
    lines = [line for note in notes for line in canvas.wrapped_note(note)]

    left, right, top, bottom = 1.85, 0.12, 0.75, 0.25 + 0.175 * len(lines)
    inner = _ROW * (rows[-1][0] + 0.7)
    height = top + inner + bottom
    with style.house_style():
        figure = Figure(figsize=(style.WIDTH, height))
        canvas.figure_title(figure, f"Cumulative regret · {summaries.target_name(results)}")
        canvas.footnotes(figure, lines)
        width = (style.WIDTH - left - right) / len(wanted)
        for index, length in enumerate(wanted):
            box = (left + index * width, bottom, width - 0.14, inner)
            scaled = np.array(box) / [style.WIDTH, height, style.WIDTH, height]
            panel = figure.add_axes((scaled[0], scaled[1], scaled[2], scaled[3]))
            gap = 8 if printed else 4
            _draw_bars(panel, rows, summary.sel(time=length), style.looks(results), limit, gap)
            printed_here = {
                name: value for (name, steps), value in printed.items() if steps == length
            }
            _mark_values(panel, rows, results_by_pretraining.sel(time=length), printed_here, limit)
            panel.set_title(wording.count(length, "token"), pad=10)
            if bayes is not None:
                value = float(summary["median"].sel(predictor=bayes, time=length))
                panel.axvline(value, color=style.INK, linewidth=1, linestyle=(0, (4, 2)))
            if index == 0:
                _name_rows(panel, rows)
    return figure


def _draw_bars(
    panel: Axes,
    rows: list[tuple[float, str, str | None]],
    at: xr.Dataset,
    looks: dict[str, style.Look],
    limit: float,
    gap: int,
) -> None:
    """Bars, whiskers and numbers of one length; `gap`: points from a bar to its number."""
    lowest = min(0.0, canvas.smallest(at["median"].values))
    panel.set_xlim(1.1 * lowest, limit + 0.38 * (limit - lowest))
    panel.set_ylim(rows[-1][0] + 0.6, -0.1)
    panel.set_yticks([])
    panel.grid(False)
    panel.tick_params(bottom=False, labelbottom=False)
    for side in ("bottom", "left"):
        panel.spines[side].set_visible(False)
    panel.axvline(0, color=style.FAINT, linewidth=1)
    for place, group, name in rows:
        if name is None:
            continue
        row = at.sel(predictor=name)
        value, low, high = (float(row[part]) for part in ("median", "low", "high"))
        if not np.isfinite(value):
            panel.text(0, place, " diverged", va="center", fontsize=style.SMALL, color=style.MUTED)
            continue
        faint = 0.75 if group == "baselines" else 1.0
        panel.barh(place, min(value, limit), height=0.62, color=looks[name].color, alpha=faint)
        end = max(min(value, limit), 0.0)
        if value > limit:
            panel.plot(
                [0.9 * limit],
                [place],
                marker=(2, 0, -20),
                markersize=17,
                color=style.PAPER,
                markeredgewidth=2.5,
            )
        elif high - low > 0:
            panel.plot([low, min(high, 1.2 * limit)], [place, place], color=style.INK, linewidth=1)
            end = max(end, min(high, 1.2 * limit))
        panel.annotate(
            nats(value),
            (end, place),
            (gap, 0),
            textcoords="offset points",
            va="center",
            fontsize=style.SMALL,
            zorder=5,
            bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.6},
        )


def _mark_values(
    panel: Axes,
    rows: list[tuple[float, str, str | None]],
    by_pretraining: xr.DataArray,
    printed: Mapping[str, float],
    limit: float,
) -> None:
    """A dot for each pretrained network, and a diamond for a printed value, on its bar."""
    for place, _, name in rows:
        if name is None:
            continue
        values = by_pretraining.sel(predictor=name).values
        values = values[np.isfinite(values)]
        if by_pretraining.sizes["pretraining"] > 1:
            dots = values[values <= limit]
            panel.plot(dots, np.full(len(dots), place + 0.22), ".", color=style.INK, markersize=3.5)
        if name in printed and printed[name] <= 1.2 * limit:
            panel.plot(
                [printed[name]],
                [place],
                marker="D",
                markersize=5.5,
                markerfacecolor=style.PAPER,
                markeredgecolor=style.INK,
                markeredgewidth=1.1,
                zorder=6,
            )


def _bar_rows(results: xr.Dataset) -> list[tuple[float, str, str | None]]:
    """(place from the top in rows, group, predictor); a group's own row has no predictor."""
    rows: list[tuple[float, str, str | None]] = []
    place = 0.4
    for group, members in summaries.groups(results).items():
        rows.append((place, group, None))
        rows += [(place + 1 + index, group, name) for index, name in enumerate(members)]
        place += len(members) + 1.5
    return rows


def _name_rows(panel: Axes, rows: list[tuple[float, str, str | None]]) -> None:
    for place, group, name in rows:
        panel.text(
            -0.04,
            place,
            group if name is None else canvas.two_lines(name),
            transform=panel.get_yaxis_transform(),
            ha="right",
            va="center",
            linespacing=0.95,
            fontsize=style.SMALL,
            fontweight="bold" if name is None else "normal",
            color=style.MUTED if name is None else style.INK,
        )
