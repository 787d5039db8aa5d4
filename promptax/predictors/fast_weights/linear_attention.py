"""Linear attention (Katharopoulos et al. 2020), and the layer that is one step of gradient descent.

    W[t] = Σ_{i ≤ t} v_i φ(k_i)ᵀ,   output[t] = W[t] φ(q_t) / Σ_{i ≤ t} φ(k_i) · φ(q_t)

Without φ and without the division it is the linear self-attention of von Oswald et al. 2023 (arXiv
2212.07677), who wrote down weights with which one layer takes one gradient step of the regression
that the sequence shows: `one_gradient_step` builds that network.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.predictors.base import Network
from promptax.predictors.fast_weights.base import (
    FastWeights,
    Heads,
    Matrices,
    ProjectedLayer,
    projections,
)
from promptax.predictors.fast_weights.causal import in_blocks, within
from promptax.predictors.parts.layers import Dense
from promptax.predictors.torso import Rows
from promptax.protocol.outcomes import LEAST_LOG_SCALE, Gaussian, Points
from promptax.specs import check, check_whole_numbers, floats

LEAST_SHARE = 1e-30  # of what a row is divided by; where all features are 0, the mean is 0

Sums = tuple[Matrices, Float[Array, "head head_width"]]


class LinearAttention(FastWeights):
    """Blocks of linear attention and perceptrons. A row's state does not grow with what was read.

    Example:

        network = LinearAttention(width=128).build(jax.random.key(0), 2)
    """

    mean: bool = True
    """True: the positive features φ(x) = elu(x) + 1, and outputs that are weighted means of values
    (Katharopoulos et al. 2020). False: φ(x) = x, and outputs that are sums (von Oswald et al.
    2023); they grow with the length."""

    @classmethod
    def examples(cls) -> "tuple[LinearAttention, ...]":
        return (
            cls(width=6, depth=2, heads=3, widening=2),
            cls(width=4, heads=1, widening=0, norm=False, positions=False, mean=False),
        )

    def layer(self, key: Key[Array, ""]) -> "LinearAttentionLayer":
        return LinearAttentionLayer(*projections(key, self.width), self.heads, self.mean)


class LinearAttentionLayer(ProjectedLayer):
    """What it remembers: Σ v φ(k)ᵀ and Σ φ(k), of each head."""

    mean: bool = eqx.field(static=True)

    def start(self) -> Sums:
        weights = self.no_weights()
        return weights, weights[:, 0]

    def read_heads(
        self, state: Sums, rows: Rows, query: Heads, key: Heads, value: Heads
    ) -> tuple[Sums, Heads]:
        if self.mean:
            query, key = _positive(query), _positive(key)
        return in_blocks(self._read_block, state, query, key, value)

    def _read_block(
        self, state: Sums, query: Heads, key: Heads, value: Heads, counts: Array
    ) -> tuple[Sums, Heads]:
        weights, total = state
        key = key * counts[:, None]
        ones = jnp.ones(len(counts))
        outputs = within(query, key, value, ones) + query @ jnp.swapaxes(weights, -1, -2)
        if self.mean:
            sums = total[:, None] + jnp.cumsum(key, axis=-2)
            shares = jnp.sum(query * sums, axis=-1, keepdims=True)
            outputs = outputs / jnp.maximum(shares, LEAST_SHARE)
        weights = weights + jnp.swapaxes(value, -1, -2) @ key
        return (weights, total + jnp.sum(key, axis=-2)), outputs


def _positive(rows: Heads) -> Heads:
    """elu(x) + 1, which loses its digits below -10: so written, it keeps them."""
    return jnp.where(rows > 0, rows + 1, jnp.exp(jnp.minimum(rows, 0)))


def one_gradient_step(features: int, rate: float, noise_scale: float) -> Network:
    """A network that predicts what one step of gradient descent would, by weights set by hand.

    The loss is ½ Σ_i (y_i - w · x_i)² over the points read so far, and the step starts from w = 0:

        y ~ N(w · x, noise_scale²),   w = rate · Σ_i y_i x_i

    One head of linear attention does it (von Oswald et al. 2023, Proposition 1): keys and queries
    are x, the value is y, and a question's y is 0.

    Args:
        features: how many numbers x has: `LinearRegression.dimensions`.
        rate: the size of the step. It is a sum over points, not a mean.
        noise_scale: the standard deviation that is predicted everywhere; above 1e-4.

    Returns:
        A network over `Points(features, Gaussian())`, which can be trained on like any other.
    """
    check_whole_numbers(features=features)
    check(features >= 1, f"Expected at least 1 feature; got {features}.")
    rate, noise_scale = floats(rate), floats(noise_scale)
    above = jnp.log(noise_scale) - LEAST_LOG_SCALE
    check(
        bool(above > 0),
        f"Expected a noise_scale above {jnp.exp(LEAST_LOG_SCALE):g}, the least that a network "
        f"predicts; got {noise_scale}.",
    )
    width = features + 2  # x, y, and how often the row counts
    spec = LinearAttention(
        width=width, heads=1, widening=0, norm=False, positions=False, mean=False
    )
    network = spec.build(jax.random.key(0), Points(features, Gaussian()))
    keep_x = jnp.zeros((width, width)).at[:features, :features].set(jnp.eye(features))
    keep_y = jnp.zeros((width, width)).at[features, features].set(1.0)
    layer = LinearAttentionLayer(
        Dense(keep_x), Dense(keep_x), Dense(keep_y), Dense(rate * keep_y), heads=1, mean=False
    )
    # The network predicts a log scale of least + softplus(output - least).
    bias = jnp.array([0.0, LEAST_LOG_SCALE + jnp.log(jnp.expm1(above))])
    readout = jnp.zeros((width, 2)).at[features, 0].set(1.0)
    return eqx.tree_at(
        lambda net: (net.embedding, net.torso.blocks[0].layer, net.unembedding),
        network,
        (Dense(jnp.eye(width), jnp.zeros(width)), layer, Dense(readout, bias)),
    )
