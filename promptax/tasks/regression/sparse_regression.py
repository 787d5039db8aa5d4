"""In-context regression in which few of the features matter, and which ones is unknown."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

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

MOST_NUMBERS = 2**22  # of all supports' beliefs: 16 MiB for each sequence


class SparseRegression(RegressionTask):
    """Points x from a standard normal distribution, answered by y = w · x + noise, where exactly
    `nonzero` numbers of w are not 0. Which ones is drawn anew for each sequence, every set equally
    likely; their values come from a normal distribution.

    The exact predictor weighs all C(dimensions, nonzero) supports, with a Gaussian posterior for
    each: what the Lasso comes close to. Rows are those of `LinearRegression`.
    """

    dimensions: int = 8
    """How many numbers x and w have."""
    nonzero: int = 2
    """How many numbers of w are not 0."""
    prior_scale: float = eqx.field(default=1.0, converter=floats)
    """Standard deviation of each number of w that is not 0."""
    noise_scale: float = eqx.field(default=0.3, converter=floats)
    """Standard deviation of the noise in y."""

    def __check_init__(self) -> None:
        check(
            1 <= self.nonzero <= self.dimensions,
            f"Expected from 1 to {self.dimensions} numbers that are not 0, the dimensions; got "
            f"{self.nonzero}.",
        )
        supports = math.comb(self.dimensions, self.nonzero)
        numbers = supports * (self.nonzero + 4) ** 2
        check(
            numbers <= MOST_NUMBERS,
            f"Expected few enough supports for beliefs of at most {MOST_NUMBERS:,} numbers; got "
            f"{supports:,}, {self.nonzero} of {self.dimensions}, which need {numbers:,}.",
        )
        check_scales(self.prior_scale, self.noise_scale)

    def draw_weights(self, key: Key[Array, ""]) -> Float[Array, " feature"]:
        where, values = jax.random.split(key)
        chosen = jax.random.permutation(where, self.dimensions) < self.nonzero
        return jnp.where(chosen, self.prior_scale, 0.0) * jax.random.normal(values, chosen.shape)

    def bayes(self) -> "SparsePosterior":
        return SparsePosterior(self.outcome, self.nonzero, self.prior_scale, self.noise_scale)

    def log_evidence(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, tokens: Float[Array, "time input"]
    ) -> Float[Array, ""]:
        """log of the mean over supports S of N(y; 0, τ² X_S X_Sᵀ + σ² I), nats."""
        x, y, counts = answered(tokens, self.dimensions)

        def of_support(support: Int[Array, " nonzero"]) -> Float[Array, ""]:
            scales = self.prior_scale, self.noise_scale
            return log_evidence_of_answers(x[:, support], y, counts, *scales)

        supports = every_support(self.dimensions, self.nonzero)
        return jax.nn.logsumexp(jax.vmap(of_support)(supports)) - math.log(len(supports))

    @classmethod
    def examples(cls) -> "tuple[SparseRegression, ...]":
        return (cls(dimensions=4, prior_scale=1.5),)


def every_support(dimensions: int, nonzero: int) -> Int[Array, "component nonzero"]:
    """All sets of that many dimensions."""
    return jnp.asarray(np.array(list(itertools.combinations(range(dimensions), nonzero))))


class SparsePosterior(FiniteHypotheses):
    """Exact prediction: Σ_S P(S | past) N(y; m_S · x_S, x_Sᵀ C_S x_S + σ²), over supports S, with
    the Gaussian posterior N(m_S, C_S) of the weights in S. O(supports · nonzero²) a row."""

    points: Points = eqx.field(static=True)
    nonzero: int
    prior_scale: float | Float[Array, ""]
    noise_scale: float | Float[Array, ""]

    @property
    def outcome(self) -> Points:
        return self.points

    def hypotheses(self) -> tuple[Int[Array, "component nonzero"], Float[Array, " component"]]:
        supports = every_support(self.points.features, self.nonzero)
        return supports, jnp.full(len(supports), 1 / len(supports))

    def start_one(self, hypothesis: Int[Array, " nonzero"]) -> Belief:
        del hypothesis
        return self._posterior().start()

    def advance_one(
        self, hypothesis: Int[Array, " nonzero"], state: Belief, rows: Float[Array, "time input"]
    ) -> tuple[Belief, AnyPrediction]:
        restricted = jnp.concatenate([rows[:, hypothesis], rows[:, -2:]], axis=1)
        state, prediction = self._posterior().advance(state, restricted)
        return state, Answers(prediction.answer, self.points)

    def _posterior(self) -> GaussianPosterior:
        points = Points(self.nonzero, Gaussian())
        return GaussianPosterior(points, self.prior_scale, self.noise_scale)
