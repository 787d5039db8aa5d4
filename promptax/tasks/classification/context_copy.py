"""Answers copied from the context, by how alike the points are."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.protocol.outcomes import Points, alphabet_of
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import OBSERVATIONS, Inputs, Predictor, real_rows
from promptax.tasks.hidden.forward import log_sum

NEVER = 2**30  # a place that no state has


class Context(NamedTuple):
    """What was read: rows [row, input], and how many of them; None: all, in a state that grows."""

    rows: Float[Array, "row input"]
    used: Int[Array, ""] | None


class ContextCopy(Predictor):
    """The label of a point of the context, drawn by how likely it is of the question's class.

        p(y | x, past) ∝ Σ_{s: y_s = y} count_s N(x; x_s / (1 + ε²), ε² (2 + ε²) / ((1 + ε²)² D) I),

    where the normal distribution, with ε = `noise` and the D features of `points`, is that of
    another point of the class of x_s, whose prototype is
    N(0, I / D) a priori. This is the "copying" predictor of Wurgaft et al. 2025 (arXiv 2506.17859).
    It knows no pool, and labels that the context does not show have probability 0: an answer with
    such a label costs infinitely much. Without a context it predicts uniformly. Each row costs O(n)
    after n rows. A state of fixed shape that is full says NaN.
    """

    reads: ClassVar[frozenset[str]] = frozenset({OBSERVATIONS})
    merges: ClassVar[bool] = False

    points: Points = eqx.field(static=True)
    noise: Float[Array, ""]

    @property
    def outcome(self) -> Points:
        return self.points

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    def start(self, capacity: int | None = None) -> Context:
        rows = jnp.zeros((capacity or 0, self.points.input_width()))
        return Context(rows, None if capacity is None else jnp.zeros((), jnp.int32))

    def with_room(self, state: Context, rows: int) -> Context:
        used = jnp.asarray(len(state.rows)) if state.used is None else state.used
        used = jnp.where(used > len(state.rows), NEVER, used)  # room comes too late for lost rows
        return Context(jnp.pad(state.rows, ((0, rows), (0, 0))), used.astype(jnp.int32))

    def advance(self, state: Context, inputs: Inputs) -> tuple[Context, AnyPrediction]:
        rows = real_rows(inputs, self.points).astype(state.rows.dtype)
        used = jnp.asarray(len(state.rows)) if state.used is None else state.used
        if state.used is None:
            kept = jnp.concatenate([state.rows, rows])
        else:
            kept = state.rows.at[used + jnp.arange(len(rows))].set(rows, mode="drop")
        time = used + jnp.arange(len(rows))
        full = (time > len(kept))[:, None]  # a row before was lost: there was no place for it
        answers = jnp.where(full, jnp.nan, self._answers(kept, time))
        after = None if state.used is None else used + len(rows)
        return Context(kept, after), self.points.prediction(answers)

    def _answers(
        self, rows: Float[Array, "row input"], time: Int[Array, " time"]
    ) -> Float[Array, "time label"]:
        """Log probabilities of the answer to the row before each time, from the rows before it."""
        x, counts = rows[:, : self.points.features], rows[:, -1]
        asked = x[jnp.maximum(time - 1, 0)]
        share = 1 + self.noise**2
        squares = jnp.sum((asked[:, None] - x / share) ** 2, axis=2)
        scale = self.points.features * share**2 / (2 * self.noise**2 * (1 + share))
        answered = (jnp.arange(len(rows)) < time[:, None]) & (counts > 0)
        safe = jnp.where(counts > 0, counts, 1.0)
        weights = jnp.where(answered, jnp.log(safe) - scale * squares, -jnp.inf)
        label = self.points.answers(rows)[:, None]
        labels = self.points.answer.parameter_width()
        told = jnp.where(label == jnp.arange(labels), weights[:, :, None], -jnp.inf)
        total = log_sum(told, axis=1)
        nothing = jnp.max(total, axis=1, keepdims=True) == -jnp.inf
        return jax.nn.log_softmax(jnp.where(nothing, 0.0, total), axis=1)
