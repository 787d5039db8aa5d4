"""Ridge regression with any penalty."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.specs import check, floats
from promptax.tasks.regression.linear_regression import Belief, learn_answer, start_belief
from promptax.tasks.regression.references.base import LinearReference, check_reference


class Ridge(LinearReference):
    """w minimises Σ (y - w · x)² + penalty |w|²: w = (XᵀX + λ I)⁻¹ Xᵀy.

    With λ = noise_scale² / prior_scale² of a `LinearRegression` its answers are the means of Bayes,
    by the same stable recursion; what Bayes says beyond that is how sure it is.
    """

    dimensions: int
    """How many numbers x has."""
    penalty: float | Float[Array, ""] = eqx.field(default=1.0, converter=floats)
    """λ, above 0. For the limit at 0 take MinimumNorm."""
    noise_scale: float | Float[Array, ""] = eqx.field(default=0.3, converter=floats)
    """Standard deviation of what it predicts."""

    def __check_init__(self) -> None:
        check_reference(self.dimensions, self.noise_scale)
        if isinstance(self.penalty, float):
            check(
                0 < self.penalty < float("inf"),
                f"Expected a penalty above 0 and finite; got {self.penalty}. The limit at 0 is "
                "MinimumNorm.",
            )

    def nothing(self) -> Belief:
        return start_belief(self.dimensions, 1.0)

    def learn(
        self,
        kept: Belief,
        x: Float[Array, " dimension"],
        y: Float[Array, ""],
        count: Float[Array, ""],
    ) -> Belief:
        row = jnp.concatenate([x, y[None], count[None]])
        return learn_answer(kept, row, jnp.asarray(self.penalty))

    def weights(self, kept: Belief) -> Float[Array, " dimension"]:
        return kept.mean + kept.lost
