"""Long short-term memory (Hochreiter and Schmidhuber 1997; forget gates of Gers et al. 2000)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.recurrent import Cell, CellState, Recurrent, RecurrentTorso

Moved = tuple[Float[Array, " state"], Float[Array, " state"]]  # cell state and hidden state


class LSTMTorso(RecurrentTorso):
    """LSTM layers. The class has its own name because predictors were saved with it."""


class LSTM(Recurrent):
    """LSTM layers on top of each other; the defaults are those of Genewein et al. 2025.

    Example:

        network = LSTM(width=128, depth=2).build(jax.random.key(0), 2)
    """

    torso_class: ClassVar[type[RecurrentTorso]] = LSTMTorso
    """What does the work between the embedding and the unembedding."""

    @classmethod
    def as_published(cls) -> "LSTM":
        """The network of Genewein et al. 2025: one layer, width 128."""
        return cls(width=128, depth=1)

    @classmethod
    def examples(cls) -> "tuple[LSTM, ...]":
        return cls(width=8), cls(width=6, depth=2, embedding=4)

    def layer(self, key: Key[Array, ""], inputs: int) -> Cell:
        return LSTMLayer.fresh(key, inputs, self.width)


class LSTMLayer(Cell):
    """Gates i (input), f (forget), g (candidate), o (output), columns in this order:

    c[t] = f c[t-1] + i g,   h[t] = o tanh(c[t]);   g is a tanh, the gates are sigmoids.
    """

    gates: ClassVar[int] = 4
    remembers: ClassVar[tuple[str, ...]] = ("cell", "hidden")

    def move(
        self, drive: Float[Array, " gates"], pull: Float[Array, " gates"], state: CellState
    ) -> CellState:
        cell, hidden = move(drive + pull, state["cell"])
        return {"cell": cell, "hidden": hidden}


@jax.custom_vjp
def move(gates: Float[Array, " gates"], cell: Float[Array, " state"]) -> Moved:
    """The new cell state and hidden state from the gates i, f, g, o before their bends.

    Its own derivative keeps the activations and nothing else from each step. Both its halves are
    plain JAX, so that gradients of gradients (MAML) go through them."""
    return _move(gates, cell)[0]


def _move(gates: Array, cell: Array) -> tuple[Moved, tuple[Array, ...]]:
    i, f, g, o = jnp.split(gates, 4)
    i, f, o, g = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o), jnp.tanh(g)
    new = f * cell + i * g
    bent = jnp.tanh(new)
    return (new, o * bent), (i, f, g, o, cell, bent)


def _move_back(kept: tuple[Array, ...], slopes: Moved) -> tuple[Array, Array]:
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
