"""Averaging: the weights are the mean of y x."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.specs import floats
from promptax.tasks.regression.references.base import (
    LinearReference,
    Products,
    add_answer,
    check_reference,
    no_products,
)


class Averaging(LinearReference):
    """w = (1/n) Σ y x over the n answers so far: consistent where E[x xᵀ] = I, and slow (Garg et
    al. 2022, arXiv 2208.01066)."""

    dimensions: int
    """How many numbers x has."""
    noise_scale: float | Float[Array, ""] = eqx.field(default=0.3, converter=floats)
    """Standard deviation of what it predicts."""

    def __check_init__(self) -> None:
        check_reference(self.dimensions, self.noise_scale)

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
        return kept.products / jnp.where(kept.count > 0, kept.count, 1.0)
