"""In-context regression of smooth functions: sums of few waves with random weights."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.protocol.outcomes import Gaussian, Points, alphabet_of
from promptax.protocol.predictions import Answers, AnyPrediction
from promptax.protocol.predictor import OBSERVATIONS, Inputs, Predictor, real_rows
from promptax.specs import check, floats
from promptax.tasks.regression.base import (
    RegressionTask,
    answered,
    check_scales,
    log_evidence_of_answers,
)
from promptax.tasks.regression.linear_regression import Belief, GaussianPosterior

MOST_FREQUENCIES = 512  # a belief holds the square of the features


class FourierRegression(RegressionTask):
    """Points x uniform in [-1, 1], answered by a sum of waves of period 2 and its harmonics:

        y = w · φ(x) + noise,    φ(x) = (1, cos πx, …, cos nπx, sin πx, …, sin nπx),

    with each number of w from a normal distribution, drawn anew for each sequence. The exact
    predictor is Gaussian regression on the features φ(x); a network sees x alone. The task is that
    of Ahuja et al. 2023, "In-Context Learning through the Bayesian Prism". Rows are those of
    `LinearRegression`.
    """

    frequencies: int = 3
    """The highest frequency n; there are 2n + 1 weights."""
    prior_scale: float = eqx.field(default=1.0, converter=floats)
    """Standard deviation of each number of w."""
    noise_scale: float = eqx.field(default=0.3, converter=floats)
    """Standard deviation of the noise in y."""

    def __check_init__(self) -> None:
        check(
            1 <= self.frequencies <= MOST_FREQUENCIES,
            f"Expected from 1 to {MOST_FREQUENCIES} frequencies; got {self.frequencies}.",
        )
        check_scales(self.prior_scale, self.noise_scale)

    @property
    def dimensions(self) -> int:
        return 1

    def draw_weights(self, key: Key[Array, ""]) -> Float[Array, " feature"]:
        return self.prior_scale * jax.random.normal(key, (2 * self.frequencies + 1,))

    def draw_points(self, key: Key[Array, ""], count: int) -> Float[Array, "point 1"]:
        return jax.random.uniform(key, (count, 1), minval=-1.0, maxval=1.0)

    def features(self, x: Float[Array, "point 1"]) -> Float[Array, "point feature"]:
        return waves(x, self.frequencies)

    def bayes(self) -> "WavesPosterior":
        return WavesPosterior(self.outcome, self.frequencies, self.prior_scale, self.noise_scale)

    def log_evidence(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, tokens: Float[Array, "time input"]
    ) -> Float[Array, ""]:
        """log N(y; 0, τ² Φ Φᵀ + σ² I) of the answers y at the features Φ, nats."""
        x, y, counts = answered(tokens, 1)
        scales = self.prior_scale, self.noise_scale
        return log_evidence_of_answers(self.features(x), y, counts, *scales)

    @classmethod
    def examples(cls) -> "tuple[FourierRegression, ...]":
        return (cls(frequencies=2),)


def waves(x: Float[Array, "point 1"], frequencies: int) -> Float[Array, "point feature"]:
    """1, then cosines and sines of every frequency."""
    angles = jnp.pi * x * jnp.arange(1, frequencies + 1)
    return jnp.concatenate([jnp.ones_like(x), jnp.cos(angles), jnp.sin(angles)], axis=1)


class WavesPosterior(Predictor):
    """Exact prediction: Gaussian regression on φ(x); O(feature²) a row (`GaussianPosterior`)."""

    reads: ClassVar[frozenset[str]] = frozenset({OBSERVATIONS})

    points: Points = eqx.field(static=True)
    frequencies: int
    prior_scale: float | Float[Array, ""]
    noise_scale: float | Float[Array, ""]

    @property
    def outcome(self) -> Points:
        return self.points

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    def _posterior(self) -> GaussianPosterior:
        points = Points(2 * self.frequencies + 1, Gaussian())
        return GaussianPosterior(points, self.prior_scale, self.noise_scale)

    def start(self, capacity: int | None = None) -> Belief:
        return self._posterior().start(capacity)

    def advance(self, state: Belief, inputs: Inputs) -> tuple[Belief, AnyPrediction]:
        rows = real_rows(inputs, self.points)
        lifted = jnp.concatenate([waves(rows[:, :1], self.frequencies), rows[:, -2:]], axis=1)
        state, prediction = self._posterior().advance(state, lifted)
        return state, Answers(prediction.answer, self.points, prediction.internals)
