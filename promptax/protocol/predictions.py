"""What a predictor says about what it was given, and how that is scored.

Every kind of prediction answers one question, `of(observations)`: the log probability, or the log
density, of what came. `Prediction` speaks of symbols. `Normal` and `NormalMixture` speak of
numbers, `Answers` of the answers of points, and `Mixed` weighs several predictions of any kinds:
the density of a mixture of normals is no normal.
"""

import abc
import math
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Internals = dict[str, Float[Array, "*batch time _state"]]

LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


@runtime_checkable
class Scores(Protocol):
    """What knows log probabilities of single symbols without those of all."""

    def log_probs_of(self, tokens: Int[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """The log probability of each of these tokens, nats."""
        ...


class AnyPrediction(eqx.Module):
    """To implement one: the field `internals`, and the methods `of` and `shown`.

    `internals`: named arrays [time, state]; row t is the internal state after reading inputs[t].
    Predictions of symbols have `log_probs`, too.
    """

    if TYPE_CHECKING:

        @property
        def internals(self) -> Internals: ...

        @property
        def log_probs(self) -> Float[Array, "*batch time symbol"]: ...  # asked behind `alphabet_of`
    else:
        internals: eqx.AbstractVar[dict]

    @abc.abstractmethod
    def of(self, observations: Any) -> Float[Array, "*batch time"]:
        """The log probability, or log density, of what came [time], nats: row t of what inputs[t]
        is, from the state and inputs[:t]."""

    @abc.abstractmethod
    def shown(self) -> Float[Array, "*batch time parameter"]:
        """The numbers that make the prediction [time, parameter], for people."""

    def averaged(self, log_weights: Float[Array, "time component"]) -> "AnyPrediction":
        """Of predictions side by side [component, time, ...], their weighted mean: what predicts
        y with probability, or density, Σ_k exp(log_weights_k) p_k(y). Internal states are not kept.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no weighted mean of its own kind. Take Mixed."
        )


class Prediction(AnyPrediction):
    """A probability for each symbol.

    `log_probs` [time, symbol], nats: row t predicts inputs[t] from the state and inputs[:t].
    `internals`: named arrays [time, state]; row t is the internal state after reading inputs[t].
    `scores`: where symbols are many, what `of` asks; inside a compiled function `log_probs` cost
    nothing unless they are used.
    """

    log_probs: Float[Array, "*batch time symbol"]
    internals: Internals = eqx.field(default_factory=dict)
    scores: Scores | None = None

    def of(self, observations: Int[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """The log probability of the symbol that came, nats."""
        if self.scores is not None:
            return self.scores.log_probs_of(observations)
        symbols = self.log_probs.shape[-1]
        if symbols <= 64:  # a masked sum: on CPUs gathers have slow derivatives
            hit = observations[..., None] == jnp.arange(symbols)
            return jnp.sum(jnp.where(hit, self.log_probs, 0.0), axis=-1)
        return jnp.take_along_axis(self.log_probs, observations[..., None], axis=-1)[..., 0]

    def shown(self) -> Float[Array, "*batch time symbol"]:
        return self.log_probs

    def averaged(self, log_weights: Float[Array, "time component"]) -> "Prediction":
        return Prediction(jax.nn.logsumexp(log_weights.T[:, :, None] + self.log_probs, axis=0))


class Normal(AnyPrediction):
    """A normal distribution: `mean` [time], and `log_scale` [time], the log of its standard
    deviation."""

    mean: Float[Array, "*batch time"]
    log_scale: Float[Array, "*batch time"]
    internals: Internals = eqx.field(default_factory=dict)

    def of(self, observations: Float[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """log N(y; m, s²) = -((y - m) / s)² / 2 - log s - log(2π) / 2, nats."""
        return _log_normal(observations, self.mean, self.log_scale)

    def shown(self) -> Float[Array, "*batch time parameter"]:
        return jnp.stack([self.mean, self.log_scale], axis=-1)

    def averaged(self, log_weights: Float[Array, "time component"]) -> "NormalMixture":
        return NormalMixture(log_weights, self.mean.T, self.log_scale.T)


class NormalMixture(AnyPrediction):
    """A mixture of normal distributions: of each its log weight, its mean and the log of its
    standard deviation, `log_weights`, `means` and `log_scales` [time, component]. The weights of a
    step sum to 1."""

    log_weights: Float[Array, "*batch time component"]
    means: Float[Array, "*batch time component"]
    log_scales: Float[Array, "*batch time component"]
    internals: Internals = eqx.field(default_factory=dict)

    def of(self, observations: Float[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """log Σ_k w_k N(y; m_k, s_k²), nats."""
        parts = _log_normal(observations[..., None], self.means, self.log_scales)
        return jax.nn.logsumexp(self.log_weights + parts, axis=-1)

    def shown(self) -> Float[Array, "*batch time parameter"]:
        """The mean and the log of the standard deviation of the mixture [time, 2], as a `Normal`
        has them: Σ w_k m_k, and ½ log Σ w_k (s_k² + (m_k - mean)²)."""
        weights = jnp.exp(self.log_weights)
        mean = jnp.sum(weights * self.means, axis=-1)
        apart = self.means - mean[..., None]
        variance = jnp.sum(weights * (jnp.exp(2 * self.log_scales) + apart**2), axis=-1)
        return jnp.stack([mean, 0.5 * jnp.log(variance)], axis=-1)


def _log_normal(observations: Array, mean: Array, log_scale: Array) -> Array:
    apart = (observations - mean) * jnp.exp(-log_scale)
    return -0.5 * apart**2 - log_scale - LOG_ROOT_TWO_PI


class Answers(AnyPrediction):
    """A prediction of the answers in rows of points, (features, answer, count).

    `answer` [time]: the prediction of each answer. `points`: the outcome, which knows where the
    answers are. A question is given, not predicted: its count is 0, and so is its loss. A count of
    ½ is half of an observation.
    """

    answer: AnyPrediction
    points: Any = eqx.field(static=True)  # the outcome, `Points`: it knows where the answers are
    internals: Internals = eqx.field(default_factory=dict)

    def of(self, observations: Float[Array, "*batch time input"]) -> Float[Array, "*batch time"]:
        """How often the answer counts, times its log probability or log density, nats."""
        counts = observations[..., -1]
        answers = self.points.answers(observations)
        return jnp.where(counts > 0, counts * self.answer.of(answers), 0.0)

    def shown(self) -> Float[Array, "*batch time parameter"]:
        return self.answer.shown()

    def averaged(self, log_weights: Float[Array, "time component"]) -> "Answers":
        return Answers(self.answer.averaged(log_weights), self.points)


class Mixed(AnyPrediction):
    """A weighted mean of predictions: log Σ_k w_k p_k(y), with `log_weights` [time, component] and
    `parts`, the predictions p_k."""

    log_weights: Float[Array, "*batch time component"]
    parts: tuple[AnyPrediction, ...]
    internals: Internals = eqx.field(default_factory=dict)

    def of(self, observations: Any) -> Float[Array, "*batch time"]:
        parts = jnp.stack([part.of(observations) for part in self.parts], axis=-1)
        return jax.nn.logsumexp(self.log_weights + parts, axis=-1)

    def shown(self) -> Float[Array, "*batch time parameter"]:
        """The log weight of each component, then the numbers of each component."""
        return jnp.concatenate([self.log_weights, *(part.shown() for part in self.parts)], axis=-1)
