"""Attention of new rows to rows of the past, which a batch shares, and to each other."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Heads = Float[Array, "*batch head time head_width"]
Values = Float[Array, "*batch head time value_width"]
Queries = Float[Array, "*batch head row head_width"]
Scores = Float[Array, "*head row other"]
Turn = tuple[Float[Array, "time half"], Float[Array, "time half"]]  # cosines and sines

BLOCK = 128  # rows of a past of fixed size that are attended to at once


class Distance(NamedTuple):
    """What the distance between two rows does to their score; by itself nothing."""

    slopes: tuple[float, ...] | None = None
    """One for each head: slope · distance is taken from the score (ALiBi, Press et al. 2022)."""
    window: int | None = None
    """A row attends to so many rows, itself and the last ones before it; None: to all."""

    def change(self, distance: Int[Array, "row other"]) -> Scores | float:
        """What is added to the scores of rows so far apart."""
        change: Array | float = 0.0
        if self.slopes is not None:
            change = -jnp.array(self.slopes)[:, None, None] * distance
        if self.window is not None:
            change = change + jnp.where(distance < self.window, 0.0, -jnp.inf)
        return change


ANY_DISTANCE = Distance()


class Past(NamedTuple):
    """Rows that were read before, which all sequences share: their keys and values."""

    keys: Float[Array, "*layer head row head_width"]
    values: Float[Array, "*layer head row value_width"]
    filled: Int[Array, ""] | None
    """How many of the rows count; None: all."""
    layer: Int[Array, ""] | None = None
    """Which of stacked layers is meant: only the rows that are looked at are taken from the stack.
    None: there is no axis of layers."""

    def of_layer(self, layer: Int[Array, ""]) -> "Past":
        """The past of one of stacked layers."""
        return self._replace(layer=layer)

    @property
    def room(self) -> int:
        """How many rows there are, whether they count or not."""
        return self.keys.shape[-2]

    def rows(self, first: int | Array, count: int) -> tuple[Heads, Values]:
        """Keys and values of so many rows."""
        return self._part(self.keys, first, count), self._part(self.values, first, count)

    def _part(self, kept: Array, first: int | Array, count: int) -> Array:
        if self.layer is None:
            return jax.lax.dynamic_slice_in_dim(kept, first, count, axis=-2)
        starts, sizes = (self.layer, 0, first, 0), (1, kept.shape[1], count, kept.shape[-1])
        return jax.lax.dynamic_slice(kept, starts, sizes)[0]

    def every_row(self) -> tuple[Heads, Values]:
        """Keys and values of all rows."""
        if self.layer is None:
            return self.keys, self.values
        return self.rows(0, self.room)


class PartialAttention(NamedTuple):
    """What queries find in rows of the past, to be put beside what they find in later rows.

    Scores are taken relative to the highest one, `top`: `total` is the sum of the exponentials,
    `mixed` that of the values, each times its exponential.
    """

    top: Float[Array, "*batch head row 1"]
    total: Float[Array, "*batch head row 1"]
    mixed: Values


def attend_to_past(
    query: Queries, past: Past, distance: Distance = ANY_DISTANCE
) -> PartialAttention:
    """What queries find in the past rows alone, as `attention` takes it: for queries that many
    sequences have in common."""
    scores = _past_scores(query, past, distance)
    return _weighted(scores, _top(scores), past)


def attention(
    query: Queries,
    key: Heads,
    value: Values,
    past: Past,
    groups: int = 1,
    distance: Distance = ANY_DISTANCE,
    partial: PartialAttention | None = None,
) -> Float[Array, "*batch time width"]:
    """Causal attention of new rows to the past rows and to each other.

    So many `groups` of queries may share a head (grouped-query attention, Ainslie et al. 2023):
    queries are [head, group × time, head_width] then. A long past is attended to block by block,
    as far as its rows count (partial sums as in Milakov and Gimelshein 2018). Distances are
    counted in rows, for one group alone. `partial` is what the queries find in the past rows, where
    that is known.
    """
    new = key.shape[-2]
    products = query @ jnp.swapaxes(key, -1, -2)
    earlier = jnp.tile(jnp.tril(jnp.ones((new, new), bool)), (groups, 1))
    products = products + jnp.where(earlier, 0.0, -jnp.inf)  # no derivative
    if distance != ANY_DISTANCE:
        products = products + distance.change(jnp.arange(new)[:, None] - jnp.arange(new))
    if past.room == 0:
        return _side_by_side(jax.nn.softmax(products) @ value, groups)
    if past.filled is not None and past.room > BLOCK:
        mixed = _block_by_block(query, products, value, past, past.filled, distance)
        return _side_by_side(mixed, groups)
    if partial is None:
        scores = _past_scores(query, past, distance)
        partial = _weighted(scores, _top(products, scores), past)
    else:
        top = jnp.maximum(_top(products), partial.top)
        before = jnp.exp(partial.top - top)
        partial = PartialAttention(top, partial.total * before, partial.mixed * before)
    products = jnp.exp(products - partial.top)
    mixed = products @ value + partial.mixed
    total = jnp.sum(products, axis=-1, keepdims=True) + partial.total
    return _side_by_side(mixed / total, groups)


def _places(time: int, past: Past) -> Int[Array, "time 1"]:
    """Where new rows stand, counted from the first past row."""
    return jnp.arange(time)[:, None] + (past.room if past.filled is None else past.filled)


def _past_scores(query: Queries, past: Past, distance: Distance) -> Array:
    """Scores of the past rows, -inf for those that do not count."""
    scores = jnp.einsum("...htd,hsd->...hts", query, past.every_row()[0])
    if distance != ANY_DISTANCE:
        scores = scores + distance.change(_places(query.shape[-2], past) - jnp.arange(past.room))
    if past.filled is not None:
        scores = jnp.where(jnp.arange(past.room) < past.filled, scores, -jnp.inf)
    return scores


def _weighted(scores: Array, top: Array, past: Past) -> PartialAttention:
    weights = jnp.exp(scores - top)
    mixed = jnp.einsum("...hts,hsd->...htd", weights, past.every_row()[1])
    return PartialAttention(top, jnp.sum(weights, axis=-1, keepdims=True), mixed)


def _block_by_block(
    query: Queries,
    products: Array,
    value: Heads,
    past: Past,
    filled: Array,
    distance: Distance,
) -> Queries:
    """The mean of values that `attention` computes, block by block. Blocks without a row that
    counts, in any sequence of a batch, are skipped."""
    places = _places(query.shape[-2], past)
    wide = jnp.promote_types(products.dtype, jnp.float32)  # sums of many blocks
    products = products.astype(wide)
    top = _top(products)
    products = jnp.exp(products - top)

    def add(sums: tuple[Array, Array, Array], first: Array) -> tuple[Array, Array, Array]:
        top, total, mixed = sums
        start = jnp.minimum(first, past.room - BLOCK)  # the last block may overlap the one before
        at = start + jnp.arange(BLOCK)
        block_keys, block_values = past.rows(start, BLOCK)
        scores = jnp.einsum("...htd,hsd->...hts", query, block_keys).astype(wide)
        if distance != ANY_DISTANCE:
            scores = scores + distance.change(places - at)
        scores = jnp.where((at >= first) & (at < filled), scores, -jnp.inf)
        higher = _top(top, scores)
        before, scores = jnp.exp(top - higher), jnp.exp(scores - higher)
        total = total * before + jnp.sum(scores, axis=-1, keepdims=True)
        mixed = mixed * before + jnp.einsum("...hts,hsd->...htd", scores, block_values)
        return higher, total, mixed

    most = _most(filled)

    def block(sums: tuple[Array, Array, Array], first: Array) -> tuple[tuple, None]:
        return jax.lax.cond(first < most, add, lambda sums, _: sums, sums, first), None

    sums = top, jnp.sum(products, axis=-1, keepdims=True), products @ value
    _, total, mixed = jax.lax.scan(block, sums, jnp.arange(0, past.room, BLOCK))[0]
    return (mixed / total).astype(value.dtype)


@jax.custom_batching.custom_vmap
def _most(filled: Array) -> Array:
    """The largest of a batch's numbers. With a number for each sequence, a condition would compute
    both of its branches."""
    return filled


@_most.def_vmap
def _most_of_a_batch(size: int, batched: list[bool], filled: Array) -> tuple[Array, bool]:
    del size
    return (jnp.max(filled, axis=0), False) if batched[0] else (filled, False)


def _top(*scores: Array) -> Array:
    """The highest score of each row of queries, which no derivative passes; where no row counts,
    the lowest number, since -inf times 0 would be NaN."""
    least = jnp.finfo(scores[0].dtype).min
    highest = [jnp.max(part, axis=-1, keepdims=True, initial=least) for part in scores]
    return jax.lax.stop_gradient(functools.reduce(jnp.maximum, highest))


def _side_by_side(heads: Queries, groups: int) -> Float[Array, "*batch time width"]:
    if groups > 1:
        *batch, head, rows, width = heads.shape
        heads = heads.reshape(*batch, head * groups, rows // groups, width)
    rows = jnp.swapaxes(heads, -2, -3)
    return rows.reshape(*rows.shape[:-2], rows.shape[-2] * rows.shape[-1])


def append(past: Array, rows: Heads, filled: Array | None) -> Array:
    """Past rows and new rows; in a fixed shape, NaN in place of rows that do not fit."""
    new = rows.shape[-2]
    past = jnp.broadcast_to(past, (*rows.shape[:-3], *past.shape))
    if filled is None:
        return jnp.concatenate([past, rows], axis=-2)
    rows = jnp.where(filled + new <= past.shape[-2], rows, jnp.nan)
    return jax.lax.dynamic_update_slice_in_dim(past, rows, filled, axis=-2)


class KeptRows(eqx.Module):
    """Keys and values that were read earlier, with room for more where their shape is fixed."""

    filled: Int[Array, ""] | None
    """How many rows count, where the shape is fixed; None where it grows and all count."""

    def filled_after(self, rows: int | Array) -> Array | None:
        """How many count after so many more."""
        return None if self.filled is None else self.filled + rows

    def without_last(self, rows: int | Array) -> Any:
        """The last rows no longer count."""
        if self.filled is None:
            raise TypeError("Expected a state of fixed shape to drop rows of: start(capacity=...).")
        return eqx.tree_at(lambda kept: kept.filled, self, self.filled - rows)


def rotation(first: int | Array, rows: int, width: int, base: float) -> Turn:
    """Cosines and sines of the angles at positions first, first + 1, … (Su et al. 2021)."""
    rates = base ** (-jnp.arange(0, width, 2) / width)
    angles = (first + jnp.arange(rows))[:, None] * rates
    return jnp.cos(angles), jnp.sin(angles)


def rotated(heads: Queries, turn: Turn) -> Queries:
    """Each head's halves, turned as pairs."""
    cosine, sine = (angles.astype(heads.dtype) for angles in turn)
    a, b = jnp.split(heads, 2, axis=-1)
    return jnp.concatenate([a * cosine - b * sine, b * cosine + a * sine], axis=-1)
