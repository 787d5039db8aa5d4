"""The simple recurrent network (Elman 1990), with tanh."""

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.recurrent import Cell, CellState, Recurrent


class RNN(Recurrent):
    """Layers of h[t] = tanh(x[t] W + h[t-1] U + b), on top of each other.

    It has no gates: what it does not overwrite, it cannot keep. Recurrent matrices start
    orthogonal, so that gradients neither vanish nor explode at first; W is lecun-normal, b is 0.

    Example:

        network = RNN(width=64).build(jax.random.key(0), 2)
    """

    @classmethod
    def examples(cls) -> "tuple[RNN, ...]":
        return (cls(width=6, depth=2, embedding=4),)

    def layer(self, key: Key[Array, ""], inputs: int) -> Cell:
        return RNNLayer.fresh(key, inputs, self.width)


class RNNLayer(Cell):
    """h[t] = tanh(drive[t] + pull[t]). The derivative of tanh keeps h alone, as it is."""

    gates: ClassVar[int] = 1

    def move(
        self, drive: Float[Array, " gates"], pull: Float[Array, " gates"], state: CellState
    ) -> CellState:
        del state  # all of it is in the pull
        return {"hidden": jnp.tanh(drive + pull)}
