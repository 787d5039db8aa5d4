"""Exact prediction from finitely many hypotheses about rows of points, and pools of such tasks.

    p(y_n | past)  =  Σ_k w_k(n) p_k(y_n | past),    w_k(n + 1)  ∝  w_k(n) p_k(y_n | past)

Of numbers that is a mixture of normal distributions, which is no normal one: `NormalMixture`. What
a task's `outcome` says is what comes and how it is scored. A prediction may know more than that.
"""

import abc
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.protocol.outcomes import Episode, Outcome, alphabet_of
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import OBSERVATIONS, Inputs, Predictor, State, real_rows
from promptax.tasks.base import Task
from promptax.tasks.pools.drawing import equal_weights
from promptax.tasks.pools.odds import Odds, prior_odds, weigh_all

AT_ONCE = 2**24  # predictions of all hypotheses side by side: some 200 MB


class Weighed(NamedTuple):
    """The belief: what each hypothesis knows [component, ...], and their odds."""

    states: State
    odds: Odds


class FiniteHypotheses(Predictor):
    """Exact prediction from finitely many hypotheses. Reads rows of an outcome without alphabet.

    A member owes `outcome`, `hypotheses()`, `start_one` and `advance_one`: the last two are written
    for one hypothesis.
    """

    reads: ClassVar[frozenset[str]] = frozenset({OBSERVATIONS})

    @abc.abstractmethod
    def hypotheses(self) -> tuple[Any, Float[Array, " component"]]:
        """A tree [component, ...], and the prior probability of each."""

    @abc.abstractmethod
    def start_one(self, hypothesis: Any) -> State:
        """What the hypothesis knows before any row, of fixed shape."""

    @abc.abstractmethod
    def advance_one(
        self, hypothesis: Any, state: State, rows: Float[Array, "time input"]
    ) -> tuple[State, AnyPrediction]:
        """What it knows after the rows, and what it predicted on the way."""

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    def start(self, capacity: int | None = None) -> Weighed:
        del capacity  # the state never grows
        hypotheses, weights = self.hypotheses()
        return Weighed(jax.vmap(self.start_one)(hypotheses), prior_odds(weights))

    def advance(self, state: Weighed, inputs: Inputs) -> tuple[Weighed, AnyPrediction]:
        rows = real_rows(inputs, self.outcome)
        hypotheses, _ = self.hypotheses()
        side_by_side = jax.vmap(self.advance_one, in_axes=(0, 0, None))
        states, predictions = side_by_side(hypotheses, state.states, rows)

        def evidence(prediction: AnyPrediction) -> Float[Array, " time"]:
            return prediction.of(self.outcome.decode(rows))

        odds, log_weights = weigh_all(state.odds, jax.vmap(evidence)(predictions).T)
        return Weighed(states, odds), predictions.averaged(log_weights)

    def reading_bytes(self, rows: int) -> int:
        return 12 * rows * self._components()

    def micro_batch(self, batch: int, length: int) -> int:
        fitting = AT_ONCE // max(1, length * self._components())
        return min(batch, 2 ** int(math.log2(max(1, fitting))))

    def _components(self) -> int:
        return jax.eval_shape(self.hypotheses)[1].shape[0]


class KnownLatents(FiniteHypotheses):
    """The exact posterior over given `latents` [component, …] of a task, the `source`, by its own
    oracle; `weights` [component] are their probabilities before anything is read.

    Of regression with weights w_k this is the discrete minimum mean squared error estimator, dMMSE
    (Raventós et al. 2023), with its whole density: w_k ∝ exp(-Σ (y - x · w_k)² / 2σ²).
    """

    source: Task
    latents: Any
    weights: Float[np.ndarray, " component"] | Float[Array, " component"]

    @property
    def outcome(self) -> Outcome:
        return self.source.outcome

    def hypotheses(self) -> tuple[Any, Float[Array, " component"]]:
        return jax.tree.map(jnp.asarray, self.latents), jnp.asarray(self.weights)

    def start_one(self, hypothesis: Any) -> Float[Array, "time input"]:
        """The last rows that the oracle looks at."""
        del hypothesis
        return jnp.zeros((self.source.lookback or 0, self.outcome.input_width()))

    def advance_one(
        self,
        hypothesis: Any,
        state: Float[Array, "seen input"],
        rows: Float[Array, "time input"],
    ) -> tuple[Float[Array, "seen input"], AnyPrediction]:
        read = jnp.concatenate([state, rows.astype(state.dtype)])
        parameters = self.source.oracle(hypothesis, read)[len(state) :]
        return read[len(rows) :], self.outcome.prediction(parameters)


class Latents(NamedTuple):
    """What a pool of `latents` [component, …] of any task, the `source`, draws and knows, by what
    the source says of a given one."""

    source: Task
    latents: Any

    def sample(self, key: Key[Array, ""], component: Int[Array, ""], length: int) -> Episode:
        """An episode with one of the latents."""
        latent = jax.tree.map(lambda leaf: jnp.asarray(leaf)[component], self.latents)
        drawn = self.source.sample_given(key, latent, length)
        return Episode(drawn.observations, component, drawn.scored)

    def oracle(self, component: Int[Array, ""], inputs: Array) -> Float[Array, "time parameter"]:
        """What the source's oracle predicts that knows the latent of that number."""
        latent = jax.tree.map(lambda leaf: jnp.asarray(leaf)[component], self.latents)
        return self.source.oracle(latent, inputs)

    def oracle_entropy(self, length: int) -> Float[Array, "component time"]:
        """What the oracle loses at each step, for each latent, nats."""

        def entropy(latent: Any) -> Float[Array, " time"]:
            return self.source.oracle_entropy_given(latent, length)

        return jax.vmap(entropy)(jax.tree.map(jnp.asarray, self.latents))

    def bayes(self) -> KnownLatents:
        """The exact posterior over latents of equal prior weight."""
        size = len(jax.tree.leaves(self.latents)[0])
        return KnownLatents(self.source, self.latents, equal_weights(size))
