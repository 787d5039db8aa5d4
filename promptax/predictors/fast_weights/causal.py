"""Sums over the rows of the past, weighted by age: what additive rules of fast weights compute.

With weights c(age) ≥ 0 the output at row t is Σ_{i ≤ t} c(t - i) (q_t · k_i) v_i. Products of whole
blocks of rows do it, as in attention; what came before a block is in the layer's matrices.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.predictors.fast_weights.base import Heads

BLOCK = 128  # rows that are compared with each other at once: memory grows with its square

Ages = Float[Array, " age"]
ReadBlock = Callable[[Any, Heads, Heads, Heads, Array], tuple[Any, Heads]]


def within(query: Heads, key: Heads, value: Heads, weights: Ages) -> Heads:
    """Σ_{i ≤ t} weights[t - i] (q_t · k_i) v_i, the sum over the rows of one block."""
    rows = jnp.arange(query.shape[-2])
    ages = rows[:, None] - rows
    scores = query @ jnp.swapaxes(key, -1, -2)
    return (scores * jnp.where(ages >= 0, weights[jnp.maximum(ages, 0)], 0.0)) @ value


def in_blocks(
    read: ReadBlock, state: Any, query: Heads, key: Heads, value: Heads
) -> tuple[Any, Heads]:
    """`read(state, query, key, value, counts)` block by block. `counts` [time] is 1 for a row, and
    0 where the last block is filled up with rows that must not change the state."""
    length = query.shape[-2]
    if length <= BLOCK:
        return read(state, query, key, value, jnp.ones(length))
    blocks = -(-length // BLOCK)
    missing = blocks * BLOCK - length

    def cut(rows: Heads) -> Array:
        heads, _, width = rows.shape
        filled = jnp.pad(rows, ((0, 0), (0, missing), (0, 0)))
        return jnp.moveaxis(filled.reshape(heads, blocks, BLOCK, width), 1, 0)

    def step(state: Any, block: tuple[Array, ...]) -> tuple[Any, Heads]:
        return read(state, *block)

    counts = (jnp.arange(blocks * BLOCK) < length).astype(query.dtype).reshape(blocks, BLOCK)
    state, outputs = jax.lax.scan(step, state, (*map(cut, (query, key, value)), counts))
    heads, width = outputs.shape[1], outputs.shape[-1]
    return state, jnp.moveaxis(outputs, 0, 1).reshape(heads, -1, width)[:, :length]
