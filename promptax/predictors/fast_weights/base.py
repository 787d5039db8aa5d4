"""Fast weights: networks that write what they read into a matrix (Schmidhuber 1992).

A layer keeps a matrix W for the sequence at hand. Each row gives a query q, a key k and a value v;
the member's rule says what k and v add to W, and the layer's output is W q. What the network learnt
in training are the slow weights that make q, k and v. With the rule W ← W + v kᵀ this is linear
attention; other rules remove what stood at a key before, or go on in the direction of before.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.parts.layers import Layer, check_heads, dense
from promptax.predictors.residual import Residual, SequenceLayer
from promptax.predictors.torso import Outputs, Rows
from promptax.specs import check

Heads = Float[Array, "head time head_width"]
Matrices = Float[Array, "head head_width head_width"]


class FastWeights(Residual):
    """Blocks of fast weights and perceptrons. A member owes `layer` and, for the contract tests,
    `examples`."""

    heads: int = 4
    """So many matrices in a layer, each for its share of the width; must divide the width."""

    def __check_init__(self) -> None:
        check(self.heads >= 1, f"Expected heads of at least 1; got {self.heads}.")
        check_heads(self.width, self.heads)

    @classmethod
    def small(cls) -> "FastWeights":
        return cls(width=32, heads=2)

    def low_rank_names(self) -> tuple[str, ...]:
        return ("query", "key", "value", "output")


class ProjectedLayer(SequenceLayer):
    """A layer whose queries, keys and values are linear in the rows. A member owes `start` and
    `read_heads`."""

    query: Layer
    key: Layer
    value: Layer
    output: Layer
    heads: int = eqx.field(static=True)

    @abc.abstractmethod
    def read_heads(
        self, state: Any, rows: Rows, query: Heads, key: Heads, value: Heads
    ) -> tuple[Any, Heads]:
        """What it remembers after the rows, and the output of each head at each row."""

    def read(self, state: Any, rows: Rows) -> tuple[Any, Outputs]:
        query, key, value = (
            split_heads(layer(rows), self.heads) for layer in (self.query, self.key, self.value)
        )
        state, outputs = self.read_heads(state, rows, query, key, value)
        return state, self.output(join_heads(outputs))

    def no_weights(self) -> Matrices:
        """Fast weights before any row: zeros [head, value, key]."""
        head_width = self.query.shape()[1] // self.heads
        return jnp.zeros((self.heads, head_width, head_width))


def split_heads(rows: Float[Array, "time width"], heads: int) -> Heads:
    """Each row cut into heads."""
    return jnp.swapaxes(rows.reshape(len(rows), heads, rows.shape[-1] // heads), 0, 1)


def join_heads(heads: Heads) -> Float[Array, "time width"]:
    """What `split_heads` cut, side by side again."""
    rows = jnp.swapaxes(heads, 0, 1)
    return rows.reshape(len(rows), rows.shape[1] * rows.shape[2])


def projections(key: Key[Array, ""], width: int) -> tuple[Layer, Layer, Layer, Layer]:
    """Untrained layers for query, key, value and output, without biases."""
    q, k, v, o = (dense(one, width, width, bias=False) for one in jax.random.split(key, 4))
    return q, k, v, o
