"""Recurrent networks: a `Cell` says what one step does; reading and stacking are done here, once.

A member of this family is one file with a cell and its architecture (`gru.py` is the shortest to
copy). A step is split where time can be saved:

    drive[t] = rows[t] @ inputs + bias     # needs no state: all time at once, each symbol once
    pull[t]  = hidden[t-1] @ recurrent     # the one matrix product that has to wait for a step
    state[t] = cell.move(drive[t], pull[t], state[t-1])
"""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax import platforms
from promptax.checks import as_tuple
from promptax.predictors.base import Architecture
from promptax.predictors.parts.layers import Dense, Layer, check_depth, choose, dense
from promptax.predictors.torso import (
    BatchOutputs,
    BatchRows,
    BatchTokens,
    Internals,
    Outputs,
    Rows,
    Table,
    Torso,
)
from promptax.specs import Record, check

CellState = dict[str, Array]  # "hidden" and what else a cell remembers: [..., state] by name


class Cell(Record):
    """One recurrent layer, for one sequence.

    A member owes `gates`, `move` and, if it remembers more than its hidden state, `remembers`.
    The columns of both matrices are the gates, one after the other, each of the layer's width.
    There is one bias: `recurrent` holds it, and the drive contains it; `inputs` has none.
    """

    gates: ClassVar[int]  # how many blocks of columns the matrices have
    remembers: ClassVar[tuple[str, ...]] = ("hidden",)  # the names of a state's parts

    inputs: Layer
    recurrent: Layer

    @abc.abstractmethod
    def move(
        self, drive: Float[Array, " gates"], pull: Float[Array, " gates"], state: CellState
    ) -> CellState:
        """The state after one step: its parts are `remembers`, each [state]. The part "hidden" is
        what the next layer reads, and what the next step's pull is computed from."""

    @classmethod
    def fresh(cls, key: Key[Array, ""], inputs: int, width: int) -> "Cell":
        """An untrained layer: the input matrix lecun-normal, the recurrent matrix of each gate
        orthogonal (Saxe et al. 2014), the bias zero."""
        first, second = jax.random.split(key)
        orthogonal = jax.nn.initializers.orthogonal()
        matrices = jax.vmap(lambda gate_key: orthogonal(gate_key, (width, width)))(
            jax.random.split(second, cls.gates)
        )
        columns = jnp.moveaxis(matrices, 0, 1).reshape(width, cls.gates * width)
        return cls(
            dense(first, inputs, cls.gates * width, bias=False),
            Dense(columns, jnp.zeros(cls.gates * width)),
        )

    def start(self) -> CellState:
        """Zeros."""
        zeros = jnp.zeros(self.recurrent.shape()[0])
        return dict.fromkeys(self.remembers, zeros)

    def read(self, state: CellState, rows: Rows) -> tuple[CellState, CellState]:
        """The last state, and the states after each row [time, state]."""

        def as_it_is(drive: Array) -> Array:
            return drive

        return self._scan(state, self._drives(rows), as_it_is)

    def read_batch(self, state: CellState, rows: BatchRows) -> tuple[CellState, CellState]:
        """`read` for a batch that starts from one state."""
        return jax.vmap(self.read, in_axes=(None, 0))(state, rows)

    def read_tokens(
        self, state: CellState, table: Table, tokens: BatchTokens
    ) -> tuple[CellState, CellState]:
        """`read_batch` of tokens whose rows are in the table. The drive of every symbol is computed
        once and looked up in each step."""
        drives = self._drives(table)

        def look_up(token: Array) -> Array:
            return choose(drives, token[None])[0]

        return jax.vmap(lambda sequence: self._scan(state, sequence, look_up))(tokens)

    def _drives(self, rows: Rows) -> Float[Array, "time gates"]:
        drives, bias = self.inputs(rows), self.recurrent.bias
        return drives if bias is None else drives + bias

    def _scan(
        self, state: CellState, given: Array, drive_of: Callable[[Array], Array]
    ) -> tuple[CellState, CellState]:
        matrix = self.recurrent.matrix()  # outside the scan: a low-rank change is added up once

        def step(state: CellState, row: Array) -> tuple[CellState, CellState]:
            state = self.move(drive_of(row), state["hidden"] @ matrix, state)
            return state, state

        return jax.lax.scan(step, state, given)


class RecurrentTorso(Torso):
    """Cells one above the other, `layers` from the lowest up: each reads the hidden states of the
    one below."""

    layers: tuple[Cell, ...] = eqx.field(converter=as_tuple)

    def start(self, capacity: int | None) -> tuple[CellState, ...]:
        del capacity  # a state never grows
        return tuple(cell.start() for cell in self.layers)

    def advance(
        self, state: tuple[CellState, ...], rows: Rows
    ) -> tuple[tuple[CellState, ...], Outputs, Internals]:
        return self._above(state, self.layers[0].read(state[0], rows))

    def advance_tokens(
        self, state: tuple[CellState, ...], table: Table, tokens: BatchTokens
    ) -> tuple[tuple[CellState, ...], BatchOutputs, Internals]:
        return self._above(state, self.layers[0].read_tokens(state[0], table, tokens))

    def _above(
        self, state: tuple[CellState, ...], lowest: tuple[CellState, CellState]
    ) -> tuple[tuple[CellState, ...], Array, Internals]:
        """All layers, given what the lowest one did, for one sequence or a batch."""
        readings = [lowest]
        for cell, before in zip(self.layers[1:], state[1:], strict=True):
            rows = readings[-1][1]["hidden"]
            read = cell.read if rows.ndim == 2 else cell.read_batch
            readings.append(read(before, rows))
        internals = {
            f"layer{index}.{name}": values
            for index, (_, states) in enumerate(readings)
            for name, values in states.items()
        }
        return tuple(last for last, _ in readings), readings[-1][1]["hidden"], internals

    def micro_batch(self, batch: int, length: int) -> int:
        del length  # a step keeps what it computed; what it works with is what has to be at hand
        return platforms.step_batch(batch, self.layers[0].recurrent.shape()[0])

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("inputs", "recurrent")


class Recurrent(Architecture):
    """Recurrent layers on top of each other. A member owes `layer` and, for the contract tests,
    `examples`: one of depth 2 meets everything that is written here."""

    torso_class: ClassVar[type[RecurrentTorso]] = RecurrentTorso

    width: int = 128
    """Size of each layer's state."""
    depth: int = 1
    """Number of layers."""
    embedding: int | None = None
    """Width of the embedding; by default the same as `width`."""

    def __check_init__(self) -> None:
        check(
            min(self.width, self.depth, self.embedding_width()) >= 1,
            f"Expected width, depth and embedding of at least 1; got width={self.width}, "
            f"depth={self.depth}, embedding={self.embedding}.",
        )
        check_depth(self.depth)

    @abc.abstractmethod
    def layer(self, key: Key[Array, ""], inputs: int) -> Cell:
        """One untrained layer that reads rows of that width."""

    @classmethod
    def small(cls) -> "Recurrent":
        return cls(width=32)

    def embedding_width(self) -> int:
        return self.width if self.embedding is None else self.embedding

    def output_width(self) -> int:
        return self.width

    def torso(self, key: Key[Array, ""]) -> RecurrentTorso:
        keys = jax.random.split(key, self.depth)
        inputs = [self.embedding_width()] + [self.width] * (self.depth - 1)
        return self.torso_class(tuple(self.layer(k, n) for k, n in zip(keys, inputs, strict=True)))
