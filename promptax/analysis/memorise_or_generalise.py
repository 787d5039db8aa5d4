"""Does a network memorise its pool of tasks, or generalise beyond it? Where it stands between the
two, and a model with three numbers of where it stands when.

Wurgaft et al. 2025, "In-Context Learning Strategies Emerge Rationally" (arXiv 2506.17859): a
network is taken for a learner that weighs two predictors against each other while it is trained.
The one that memorises predicts the pool better and is longer to write down; the more data, the less
that counts.
"""

import lzma
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from promptax.axes import labelled
from promptax.checks import as_numbers
from promptax.doors import door
from promptax.specs import check

Grid = Float[np.ndarray, "pool_size step"]
"""A number for each size of the pool and each number of updates: [pool_size, step]."""
STARTS = tuple((a, b) for a in (0.1, 0.4, 0.7) for b in (0.3, 0.6, 0.9))  # of discount, simplicity
SCALES = np.exp(np.linspace(np.log(1e-4), np.log(1e4), 25))  # of how strongly evidence counts
BEST_STARTS = 5  # whose search goes on


@door
def relative_position(
    to_memorising: Float[np.ndarray, "*shape"],
    to_generalising: Float[np.ndarray, "*shape"],
    between: float | Float[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
    """Where a predictor stands: 1 at what memorises, 0 at what generalises.

        r = (d(h, G) - d(h, M)) / d(G, M), at most 1 in size;   position = (r + 1) / 2

    from the distances of a predictor h to both, and `between` them (Wurgaft et al. 2025, section
    3). Where the two are nowhere apart it is NaN.

    Raises:
        ValueError: shapes that do not fit.
    """
    memorising, generalising, apart = (
        as_numbers(name, distances)
        for name, distances in {
            "to_memorising": to_memorising,
            "to_generalising": to_generalising,
            "between": between,
        }.items()
    )
    check(
        memorising.shape == generalising.shape and apart.shape in ((), memorising.shape),
        "Expected distances of one shape, and that between the two once or for each; got shapes "
        f"{memorising.shape}, {generalising.shape} and {apart.shape}.",
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (generalising - memorising) / apart
    return (np.clip(share, -1, 1) + 1) / 2


@door
def compressed_bits(numbers: Float[np.ndarray, "*shape"]) -> float:
    """How many bits numbers take in float32, compressed: what a learner has to write down.

    Raises:
        TypeError: no numbers, or rows of several lengths.
    """
    empty = len(lzma.compress(b""))
    written = as_numbers("numbers", numbers).astype(np.float32).tobytes()
    return 8.0 * (len(lzma.compress(written)) - empty)


@door
def hierarchical_fit(
    position: Grid,
    advantage: Float[np.ndarray, " pool_size"],
    memorising_bits: Float[np.ndarray, " pool_size"],
    generalising_bits: float,
    sizes: Float[np.ndarray, " pool_size"],
    steps: Float[np.ndarray, " step"],
) -> xr.Dataset:
    """Fit the hierarchical model of memorising and generalising, and say how well it does.

    After n updates on a pool of D tasks the model gives what memorises the weight

        σ( γ n^(1 - α) · a_D  -  log 2 · (K_D^β - K_0^β) ),

    the posterior odds of a learner who saw n^(1 - α) sequences, of which each speaks with γ a_D for
    the pool, and whose prior gives a program of K bits the probability 2^-K^β (Wurgaft et al. 2025,
    section 4). The three numbers make Σ (weight - position)² small over all sizes and steps.

    Args:
        position: where networks stood, 1 at memorising (`relative_position`).
        advantage: a_D, nats by which what memorises predicts a pool's sequences better.
        memorising_bits: K_D, what a pool takes to write down (`compressed_bits`), code included.
        generalising_bits: K_0, the code of what generalises.
        sizes: D, tasks of each pool.
        steps: n, updates at which the networks were looked at.

    Returns:
        A Dataset over pool_size and step: `position`, `weight` of the model, and `held_out`, its
        weight for each pool when it was fitted to the other pools alone. Attributes: `sensitivity`
        γ, `discount` α, `simplicity` β; `correlation` of `weight` with `position`, and
        `held_out_correlation`.

    Raises:
        ValueError: shapes that do not fit, fewer than 2 sizes or no step, numbers that are not
            finite, steps of 0, or bits below 0.
    """
    position = as_numbers("position", position)
    pools, updates = as_numbers("sizes", sizes), as_numbers("steps", steps)
    check(
        pools.ndim == updates.ndim == 1,
        f"Expected a row of sizes and one of steps; got shapes {pools.shape} and {updates.shape}.",
    )
    shape = len(pools), len(updates)
    check(
        position.shape == shape and shape[0] >= 2 and bool(np.isfinite(position).all()),
        f"Expected finite positions of at least 2 sizes by steps, {shape}; got {position.shape}.",
    )
    gain, bits = as_numbers("advantage", advantage), as_numbers("memorising_bits", memorising_bits)
    check(
        all(vector.shape == shape[:1] and np.isfinite(vector).all() for vector in (gain, bits)),
        f"Expected a finite advantage and bits for each of {shape[0]} sizes; got shapes "
        f"{gain.shape} and {bits.shape}.",
    )
    code = float(generalising_bits)
    check(
        shape[1] >= 1 and bool((np.isfinite(updates) & (updates > 0)).all()),
        f"Expected at least one step, and finite ones above 0; got {updates.tolist()!s:.60}. Leave "
        "out the look before any update.",
    )
    check(
        np.isfinite(code) and code >= 0 and bool((bits >= 0).all()),
        f"Expected bits that are finite and at least 0; got {bits.tolist()!s:.60} and {code:g}.",
    )
    check(
        bool(np.isfinite(pools).all()),
        f"Expected finite sizes; got {pools.tolist()!s:.60}.",
    )
    grid = _Evidence(gain, bits, code, updates)
    best = _fit(grid, position)
    held_out = np.empty_like(position)
    for index in range(shape[0]):
        others = np.arange(shape[0]) != index
        numbers = _fit(grid.of(others), position[others])
        held_out[index] = grid.of(~others).weight(numbers)[0]
    weight = grid.weight(best)
    axes = ("pool_size", "step")
    return labelled(
        {"position": (axes, position), "weight": (axes, weight), "held_out": (axes, held_out)},
        {"pool_size": np.asarray(sizes), "step": np.asarray(steps)},
        {
            "sensitivity": float(np.exp(best[0])),
            "discount": float(best[1]),
            "simplicity": float(best[2]),
            "correlation": _correlation(weight, position),
            "held_out_correlation": _correlation(held_out, position),
        },
    )


class _Evidence(NamedTuple):
    """What the model's odds are made of."""

    advantage: Float[np.ndarray, " pool_size"]
    memorising_bits: Float[np.ndarray, " pool_size"]
    generalising_bits: float
    steps: Float[np.ndarray, " step"]

    def of(self, sizes: np.ndarray) -> "_Evidence":
        """Of some pools alone."""
        return self._replace(
            advantage=self.advantage[sizes], memorising_bits=self.memorising_bits[sizes]
        )

    def weight(self, numbers: Float[np.ndarray, " number"]) -> Grid:
        """The model's weight of memorising, for (log γ, α, β)."""
        log_sensitivity, discount, simplicity = numbers
        seen = np.exp(log_sensitivity) * self.steps ** (1 - discount)
        price = self.memorising_bits**simplicity - self.generalising_bits**simplicity
        odds = seen * self.advantage[:, None] - np.log(2) * price[:, None]
        return 0.5 * (1 + np.tanh(odds / 2))


def _fit(grid: _Evidence, position: Grid) -> Float[np.ndarray, " number"]:
    """(log γ, α, β) of the least squared error, from the best of several starts."""
    import scipy.optimize  # takes long to import

    def residuals(numbers: Float[np.ndarray, " number"]) -> Float[np.ndarray, " cell"]:
        return (grid.weight(numbers) - position).ravel()

    starts = [np.array([np.log(s), a, b]) for a, b in STARTS for s in SCALES]
    starts.sort(key=lambda numbers: float(np.sum(residuals(numbers) ** 2)))
    bounds = ([-30.0, 0.0, 0.0], [30.0, 1.0, 1.5])
    searches = [
        scipy.optimize.least_squares(residuals, start, bounds=bounds)
        for start in starts[:BEST_STARTS]
    ]
    return min(searches, key=lambda result: result.cost).x


def _correlation(ours: Grid, theirs: Grid) -> float:
    """Pearson's; NaN where one of them does not vary."""
    if ours.std() == 0 or theirs.std() == 0:
        return float("nan")
    return float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])
