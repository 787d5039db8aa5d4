"""The figure of decisions: what policies miss, summed over rounds."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from promptax.report import wording
from promptax.report.figures import canvas, style

_COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LINES = ("-", (0, (6, 1.6)), (0, (1, 1.4)))


def regret_over_rounds(played: xr.Dataset) -> Figure:
    """Cumulative regret [policy, repetition, round] of `promptax.decisions.play`, in rewards.

    Lines are means over repetitions, and bands two standard errors around them: regret is an
    expectation, and a median would hide the repetitions in which a policy never finds the best arm.

    Raises:
        KeyError: a Dataset that is not from `play`.
    """
    repetitions, rounds = played.sizes["repetition"], played["round"].values
    notes = [
        f"Mean over {wording.count(repetitions, 'repetition')}, the same for all."
        + (" Bands: ± 2 standard errors." if repetitions > 1 else "")
    ]
    highest = float(played["regret"].mean("repetition").max())
    with style.house_style():
        figure, (panel,) = canvas.stacked_panels(
            "What policies miss beside the best arm", ["Cumulative regret"], [3.6], notes
        )
        panel.set_xlim(0, float(rounds[-1]))
        panel.set_ylim(0, 1.1 * max(highest, 1e-3))
        labels = []
        for index, name in enumerate(played["policy"].values):
            color = _COLORS[index % len(_COLORS)]
            mean, error = _mean_and_error(played["regret"].sel(policy=name))
            line = _LINES[index // len(_COLORS) % len(_LINES)]
            panel.plot(rounds, mean, label=str(name), color=color, linestyle=line, zorder=3)
            low, high = mean - 2 * error, mean + 2 * error
            panel.fill_between(rounds, low, high, color=color, alpha=0.18, linewidth=0)
            last = float(mean[-1])
            labels.append(canvas.EndLabel(str(name), f"{last:.2f}", last, color))
        canvas.label_ends(panel, labels)
        panel.set_ylabel("regret [rewards]")
        panel.set_xlabel("rounds")
    return figure


def _mean_and_error(regret: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over repetitions and its standard error, by round; without an error of one alone."""
    values = regret.transpose("repetition", "round").values
    if len(values) < 2:
        return values.mean(axis=0), np.zeros(values.shape[1])
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
