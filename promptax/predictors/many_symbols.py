"""Losses over many symbols, a few rows at a time: never sequences × length × symbols of anything.

The derivative for the rows is computed beside the losses, from the same products; the derivative
for the matrix, if anybody asks for it, by computing them again.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.predictors.layers import Layer
from promptax.specs import Record

PIECE_BYTES = 2**25  # of log probabilities at a time

Rows = Float[Array, "row width"]
Matrix = Float[Array, "width symbol"]
Bias = Float[Array, " symbol"]
Each = Float[Array, " row"]


class Unembedded(Record):
    """Rows of outputs and the layer that makes log probabilities of them, not yet multiplied."""

    rows: Float[Array, "*batch time width"]
    layer: Layer

    def log_probs_of(self, tokens: Int[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """Log probability of each token, nats."""
        matrix = self.layer.matrix()
        bias = jnp.zeros(matrix.shape[1]) if self.layer.bias is None else self.layer.bias
        flat = self.rows.reshape(-1, self.rows.shape[-1])
        return _of(flat, matrix, bias, tokens.reshape(-1)).reshape(tokens.shape)


def _pieces(symbols: int, *arrays: Array) -> tuple[Array, ...]:
    """Arrays [row, ...] as [piece, row, ...], with zeros after the last row."""
    count = len(arrays[0])
    size = min(2 ** int(math.log2(max(1, PIECE_BYTES // (4 * symbols)))), max(1, count))
    missing = -count % size
    padded = (jnp.pad(a, [(0, missing)] + [(0, 0)] * (a.ndim - 1)) for a in arrays)
    return tuple(a.reshape(-1, size, *a.shape[1:]) for a in padded)


def _logits(rows: Rows, matrix: Matrix, bias: Bias) -> tuple[Float[Array, "row symbol"], Each]:
    logits = rows @ matrix + bias
    return logits, jax.nn.logsumexp(logits, axis=-1)


def _chosen(values: Float[Array, "row symbol"], tokens: Int[Array, " row"]) -> Each:
    return jnp.take_along_axis(values, tokens[:, None], axis=-1)[:, 0]


@jax.custom_vjp
def _of(rows: Rows, matrix: Matrix, bias: Bias, tokens: Int[Array, " row"]) -> Each:
    def piece(some: tuple[Rows, Int[Array, " row"]]) -> Each:
        logits, total = _logits(some[0], matrix, bias)
        return _chosen(logits, some[1]) - total

    return jax.lax.map(piece, _pieces(matrix.shape[1], rows, tokens)).reshape(-1)[: len(rows)]


def _of_forward(
    rows: Rows, matrix: Matrix, bias: Bias, tokens: Int[Array, " row"]
) -> tuple[Each, tuple]:
    def piece(some: tuple[Rows, Int[Array, " row"]]) -> tuple[Each, Rows]:
        logits, total = _logits(some[0], matrix, bias)
        chances = jnp.exp(logits - total[:, None])
        return _chosen(logits, some[1]) - total, matrix.T[some[1]] - chances @ matrix.T

    values, slopes = jax.lax.map(piece, _pieces(matrix.shape[1], rows, tokens))
    values, slopes = values.reshape(-1)[: len(rows)], slopes.reshape(-1, rows.shape[1])[: len(rows)]
    return values, (slopes, rows, matrix, bias, tokens)


def _of_backward(saved: tuple, change: Each) -> tuple[Rows, Matrix, Bias, None]:
    slopes, rows, matrix, bias, tokens = saved
    symbols = matrix.shape[1]

    def piece(total: tuple[Matrix, Bias], some: tuple) -> tuple[tuple[Matrix, Bias], None]:
        rows, tokens, change = some
        logits, all_of_them = _logits(rows, matrix, bias)
        pull = -jnp.exp(logits - all_of_them[:, None]) * change[:, None]
        pull = pull.at[jnp.arange(len(rows)), tokens].add(change)
        return (total[0] + rows.T @ pull, total[1] + jnp.sum(pull, axis=0)), None

    zeros = jnp.zeros_like(matrix), jnp.zeros_like(bias)
    (for_matrix, for_bias), _ = jax.lax.scan(piece, zeros, _pieces(symbols, rows, tokens, change))
    return slopes * change[:, None], for_matrix, for_bias, None


_of.defvjp(_of_forward, _of_backward)
