"""What tasks of regression share: points, answered by random weights of features, plus noise."""

import abc
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from promptax.protocol.outcomes import Episode, Gaussian, Points
from promptax.specs import check
from promptax.tasks.base import Task


class RegressionTask(Task):
    """Points x, answered by y = φ(x) · w + noise, with w drawn anew for each sequence.

    A point is read as two rows: the question (x, 0, 0), then the answer (x, y, 1); see
    `promptax.protocol.Points`. So `length` counts rows: 20 rows are 10 points. A sequence of odd
    length ends with a question that is not answered. Losses are minus log densities of y, in nats;
    they can be negative.

    A member owes `dimensions`, `noise_scale`, `draw_weights(key)`, `bayes()` and `log_evidence`.
    Optional: `features(x)` and `draw_points(key, count)`.
    """

    if TYPE_CHECKING:  # fields or properties, at the member's choice

        @property
        def dimensions(self) -> int: ...

        @property
        def noise_scale(self) -> float: ...
    else:
        dimensions: eqx.AbstractVar[int]
        noise_scale: eqx.AbstractVar[float]

    @abc.abstractmethod
    def draw_weights(self, key: Key[Array, ""]) -> Float[Array, " feature"]:
        """The w of one sequence."""

    def draw_points(self, key: Key[Array, ""], count: int) -> Float[Array, "point dimension"]:
        """Points from a standard normal distribution."""
        return jax.random.normal(key, (count, self.dimensions))

    def features(self, x: Float[Array, "point dimension"]) -> Float[Array, "point feature"]:
        """φ(x), of which w makes the answer: the numbers of x themselves."""
        return x

    @property
    def outcome(self) -> Points:
        return Points(self.dimensions, Gaussian())

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        hidden, points, noise = jax.random.split(key, 3)
        return self._answer(points, noise, self.draw_weights(hidden), length)

    def sample_given(self, key: Key[Array, ""], latent: Any, length: int) -> Episode:
        points, noise = jax.random.split(key)
        return self._answer(points, noise, latent, length)

    def _answer(
        self,
        points: Key[Array, ""],
        noise: Key[Array, ""],
        w: Float[Array, " feature"],
        length: int,
    ) -> Episode:
        x = self.draw_points(points, -(-length // 2))
        y = self.features(x) @ w + self.noise_scale * jax.random.normal(noise, (len(x),))
        return Episode(self.outcome.rows(x, y, length), latent=w)

    @property
    def lookback(self) -> int:
        return 1  # the question

    def oracle(
        self, latent: Float[Array, " feature"], inputs: Float[Array, "time input"]
    ) -> Float[Array, "time parameter"]:
        """Mean and log scale [time, 2] of the answer to the row before; w is known."""
        x = inputs[:, : self.dimensions]
        asked = jnp.concatenate([jnp.zeros_like(x[:1]), x])[:-1]
        mean = self.features(asked) @ latent
        return jnp.stack([mean, jnp.full_like(mean, jnp.log(self.noise_scale))], axis=1)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """0 at questions, ½ log(2πe σ²) at answers."""
        entropy = 0.5 * jnp.log(2 * jnp.pi * jnp.e * jnp.asarray(self.noise_scale) ** 2)
        return jnp.where(jnp.arange(length) % 2 == 1, entropy, 0.0)

    def oracle_entropy_given(self, latent: Any, length: int) -> Float[Array, " time"]:
        del latent  # the noise is the same
        return self.oracle_entropy(length)


def check_scales(prior_scale: float, noise_scale: float) -> None:
    """Complain about standard deviations of weights and of noise with which no answer is exact."""
    for name, value in (("prior_scale", prior_scale), ("noise_scale", noise_scale)):
        check(
            0 < value < float("inf"),
            f"Expected a {name} above 0 and finite, a standard deviation; got {value}.",
        )
    least = 50 * float(jnp.finfo(jnp.result_type(float)).eps) * prior_scale
    check(  # below, rounding y costs nats: 1.4 at a single point of noise 1e-6
        noise_scale >= least,
        f"Expected a noise_scale of at least {least:.2g} beside a prior_scale of "
        f"{prior_scale:g}, since answers show no less; got {noise_scale:g}.",
    )


def answered(
    rows: Float[Array, "time input"], dimensions: int
) -> tuple[Float[Array, "time dimension"], Float[Array, " time"], Bool[Array, " time"]]:
    """Points x, answers y and whether a row is an answer; x and y are 0 where it is none."""
    x, y, counts = rows[:, :dimensions], rows[:, -2], rows[:, -1] > 0
    return jnp.where(counts[:, None], x, 0.0), jnp.where(counts, y, 0.0), counts


def log_evidence_of_answers(
    features: Float[Array, "time feature"],
    y: Float[Array, " time"],
    counts: Bool[Array, " time"],
    prior_scale: float | Float[Array, ""],
    noise_scale: float | Float[Array, ""],
) -> Float[Array, ""]:
    """log N(y; 0, τ² Φ Φᵀ + σ² I), nats, of the answers y at features Φ, all of them at once: what
    weights w ~ N(0, τ² I) make of them.

    A row that does not count is independent of the others, with variance 1, and not counted.
    """
    features = jnp.where(counts[:, None], features, 0.0)
    variances = jnp.where(counts, jnp.asarray(noise_scale) ** 2, 1.0)
    covariance = jnp.asarray(prior_scale) ** 2 * features @ features.T + jnp.diag(variances)
    _, log_volume = jnp.linalg.slogdet(covariance)
    constant = jnp.sum(counts) * np.log(2 * np.pi)
    return -0.5 * (y @ jnp.linalg.solve(covariance, y) + log_volume + constant)
