"""A causal Transformer decoder (Vaswani et al. 2017) as in Genewein et al. 2025.

Pre-norm attention and MLP, layer norm on queries and keys over the full width, one more layer norm
after the MLP's residual, no biases in the dense layers of a block.

The state holds the keys and values of the rows read so far. Attention works on two blocks, the rows
of the state and the new rows, under one normaliser: a batch that starts from one state shares its
first block, so a prompt is never copied into the sequences.
"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.checks import as_tuple
from promptax.predictors.base import Architecture
from promptax.predictors.parts.attention import (
    Distance,
    Heads,
    KeptRows,
    PartialAttention,
    Past,
    append,
    attend_to_past,
    attention,
    rotated,
    rotation,
)
from promptax.predictors.parts.layers import (
    Layer,
    LayerNorm,
    check_depth,
    check_heads,
    choose,
    dense,
    gelu,
    layer_norm,
    positions,
)
from promptax.predictors.torso import (
    Attended,
    BatchOutputs,
    BatchRows,
    BatchTokens,
    Internals,
    Outputs,
    Remembered,
    Rows,
    Table,
    Torso,
)
from promptax.specs import Record, check, later

PLACES = ("sine", "learned", "rotary", "alibi", "none")
ROTARY_BASE = 1e4  # the slowest wavelength over 2π, as in Su et al. 2021


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
    positions: str = later("sine")
    """How it knows the order of rows: "sine" adds sine-cosine encodings (Vaswani et al. 2017),
    "learned" adds trained rows, "rotary" turns queries and keys (Su et al. 2021), "alibi" lowers
    scores in proportion to the distance (Press et al. 2022), "none" adds nothing."""
    longest: int = later(512)
    """How many rows it can read with learned positions, prompt and begin row included."""
    window: int | None = later(None)
    """A row attends to so many rows, itself included; None: to all that came before."""

    def __check_init__(self) -> None:
        check(
            min(self.width, self.depth, self.heads, self.widening) >= 1,
            f"Expected width, depth, heads and widening of at least 1; got {self.width}, "
            f"{self.depth}, {self.heads}, {self.widening}.",
        )
        check_depth(self.depth)
        check_heads(self.width, self.heads)
        check(
            self.positions in PLACES,
            f"Expected positions to be one of {', '.join(PLACES)}; got {self.positions!r}.",
        )
        check(
            self.positions != "rotary" or self.width // self.heads % 2 == 0,
            f"Expected heads of an even width, whose halves rotary positions turn; got "
            f"{self.width} / {self.heads}. Take fewer heads or another width.",
        )
        check(self.longest >= 1, f"Expected longest of at least 1 row; got {self.longest}.")
        check(
            self.window is None or self.window >= 1,
            f"Expected a window of at least 1 row, the row itself, or None; got {self.window}.",
        )

    @classmethod
    def as_published(cls) -> "Transformer":
        """The network of Genewein et al. 2025: one block, width 128, 4 heads, widening 4."""
        return cls(width=128, depth=1, heads=4, widening=4)

    @classmethod
    def small(cls) -> "Transformer":
        return cls(width=32, heads=2)

    @classmethod
    def examples(cls) -> "tuple[Transformer, ...]":
        return (
            cls(width=8, heads=2),
            cls(width=6, depth=2, heads=3, widening=2),
            cls(width=4, heads=1, positions="learned", longest=256, window=32),
        )

    def embedding_width(self) -> int:
        return self.width

    def output_width(self) -> int:
        return self.width

    def torso(self, key: Key[Array, ""]) -> "TransformerTorso":
        table = None
        if self.positions == "learned":
            places = jax.random.fold_in(key, self.depth)  # the blocks' keys are split from key
            table = 0.02 * jax.random.normal(places, (self.longest, self.width))
        return TransformerTorso(
            tuple(_block(k, self) for k in jax.random.split(key, self.depth)),
            heads=self.heads,
            positions=self.positions,
            window=self.window,
            table=table,
        )


Projections = tuple[Heads, Heads, Heads]  # query, key, value


class Block(Record):
    """The layers of one block: attention, then a perceptron, each behind a normalisation."""

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

    def projections(self, hidden: Float[Array, "*batch time width"], heads: int) -> Projections:
        """Query, key and value of each row; queries are divided by the root of a head's width."""
        normed = self.before_attention(hidden)
        query, key = self.query_norm(self.query(normed)), self.key_norm(self.key(normed))
        head_width = query.shape[-1] // heads

        def split(rows: Array) -> Array:
            return jnp.swapaxes(rows.reshape(*rows.shape[:-1], heads, head_width), -2, -3)

        return split(query) / jnp.sqrt(head_width), split(key), split(self.value(normed))

    def behind_attention(
        self, hidden: Float[Array, "*batch time width"]
    ) -> Float[Array, "*batch time width"]:
        """The perceptron and the last normalisation of rows to which attention was added."""
        inner = gelu(self.mlp_input(self.before_mlp(hidden)))
        return self.after_mlp(hidden + self.mlp_output(inner))


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


