"""In-context linear regression: each sequence draws its weights, and shows points one by one.

The exact predictor is ridge regression with λ = noise_scale² / prior_scale², which is what trained
Transformers are held against (Garg et al. 2022, arXiv 2208.01066).
"""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from promptax.protocol.outcomes import Episode, Gaussian, Points, alphabet_of
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import OBSERVATIONS, Inputs, Predictor, real_rows
from promptax.specs import check, floats
from promptax.tasks.base import Task

MOST_DIMENSIONS = 4096  # the root of a belief's covariance: 64 MiB for each sequence


class LinearRegression(Task):
    """Points x from a standard normal distribution, answered by y = w · x + noise, with w drawn
    anew for each sequence.

    A point is read as two rows: the question (x, 0, 0), then the answer (x, y, 1); see
    `promptax.protocol.Points`. So `length` counts rows: 20 rows are 10 points. A sequence of odd
    length ends with a question that is not answered. Losses are minus log densities of y, in nats;
    they can be negative.
    """

    dimensions: int = 2
    """How many numbers x and w have."""
    prior_scale: float = eqx.field(default=1.0, converter=floats)
    """Standard deviation of each number of w."""
    noise_scale: float = eqx.field(default=0.3, converter=floats)
    """Standard deviation of the noise in y."""

    def __check_init__(self) -> None:
        check(
            1 <= self.dimensions <= MOST_DIMENSIONS,
            f"Expected at least 1 dimension, and at most {MOST_DIMENSIONS:,}; got "
            f"{self.dimensions:,}. A belief holds the square of that.",
        )
        for name in ("prior_scale", "noise_scale"):
            value = getattr(self, name)
            check(
                0 < value < float("inf"),
                f"Expected a {name} above 0 and finite, a standard deviation; got {value}.",
            )
        least = 50 * float(jnp.finfo(jnp.result_type(float)).eps) * self.prior_scale
        check(  # below, rounding y costs nats: 1.4 at a single point of noise 1e-6
            self.noise_scale >= least,
            f"Expected a noise_scale of at least {least:.2g} beside a prior_scale of "
            f"{self.prior_scale:g}, since answers show no less; got {self.noise_scale:g}.",
        )

    @property
    def outcome(self) -> Points:
        return Points(self.dimensions, Gaussian())

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        hidden, features, noise = jax.random.split(key, 3)
        w = self.prior_scale * jax.random.normal(hidden, (self.dimensions,))
        x = jax.random.normal(features, (-(-length // 2), self.dimensions))
        y = x @ w + self.noise_scale * jax.random.normal(noise, (len(x),))
        return Episode(self.outcome.rows(x, y, length), latent=w)

    def oracle(
        self, latent: Float[Array, " feature"], inputs: Float[Array, "time input"]
    ) -> Float[Array, "time parameter"]:
        """Mean and log scale [time, 2] of the answer to the row before; w is known."""
        x = inputs[:, : self.dimensions]
        asked = jnp.concatenate([jnp.zeros_like(x[:1]), x])[:-1]
        mean = asked @ latent
        return jnp.stack([mean, jnp.full_like(mean, jnp.log(self.noise_scale))], axis=1)

    def bayes(self) -> "GaussianPosterior":
        return GaussianPosterior(self.outcome, self.prior_scale, self.noise_scale)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """0 at questions, ½ log(2πe σ²) at answers."""
        entropy = 0.5 * jnp.log(2 * jnp.pi * jnp.e * jnp.asarray(self.noise_scale) ** 2)
        return jnp.where(jnp.arange(length) % 2 == 1, entropy, 0.0)

    def log_evidence(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, tokens: Float[Array, "time input"]
    ) -> Float[Array, ""]:
        """log N(y; 0, τ² X Xᵀ + σ² I) of the answers y to the points X, nats: all of them at once.

        A row that does not count is independent of the others, with variance 1, and not counted.
        """
        x, y, counts = tokens[:, : self.dimensions], tokens[:, -2], tokens[:, -1] > 0
        x, y = jnp.where(counts[:, None], x, 0.0), jnp.where(counts, y, 0.0)
        variances = jnp.where(counts, jnp.asarray(self.noise_scale) ** 2, 1.0)
        covariance = jnp.asarray(self.prior_scale) ** 2 * x @ x.T + jnp.diag(variances)
        _, log_volume = jnp.linalg.slogdet(covariance)
        constant = jnp.sum(counts) * np.log(2 * np.pi)
        return -0.5 * (y @ jnp.linalg.solve(covariance, y) + log_volume + constant)

    @classmethod
    def examples(cls) -> "tuple[LinearRegression, ...]":
        return (cls(dimensions=3, prior_scale=2.0, noise_scale=0.1),)


class Belief(NamedTuple):
    """The posterior of w: its `mean` [feature], with what rounding took from it, `lost` [feature];
    and `root` [feature, feature], whose covariance is root rootᵀ. `asked` [feature]: the x of the
    last row."""

    asked: Float[Array, "*batch feature"]
    mean: Float[Array, "*batch feature"]
    lost: Float[Array, "*batch feature"]
    root: Float[Array, "*batch feature feature"]


class GaussianPosterior(Predictor):
    """Exact prediction: w is normal a priori and a posteriori, with w ~ N(0, τ² I) at the start.

    An answer y to x that counts c times has the precision c / σ². The root S of the covariance is
    updated, not the covariance (Potter's form; Bierman 1977, *Factorization Methods for Discrete
    Sequential Estimation*, section II.3), which costs O(feature²) a row. With z = Sᵀx and
    v = c |z|² + σ²:

        mean ← mean + (c / v) S z (y - mean · x),    S ← S - (c / v) S z zᵀ / (1 + σ / √v)

    No variance gets negative, and what rounding takes from the mean is kept beside it (compensated
    summation), so that float32 is enough: over 1,000 points in 20 dimensions, at noise 1e-4, the
    worst row is off by 0.04 nats. Without the compensation it is 0.12; sums of precisions are off
    by hundreds.
    """

    reads: ClassVar[frozenset[str]] = frozenset({OBSERVATIONS})

    points: Points = eqx.field(static=True)
    prior_scale: float | Float[Array, ""]
    noise_scale: float | Float[Array, ""]

    @property
    def outcome(self) -> Points:
        return self.points

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    def start(self, capacity: int | None = None) -> Belief:
        del capacity  # the belief never grows
        zeros = jnp.zeros(self.points.features)
        return Belief(zeros, zeros, zeros, self.prior_scale * jnp.eye(self.points.features))

    def advance(self, state: Belief, inputs: Inputs) -> tuple[Belief, AnyPrediction]:
        rows = real_rows(inputs, self.points).astype(state.root.dtype)
        variance = jnp.asarray(self.noise_scale) ** 2

        def read(belief: Belief, row: Array) -> tuple[Belief, tuple[Array, Array]]:
            spread = belief.root.T @ belief.asked
            log_scale = 0.5 * jnp.log(spread @ spread + variance)
            expected = belief.mean @ belief.asked + belief.lost @ belief.asked
            x, y, count = row[:-2], row[-2], jnp.maximum(row[-1], 0.0)
            z = belief.root.T @ x
            total = count * z @ z + variance
            gain = count / total * (belief.root @ z)
            move = belief.lost + gain * (y - belief.mean @ x - belief.lost @ x)
            mean = belief.mean + move
            lost = move - (mean - belief.mean)
            root = belief.root - jnp.outer(gain, z) / (1 + jnp.sqrt(variance / total))
            return Belief(x, mean, lost, root), (jnp.stack([expected, log_scale]), mean)

        state, (parameters, means) = jax.lax.scan(read, state, rows)
        prediction = self.points.prediction(parameters)
        return state, eqx.tree_at(lambda p: p.internals, prediction, {"mean": means})
