"""Successive halving (Karnin, Koren and Somekh 2013, "Almost Optimal Exploration in Multi-Armed
Bandits"): in every round the better half stays, and reads twice as much.

Of ⌈log2 K⌉ rounds each spends the same number of sequences. Unlike there, what was read in earlier
rounds is kept in the mean, as Jamieson and Talwalkar 2016 do. It is the better *half*: halving by
the mean of the losses, as some code does, keeps everybody where all lose the same.
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


class SuccessiveHalving(Race):
    """After every round the better half of the candidates stays."""

    saving: int = 5
    """How many times fewer sequences are read than all sequences behind all candidates."""

    @classmethod
    def examples(cls) -> "tuple[SuccessiveHalving, ...]":
        return (cls(),)

    def run(self, read: Read, candidates: int, sequences: int) -> Standing:
        expect_field(candidates, sequences)
        rounds = max(1, math.ceil(math.log2(candidates)))
        share = candidates * sequences // (self.saving * rounds)
        standing, which, seen = nobody_read(candidates), jnp.arange(candidates), 0
        for _ in range(rounds):
            number = min(max(share // len(which), seen == 0), sequences - seen)
            standing = read_on(standing, read, which, seen, number)
            seen += number
            which = leaders(standing, which, math.ceil(len(which) / 2))
        return standing
