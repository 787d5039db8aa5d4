"""Fast weights with the delta rule (Schlag et al. 2021, arXiv 2102.11174)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.fast_weights.base import (
    FastWeights,
    Heads,
    Matrices,
    ProjectedLayer,
    projections,
)
from promptax.predictors.parts.layers import Layer, dense
from promptax.predictors.torso import Rows


class DeltaNet(FastWeights):
    """Blocks with the delta rule, and perceptrons. What a key had before is replaced:

        W[t] = W[t-1] + β_t (v_t - W[t-1] k_t) k_tᵀ,   output[t] = W[t] q_t

    This is one step of gradient descent on ½ |v_t - W k_t|² with the rate β_t. Queries and keys are
    scaled to length 1 (Yang et al. 2024); β_t is a sigmoid of the row, one for each head. Rows are
    read one by one.
    """

    @classmethod
    def examples(cls) -> "tuple[DeltaNet, ...]":
        return (cls(width=6, depth=2, heads=3, widening=2),)

    def layer(self, key: Key[Array, ""]) -> "DeltaLayer":
        parts, rate = jax.random.split(key)
        return DeltaLayer(
            *projections(parts, self.width),
            self.heads,
            dense(rate, self.width, self.heads, bias=True),
        )


class DeltaLayer(ProjectedLayer):
    """What it remembers: W of each head."""

    rate: Layer

    def start(self) -> Matrices:
        return self.no_weights()

    def read_heads(
        self, state: Matrices, rows: Rows, query: Heads, key: Heads, value: Heads
    ) -> tuple[Matrices, Heads]:
        rates = jax.nn.sigmoid(self.rate(rows)).T  # [head, time]

        def step(weights: Matrices, row: tuple[Array, ...]) -> tuple[Matrices, Array]:
            q, k, v, rate = row
            weights = weights + _outer(rate[:, None] * (v - _apply(weights, k)), k)
            return weights, _apply(weights, q)

        by_time = [jnp.moveaxis(part, 1, 0) for part in (of_length_1(query), of_length_1(key))]
        given = (*by_time, jnp.moveaxis(value, 1, 0), rates.T)
        state, outputs = jax.lax.scan(step, state, given)
        return state, jnp.moveaxis(outputs, 0, 1)


def of_length_1(rows: Float[Array, "*rows width"]) -> Float[Array, "*rows width"]:
    """Rows over their length; rows of nearly 0 stay so (ε = 1e-6)."""
    return rows * jax.lax.rsqrt(jnp.sum(rows * rows, axis=-1, keepdims=True) + 1e-6)


def _apply(weights: Matrices, rows: Array) -> Array:
    return jnp.einsum("hvk,hk->hv", weights, rows)


def _outer(values: Array, keys: Array) -> Matrices:
    return values[:, :, None] * keys[:, None, :]
