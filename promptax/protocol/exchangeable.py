"""Exact predictors whose belief is a vector of counts.

If a task's likelihood does not depend on the order of the tokens, neither does its Bayes predictor:
how often each symbol was read is all it knows. A member says what it predicts after given counts;
reading, prompting with weights over symbols, and sums over all sequences follow.
"""

import abc
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from promptax.axes import Counts
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import Embedded, Inputs, Predictor


def symbol_weights(inputs: Inputs, symbols: int) -> jax.Array:
    """Tokens [time] as one-hot rows, or weights [time, symbol] as they are."""
    if isinstance(inputs, Embedded):
        raise TypeError(
            "Expected tokens or weights over symbols; got embedding rows. An exact predictor has "
            "no embedding: steer it with HardPrompt."
        )
    if jnp.issubdtype(inputs.dtype, jnp.integer):
        return jax.nn.one_hot(inputs, symbols, dtype=jnp.zeros(()).dtype)
    if inputs.shape[-1] != symbols:
        raise ValueError(
            f"Expected weights [time, symbol] over {symbols} symbols; got shape {inputs.shape}."
        )
    return inputs


class Exchangeable(Predictor):
    """Predicts from counts alone.

    A member owes `symbols`, and `after(counts)`: what it says after so many of each symbol.
    Optional: `sources` or `pseudo_counts`, from which follows what prompts of any length can do
    (`promptax.analysis`).
    """

    exchangeable: ClassVar[bool] = True

    @abc.abstractmethod
    def after(self, counts: Counts) -> Counts:
        """Log probabilities [symbol] of the next symbol after these counts, nats."""

    @property
    def sources(self) -> Float[np.ndarray, "source symbol"] | None:
        """The finitely many distributions over symbols, of positive weight, among which its
        posterior chooses; None: they are not finitely many, or not known."""
        return None

    @property
    def pseudo_counts(self) -> Float[np.ndarray, " symbol"] | None:
        """The concentration of the one Dirichlet prior from which it predicts; None: it predicts
        from something else."""
        return None

    def start(self, capacity: int | None = None) -> Counts:
        del capacity
        return jnp.zeros(self.symbols)

    def advance(self, state: Counts, inputs: Inputs) -> tuple[Counts, Prediction]:
        read = state + jnp.cumsum(symbol_weights(inputs, self.symbols), axis=0)
        counts = jnp.concatenate([state[None], read])
        log_probs = jax.vmap(self.after)(counts[:-1])
        return counts[-1], Prediction(log_probs, {"counts": read})


class Uniform(Exchangeable):
    """Predicts every symbol with the same probability, whatever it reads."""

    symbols: int = 2

    def after(self, counts: Counts) -> Counts:
        return jnp.full_like(counts, -jnp.log(self.symbols))


def uniform_if(
    impossible: Bool[Array, "..."], log_probs: Float[Array, "*rows symbol"]
) -> Float[Array, "*rows symbol"]:
    """The given rows, or the uniform one where the history has probability zero."""
    return jnp.where(impossible, -jnp.log(log_probs.shape[-1]), log_probs)
