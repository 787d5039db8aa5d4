"""Nearest neighbours: what answered the points that are closest to the question."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.protocol.outcomes import Gaussian, Points, alphabet_of
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import OBSERVATIONS, Inputs, Predictor, real_rows
from promptax.specs import check, floats
from promptax.tasks.regression.references.base import check_reference, said

NEVER = 2**30  # a place that no state has


class Memory(NamedTuple):
    """All `rows` so far [slot, input], and how many slots are `used`; None: all of them, in a state
    that grows."""

    rows: Float[Array, "slot input"]
    used: Int[Array, ""] | None


class NearestNeighbours(Predictor):
    """Answers a question by the mean of the answers to the `neighbours` points nearest to it, by
    Euclidean distance, or of all where there are fewer; by 0 before the first. Predicts
    N(that, noise_scale²). It remembers every row: the n-th costs O(n · dimension).

    A row counts as one answer or as none, if its last number is above 0 or not. A state of fixed
    shape that is full says NaN.
    """

    reads: ClassVar[frozenset[str]] = frozenset({OBSERVATIONS})
    merges: ClassVar[bool] = False  # order stays in the memory

    dimensions: int
    """How many numbers x has."""
    neighbours: int = 3
    """How many answers are averaged."""
    noise_scale: float | Float[Array, ""] = eqx.field(default=0.3, converter=floats)
    """Standard deviation of what it predicts."""

    def __check_init__(self) -> None:
        check_reference(self.dimensions, self.noise_scale)
        check(self.neighbours >= 1, f"Expected at least 1 neighbour; got {self.neighbours}.")

    @property
    def outcome(self) -> Points:
        return Points(self.dimensions, Gaussian())

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    def start(self, capacity: int | None = None) -> Memory:
        """The memory begins with one row that counts for nothing: what stands before a sequence."""
        rows = jnp.zeros((1 + (capacity or 0), self.dimensions + 2))
        return Memory(rows, None if capacity is None else jnp.ones((), jnp.int32))

    def with_room(self, state: Memory, rows: int) -> Memory:
        used = jnp.asarray(len(state.rows)) if state.used is None else state.used
        used = jnp.where(used > len(state.rows), NEVER, used)  # room comes too late for lost rows
        return Memory(jnp.pad(state.rows, ((0, rows), (0, 0))), used.astype(jnp.int32))

    def advance(self, state: Memory, inputs: Inputs) -> tuple[Memory, AnyPrediction]:
        new = real_rows(inputs, self.outcome).astype(state.rows.dtype)
        if state.used is None:
            used, rows = jnp.asarray(len(state.rows)), jnp.concatenate([state.rows, new])
            state = Memory(rows, None)
        else:
            used = state.used
            rows = state.rows.at[used + jnp.arange(len(new))].set(new, mode="drop")
            state = Memory(rows, used + len(new))
        x, y, counts = rows[:, :-2], rows[:, -2], rows[:, -1] > 0
        slot, asked = jnp.arange(len(rows)), used - 1 + jnp.arange(len(new))

        def answer(question: Int[Array, ""]) -> Float[Array, ""]:
            before = counts & (slot <= question)  # an answer repeats its x, and may answer it again
            distances = jnp.sum((x - x[question]) ** 2, axis=1)
            order = jnp.argsort(jnp.where(before, distances, jnp.inf))[: self.neighbours]
            chosen = before[order]
            return jnp.sum(jnp.where(chosen, y[order], 0.0)) / jnp.maximum(jnp.sum(chosen), 1)

        full = asked >= len(rows)  # the row before was lost: there was no slot for it
        answers = jnp.where(full, jnp.nan, jax.vmap(answer)(asked))
        return state, said(self.outcome, answers, self.noise_scale)
