"""The Lasso, by coordinate descent."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.specs import check, floats
from promptax.tasks.regression.references.base import (
    LinearReference,
    Products,
    add_answer,
    check_reference,
    no_products,
)


class Solved(NamedTuple):
    """The sums, and the weights that solve them."""

    sums: Products
    w: Float[Array, " dimension"]


class Lasso(LinearReference):
    """w minimises (1 / 2n) Σ (y - w · x)² + penalty Σ |w_i| over the n answers so far: the
    objective of scikit-learn's Lasso without an intercept.

    By cyclic coordinate descent. With S = Σ x xᵀ and p = Σ y x, coordinate i becomes

        w_i  ←  soft(p_i - Σ_{j≠i} S_ij w_j, n · penalty) / S_ii,

    where soft(a, b) = sign(a) max(|a| - b, 0). Each answer takes `sweeps` sweeps over all
    coordinates, O(dimension²) each, from the last answer's weights. What has fewer points than
    dimensions may need more of them.
    """

    dimensions: int
    """How many numbers x has."""
    penalty: float | Float[Array, ""] = eqx.field(default=0.01, converter=floats)
    """The penalty on the sizes of the weights, above 0."""
    sweeps: int = 100
    """How often each coordinate is solved for after an answer."""
    noise_scale: float | Float[Array, ""] = eqx.field(default=0.3, converter=floats)
    """Standard deviation of what it predicts."""

    def __check_init__(self) -> None:
        check_reference(self.dimensions, self.noise_scale)
        check(self.sweeps >= 1, f"Expected at least 1 sweep; got {self.sweeps}.")
        if isinstance(self.penalty, float):
            check(
                0 < self.penalty < float("inf"),
                f"Expected a penalty above 0 and finite; got {self.penalty}. Without one it is "
                "MinimumNorm.",
            )

    def nothing(self) -> Solved:
        return Solved(no_products(self.dimensions), jnp.zeros(self.dimensions))

    def learn(
        self,
        kept: Solved,
        x: Float[Array, " dimension"],
        y: Float[Array, ""],
        count: Float[Array, ""],
    ) -> Solved:
        sums = add_answer(kept.sums, x, y, count)
        threshold = sums.count * self.penalty

        def solve(step: Int[Array, ""], w: Float[Array, " dimension"]) -> Array:
            i = step % self.dimensions
            square = sums.squares[i, i]
            pull = sums.products[i] - sums.squares[i] @ w + square * w[i]
            size = jnp.maximum(jnp.abs(pull) - threshold, 0.0)
            solved = jnp.sign(pull) * size / jnp.where(square > 0, square, 1.0)
            return w.at[i].set(jnp.where(square > 0, solved, 0.0))

        steps = self.sweeps * self.dimensions
        return Solved(sums, jax.lax.fori_loop(0, steps, solve, kept.w))

    def weights(self, kept: Solved) -> Float[Array, " dimension"]:
        return kept.w
