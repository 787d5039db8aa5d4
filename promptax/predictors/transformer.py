"""A causal Transformer decoder (Vaswani et al. 2017) as in Genewein et al. 2025.

Pre-norm attention and MLP, layer norm on queries and keys over the full width, one more layer norm
after the MLP's residual, no biases in the dense layers of a block.

The state holds the keys and values of the rows read so far. Attention works on two blocks, the rows
of the state and the new rows, under one normaliser: a batch that starts from one state shares its
first block, so a prompt is never copied into the sequences.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from promptax import platforms
from promptax.axes import Tokens
from promptax.predictors.base import Architecture, Internals, Outputs, Rows, Table, Torso
from promptax.predictors.layers import (
    Layer,
    LayerNorm,
    choose,
    dense,
    gelu,
    layer_norm,
    positions,
)
from promptax.specs import Record, check


class Transformer(Architecture):
    """Transformer blocks on sine-cosine positions, by default as in Genewein et al. 2025."""

    width: int = 128
    """Width of the embedding and of every block."""
    depth: int = 1
    """Number of blocks."""
    heads: int = 4
    """Attention heads; must divide the width."""
    widening: int = 4
    """The MLP's hidden layer is that many times as wide."""

    def __check_init__(self) -> None:
        check(
            min(self.width, self.depth, self.heads, self.widening) >= 1,
            f"Expected width, depth, heads and widening of at least 1; got {self.width}, "
            f"{self.depth}, {self.heads}, {self.widening}.",
        )
        fitting = [h for h in range(1, self.width + 1) if self.width % h == 0]
        check(
            self.width % self.heads == 0,
            f"Expected heads that divide the width {self.width}: one of {fitting}; got "
            f"{self.heads}.",
        )

    @classmethod
    def as_published(cls) -> "Transformer":
        """The network of Genewein et al. 2025: one block, width 128, 4 heads, widening 4."""
        return cls(width=128, depth=1, heads=4, widening=4)

    @classmethod
    def examples(cls) -> "tuple[Transformer, ...]":
        return cls(width=8, heads=2), cls(width=6, depth=2, heads=3, widening=2)

    def embedding_width(self) -> int:
        return self.width

    def output_width(self) -> int:
        return self.width

    def torso(self, key: Key[Array, ""]) -> "TransformerTorso":
        return TransformerTorso(
            tuple(_block(k, self) for k in jax.random.split(key, self.depth)),
            heads=self.heads,
        )


Projections = tuple[  # query, key, value
    Float[Array, "*rows width"], Float[Array, "*rows width"], Float[Array, "*rows width"]
]


class Block(Record):
    """One block's layers."""

    before_attention: LayerNorm
    query: Layer
    key: Layer
    value: Layer
    query_norm: LayerNorm
    key_norm: LayerNorm
    attention_output: Layer
    before_mlp: LayerNorm
    mlp_input: Layer
    mlp_output: Layer
    after_mlp: LayerNorm

    def projections(self, hidden: Float[Array, "*rows width"]) -> Projections:
        """Query, key and value of each row."""
        normed = self.before_attention(hidden)
        query, key = self.query_norm(self.query(normed)), self.key_norm(self.key(normed))
        return query, key, self.value(normed)


def _block(key: Key[Array, ""], spec: Transformer) -> Block:
    width, hidden = spec.width, spec.width * spec.widening
    q, k, v, o, up, down = jax.random.split(key, 6)
    return Block(
        before_attention=layer_norm(width, bias=True),
        query=dense(q, width, width, bias=False),
        key=dense(k, width, width, bias=False),
        value=dense(v, width, width, bias=False),
        query_norm=layer_norm(width, bias=False),
        key_norm=layer_norm(width, bias=False),
        attention_output=dense(o, width, width, bias=False),
        before_mlp=layer_norm(width, bias=True),
        mlp_input=dense(up, width, hidden, bias=False),
        mlp_output=dense(down, hidden, width, bias=False),
        after_mlp=layer_norm(width, bias=True),
    )


class Memory(eqx.Module):
    """Keys and values [row, width] of each block. `filled`: how many rows count, where the shape is
    fixed; None where it grows and all rows count."""

    keys: tuple[Float[Array, "row width"], ...]
    values: tuple[Float[Array, "row width"], ...]
    filled: Int[Array, ""] | None

    def rows_read(self) -> int | Array:
        return self.keys[0].shape[0] if self.filled is None else self.filled

    def counted(self) -> Bool[Array, " row"] | None:
        """Which rows may be attended to; None: all."""
        return None if self.filled is None else jnp.arange(self.keys[0].shape[0]) < self.filled


