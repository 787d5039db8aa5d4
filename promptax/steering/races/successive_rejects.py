"""Successive rejects (Audibert, Bubeck and Munos 2010, "Best Arm Identification in Multi-Armed
Bandits"): one after the other the worst candidate drops out.

Of K candidates and n sequences in all, those that are left in phase k = 1..K-1 have read

    n_k = ⌈(n - K) / (loḡ K · (K + 1 - k))⌉,     loḡ K = 1/2 + Σ_{i=2..K} 1/i

sequences. Phases in which they would read less than a fifth more than before read nothing, and
reject by what is known: with hundreds of candidates there would be hundreds of rounds.
"""

import math

import jax.numpy as jnp

from promptax.steering.races.base import (
    Race,
    Read,
    Standing,
    expect_field,
    leaders,
    nobody_read,
    read_on,
)

WORTH_A_ROUND = 1.2  # times more sequences than before


class SuccessiveRejects(Race):
    """After every phase the worst candidate drops out."""

    saving: int = 5
    """How many times fewer sequences are read than all sequences behind all candidates."""

    @classmethod
    def examples(cls) -> "tuple[SuccessiveRejects, ...]":
        return (cls(),)

    def run(self, read: Read, candidates: int, sequences: int) -> Standing:
        expect_field(candidates, sequences)
        standing, which, seen = nobody_read(candidates), jnp.arange(candidates), 0
        for left, number in self.rounds(candidates, sequences):
            which = leaders(standing, which, left) if left < len(which) else which
            standing = read_on(standing, read, which, seen, number - seen)
            seen = number
        return standing

    def rounds(self, candidates: int, sequences: int) -> list[tuple[int, int]]:
        """How many candidates are left in each round, and how many sequences each has read after
        it."""
        budget = candidates * sequences // self.saving
        harmonic = 0.5 + sum(1 / i for i in range(2, candidates + 1))
        rounds, seen = [], 0
        for phase in range(1, max(2, candidates)):
            left = candidates + 1 - phase
            number = max(1, math.ceil((budget - candidates) / (harmonic * left)))
            number = min(number, sequences)
            if number >= WORTH_A_ROUND * seen or (left == 2 and number > seen):
                rounds.append((left, number))
                seen = number
        return rounds
