"""A model that says the same at every step: a few numbers, and no memory."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.base import Architecture
from promptax.predictors.torso import Torso
from promptax.protocol.outcomes import Outcome, alphabet_of, as_outcome
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import OBSERVATIONS, TOKENS, WEIGHTS, Inputs, Predictor


class Constant(Architecture):
    """Says one thing, whatever was read: the numbers of a single prediction are all its weights,
    for coins a logit for each side. They start from a standard normal distribution.

    Alone it learns how often each symbol comes, and no more. With inner steps (`promptax.fit.MAML`,
    `promptax.fit.Adapting`) it is the smallest model that learns to learn; for coins what it can
    reach is known exactly (docs/objectives.md). It has no torso, no rows and no layers, so it gives
    the contract tests of networks no examples.

    Example:

        model = Constant().build(jax.random.key(0), 2)
    """

    def embedding_width(self) -> int:
        return 0

    def output_width(self) -> int:
        return 0

    def torso(self, key: Key[Array, ""]) -> Torso:
        raise TypeError("Expected nothing to ask for a torso: Constant says the same to all rows.")

    def build(self, key: Key[Array, ""], outcome: Outcome | int) -> "ConstantPredictor":
        outcome = as_outcome(outcome)
        return ConstantPredictor(jax.random.normal(key, (outcome.parameter_width(),)), outcome)

    @classmethod
    def examples(cls) -> "tuple[Constant, ...]":
        return ()


class ConstantPredictor(Predictor):
    """The built model: `values` [parameter] are what a network's last layer would give."""

    learns: ClassVar[bool] = False

    values: Float[Array, " parameter"]
    said: Outcome = eqx.field(static=True)

    @property
    def outcome(self) -> Outcome:
        return self.said

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    @property
    def reads(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return frozenset({OBSERVATIONS} if self.said.alphabet is None else {TOKENS, WEIGHTS})

    def start(self, capacity: int | None = None) -> Float[Array, ""]:
        del capacity
        return jnp.zeros(())  # the same after all histories, which is how sums over them merge

    def advance(
        self, state: Float[Array, ""], inputs: Inputs
    ) -> tuple[Float[Array, ""], AnyPrediction]:
        rows = jnp.broadcast_to(self.values, (len(inputs), *self.values.shape))
        return state, self.said.of_outputs(rows, _as_it_is)

    def reading_operations(self, rows: int) -> float:
        return 2.0 * rows * self.values.size


def _as_it_is(rows: Array) -> Array:
    """In place of a last layer."""
    return rows
