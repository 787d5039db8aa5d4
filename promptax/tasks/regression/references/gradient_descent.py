"""A few steps of gradient descent on the squared error of the answers so far."""

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


class GradientDescent(LinearReference):
    """w after `steps` steps on ½ Σ (y - w · x)², begun at 0, anew after every answer:

        w  ←  w + rate · Σ (y - w · x) x.

    The sum runs over the answers so far and is not divided by their number, as in von Oswald et al.
    2023, "Transformers Learn In-Context by Gradient Descent" with rate = η / N for a fixed number N
    of points, and in Akyürek et al. 2022 with rate = 2α. It converges while the rate is below 2
    over the largest eigenvalue of Σ x xᵀ, which grows with the answers; beyond it diverges, as the
    rule does.
    """

    dimensions: int
    """How many numbers x has."""
    steps: int = 1
    """How many steps are taken."""
    rate: float | Float[Array, ""] = eqx.field(default=0.05, converter=floats)
    """The step's size."""
    noise_scale: float | Float[Array, ""] = eqx.field(default=0.3, converter=floats)
    """Standard deviation of what it predicts."""

    def __check_init__(self) -> None:
        check_reference(self.dimensions, self.noise_scale)
        check(self.steps >= 1, f"Expected at least 1 step; got {self.steps}.")
        if isinstance(self.rate, float):
            check(
                0 < self.rate < float("inf"),
                f"Expected a rate above 0 and finite; got {self.rate}.",
            )

    def nothing(self) -> Products:
        return no_products(self.dimensions)

    def learn(
        self,
        kept: Products,
        x: Float[Array, " dimension"],
        y: Float[Array, ""],
        count: Float[Array, ""],
    ) -> Products:
        return add_answer(kept, x, y, count)

    def weights(self, kept: Products) -> Float[Array, " dimension"]:
        def step(_: Int[Array, ""], w: Float[Array, " dimension"]) -> Array:
            return w + self.rate * (kept.products - kept.squares @ w)

        return jax.lax.fori_loop(0, self.steps, step, jnp.zeros_like(kept.products))
