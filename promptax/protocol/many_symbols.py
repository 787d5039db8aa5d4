"""Losses over many symbols, some rows and symbols at a time: never sequences × length × symbols of
anything.

The derivative for the rows is computed beside the losses, from the same products; the derivative
for the matrix, if anybody asks for it, by computing them again, for all symbols of fewer rows.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax import platforms
from promptax.specs import Record

PIECE_BYTES = 2**25  # of log probabilities at a time, where the matrix is differentiated
CPU_TILE = 512, 1024  # rows and symbols whose scores stay in a core's cache
TILE = 2048, 8192  # on an accelerator

Rows = Float[Array, "row width"]
PerRow = Float[Array, " row"]
Tokens = Int[Array, " row"]
Layer = Any  # a linear map with a `shape`: promptax.predictors.parts.layers


class Unembedded(Record):
    """Rows of outputs and the layer that makes log probabilities of them, not yet multiplied."""

    rows: Float[Array, "*batch time width"]
    layer: Layer

    def log_probs_of(self, tokens: Int[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """Log probability of each token, nats; NaN of a number that is no token. Numbers below 0
        count from the alphabet's end, as in NumPy."""
        flat = self.rows.reshape(-1, self.rows.shape[-1])
        numbers = jnp.where(tokens < 0, tokens + self.layer.shape()[-1], tokens)
        return _of(flat, self.layer, numbers.reshape(-1)).reshape(tokens.shape)


def _tile() -> tuple[int, int]:
    return CPU_TILE if platforms.on_cpu() else TILE


def _pieces(most: int, *arrays: Array) -> tuple[Array, ...]:
    """Arrays [row, ...] cut into as few pieces of at most so many rows as they fill:
    [piece, row, ...], with zeros behind the last row."""
    count = len(arrays[0])
    pieces = math.ceil(count / most)
    rows = math.ceil(count / max(1, pieces))
    padded = (jnp.pad(a, [(0, pieces * rows - count)] + [(0, 0)] * (a.ndim - 1)) for a in arrays)
    return tuple(a.reshape(pieces, rows, *a.shape[1:]) for a in padded)


def _symbols_at_once(rows: int, symbols: int) -> int:
    """Those of a tile, more where there are fewer rows; about as many in each."""
    tile_rows, tile_symbols = _tile()
    most = max(tile_symbols, tile_rows * tile_symbols // max(1, rows))
    return math.ceil(symbols / math.ceil(symbols / most))


def _by_symbols(
    rows: Rows, layer: Layer, tokens: Tokens, slopes: bool
) -> tuple[PerRow, PerRow, Rows | None]:
    """Log probabilities of the tokens, the logarithms of what they are divided by, and, where
    `slopes`, the derivative for the rows: some symbols at a time, with sums of exponentials
    relative to the highest score so far, as in Milakov and Gimelshein 2018."""
    symbols = layer.shape()[-1]
    size = _symbols_at_once(len(rows), symbols)

    def add_tile(sums: tuple, first: Array) -> tuple[tuple, None]:
        top, total, chosen, mixed = sums
        start = jnp.minimum(first, symbols - size)  # the last tile may overlap the one before
        logits, pull = jax.vjp(layer.block(start, size), rows)
        scores = jnp.where(start + jnp.arange(size) >= first, logits, -jnp.inf).astype(top.dtype)
        higher = jnp.maximum(top, jnp.max(scores, axis=-1))
        before, weights = jnp.exp(top - higher), jnp.exp(scores - higher[:, None])
        total = total * before + jnp.sum(weights, axis=-1)
        place = jnp.clip(tokens - start, 0, size - 1)
        is_here = (tokens >= first) & (tokens < start + size)
        score = jnp.take_along_axis(scores, place[:, None], axis=-1)[:, 0]
        if slopes:
            mixed = mixed * before[:, None] + pull(weights.astype(logits.dtype))[0]
        return (higher, total, jnp.where(is_here, score, chosen), mixed), None

    wide = jnp.promote_types(jax.eval_shape(layer, rows).dtype, jnp.float32)
    zeros = jnp.zeros_like(rows[:, 0], wide)
    begin = (
        jnp.full_like(zeros, jnp.finfo(wide).min),
        zeros,
        jnp.full_like(zeros, jnp.nan),  # of a token that is none
        jnp.zeros_like(rows, wide) if slopes else None,
    )
    (top, total, chosen, mixed), _ = jax.lax.scan(add_tile, begin, jnp.arange(0, symbols, size))
    divisor = top + jnp.log(total)
    if mixed is None:
        return chosen - divisor, divisor, None
    slope = layer.part(tokens).matrix().T - mixed / total[:, None]
    return chosen - divisor, divisor, slope.astype(rows.dtype)


@jax.custom_vjp
def _of(rows: Rows, layer: Layer, tokens: Tokens) -> PerRow:
    return _values(rows, layer, tokens, False)[0]


def _values(
    rows: Rows, layer: Layer, tokens: Tokens, slopes: bool
) -> tuple[PerRow, PerRow, Rows | None]:
    """`_by_symbols`, some rows at a time."""
    results = jax.lax.map(
        lambda part: _by_symbols(part[0], layer, part[1], slopes),
        _pieces(_tile()[0], rows, tokens),
    )
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[: len(rows)], results)


def _of_forward(rows: Rows, layer: Layer, tokens: Tokens) -> tuple[PerRow, tuple]:
    values, divisors, slopes = _values(rows, layer, tokens, True)
    return values, (slopes, rows, layer, tokens, divisors)


def _of_backward(saved: tuple, change: PerRow) -> tuple[Rows, Layer, None]:
    slopes, rows, layer, tokens, divisors = saved
    most = max(1, PIECE_BYTES // (4 * layer.shape()[-1]))

    def piece(total: Layer, part: tuple[Array, ...]) -> tuple[Layer, None]:
        rows, tokens, divisors, change = part
        logits, pull = jax.vjp(lambda layer: layer(rows), layer)
        hit = tokens[:, None] == jnp.arange(logits.shape[-1])
        log_probs = jnp.minimum(logits - divisors[:, None], 0)  # also of rows that only fill up
        slopes = (hit - jnp.exp(log_probs)) * change[:, None]
        return jax.tree.map(jnp.add, total, *pull(slopes.astype(logits.dtype))), None

    zeros = jax.tree.map(jnp.zeros_like, layer)
    for_layer, _ = jax.lax.scan(piece, zeros, _pieces(most, rows, tokens, divisors, change))
    return (slopes * change[:, None]).astype(rows.dtype), for_layer, None


_of.defvjp(_of_forward, _of_backward)
