"""Attention of new rows to rows of the past, which a batch shares, and to each other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Heads = Float[Array, "*batch head time each"]
Queries = Float[Array, "*batch head row each"]


def attention(
    query: Queries,
    key: Heads,
    value: Heads,
    past: tuple[Array, Array, Array | None],
    groups: int = 1,
) -> Float[Array, "*batch time width"]:
    """Causal attention of new rows to the past rows and to each other.

    So many `groups` of queries may share a head (grouped-query attention, Ainslie et al. 2023):
    queries are [head, group × time, each] then. `past`, which all sequences share: keys and values
    [head, row, each], and which rows count [row] (None: all).
    """
    past_key, past_value, counted = past
    new = key.shape[-2]
    own = query @ jnp.swapaxes(key, -1, -2)
    earlier = jnp.tile(jnp.tril(jnp.ones((new, new), bool)), (groups, 1))
    own = own + jnp.where(earlier, 0.0, -jnp.inf)  # no derivative
    if past_key.shape[-2] == 0:
        return _side_by_side(jax.nn.softmax(own) @ value, groups)
    shared = jnp.einsum("...htd,hsd->...hts", query, past_key)
    if counted is not None:
        shared = jnp.where(counted, shared, -jnp.inf)
    top = jax.lax.stop_gradient(
        jnp.maximum(jnp.max(own, axis=-1, initial=-jnp.inf), jnp.max(shared, axis=-1))
    )[..., None]
    own, shared = jnp.exp(own - top), jnp.exp(shared - top)
    mixed = own @ value + jnp.einsum("...hts,hsd->...htd", shared, past_value)
    total = jnp.sum(own, axis=-1) + jnp.sum(shared, axis=-1)
    return _side_by_side(mixed / total[..., None], groups)


def _side_by_side(heads: Queries, groups: int) -> Float[Array, "*batch time width"]:
    if groups > 1:
        *batch, head, rows, each = heads.shape
        heads = heads.reshape(*batch, head * groups, rows // groups, each)
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
