"""Long short-term memory (Hochreiter and Schmidhuber 1997), any depth."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.base import Architecture, Internals, Outputs, Rows, Torso
from promptax.predictors.layers import Dense, Layer, dense
from promptax.specs import check

Cell = tuple[Float[Array, " state"], Float[Array, " state"]]  # cell c, hidden h


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
        zeros = jnp.zeros(self.recurrent.weight.shape[0])
        return zeros, zeros

    def advance(self, state: Cell, rows: Rows) -> tuple[Cell, Outputs, Internals]:
        matrix, bias = self.recurrent.matrix(), self.recurrent.bias

        def step(state: Cell, drive: Array) -> tuple[Cell, Cell]:
            cell, hidden = state
            i, f, g, o = jnp.split(drive + hidden @ matrix, 4)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            state = cell, jax.nn.sigmoid(o) * jnp.tanh(cell)
            return state, state

        drives = self.inputs(rows) if bias is None else self.inputs(rows) + bias
        state, (cells, hiddens) = jax.lax.scan(step, state, drives)
        return state, hiddens, {"cell": cells, "hidden": hiddens}

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("inputs", "recurrent")


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
        states, internals = [], {}
        for index, (layer, cell) in enumerate(zip(self.layers, state, strict=True)):
            cell, rows, seen = layer.advance(cell, rows)
            states.append(cell)
            internals |= {f"layer{index}.{name}": value for name, value in seen.items()}
        return tuple(states), rows, internals

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("inputs", "recurrent")
