"""What can be read off internal states by a linear map? Probes, each beside a control.

A predictor that does Bayesian inference must carry a sufficient statistic of what it has read, such
as the share of each symbol. A linear probe is a ridge regression from the internal state at a step
to such a number, fitted on some sequences and judged on others (Alain and Bengio 2016, arXiv
1610.01644). A wide state lets a probe find almost anything, so that each probe has a control: the
same regression to the numbers of another sequence (Hewitt and Liang 2019, arXiv 1909.03368).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from promptax.analysis.internal_states import internal_states, widths_of_states
from promptax.axes import labelled
from promptax.doors import door
from promptax.protocol.predictor import Predictor
from promptax.specs import check, check_kind


@door
def linear_probes(
    predictor: Predictor,
    observations: Any,
    statistics: Mapping[str, Float[Any, "sequence time"]],
    *,
    penalty: float = 1e-3,
    steps: Sequence[int] | None = None,
) -> xr.Dataset:
    """How much of each statistic a linear map of each internal state explains, on new sequences.

    The first half of the sequences fits, the other half judges. States are centred and scaled to a
    variance of 1 each; with n rows and residuals r the map minimises

        (1/n) Σ r² + penalty · |map|²

    Args:
        predictor: whose states; prompted ones too.
        observations: tokens [sequence, time], or rows [sequence, time, input].
        statistics: by name, a number for every sequence and step, such as the share of a symbol in
            what was read up to that step, itself included.
        penalty: of the ridge regression.
        steps: which steps, counted from 1, give the rows of the regressions; None: all.

    Returns:
        A Dataset over internal (the internal state's name) and quantity (the statistic's name):
        `explained`, the share of the statistic's variance that the probe explains (R², 1 at best;
        below 0 is worse than the mean); `control`, the same where sequences' statistics were
        exchanged, so that only what depends on the step alone can be read; and `selectivity`, their
        difference.

    Raises:
        ValueError: fewer than 4 sequences, a statistic of another shape, one that is constant, or
            steps that are not there.

    Example:

        shares = np.cumsum(tokens, axis=1) / np.arange(1, tokens.shape[1] + 1)
        linear_probes(network, tokens, {"share of symbol 1": shares})
    """
    check(0 <= penalty < np.inf, f"Expected a finite penalty of at least 0; got {penalty}.")
    check_kind(statistics, Mapping, '{"share": shares}')
    check(len(statistics) > 0, "Expected at least one statistic by name; got none.")
    names = list(widths_of_states(predictor, observations))
    sequences, time = np.shape(observations)[:2]
    check(sequences >= 4, f"Expected at least 4 sequences, half to fit; got {sequences}.")
    chosen = _places(steps, time)
    pairs = [
        _with_exchanged(word, given, sequences, time, chosen) for word, given in statistics.items()
    ]
    states = internal_states(predictor, observations)
    shares = np.empty((2, len(names), len(statistics)))
    for column, (values, exchanged) in enumerate(pairs):
        for row, name in enumerate(names):
            for index, wanted in enumerate((values, exchanged)):
                shares[index, row, column] = _explained(
                    states[name].values[:, chosen], wanted, penalty
                )
    axes = ("internal", "quantity")
    return labelled(
        {
            "explained": (axes, shares[0]),
            "control": (axes, shares[1]),
            "selectivity": (axes, shares[0] - shares[1]),
        },
        coords={"internal": names, "quantity": list(statistics)},
    )


def _places(steps: Sequence[int] | None, time: int) -> Int[np.ndarray, " chosen"]:
    """The places of steps on the axis `time`."""
    wanted = range(1, time + 1) if steps is None else list(steps)
    check(
        all(isinstance(step, int | np.integer) and not isinstance(step, bool) for step in wanted),
        f"Expected steps as whole numbers; got {steps}.",
    )
    check(
        len(wanted) > 0 and len(set(wanted)) == len(wanted) and 1 <= min(wanted) <= max(wanted),
        f"Expected steps from 1 on, at least one, each named once; got {steps}.",
    )
    check(max(wanted) <= time, f"Expected steps up to {time}; got {max(wanted)}.")
    return np.array(wanted) - 1


def _with_exchanged(
    word: str, given: Any, sequences: int, time: int, chosen: Int[np.ndarray, " chosen"]
) -> tuple[Float[np.ndarray, "sequence chosen"], Float[np.ndarray, "sequence chosen"]]:
    """A statistic at the chosen places as it was given, and with that of its neighbour for each
    sequence."""
    values = np.asarray(given, float)
    check(
        values.shape == (sequences, time) and bool(np.isfinite(values).all()),
        f"Expected finite numbers [{sequences}, {time}] as {word!r}; got shape {values.shape}.",
    )
    values = values[:, chosen]
    exchanged = np.roll(values, 1, axis=0)
    judging = sequences // 2
    check(
        values[judging:].std() > 0 and exchanged[judging:].std() > 0,
        f"Expected a statistic that varies; {word!r} is the same in all of the last "
        f"{sequences - judging} sequences, which judge the probe.",
    )
    return values, exchanged


def _explained(
    states: Float[np.ndarray, "sequence time state"],
    wanted: Float[np.ndarray, "sequence time"],
    penalty: float,
) -> float:
    """R² on the second half of the sequences, of the map that the first half gives."""
    half = len(states) // 2
    rows = [part.reshape(-1, states.shape[-1]).astype(float) for part in np.split(states, [half])]
    targets = [part.ravel() for part in np.split(wanted, [half])]
    mean, scale = rows[0].mean(axis=0), rows[0].std(axis=0)
    fitting, judging = ((part - mean) / np.where(scale > 0, scale, 1.0) for part in rows)
    centre = targets[0].mean()
    normal = fitting.T @ fitting / len(fitting) + penalty * np.eye(fitting.shape[1])
    linear = np.linalg.lstsq(normal, fitting.T @ (targets[0] - centre) / len(fitting))[0]
    residuals = targets[1] - centre - judging @ linear
    return float(1 - np.mean(residuals**2) / np.var(targets[1]))