class TransformerTorso(Torso):
    """Blocks one after the other."""

    blocks: tuple[Block, ...] = eqx.field(converter=tuple)
    heads: int = eqx.field(static=True)

    def start(self, capacity: int | None) -> Memory:
        rows, width = capacity or 0, self.blocks[0].query.weight.shape[0]
        empty = tuple(jnp.zeros((rows, width)) for _ in self.blocks)
        return Memory(empty, empty, None if capacity is None else jnp.array(0))

    def advance(self, state: Memory, rows: Rows) -> tuple[Memory, Outputs, Internals]:
        hidden = rows + positions(state.rows_read(), *rows.shape)
        return self._through(state, hidden, self.blocks[0].projections(hidden))

    def advance_tokens(
        self, state: Memory, table: Table, tokens: Tokens
    ) -> tuple[Memory, Outputs, Internals]:
        """A symbol at a position gives one and the same row in every sequence: what the first
        block computes from single rows is computed for symbol × time rows, once for a batch."""
        places = positions(state.rows_read(), tokens.shape[0], table.shape[1])
        distinct = table[:, None] + places
        here = lambda rows: choose(rows, tokens)  # noqa: E731
        given = self.blocks[0].projections(distinct)
        return self._through(state, here(distinct), jax.tree.map(here, given))

    def _through(
        self, state: Memory, hidden: Rows, first: Projections
    ) -> tuple[Memory, Outputs, Internals]:
        """All blocks, given the first one's projections of the rows."""
        keys, values, internals = [], [], {}
        for index, block in enumerate(self.blocks):
            query, key, value = block.projections(hidden) if index else first
            past = state.keys[index], state.values[index], state.counted()
            attended = block.attention_output(attention(query, key, value, past, self.heads))
            hidden = hidden + attended
            inner = gelu(block.mlp_input(block.before_mlp(hidden)))
            hidden = block.after_mlp(hidden + block.mlp_output(inner))
            keys.append(_append(state.keys[index], key, state.filled))
            values.append(_append(state.values[index], value, state.filled))
            internals[f"block{index}.attention"] = attended
        filled = None if state.filled is None else state.filled + hidden.shape[0]
        return Memory(tuple(keys), tuple(values), filled), hidden, internals

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("query", "key", "value", "attention_output")

    def reading_bytes(self, rows: int) -> int:
        """Attention weights between all pairs of rows, and the hidden layer of the MLP."""
        hidden = self.blocks[0].mlp_input.weight.shape[1]
        return 4 * len(self.blocks) * rows * (self.heads * rows + hidden)

    def micro_batch(self, batch: int, length: int) -> int:
        return platforms.micro_batch(batch, length, self.blocks[0].query.weight.shape[0])


def attention(
    query: Float[Array, "time width"],
    key: Float[Array, "time width"],
    value: Float[Array, "time width"],
    past: tuple[Array, Array, Array | None],
    heads: int,
) -> Float[Array, "time width"]:
    """Causal attention of new rows to the past rows and to each other.

    `past`: keys [row, width], values [row, width], and which rows count [row] (None: all).
    """
    past_key, past_value, counted = past
    new, width = query.shape
    split = lambda rows: rows.reshape(rows.shape[0], heads, width // heads)  # noqa: E731
    query = split(query) / jnp.sqrt(width // heads)
    own = jnp.einsum("thd,shd->hts", query, split(key))
    own = own + jnp.where(jnp.tril(jnp.ones((new, new), bool)), 0.0, -jnp.inf)  # no derivative
    if past_key.shape[0] == 0:
        mixed = jnp.einsum("hts,shd->thd", jax.nn.softmax(own), split(value))
        return mixed.reshape(new, width)
    shared = jnp.einsum("thd,shd->hts", query, split(past_key))
    if counted is not None:
        shared = jnp.where(counted, shared, -jnp.inf)
    top = jax.lax.stop_gradient(
        jnp.maximum(jnp.max(own, axis=-1, initial=-jnp.inf), jnp.max(shared, axis=-1))
    )[..., None]
    own, shared = jnp.exp(own - top), jnp.exp(shared - top)
    mixed = jnp.einsum("hts,shd->thd", own, split(value))
    mixed = mixed + jnp.einsum("hts,shd->thd", shared, split(past_value))
    total = jnp.sum(own, axis=-1) + jnp.sum(shared, axis=-1)
    return (mixed / total.T[..., None]).reshape(new, width)


def _append(past: Array, rows: Array, filled: Array | None) -> Array:
    """Past rows and new rows; in a fixed shape, NaN in place of rows that do not fit."""
    if filled is None:
        return jnp.concatenate([past, rows])
    rows = jnp.where(filled + rows.shape[0] <= past.shape[0], rows, jnp.nan)
    return jax.lax.dynamic_update_slice(past, rows, (filled, jnp.zeros_like(filled)))