class Memory(KeptRows):
    """Keys and values of each block."""

    keys: tuple[Float[Array, "*batch head row head_width"], ...]
    values: tuple[Float[Array, "*batch head row head_width"], ...]

    def rows_read(self) -> int | Array:
        return self.keys[0].shape[-2] if self.filled is None else self.filled

    def of_block(self, index: int) -> Past:
        """What one block looks back at."""
        return Past(self.keys[index], self.values[index], self.filled)


class TransformerTorso(Torso):
    """The blocks of a Transformer, one after the other."""

    forgets: ClassVar[bool] = True

    blocks: tuple[Block, ...] = eqx.field(converter=as_tuple)
    heads: int = eqx.field(static=True)
    positions: str = later("sine", static=True)
    window: int | None = later(None, static=True)
    table: Float[Array, "place width"] | None = later(None)
    """The rows of learned positions."""

    def start(self, capacity: int | None) -> Memory:
        head_width = self.blocks[0].query.shape()[0] // self.heads
        empty = tuple(jnp.zeros((self.heads, capacity or 0, head_width)) for _ in self.blocks)
        return Memory(None if capacity is None else jnp.array(0), empty, empty)

    def advance(self, state: Memory, rows: Rows) -> tuple[Memory, Outputs, Internals]:
        return self._read(state, rows)

    def advance_batch(
        self, state: Memory, rows: BatchRows
    ) -> tuple[Memory, BatchOutputs, Internals]:
        return self._read(state, rows)

    def _read(self, state: Memory, rows: Array) -> tuple[Memory, Array, Internals]:
        first = state.rows_read()
        hidden = rows + self._places(first, *rows.shape[-2:])
        given = self._turned(self.blocks[0].projections(hidden, self.heads), first)
        return self._through(state, hidden, given)

    def advance_tokens(
        self, state: Memory, table: Table, tokens: BatchTokens
    ) -> tuple[Memory, BatchOutputs, Internals]:
        """A symbol at a position gives one and the same row in every sequence: what the first
        block computes from single rows, and finds in the rows that all sequences share, is computed
        for symbol × time rows, once for a batch: for each sequence a long prompt costs the first
        block nothing."""
        places = self._places(state.rows_read(), tokens.shape[-1], table.shape[1])
        distinct = table[:, None] + jnp.broadcast_to(places, (tokens.shape[-1], table.shape[1]))

        def look_up(rows: Array) -> Array:
            return choose(rows, tokens)

        first = state.rows_read()
        given = self._turned(self.blocks[0].projections(distinct, self.heads), first)
        past, partial = state.of_block(0), None
        if state.filled is None and state.rows_read():
            partial = jax.tree.map(look_up, attend_to_past(given[0], past, self._distance))
        return self._through(state, look_up(distinct), jax.tree.map(look_up, given), partial)

    def _places(self, first: int | Array, rows: int, width: int) -> Float[Array, "rows width"]:
        """What is added to rows at the positions first, first + 1, …; one row where nothing is."""
        if self.positions == "sine":
            return positions(first, rows, width)
        if self.table is None:
            return jnp.zeros((1, width))
        if isinstance(first, int) and first + rows > len(self.table):
            raise ValueError(
                f"Expected at most {len(self.table)} rows, since there is a learned position for "
                f"so many; got {first + rows}, prompt and begin row included. Set "
                "Transformer.longest, or take other positions."
            )
        return self.table[jnp.minimum(first + jnp.arange(rows), len(self.table) - 1)]

    def _nan_without_place(self, outputs: Array, first: int | Array) -> Array:
        """NaN where a row has no learned position. Its keys and values stay numbers, since rows
        that only fill a piece up are forgotten, and what is forgotten must not spoil a sum."""
        if self.table is None or isinstance(first, int):
            return outputs
        places = first + jnp.arange(outputs.shape[-2])
        return jnp.where((places < len(self.table))[:, None], outputs, jnp.nan)

    @property
    def _distance(self) -> Distance:
        """With ALiBi head h of n has the slope 2^(-8 h / n), h from 1."""
        slopes = tuple(2 ** (-8 * (head + 1) / self.heads) for head in range(self.heads))
        return Distance(slopes if self.positions == "alibi" else None, self.window)

    def _through(
        self,
        state: Memory,
        hidden: Array,
        given: Projections,
        partial: PartialAttention | None = None,
    ) -> tuple[Memory, Array, Internals]:
        """All blocks, given the first one's projections of the rows [..., time, width], and what
        its queries find in the past rows if that is known."""
        keys, values, internals = [], [], {}
        for index, block in enumerate(self.blocks):
            if index:
                projected = block.projections(hidden, self.heads)
                given, partial = self._turned(projected, state.rows_read()), None
            query, key, value = given
            past, distance = state.of_block(index), self._distance
            attended = attention(query, key, value, past, distance=distance, partial=partial)
            attended = block.attention_output(attended)
            hidden = block.behind_attention(hidden + attended)
            keys.append(append(state.keys[index], key, state.filled))
            values.append(append(state.values[index], value, state.filled))
            internals[f"block{index}.attention"] = attended
        filled = state.filled_after(hidden.shape[-2])
        outputs = self._nan_without_place(hidden, state.rows_read())
        return Memory(filled, tuple(keys), tuple(values)), outputs, internals

    def _turned(self, given: Projections, first: int | Array) -> Projections:
        """Queries, keys and values, as they meet each other."""
        query, key, value = given
        if self.positions != "rotary":
            return given
        turn = rotation(first, key.shape[-2], key.shape[-1], ROTARY_BASE)
        return rotated(query, turn), rotated(key, turn), value

    def attended(self, rows: Rows) -> Attended:
        """Weights are read off by attention to the rows of an identity matrix, in place of values.
        What a head writes is what the block would write if the others wrote nothing."""
        count, width = rows.shape
        hidden = rows + self._places(0, count, width)
        identity = jnp.broadcast_to(jnp.eye(count), (self.heads, count, count))
        empty = jnp.zeros((self.heads, 0, 0))
        weights, writes = [], []
        for block in self.blocks:
            query, key, value = self._turned(block.projections(hidden, self.heads), 0)
            past = Past(empty, empty, None)
            seen = attention(query, key, identity, past, distance=self._distance)
            seen = jnp.swapaxes(seen.reshape(count, self.heads, count), 0, 1)
            alone = jnp.einsum("htv,hg->htgv", seen @ value, jnp.eye(self.heads))
            written = block.attention_output(alone.reshape(self.heads, count, width))
            hidden = block.behind_attention(hidden + jnp.sum(written, axis=0))
            weights.append(seen)
            writes.append(written)
        return Attended(jnp.stack(weights), jnp.stack(writes))

    def forget(self, state: Memory, rows: Int[Array, ""]) -> Memory:
        return state.without_last(rows)

    def remember(self, state: Memory, keys: Remembered, values: Remembered) -> Memory:
        keys_now, values_now = (
            tuple(append(old[i], new[i], state.filled) for i in range(len(old)))
            for old, new in ((state.keys, keys), (state.values, values))
        )
        return Memory(state.filled_after(keys.shape[-2]), keys_now, values_now)

    def remembered(self, state: Memory) -> tuple[Remembered, Remembered]:
        return jnp.stack(state.keys), jnp.stack(state.values)

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("query", "key", "value", "attention_output")

    def reading_bytes(self, rows: int) -> int:
        """Attention weights between all pairs of rows, and the hidden layer of the MLP."""
        hidden = self.blocks[0].mlp_input.shape()[1]
        return 4 * len(self.blocks) * rows * (self.heads * rows + hidden)

    def micro_batch(self, batch: int, length: int) -> int:
        return platforms.micro_batch(batch, length, self.blocks[0].query.shape()[0])
