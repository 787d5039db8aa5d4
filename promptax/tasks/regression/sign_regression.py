"""In-context regression with weights of which only the signs are unknown."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from promptax.specs import check, floats
from promptax.tasks.pools.drawing import equal_weights
from promptax.tasks.pools.hypotheses import KnownLatents
from promptax.tasks.regression.base import RegressionTask, answered, check_scales

MOST_DIMENSIONS = 14  # 2^14 hypotheses


class SignRegression(RegressionTask):
    """Points x from a standard normal distribution, answered by y = w · x + noise; each number of w
    is +scale or -scale, independently and equally likely, drawn anew for each sequence.

    The exact predictor weighs all 2^dimensions vectors of signs. Least squares would need as many
    points as there are dimensions; signs are found with fewer. Rows are those of
    `LinearRegression`.
    """

    dimensions: int = 3
    """How many numbers x and w have."""
    prior_scale: float = eqx.field(default=1.0, converter=floats)
    """Size of each number of w, which is its standard deviation."""
    noise_scale: float = eqx.field(default=0.3, converter=floats)
    """Standard deviation of the noise in y."""

    def __check_init__(self) -> None:
        check(
            1 <= self.dimensions <= MOST_DIMENSIONS,
            f"Expected from 1 to {MOST_DIMENSIONS} dimensions; got {self.dimensions}. The exact "
            "predictor weighs 2^dimensions hypotheses.",
        )
        check_scales(self.prior_scale, self.noise_scale)

    def draw_weights(self, key: Key[Array, ""]) -> Float[Array, " feature"]:
        return self.prior_scale * jax.random.rademacher(key, (self.dimensions,), float)

    def every_weights(self) -> Float[Array, "component feature"]:
        """All vectors of signs, times their size."""
        bits = np.arange(2**self.dimensions)[:, None] >> np.arange(self.dimensions) & 1
        return self.prior_scale * jnp.asarray(2.0 * bits - 1)

    def bayes(self) -> KnownLatents:
        return KnownLatents(self, self.every_weights(), equal_weights(2**self.dimensions))

    def log_evidence(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, tokens: Float[Array, "time input"]
    ) -> Float[Array, ""]:
        """log 2^-d Σ_w N(y; X w, σ² I), nats, with |y - X w|² = yᵀy - 2 wᵀXᵀy + wᵀXᵀX w."""
        x, y, counts = answered(tokens, self.dimensions)
        w, variance = self.every_weights(), jnp.asarray(self.noise_scale) ** 2
        squares = y @ y - 2 * w @ (x.T @ y) + jnp.einsum("ci,ij,cj->c", w, x.T @ x, w)
        total = jax.nn.logsumexp(-0.5 * squares / variance) - jnp.log(len(w))
        return total - 0.5 * jnp.sum(counts) * jnp.log(2 * jnp.pi * variance)

    @classmethod
    def examples(cls) -> "tuple[SignRegression, ...]":
        return (cls(prior_scale=0.5),)
