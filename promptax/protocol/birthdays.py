"""How many different things there are at least, told by how few of some draws are equal.

Sums over distinct beliefs are short if there are few of them, and nobody knows how many before they
are listed. But of M words drawn at random, some leave a predictor in states in which earlier ones
left it: fewer, the more states there are. If only K states exist, whatever the chance of each,

    E[draws that are equal to an earlier one]  ≥  M - K (1 - (1 - 1/K)^M)

with equality where all are equally likely. A number far below that says that there are more than K.
"""

import numpy as np
from jaxtyping import Int

DRAWS = 2**14  # of 200,000 equally likely states, 653 draws meet an earlier one
ERRORS = 5  # how many standard errors below that speak for more states


def random_words(symbols: int, length: int, draws: int = DRAWS) -> Int[np.ndarray, "draw time"]:
    """Words of that length, all equally likely; the same at every call."""
    return np.random.default_rng(0).integers(symbols, size=(draws, length), dtype=np.int32)


def least_number(draws: int, distinct: int, most: int) -> int | None:
    """About how many different things there are at least, if surely more than `most`; else None.

    Args:
        draws: how many were drawn independently.
        distinct: how many of them were different.
        most: how many different things there may be.
    """
    repeats = draws - distinct
    expected = draws + most * np.expm1(draws * np.log1p(-1 / most))
    if repeats >= expected - ERRORS * np.sqrt(expected):
        return None
    return max(most + 1, draws**2 // (2 * max(repeats, 1)))
