"""A row of probabilities from a Dirichlet distribution, and whole counts of what came from it.

Counts are small whole numbers, so that gamma functions of them are looked up. Arrays may be NumPy's
or JAX's: the counts say which.
"""

from typing import Any

import numpy as np
import scipy
from jaxtyping import Float, Int

Numbers = Any  # an array of NumPy or of JAX


def log_rises(concentration: Numbers, most: int, xp: Any) -> Numbers:
    """log [Γ(a + n) / Γ(a)] = log a + log (a + 1) + ... of n factors, for n = 0..`most`: one more
    axis. Of a concentration 0: 0 for n = 0, else -inf."""
    factors = concentration[..., None] + xp.arange(most)
    logs = xp.where(factors > 0, xp.log(xp.where(factors > 0, factors, 1.0)), -xp.inf)
    return xp.concat([xp.zeros_like(concentration[..., None]), xp.cumsum(logs, axis=-1)], axis=-1)


def log_evidence_of(counts: Numbers, concentration: Numbers, most: int) -> Numbers:
    """log P(one sequence with these counts [..., symbol]) [...], nats.

    P = Γ(A) / Γ(A + N) Π_s Γ(a_s + n_s) / Γ(a_s), with A = Σ a and N = Σ n: the
    Dirichlet-multinomial without its number of orders.

    Args:
        concentration: [symbol].
        most: no total is above that.
    """
    xp = counts.__array_namespace__()
    symbol = xp.arange(counts.shape[-1])
    rises = log_rises(concentration, most, xp)[symbol, counts]
    totals = log_rises(xp.sum(concentration), most, xp)[xp.sum(counts, axis=-1)]
    return xp.sum(rises, axis=-1) - totals


def expected_entropy(
    counts: Int[np.ndarray, "*batch symbol"], concentration: Float[np.ndarray, " symbol"], most: int
) -> Float[np.ndarray, "*batch"]:
    """E[-Σ θ log θ] = Σ (m/M) (ψ(M + 1) - ψ(m + 1)), nats; θ ~ Dirichlet(m), m = a + n, M = Σ m."""
    mass = counts + concentration
    total = concentration.sum()
    symbol, every = np.arange(len(concentration)), np.arange(most + 1)
    symbol_digamma = scipy.special.digamma(concentration[:, None] + every + 1)[symbol, counts]
    total_digamma = scipy.special.digamma(total + every + 1)[counts.sum(axis=-1)]
    share = mass / mass.sum(axis=-1, keepdims=True)
    return total_digamma - (share * symbol_digamma).sum(axis=-1)
