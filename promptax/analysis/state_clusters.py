"""Are internal states the same where the sufficient statistic is the same?

A predictor that does Bayesian inference needs nothing of what it has read but a sufficient
statistic: of independent symbols, how often each came. Sequences with the same counts in another
order should leave states that are near each other, nearer than those of other counts (Ortega et al.
2019, arXiv 1905.03030; Mikulik et al. 2020, arXiv 2010.11223).
"""

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from promptax.analysis.internal_states import internal_states, widths_of_states
from promptax.axes import labelled
from promptax.doors import door
from promptax.protocol.predictor import Predictor
from promptax.specs import check


@door
def state_clusters(
    predictor: Predictor, observations: Any, statistic: Float[Any, "sequence time _"]
) -> xr.Dataset:
    """How the internal states of sequences lie that share a statistic, and of those that do not.

    All comparisons are between two sequences after the same number of steps. Each coordinate of a
    state is divided by its standard deviation over sequences and steps first.

    Args:
        predictor: whose states.
        observations: tokens [sequence, time], or rows [sequence, time, input].
        statistic: numbers [sequence, time, quantity], such as the counts of all symbols up to that
            step; states belong together where all of them are equal.

    Returns:
        A Dataset over internal (the internal state's name) and time, the steps read: `within` and
        `between`, mean Euclidean distance of two states with the same and with another statistic;
        `together`, the share of states whose nearest neighbour has the same statistic, among those
        that share theirs with somebody; `expected`, what that share is for neighbours drawn at
        random. NaN where no two sequences share a statistic, or all do.

    Raises:
        ValueError: fewer than 3 sequences, or a statistic of another shape.

    Example:

        counts = np.cumsum(np.eye(2)[tokens], axis=1)
        state_clusters(network, tokens, counts)
    """
    names = list(widths_of_states(predictor, observations))
    sequences, length = np.shape(observations)[:2]
    values = np.asarray(statistic, float)
    check(
        sequences >= 3 and values.ndim == 3 and values.shape[:2] == (sequences, length),
        f"Expected at least 3 sequences and a statistic [{sequences}, {length}, quantity]; got "
        f"shape {values.shape}.",
    )
    states = internal_states(predictor, observations)
    same = np.array([_same(values[:, step]) for step in range(length)])
    numbers = np.array([_compare(states[name].values, same) for name in names])
    axes = ("internal", "time")
    words = ("within", "between", "together", "expected")
    return labelled(
        {word: (axes, numbers[..., index]) for index, word in enumerate(words)},
        {"internal": names, "time": np.arange(1, length + 1)},
    )


def _same(
    statistic: Float[np.ndarray, "sequence quantity"],
) -> Bool[np.ndarray, "sequence sequence"]:
    """Which pairs share it; none is a pair with itself."""
    equal = np.all(statistic[:, None] == statistic[None], axis=-1)
    return equal & ~np.eye(len(statistic), dtype=bool)


def _compare(
    states: Float[np.ndarray, "sequence time state"],
    same: Bool[np.ndarray, "time sequence sequence"],
) -> Float[np.ndarray, "time word"]:
    """Within, between, together and expected at each step."""
    scale = states.std(axis=(0, 1))
    scaled = states / np.where(scale > 0, scale, 1.0)
    return np.array([_compare_at(scaled[:, step], pairs) for step, pairs in enumerate(same)])


def _compare_at(
    states: Float[np.ndarray, "sequence state"], same: Bool[np.ndarray, "sequence sequence"]
) -> Float[np.ndarray, " word"]:
    apart = np.linalg.norm(states[:, None] - states[None], axis=-1)
    others = ~same & ~np.eye(len(states), dtype=bool)
    if not same.any() or not others.any():
        return np.full(4, np.nan)
    np.fill_diagonal(apart, np.inf)
    shares = same.any(axis=1)
    nearest = apart.argmin(axis=1)
    together = same[np.arange(len(states)), nearest][shares].mean()
    expected = (same.sum(axis=1) / (len(states) - 1))[shares].mean()
    return np.array([apart[same].mean(), apart[others].mean(), together, expected])
