"""What a race is: candidates read few sequences at first, and those that look good read more.

Reading all B sequences of a step behind each of K candidates costs K·B. Most candidates lose by so
much that a few sequences tell. A race spends K·B / `saving`, and names a winner.

Readings are *paired*: every candidate reads the sequences in the same order, so that the k-th one
is the same for all. Differences of losses on the same sequences vary far less than the losses, of
which most is how hard a sequence is.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.specs import Spec, check

Read = Callable[[Int[Array, " reader"], Any, int], Float[Array, "reader part"]]
"""Candidates [reader], the place in the batch from which they read, and how many sequences → their
losses [reader, part], nats per sequence; +inf for a candidate that does not count."""


class Standing(NamedTuple):
    """How a race stands, three fields [candidate] first. `sums`: of the losses read, nats;
    `numbers`: of how many sequences; `turns`: how often the candidate's prompt was read before some
    of them. `winner`: who has won; None: who leads among those that have read most. `looks`: after
    each round, how many sequences those that took part had read by then, and the sums."""

    sums: Any
    numbers: Any
    turns: Any
    winner: Any = None
    looks: tuple[tuple[Any, Any], ...] = ()

    @property
    def means(self) -> Float[Array, " candidate"]:
        """Each candidate's mean loss, nats per sequence; +inf where that is no number."""
        means = self.sums / jnp.maximum(self.numbers, 1)
        return jnp.where(jnp.isnan(means) | (self.numbers == 0), jnp.inf, means)

    def after(
        self, which: Int[Array, " reader"], losses: Float[Array, "reader part"]
    ) -> "Standing":
        """The standing after these candidates have read some more."""
        return self._replace(
            sums=self.sums.at[which].add(jnp.sum(losses, axis=1)),
            numbers=self.numbers.at[which].add(losses.shape[1]),
            turns=self.turns.at[which].add(1),
        )

    def settled(self) -> Float[Array, " candidate"]:
        """The means by which a search picks its winner, whose own is the least.

        Of those that dropped out after n sequences it is the winner's mean, and what they lost more
        than the winner on the same n. Where that is less than nothing, as the least of many rough
        estimates is by luck, it is the next number above the winner's: who sorts them finds the
        winner first, wherever it stands.
        """
        means, winner = self.means, self.winner
        if winner is None:
            finite = jnp.where(jnp.isposinf(means), 0, self.numbers)
            winner = jnp.argmin(jnp.where(finite == jnp.max(finite), means, jnp.inf))
        least, dropped = means[winner], self.numbers < self.numbers[winner]
        estimates = means
        for number, sums in self.looks:
            paired = least + (sums - sums[winner]) / number
            ended = dropped & (self.numbers == number) & jnp.isfinite(paired)
            estimates = jnp.where(ended, paired, estimates)
        # a processor may take the numbers next to zero for zero
        above = jnp.maximum(jnp.nextafter(least, jnp.inf), least + jnp.finfo(least.dtype).tiny)
        return jnp.maximum(estimates, jnp.where(dropped, above, least))


class Race(Spec, open_as="race", default="SuccessiveHalving"):
    """Shares the sequences of a step among candidates.

    To implement one: a field `saving`, `run`, which begins with `expect_field`, and `examples()`.
    Shapes are static: how many candidates read how many sequences in which round may depend on
    their numbers alone; which ones they are may depend on losses.
    """

    saving: eqx.AbstractVar[int]
    """How many times fewer sequences are read than all sequences behind all candidates."""

    def __check_init__(self) -> None:
        check(self.saving >= 1, f"Expected saving of at least 1; got {self.saving}.")

    @abc.abstractmethod
    def run(self, read: Read, candidates: int, sequences: int) -> Standing:
        """Race so many candidates over so many sequences.

        Every candidate reads at least one sequence, and each one its sequences in order, from the
        first. The whole race reads candidates · sequences / saving of them, rounded, unless that
        is less than one for each.

        Raises:
            ValueError: no candidates, or no sequences.
        """


def expect_field(candidates: int, sequences: int) -> None:
    """Raise ValueError where there is nobody to race, or nothing to read."""
    for name, number in (("candidates", candidates), ("sequences", sequences)):
        check(number >= 1, f"Expected a race of at least 1 of {name}; got {number}.")


def nobody_read(candidates: int) -> Standing:
    """The standing before the race."""
    return Standing(
        jnp.zeros(candidates), jnp.zeros(candidates, jnp.int32), jnp.zeros(candidates, jnp.int32)
    )


def read_on(standing: Standing, read: Read, which: Any, seen: int, number: int) -> Standing:
    """The standing after candidates `which`, who have all read `seen` sequences, read more."""
    if number < 1:
        return standing
    standing = standing.after(which, read(which, seen, number))
    return standing._replace(looks=(*standing.looks, (seen + number, standing.sums)))


def leaders(standing: Standing, which: Any, count: int) -> Any:
    """Those `count` of the candidates `which` that lead."""
    return which[jnp.argsort(standing.means[which])[:count]]
