"""A weight matrix that changes itself (Irie et al. 2022, arXiv 2202.05780)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.fast_weights.base import FastWeights, join_heads, split_heads
from promptax.predictors.parts.layers import Layer, dense
from promptax.predictors.residual import SequenceLayer
from promptax.predictors.torso import Outputs, Rows

RATES = 4  # a rate of its own for the outputs, the queries, the keys and the rates

Whole = Float[Array, "head made head_width"]


class SelfReferential(FastWeights):
    """Blocks with a self-referential weight matrix, and perceptrons.

    One matrix W makes the output y, the query q, the key k and the rates β of a row x, and the
    delta rule then changes all of W, also the parts that make keys and rates:

        y, q, k, β = W[t-1] φ(x_t)
        W[t] = W[t-1] + σ(β) ⊙ (W[t-1] φ(q) - W[t-1] φ(k)) φ(k)ᵀ

    φ is a softmax. The rows of W that make y, q, k and β have one rate each. What training finds is
    W[0]. Rows are read one by one.
    """

    @classmethod
    def examples(cls) -> "tuple[SelfReferential, ...]":
        return (cls(width=6, depth=2, heads=2, widening=2),)

    def layer(self, key: Key[Array, ""]) -> "SelfReferentialLayer":
        inner, outer = jax.random.split(key)
        head_width = self.width // self.heads
        shape = (self.heads, 3 * head_width + RATES, head_width)
        return SelfReferentialLayer(
            jax.random.normal(inner, shape) / jnp.sqrt(head_width),
            dense(outer, self.width, self.width, bias=False),
        )

    def low_rank_names(self) -> tuple[str, ...]:
        return ("output", "mlp_input", "mlp_output") if self.widening else ("output",)


class SelfReferentialLayer(SequenceLayer):
    """What it remembers: W of each head [head, made, head_width]. It makes outputs, queries and
    keys of a head's width each, and the rates."""

    first: Whole
    """W before any row."""
    output: Layer

    def start(self) -> Whole:
        return self.first

    def read(self, state: Whole, rows: Rows) -> tuple[Whole, Outputs]:
        heads, made, head_width = self.first.shape
        parts = jnp.repeat(
            jnp.arange(RATES), jnp.array([head_width] * 3 + [RATES]), total_repeat_length=made
        )

        def step(weights: Whole, row: Array) -> tuple[Whole, Array]:
            outputs, queries, keys, rates = jnp.split(
                _apply(weights, jax.nn.softmax(row)), [head_width * n for n in (1, 2, 3)], axis=-1
            )
            key = jax.nn.softmax(keys)
            change = _apply(weights, jax.nn.softmax(queries)) - _apply(weights, key)
            change = jax.nn.sigmoid(rates)[:, parts] * change
            return weights + change[:, :, None] * key[:, None, :], outputs

        by_time = jnp.swapaxes(split_heads(rows, heads), 0, 1)
        state, outputs = jax.lax.scan(step, state, by_time)
        return state, self.output(join_heads(jnp.swapaxes(outputs, 0, 1)))


def _apply(weights: Whole, rows: Array) -> Array:
    return jnp.einsum("hmk,hk->hm", weights, rows)
