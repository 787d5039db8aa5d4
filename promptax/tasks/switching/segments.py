"""Segments: stretches of time in which symbols are independent and come from one row.

The row of a segment is drawn from Dirichlet(½, ..., ½) when it begins. What differs between sources
is when segments begin. A segment is told by its counts, so that the judges of the exact predictors
need P(the symbols of one segment) only, which is known in closed form (Krichevsky and Trofimov
1981, "The Performance of Universal Encoding").
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode
from promptax.tasks.markov.rows import expected_entropy, log_evidence_of
from promptax.tasks.markov.weighting import KT

TINY = 1e-30  # added to squares of normals, whose sum could be 0 in float32


class Segments(NamedTuple):
    """The latent. `rows` [time, symbol]: the probabilities at each step. `begins` [time]: whether
    a segment begins with that step; it does with the first."""

    rows: Float[Array, "time symbol"]
    begins: Bool[Array, " time"]


def draw_rows(key: Key[Array, ""], count: int, symbols: int) -> Float[Array, "segment symbol"]:
    """Independent rows from Dirichlet(½, ..., ½): squares of normals over their sum."""
    square = jax.random.normal(key, (count, symbols)) ** 2 + TINY
    return square / jnp.sum(square, axis=1, keepdims=True)


def draw_tokens(key: Key[Array, ""], rows: Float[Array, "time symbol"]) -> Tokens:
    """One symbol from the row of each step, by inversion."""
    heights = jnp.cumsum(rows, axis=1)
    points = jax.random.uniform(key, (len(rows), 1)) * heights[:, -1:]
    return jnp.sum(points >= heights, axis=1, dtype=jnp.int32)


def draw_segments(
    rows_key: Key[Array, ""], tokens_key: Key[Array, ""], begins: Bool[Array, " time"], symbols: int
) -> Episode:
    """Symbols of segments that begin at the given steps, each with a row of its own."""
    length = len(begins)
    rows = draw_rows(rows_key, length, symbols)
    rows = rows[jnp.maximum(jnp.cumsum(begins) - 1, 0)] if length else rows
    return Episode(draw_tokens(tokens_key, rows), latent=Segments(rows, begins))


def log_rows(latent: Segments, tokens: Tokens) -> LogProbs:
    """What a reader predicts that knows the row of each step, nats."""
    return jnp.log(latent.rows[: len(tokens)])


def entropy_of_a_drawn_row(symbols: int, length: int) -> Float[Array, " time"]:
    """H_t = E[H(θ)], θ ~ Dirichlet(½, ..., ½), nats: the same at all steps, since the row of every
    step has that distribution, whenever its segment began."""
    nothing = np.zeros((1, symbols), int)
    return jnp.full(length, expected_entropy(nothing, np.full(symbols, KT), 0)[0])


def log_evidence_of_segments(tokens: Tokens, symbols: int) -> Float[Array, "begin end"]:
    """log P(tokens[begin:end] | they are one segment) for all 0 ≤ begin ≤ end ≤ time, nats.

    Entries with end < begin mean nothing.
    """
    one_hot = jnp.arange(symbols) == tokens[:, None]
    counts = jnp.concatenate(
        [jnp.zeros((1, symbols), jnp.int32), jnp.cumsum(one_hot, axis=0, dtype=jnp.int32)]
    )
    between = jnp.maximum(counts[None] - counts[:, None], 0)
    return log_evidence_of(between, jnp.full(symbols, KT), len(tokens))
