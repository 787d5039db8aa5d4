"""Linear attention whose fast weights move with momentum (Nguyen et al. 2022, arXiv 2208.00579)."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Key

from promptax.predictors.fast_weights.base import (
    FastWeights,
    Heads,
    Matrices,
    ProjectedLayer,
    projections,
)
from promptax.predictors.fast_weights.causal import in_blocks, within
from promptax.predictors.torso import Rows
from promptax.specs import check, floats

Moving = tuple[Matrices, Matrices]


class MomentumAttention(FastWeights):
    """Blocks of linear attention with momentum, and perceptrons.

    Linear attention adds v kᵀ to its matrix W, which is a step of gradient descent in W; here the
    step is that of a heavy ball (Polyak 1964):

        M[t] = momentum · M[t-1] + v_t k_tᵀ,   W[t] = W[t-1] + M[t],   output[t] = (1 - momentum)
        W[t] q_t / √head_width

    So a row of age n counts 1 - momentum^(n + 1): the newest rows count least. Momentum 0 is linear
    attention whose outputs are sums.
    """

    momentum: float = eqx.field(default=0.9, converter=floats)
    """How much of a step is repeated by the next one, from 0 to below 1."""

    def __check_init__(self) -> None:
        check(
            0 <= self.momentum < 1,
            f"Expected a momentum from 0 to below 1; got {self.momentum}.",
        )

    @classmethod
    def examples(cls) -> "tuple[MomentumAttention, ...]":
        return (cls(width=6, depth=2, heads=3, widening=2, momentum=0.5),)

    def layer(self, key: Key[Array, ""]) -> "MomentumLayer":
        return MomentumLayer(*projections(key, self.width), self.heads, self.momentum)


class MomentumLayer(ProjectedLayer):
    """What it remembers: W and M of each head. W stands for (1 - momentum) W."""

    momentum: float = eqx.field(static=True)

    def start(self) -> Moving:
        weights = self.no_weights()
        return weights, weights

    def read_heads(
        self, state: Moving, rows: Rows, query: Heads, key: Heads, value: Heads
    ) -> tuple[Moving, Heads]:
        return in_blocks(self._read_block, state, query / jnp.sqrt(query.shape[-1]), key, value)

    def _read_block(
        self, state: Moving, query: Heads, key: Heads, value: Heads, counts: Array
    ) -> tuple[Moving, Heads]:
        """After n rows: W + c(n) momentum M + Σ_i (1 - momentum^(n - i)) v_i k_iᵀ, where c(n) =
        1 - momentum^n."""
        weights, moving = state
        key = key * counts[:, None]
        ages = jnp.arange(len(counts))
        gained = 1 - self.momentum ** (ages + 1.0)
        past = query @ jnp.swapaxes(weights, -1, -2)
        pushed = self.momentum * gained[:, None] * (query @ jnp.swapaxes(moving, -1, -2))
        outputs = within(query, key, value, gained) + past + pushed
        rows = jnp.sum(counts)
        left = self.momentum ** jnp.maximum(rows - ages, 0.0)  # of each row's step, at the end
        added = jnp.swapaxes(value, -1, -2) @ key
        pushing = jnp.swapaxes(value, -1, -2) @ (key * left[:, None])
        after = self.momentum**rows
        weights = weights + self.momentum * (1 - after) * moving + added - pushing
        moving = after * moving + pushing / self.momentum if self.momentum else 0 * moving
        return (weights, moving), outputs
