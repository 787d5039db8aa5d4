"""Losses over many symbols, a few rows at a time: never sequences × length × symbols of anything.

The derivative for the rows is computed beside the losses, from the same products; the derivative
for the matrix, if anybody asks for it, by computing them again.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.specs import Record

PIECE_BYTES = 2**25  # of log probabilities at a time

Rows = Float[Array, "row width"]
PerRow = Float[Array, " row"]
Tokens = Int[Array, " row"]
Layer = Any  # a linear map with a `shape`: promptax.predictors.parts.layers


class Unembedded(Record):
    """Rows of outputs and the layer that makes log probabilities of them, not yet multiplied."""

    rows: Float[Array, "*batch time width"]
    layer: Layer

    def log_probs_of(self, tokens: Int[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """Log probability of each token, nats."""
        flat = self.rows.reshape(-1, self.rows.shape[-1])
        return _of(flat, self.layer, tokens.reshape(-1)).reshape(tokens.shape)


def _pieces(layer: Layer, *arrays: Array) -> tuple[Array, ...]:
    """Arrays [row, ...] as [piece, row, ...], with zeros after the last row."""
    count, symbols = len(arrays[0]), layer.shape()[-1]
    size = min(2 ** int(math.log2(max(1, PIECE_BYTES // (4 * symbols)))), max(1, count))
    missing = -count % size
    padded = (jnp.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in arrays)
    return tuple(a.reshape(-1, size, *a.shape[1:]) for a in padded)


def _log_probs(logits: Float[Array, "row symbol"], tokens: Tokens) -> tuple[PerRow, Array]:
    """Log probabilities of the tokens, and their derivative for the logits [row, symbol]."""
    total = jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    chosen = jnp.take_along_axis(logits - total, tokens[:, None], axis=-1)[:, 0]
    hit = tokens[:, None] == jnp.arange(logits.shape[-1])
    return chosen, hit - jnp.exp(logits - total)


@jax.custom_vjp
def _of(rows: Rows, layer: Layer, tokens: Tokens) -> PerRow:
    values = jax.lax.map(
        lambda part: _log_probs(layer(part[0]), part[1])[0], _pieces(layer, rows, tokens)
    )
    return values.reshape(-1)[: len(rows)]


def _of_forward(rows: Rows, layer: Layer, tokens: Tokens) -> tuple[PerRow, tuple]:
    def piece(part: tuple[Rows, Tokens]) -> tuple[PerRow, Rows]:
        logits, pull = jax.vjp(layer, part[0])
        values, slopes = _log_probs(logits, part[1])
        return values, *pull(slopes)

    values, slopes = jax.lax.map(piece, _pieces(layer, rows, tokens))
    values, slopes = values.reshape(-1)[: len(rows)], slopes.reshape(-1, rows.shape[1])[: len(rows)]
    return values, (slopes, rows, layer, tokens)


def _of_backward(saved: tuple, change: PerRow) -> tuple[Rows, Layer, None]:
    slopes, rows, layer, tokens = saved

    def piece(total: Layer, part: tuple[Array, ...]) -> tuple[Layer, None]:
        rows, tokens, change = part
        logits, pull = jax.vjp(lambda layer: layer(rows), layer)
        (for_layer,) = pull(_log_probs(logits, tokens)[1] * change[:, None])
        return jax.tree.map(jnp.add, total, for_layer), None

    zeros = jax.tree.map(jnp.zeros_like, layer)
    for_layer, _ = jax.lax.scan(piece, zeros, _pieces(layer, rows, tokens, change))
    return slopes * change[:, None], for_layer, None


_of.defvjp(_of_forward, _of_backward)
