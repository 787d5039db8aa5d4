"""Least squares, and of all least-squares solutions the shortest one."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.specs import floats
from promptax.tasks.regression.references.base import LinearReference, check_reference

NEW = 1e-3  # of a point's length: a smaller part outside of what was seen is taken for rounding


class LeastSquares(NamedTuple):
    """`w`: the estimate. `free` [dimension, dimension]: the projection on the directions of which
    no point was seen. `root` [dimension, dimension]: a root of the pseudo-inverse of XᵀX, of which
    the first `rank` columns are used."""

    w: Float[Array, " dimension"]
    free: Float[Array, "dimension dimension"]
    root: Float[Array, "dimension dimension"]
    rank: Int[Array, ""]


class MinimumNorm(LinearReference):
    """w is the shortest vector among those that minimise Σ (y - w · x)²: w = X⁺ y, the limit of
    ridge regression at λ = 0. With fewer points than dimensions it goes through all of them.

    Greville's recursion, with a root of (XᵀX)⁺ in place of the matrix, so that errors grow with the
    condition of X and not with its square. A point with a part r outside of what was seen changes w
    by k (y - w · x), with k = r / |r|²; any other one as in recursive least squares. A part is new
    if it is longer than 1e-3 of the point. O(dimension²) a row.
    """

    dimensions: int
    """How many numbers x has."""
    noise_scale: float | Float[Array, ""] = eqx.field(default=0.3, converter=floats)
    """Standard deviation of what it predicts."""

    def __check_init__(self) -> None:
        check_reference(self.dimensions, self.noise_scale)

    def nothing(self) -> LeastSquares:
        zeros = jnp.zeros((self.dimensions, self.dimensions))
        free = jnp.eye(self.dimensions)
        return LeastSquares(jnp.zeros(self.dimensions), free, zeros, jnp.zeros((), jnp.int32))

    def learn(
        self,
        kept: LeastSquares,
        x: Float[Array, " dimension"],
        y: Float[Array, ""],
        count: Float[Array, ""],
    ) -> LeastSquares:
        w, free, root, rank = kept
        weight = jnp.sqrt(count)  # an answer that counts c times is one of √c times its size
        x, y = weight * x, weight * y
        outside = free @ (free @ x)  # twice: rounding is projected away
        squares, length = outside @ outside, x @ x
        new = (squares > NEW**2 * length) & (rank < self.dimensions)
        along = outside / jnp.where(new, squares, 1.0)
        spread = root.T @ x
        total = 1 + spread @ spread
        gain = jnp.where(new, along, root @ spread / total)
        column = jnp.arange(self.dimensions) == rank
        grown = jnp.where(column, along[:, None], root - jnp.outer(along, spread))
        shrunk = root - jnp.outer(root @ spread, spread) / (total * (1 + jax.lax.rsqrt(total)))
        return LeastSquares(
            w + gain * (y - w @ x),
            jnp.where(new, free - jnp.outer(outside, along), free),
            jnp.where(new, grown, shrunk),
            rank + new,
        )

    def weights(self, kept: LeastSquares) -> Float[Array, " dimension"]:
        return kept.w
