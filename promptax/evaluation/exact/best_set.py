"""Which candidates mix best: the exact search that mixtures of hard prompts use."""

import math

import numpy as np
from jaxtyping import Float


def best_set(
    log_likelihoods: Float[np.ndarray, "candidate sequence"],
    components: int,
    pairs: int = 1_000_000,
    weights: Float[np.ndarray, " sequence"] | None = None,
    same: float = 1e-6,
) -> list[int]:
    """The candidates whose equally weighted mixture has the highest mean log likelihood.

    Exact for one component, and for two if there are at most `pairs` pairs. Otherwise candidates
    are added one by one, to the best pair where that is known, and exchanged while that helps. A
    candidate may be chosen twice.

    Args:
        log_likelihoods: log p(sequence) under each candidate, nats.
        components: how many to choose.
        pairs: try all pairs up to that many; beyond, begin with the best single candidate.
        weights: of the sequences in the mean, all positive. None: equal.
        same: values that close to the highest, relative to it, are as good: the first is taken.

    Returns:
        The candidates' numbers, in order.
    """
    count, sequences = log_likelihoods.shape
    weights = np.full(sequences, 1 / sequences) if weights is None else weights

    def highest(values: Float[np.ndarray, " choice"]) -> tuple[int, float]:
        best = values.max()
        return int(np.argmax(values >= best - same * abs(best))), float(best)

    def beside(chosen: list[int], first: int = 0) -> tuple[int, float]:
        """The best candidate, from the first on, next to the chosen ones."""
        given = np.logaddexp.reduce(log_likelihoods[chosen], axis=0)
        index, value = highest(np.logaddexp(given, log_likelihoods[first:]) @ weights)
        return first + index, value

    if components >= 2 and count * (count + 1) // 2 <= pairs:
        partners = [beside([candidate], first=candidate) for candidate in range(count)]
        candidate, _ = highest(np.array([value for _, value in partners]))
        chosen = [candidate, partners[candidate][0]]
    else:
        chosen = [highest(log_likelihoods @ weights)[0]]
    while len(chosen) < components:
        chosen.append(beside(chosen)[0])
    best, improved = -math.inf, components > 1
    while improved:
        improved = False
        for place in range(components):
            kept = chosen[:place] + chosen[place + 1 :]
            candidate, value = beside(kept)
            if value > best + same * abs(value):
                chosen, best, improved = [*kept[:place], candidate, *kept[place:]], value, True
    return sorted(chosen)
