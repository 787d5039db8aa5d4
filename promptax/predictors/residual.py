"""Residual networks whose layers remember: blocks of a sequence layer and a perceptron.

A `SequenceLayer` says what one layer remembers of a sequence, and how it reads rows; stacking,
norms, positions and the perceptron are done here, once. Its memory has a fixed size, unlike that
of attention. A member of this family is one file: a layer, and the architecture that makes it
(`fast_weights/delta_net.py` is a short one to copy).
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from promptax.checks import as_tuple
from promptax.predictors.base import Architecture
from promptax.predictors.parts.layers import (
    Layer,
    LayerNorm,
    check_depth,
    dense,
    gelu,
    layer_norm,
    positions,
)
from promptax.predictors.torso import Internals, Outputs, Rows, Torso
from promptax.specs import Record, check


class SequenceLayer(Record):
    """One layer with a memory, for one sequence. A member owes `start` and `read`."""

    @abc.abstractmethod
    def start(self) -> Any:
        """What it remembers before any row."""

    @abc.abstractmethod
    def read(self, state: Any, rows: Rows) -> tuple[Any, Outputs]:
        """What it remembers after the rows, and the output [time, width] at each of them. The
        output at a row knows that row."""


class Perceptron(Record):
    """Norm, a hidden layer with GELU, and back to the width."""

    before: LayerNorm
    mlp_input: Layer
    mlp_output: Layer

    def __call__(self, rows: Rows) -> Rows:
        return self.mlp_output(gelu(self.mlp_input(self.before(rows))))


class ResidualBlock(Record):
    """A sequence layer and a perceptron, each behind a norm and added to what it reads. The
    norm and the perceptron may be missing."""

    before: LayerNorm | None
    layer: SequenceLayer
    perceptron: Perceptron | None

    def read(self, state: Any, rows: Rows) -> tuple[Any, Rows, Outputs]:
        """The layer's state, the rows for the next block, and what the layer added to them."""
        state, outputs = self.layer.read(state, rows if self.before is None else self.before(rows))
        rows = rows + outputs
        return state, rows if self.perceptron is None else rows + self.perceptron(rows), outputs


class ResidualState(NamedTuple):
    """How many rows were read, and what each layer remembers."""

    rows: Int[Array, "*batch"]
    layers: tuple[Any, ...]


class ResidualTorso(Torso):
    """Blocks, one after the other."""

    blocks: tuple[ResidualBlock, ...] = eqx.field(converter=as_tuple)
    positions: bool = eqx.field(static=True)
    low_rank: tuple[str, ...] = eqx.field(static=True)
    """The names of the layers that `LowRank` adapts by default."""

    def start(self, capacity: int | None) -> ResidualState:
        del capacity  # a state never grows
        return ResidualState(jnp.array(0), tuple(block.layer.start() for block in self.blocks))

    def advance(self, state: ResidualState, rows: Rows) -> tuple[ResidualState, Outputs, Internals]:
        hidden = rows + positions(state.rows, *rows.shape) if self.positions else rows
        layers, internals = [], {}
        for index, block in enumerate(self.blocks):
            layer, hidden, internals[f"block{index}.layer"] = block.read(
                state.layers[index], hidden
            )
            layers.append(layer)
        return ResidualState(state.rows + len(rows), tuple(layers)), hidden, internals

    def low_rank_layers(self) -> tuple[str, ...]:
        return self.low_rank


class Residual(Architecture):
    """Blocks of sequence layers and perceptrons. A member owes `layer` and, for the contract tests,
    `examples`."""

    width: int = 128
    """Width of the embedding and of every block."""
    depth: int = 1
    """Number of blocks."""
    widening: int = 4
    """The perceptron's hidden layer is that many times as wide; 0: no perceptron."""
    norm: bool = True
    """Whether a layer norm stands before each layer."""
    positions: bool = True
    """Whether sine-cosine encodings of the positions are added to what the first block reads."""

    def __check_init__(self) -> None:
        check(
            min(self.width, self.depth, self.widening + 1) >= 1,
            f"Expected a width and a depth of at least 1 and a widening of at least 0; got "
            f"{self.width}, {self.depth}, {self.widening}.",
        )
        check_depth(self.depth)

    @abc.abstractmethod
    def layer(self, key: Key[Array, ""]) -> SequenceLayer:
        """One untrained layer."""

    @abc.abstractmethod
    def low_rank_names(self) -> tuple[str, ...]:
        """The names of the dense layers that `LowRank` adapts by default."""

    @classmethod
    def small(cls) -> "Residual":
        return cls(width=32)

    def embedding_width(self) -> int:
        return self.width

    def output_width(self) -> int:
        return self.width

    def torso(self, key: Key[Array, ""]) -> ResidualTorso:
        blocks = [self._block(block_key) for block_key in jax.random.split(key, self.depth)]
        return ResidualTorso(tuple(blocks), self.positions, self.low_rank_names())

    def _block(self, key: Key[Array, ""]) -> ResidualBlock:
        middle, up, down = jax.random.split(key, 3)
        width, hidden = self.width, self.width * self.widening
        perceptron = None
        if self.widening:
            perceptron = Perceptron(
                layer_norm(width, bias=True),
                dense(up, width, hidden, bias=False),
                dense(down, hidden, width, bias=False),
            )
        norm = layer_norm(width, bias=True) if self.norm else None
        return ResidualBlock(norm, self.layer(middle), perceptron)
