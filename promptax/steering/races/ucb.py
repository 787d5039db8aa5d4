"""Upper confidence bounds (Auer, Cesa-Bianchi and Fischer 2002, "Finite-time Analysis of the
Multiarmed Bandit Problem"): the candidate that may yet be the best reads next.

All read a first part of the batch. The leader then reads all of it, and stands for how hard each
sequence is: of every other candidate what counts is the mean d of its losses minus the leader's on
the same sequences. After t parts in all, of which a candidate read n, the next part goes to the
candidate of least

    d - exploration · σ · sqrt(2 log t / n)

where σ is the spread of the mean differences on parts, measured in the first one. Who has read half
of the batch may win; who looked good by chance has been read until it no longer did.

Few candidates (six of a batch of 128, where a fifth is spent) leave no room for the leader to read
all of it: they all read the same first sequences.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from promptax.specs import check
from promptax.steering.races.base import Race, Read, Standing, expect_field, nobody_read, read_on

PARTS = 16  # of a batch: as much is read at a time
LEAST_PART = 2  # sequences: of a single one there is no spread


class UCB(Race):
    """The candidate whose lower bound is least reads the next part of the batch."""

    saving: int = 5
    """How many times fewer sequences are read than all sequences behind all candidates."""
    exploration: float = 1.0
    """How wide the bounds are; 0 trusts the means."""

    def __check_init__(self) -> None:
        check(
            self.exploration >= 0,
            f"Expected exploration of at least 0; got {self.exploration}.",
        )

    @classmethod
    def examples(cls) -> "tuple[UCB, ...]":
        return (cls(),)

    def run(self, read: Read, candidates: int, sequences: int) -> Standing:
        expect_field(candidates, sequences)
        part = min(sequences, max(LEAST_PART, sequences // PARTS))
        parts, everyone = sequences // part, jnp.arange(candidates)
        budget = candidates * sequences // self.saving
        if (candidates + parts - 1) * part > budget or parts == 1:
            number = max(1, sequences // self.saving)
            return read_on(nobody_read(candidates), read, everyone, 0, number)
        losses = read(everyone, 0, part)
        leader = jnp.argmin(nobody_read(candidates).after(everyone, losses).means)
        tail = read(leader[None], part, (parts - 1) * part)
        lost = jnp.concatenate([losses[leader], tail[0]])
        hardness = jnp.where(jnp.isfinite(lost), lost, 0.0)
        differences = losses - hardness[:part]
        spread = _spread(differences)
        sums = jnp.sum(differences, axis=1)
        pulled = jnp.ones(candidates, jnp.int32).at[leader].set(parts)

        def pull(turn: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            sums, pulled = carry
            log_turns = jnp.log(jnp.float32(candidates + parts + turn))
            bonus = self.exploration * spread * jnp.sqrt(2 * log_turns / pulled)
            bound = jnp.where(pulled < parts, sums / (pulled * part) - bonus, jnp.inf)
            which = jnp.argmin(jnp.where(jnp.isnan(bound), jnp.inf, bound))
            may_read = pulled[which] < parts
            first = jnp.minimum(pulled[which], parts - 1) * part
            read_now = read(which[None], first, part)[0]
            new = jnp.sum(read_now - jax.lax.dynamic_slice_in_dim(hardness, first, part))
            sums = sums.at[which].add(jnp.where(may_read, new, 0.0))
            return sums, pulled.at[which].add(may_read.astype(jnp.int32))

        turns = min(budget // part - (candidates + parts - 1), (candidates - 1) * (parts - 1))
        sums = sums.at[leader].set(0.0)
        sums, pulled = jax.lax.fori_loop(0, turns, pull, (sums, pulled))
        numbers = pulled * part
        means = (sums / numbers + jnp.mean(hardness)).at[leader].set(jnp.mean(lost))
        winner = _winner(means, 2 * pulled >= parts)
        took = jnp.where(everyone == leader, 2, pulled)
        return Standing(means * numbers, numbers, took, winner)


def _winner(
    means: Float[Array, " candidate"], read_enough: Bool[Array, " candidate"]
) -> Int[Array, ""]:
    """Who loses least of those that have read enough; of all, if these lose infinitely much."""
    means = jnp.where(jnp.isfinite(means), means, jnp.inf)
    sure = jnp.where(read_enough, means, jnp.inf)
    return jnp.argmin(jnp.where(jnp.any(jnp.isfinite(sure)), sure, means))


def _spread(differences: Float[Array, "candidate part"]) -> Float[Array, ""]:
    """The standard error of a part's mean difference, over candidates that are not the leader."""
    finite = jnp.where(jnp.isfinite(differences), differences, 0.0)
    centred = finite - jnp.mean(finite, axis=1, keepdims=True)
    candidates, part = finite.shape
    variance = jnp.sum(centred**2) / (max(1, candidates - 1) * max(1, part - 1))
    return jnp.sqrt(variance / part)
