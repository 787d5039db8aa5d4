"""In-context regression of sines: the task on which gradient-based meta-learning is shown."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from promptax.protocol.outcomes import Gaussian, Points
from promptax.protocol.predictions import Answers, AnyPrediction
from promptax.specs import check, floats
from promptax.tasks.pools.hypotheses import FiniteHypotheses
from promptax.tasks.regression.base import (
    RegressionTask,
    answered,
    check_scales,
    log_evidence_of_answers,
)
from promptax.tasks.regression.linear_regression import Belief, GaussianPosterior

MOST_PHASES = 4096  # each is a hypothesis of its own
WIDEST = 5.0  # points lie between -5 and 5, as in the paper


class SineRegression(RegressionTask):
    """Points x uniform in [-5, 5], answered by a sine whose amplitude and phase are drawn anew for
    each sequence:

        y = a · sin(x + φ) + noise,      a ~ N(amplitude, prior_scale²),   φ = π k / phases,

    with k uniform in 0 … phases - 1. The task is that of Finn, Abbeel and Levine 2017, section 5.1,
    who draw a uniformly from 0.1 to 5, φ uniformly from 0 to π, and have no noise. Here a is normal
    with that mean and standard deviation, and φ lies on a grid, so that the exact predictor is
    cheap: for each phase the posterior of a is normal. Rows are those of `LinearRegression`.
    """

    phases: int = 32
    """How many phases there are, from 0 up to below π."""
    amplitude: float = eqx.field(default=2.55, converter=floats)
    """Mean of the amplitude a."""
    prior_scale: float = eqx.field(default=1.4, converter=floats)
    """Standard deviation of the amplitude a; it may be negative."""
    noise_scale: float = eqx.field(default=0.3, converter=floats)
    """Standard deviation of the noise in y."""

    def __check_init__(self) -> None:
        check(
            1 <= self.phases <= MOST_PHASES,
            f"Expected from 1 to {MOST_PHASES} phases; got {self.phases}.",
        )
        check_scales(self.prior_scale, self.noise_scale)

    @property
    def dimensions(self) -> int:
        return 1

    def draw_weights(self, key: Key[Array, ""]) -> Float[Array, " feature"]:
        """a cos φ and a sin φ, the weights of sin x and cos x."""
        size, which = jax.random.split(key)
        a = self.amplitude + self.prior_scale * jax.random.normal(size)
        phase = jnp.pi * jax.random.randint(which, (), 0, self.phases) / self.phases
        return a * jnp.stack([jnp.cos(phase), jnp.sin(phase)])

    def draw_points(self, key: Key[Array, ""], count: int) -> Float[Array, "point 1"]:
        return jax.random.uniform(key, (count, 1), minval=-WIDEST, maxval=WIDEST)

    def features(self, x: Float[Array, "point 1"]) -> Float[Array, "point feature"]:
        return jnp.concatenate([jnp.sin(x), jnp.cos(x)], axis=1)

    def bayes(self) -> "SinePosterior":
        scales = self.amplitude, self.prior_scale, self.noise_scale
        return SinePosterior(self.outcome, self.phases, *scales)

    def log_evidence(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, tokens: Float[Array, "time input"]
    ) -> Float[Array, ""]:
        """log of the mean over φ of N(y; m s, τ² s sᵀ + σ² I), s = sin(x + φ), nats: all answers at
        once."""
        x, y, counts = answered(tokens, 1)

        def of_phase(phase: Float[Array, ""]) -> Float[Array, ""]:
            wave = jnp.where(counts, jnp.sin(x[:, 0] + phase), 0.0)
            scales = self.prior_scale, self.noise_scale
            return log_evidence_of_answers(
                wave[:, None], y - self.amplitude * wave, counts, *scales
            )

        phases = every_phase(self.phases)
        return jax.nn.logsumexp(jax.vmap(of_phase)(phases)) - np.log(self.phases)

    @classmethod
    def examples(cls) -> "tuple[SineRegression, ...]":
        return (cls(phases=3),)


def every_phase(phases: int) -> Float[Array, " component"]:
    """Equally spaced, from 0 up to below π."""
    return jnp.asarray(np.pi * np.arange(phases) / phases)


class SinePosterior(FiniteHypotheses):
    """Exact prediction: Σ_φ P(φ | past) N(y; m_φ s, v_φ s² + σ²), s = sin(x + φ), with the Gaussian
    posterior N(m_φ, v_φ) of the amplitude for every phase. O(phases) a row."""

    points: Points = eqx.field(static=True)
    phases: int
    amplitude: float | Float[Array, ""]
    prior_scale: float | Float[Array, ""]
    noise_scale: float | Float[Array, ""]

    @property
    def outcome(self) -> Points:
        return self.points

    def hypotheses(self) -> tuple[Float[Array, " component"], Float[Array, " component"]]:
        return every_phase(self.phases), jnp.full(self.phases, 1 / self.phases)

    def start_one(self, hypothesis: Float[Array, ""]) -> Belief:
        del hypothesis
        belief = self._posterior().start()
        return belief._replace(mean=jnp.full_like(belief.mean, self.amplitude))

    def advance_one(
        self, hypothesis: Float[Array, ""], state: Belief, rows: Float[Array, "time input"]
    ) -> tuple[Belief, AnyPrediction]:
        waves = jnp.concatenate([jnp.sin(rows[:, :1] + hypothesis), rows[:, 1:]], axis=1)
        state, prediction = self._posterior().advance(state, waves)
        return state, Answers(prediction.answer, self.points)

    def _posterior(self) -> GaussianPosterior:
        return GaussianPosterior(Points(1, Gaussian()), self.prior_scale, self.noise_scale)
