"""Answers from a known pool of classes: by memory alone, and by Bayes, who reads the context."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from promptax.protocol.outcomes import Points, alphabet_of
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import OBSERVATIONS, Inputs, Predictor, real_rows
from promptax.tasks.classification.pool import Pool, log_densities, sets_of_classes
from promptax.tasks.hidden.forward import log_sum
from promptax.tasks.pools.odds import Odds, log_posterior, prior_odds, weigh


class Shown(NamedTuple):
    """The belief: the x of the last row [feature], and the odds of the sets of classes that the
    sequence may show; the first is all of them."""

    asked: Float[Array, " feature"]
    odds: Odds


class PoolPosterior(Predictor):
    """Exact prediction from a known pool: Bayes over which classes the sequence shows.

    Let c be all classes of the `pool`, or a set of `kinds` of them, and p(k | c) the frequency of
    class k in it:

        p(y | x, past) ∝ Σ_c w_c Σ_{k with label y} p(k | c) p(x | k),
        w_c ← w_c (Σ_{k with label y} p(k | c) p(x | k))^count

    for each answer y to x that counts, a label of `points`. A set, and no longer all classes, is
    shown with probability `burstiness`. Costs O(sets · classes) a row. A question alone teaches
    nothing: its x counts with its answer. After an answer that no set allows it predicts uniformly.
    Internal state: "classes shown" [time, set], the posterior w_c after each row; all of them 0
    after such an answer.
    """

    reads: ClassVar[frozenset[str]] = frozenset({OBSERVATIONS})

    points: Points = eqx.field(static=True)
    pool: Pool
    burstiness: Float[Array, ""]
    kinds: int

    @property
    def outcome(self) -> Points:
        return self.points

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    def start(self, capacity: int | None = None) -> Shown:
        del capacity  # the belief never grows
        return Shown(jnp.zeros(self.points.features), prior_odds(self._sets()[0]))

    def advance(self, state: Shown, inputs: Inputs) -> tuple[Shown, AnyPrediction]:
        rows = real_rows(inputs, self.points).astype(state.asked.dtype)
        x, labels = rows[:, : self.points.features], self.points.answers(rows)
        _, frequencies = self._sets()
        count = jnp.maximum(rows[:, -1], 0.0)

        def evidence_of(x: Float[Array, " feature"]) -> Float[Array, "set label"]:
            return by_label(frequencies + log_densities(self.pool, x), self._labels())

        def read(belief: tuple[Odds, Array], row: tuple[Array, Array, Array]):
            odds, asked = belief
            x, label, count = row
            answers = log_sum(log_posterior(odds)[:, None] + asked, axis=0)
            answers = jnp.where(odds.possible, answers, 0.0)  # else uniform
            evidence = evidence_of(x)
            odds = weigh(odds, _counted(evidence[:, label], count))
            weights = jnp.exp(log_posterior(odds))
            return (odds, evidence), (jax.nn.log_softmax(answers), weights)

        begin = state.odds, evidence_of(state.asked)
        (odds, _), (answers, weights) = jax.lax.scan(read, begin, (x, labels, count))
        prediction = self.points.prediction(answers)
        prediction = eqx.tree_at(lambda p: p.internals, prediction, {"classes shown": weights})
        return Shown(jnp.concatenate([state.asked[None], x])[-1], odds), prediction

    def _labels(self) -> int:
        return self.points.answer.parameter_width()

    def _sets(self) -> tuple[Float[Array, " set"], Float[Array, "set class"]]:
        """The probability of every set, and the log frequency of each class in it."""
        frequencies = self.pool.frequencies
        sets, orders = sets_of_classes(len(frequencies), self.kinds)
        chances = jnp.asarray(orders) * jnp.prod(frequencies[sets], axis=1)
        weights = jnp.concatenate([(1 - self.burstiness)[None], self.burstiness * chances])
        inside = np.mean(sets[:, :, None] == np.arange(len(frequencies)), axis=1)
        return weights, jnp.log(jnp.concatenate([frequencies[None], jnp.asarray(inside)]))


def _counted(evidence: Float[Array, " set"], count: Float[Array, ""]) -> Float[Array, " set"]:
    """count · evidence; 0 · -inf is 0, and no infinity gets into the derivative of a product."""
    never = evidence == -jnp.inf
    gains = jnp.where(never, -jnp.inf, count * jnp.where(never, 0.0, evidence))
    return jnp.where(count > 0, gains, 0.0)


class PoolMemory(Predictor):
    """The answer of the `pool` to the question, whatever stood before: p(y | x) ∝ Σ p_k p(x | k)
    over the classes with label y, a label of `points`.

    It is the "memorising" predictor of the literature. It is no Bayes predictor of sequences that
    show few classes, since it does not read the context.
    """

    reads: ClassVar[frozenset[str]] = frozenset({OBSERVATIONS})

    points: Points = eqx.field(static=True)
    pool: Pool

    @property
    def outcome(self) -> Points:
        return self.points

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    def start(self, capacity: int | None = None) -> Float[Array, " feature"]:
        """The x of the last row."""
        del capacity
        return jnp.zeros(self.points.features)

    def advance(
        self, state: Float[Array, " feature"], inputs: Inputs
    ) -> tuple[Float[Array, " feature"], AnyPrediction]:
        rows = real_rows(inputs, self.points).astype(state.dtype)
        asked = jnp.concatenate([state[None], rows[:, : self.points.features]])
        joint = jnp.log(self.pool.frequencies) + log_densities(self.pool, asked[:-1])
        answers = by_label(joint, self.points.answer.parameter_width())
        return asked[-1], self.points.prediction(jax.nn.log_softmax(answers, axis=1))


def by_label(joint: Float[Array, "row class"], labels: int) -> Float[Array, "row label"]:
    """log Σ exp over the classes of each label: class k has label k mod `labels`."""
    return log_sum(joint.reshape(len(joint), -1, labels), axis=1)
