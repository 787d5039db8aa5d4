"""Long short-term memory (Hochreiter and Schmidhuber 1997), any depth."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.base import (
    Architecture,
    BatchOutputs,
    BatchTokens,
    Internals,
    Outputs,
    Rows,
    Table,
    Torso,
)
from promptax.predictors.parts.layers import Dense, Layer, choose, dense
from promptax.specs import check

Cell = tuple[Array, Array]  # cell c and hidden h: [..., state]


class LSTM(Architecture):
    """LSTM layers on top of each other; the defaults are those of Genewein et al. 2025."""

    width: int = 128
    """Size of each layer's cell state and hidden state."""
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

    @classmethod
    def as_published(cls) -> "LSTM":
        """The network of Genewein et al. 2025: one layer, width 128."""
        return cls(width=128, depth=1)

    @classmethod
    def examples(cls) -> "tuple[LSTM, ...]":
        return cls(width=8), cls(width=6, depth=2, embedding=4)

    def embedding_width(self) -> int:
        return self.width if self.embedding is None else self.embedding

    def output_width(self) -> int:
        return self.width

    def torso(self, key: Key[Array, ""]) -> "LSTMTorso":
        keys = jax.random.split(key, self.depth)
        inputs = [self.embedding_width()] + [self.width] * (self.depth - 1)
        return LSTMTorso(tuple(_layer(k, n, self.width) for k, n in zip(keys, inputs, strict=True)))


class LSTMLayer(Torso):
    """One layer; the columns of both matrices are the gates input, forget, candidate, output."""

    inputs: Layer
    recurrent: Layer

    def start(self, capacity: int | None) -> Cell:
        del capacity
        zeros = jnp.zeros(self.recurrent.shape()[0])
        return zeros, zeros

    def advance(self, state: Cell, rows: Rows) -> tuple[Cell, Outputs, Internals]:
        return self._scan(state, self._drives(rows), lambda drive: drive)

    def advance_tokens(
        self, state: Cell, table: Table, tokens: BatchTokens
    ) -> tuple[Cell, BatchOutputs, Internals]:
        """Every symbol's drive is computed once, and looked up in each step."""
        drives = self._drives(table)
        look_up = lambda token: choose(drives, token[None])[0]  # noqa: E731
        return jax.vmap(lambda each: self._scan(state, each, look_up))(tokens)

    def _drives(self, rows: Rows) -> Float[Array, "time gates"]:
        drives, bias = self.inputs(rows), self.recurrent.bias
        return drives if bias is None else drives + bias

    def _scan(
        self, state: Cell, steps: Array, drive: Callable[[Array], Array]
    ) -> tuple[Cell, Outputs, Internals]:
        matrix = self.recurrent.matrix()

        def step(state: Cell, given: Array) -> tuple[Cell, Cell]:
            cell, hidden = state
            state = move(drive(given) + hidden @ matrix, cell)
            return state, state

        state, (cells, hiddens) = jax.lax.scan(step, state, steps)
        return state, hiddens, {"cell": cells, "hidden": hiddens}

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("inputs", "recurrent")


@jax.custom_vjp
def move(gates: Float[Array, " gates"], cell: Float[Array, " state"]) -> Cell:
    """The new cell and hidden state from the gates input, forget, candidate, output.

    Its own derivative keeps the activations and nothing else from each step."""
    return _move(gates, cell)[0]


def _move(gates: Array, cell: Array) -> tuple[Cell, tuple[Array, ...]]:
    i, f, g, o = jnp.split(gates, 4)
    i, f, o, g = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(g)
    new = f * cell + i * g
    bent = jnp.tanh(new)
    return (new, o * bent), (i, f, g, o, cell, bent)


def _move_back(kept: tuple[Array, ...], slopes: Cell) -> tuple[Array, Array]:
    i, f, g, o, cell, bent = kept
    to_cell, to_hidden = slopes
    to_cell = to_cell + to_hidden * o * (1 - bent * bent)
    gates = (
        to_cell * g * i * (1 - i),
        to_cell * cell * f * (1 - f),
        to_cell * i * (1 - g * g),
        to_hidden * bent * o * (1 - o),
    )
    return jnp.concatenate(gates), to_cell * f


move.defvjp(_move, _move_back)


def _layer(key: Key[Array, ""], inputs: int, width: int) -> LSTMLayer:
    """Input matrix lecun-normal without bias; each gate's recurrent matrix orthogonal."""
    first, second = jax.random.split(key)
    gates = jax.vmap(lambda k: jax.nn.initializers.orthogonal()(k, (width, width)))(
        jax.random.split(second, 4)
    )
    recurrent = jnp.moveaxis(gates, 0, 1).reshape(width, 4 * width)
    return LSTMLayer(
        dense(first, inputs, 4 * width, bias=False), Dense(recurrent, jnp.zeros(4 * width))
    )


class LSTMTorso(Torso):
    """Layers one after the other."""

    layers: tuple[LSTMLayer, ...] = eqx.field(converter=tuple)

    def start(self, capacity: int | None) -> tuple[Cell, ...]:
        return tuple(layer.start(capacity) for layer in self.layers)

    def advance(
        self, state: tuple[Cell, ...], rows: Rows
    ) -> tuple[tuple[Cell, ...], Outputs, Internals]:
        return self._above(state, self.layers[0].advance(state[0], rows))

    def advance_tokens(
        self, state: tuple[Cell, ...], table: Table, tokens: BatchTokens
    ) -> tuple[tuple[Cell, ...], BatchOutputs, Internals]:
        return self._above(state, self.layers[0].advance_tokens(state[0], table, tokens))

    def _above(
        self, state: tuple[Cell, ...], first: tuple[Cell, Array, Internals]
    ) -> tuple[tuple[Cell, ...], Array, Internals]:
        """All layers, given what the first one did, for one sequence or a batch."""
        states, internals, rows = [], {}, first[1]
        for index, (layer, cell) in enumerate(zip(self.layers, state, strict=True)):
            read = layer.advance if rows.ndim == 2 else layer.advance_batch
            cell, rows, seen = read(cell, rows) if index else first
            states.append(cell)
            internals |= {f"layer{index}.{name}": value for name, value in seen.items()}
        return tuple(states), rows, internals

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("inputs", "recurrent")
