"""Segments of one fixed length."""

import itertools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.axes import Tokens
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.tasks.markov.contexts import check_whole, only_tokens
from promptax.tasks.markov.weighting import KT, log_of
from promptax.tasks.switching import segments
from promptax.tasks.switching.shifts import ShiftTask


class RegularShifts(ShiftTask):
    """Independent symbols in segments of exactly `period` steps, each with a Dirichlet(½) row.

    Segments begin with steps 0, `period`, 2 `period`, ... A prompt uses up steps. The exact
    predictor knows the period, which predictors for other sources have to do without.
    """

    period: int = 20
    """Steps of a segment."""
    symbols: int = 2
    """Size of the alphabet."""

    def __check_init__(self) -> None:
        check_whole("a period", self.period, 1, "1 switches before every step.")
        check_whole("symbols", self.symbols, 2, "2 are the least that can differ.")

    def begins(self, key: Key[Array, ""], length: int) -> Bool[Array, " time"]:
        del key  # nothing is random
        return jnp.arange(length) % self.period == 0

    def bayes(self) -> "RegularPosterior":
        return RegularPosterior(self.period, self.symbols)

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """The sum over segments, each in closed form."""
        of_segment = segments.log_evidence_of_segments(tokens, self.symbols)
        edges = [*range(0, len(tokens), self.period), len(tokens)]
        total = jnp.zeros(())
        for begin, end in itertools.pairwise(edges):
            total += of_segment[begin, end]
        return total

    @classmethod
    def examples(cls) -> "tuple[RegularShifts, ...]":
        return cls(period=3), cls(period=2, symbols=3)


class Current(NamedTuple):
    """The belief: the counts in the current segment [symbol], and the time within it."""

    counts: Int[Array, " symbol"]
    time: Int[Array, ""]


class RegularPosterior(Predictor):
    """Exact prediction: Krichevsky and Trofimov's estimator, which forgets after each segment."""

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    period: int
    symbols: int

    def start(self, capacity: int | None = None) -> Current:
        del capacity  # the state never grows
        return Current(jnp.zeros(self.symbols, jnp.int32), jnp.zeros((), jnp.int32))

    def advance(self, state: Current, inputs: Inputs) -> tuple[Current, Prediction]:
        def step(current: Current, token: Int[Array, ""]) -> tuple[Current, Array]:
            row = (current.counts + KT) / (current.time + KT * self.symbols)
            counts = current.counts + (jnp.arange(self.symbols) == token)
            time = (current.time + 1) % self.period
            return Current(jnp.where(time == 0, 0, counts), time), row

        state, rows = jax.lax.scan(step, state, only_tokens(inputs))
        return state, Prediction(log_of(rows))
