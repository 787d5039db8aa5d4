"""The exact predictor of a mixture of tasks: what each predicts, weighted by its posterior."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.protocol.exchangeable import uniform_if
from promptax.protocol.mixture import RESPONSIBILITY, check_evidence, log_likelihood
from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictions import AnyPrediction, Mixed, Prediction
from promptax.protocol.predictor import Inputs, Predictor, State
from promptax.tasks.combined.parts import read_by_all
from promptax.tasks.hidden.forward import log_sum
from promptax.tasks.pools.odds import Odds, log_posterior, prior_odds, weigh_all


class PartBelief(NamedTuple):
    """What each part's predictor knows, and how probable each part is."""

    states: tuple[State, ...]
    odds: Odds


class PartPosterior(Predictor):
    """Exact prediction of a mixture: what each of its `parts` predicts, weighted by the part's
    posterior, which begins with `weights` [part].

        p(x_t | x_<t) = Σ_k w_k(t) p_k(x_t | x_<t),    w_k(t+1) ∝ w_k(t) p_k(x_t | x_<t)

    All parts read everything. Weights over symbols are evidence Σ_s weight_s log p(s). A part that
    lost ten thousand nats can win them back (`pools.odds`). After a history that no part allows it
    predicts uniformly over symbols; of points, it gives all parts equal weights. Internal state:
    "responsibility" [time, part], the posterior after each input; all of them 0 after such a
    history.
    """

    parts: tuple[Predictor, ...]
    weights: tuple[float, ...] | Float[Array, " part"]

    @property
    def outcome(self) -> Outcome:
        return self.parts[0].outcome

    @property
    def symbols(self) -> int:
        return self.parts[0].symbols

    @property
    def reads(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return read_by_all(self.parts)

    @property
    def merges(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(part.merges for part in self.parts)

    def reading_bytes(self, rows: int) -> int:
        return sum(part.reading_bytes(rows) for part in self.parts)

    def micro_batch(self, batch: int, length: int) -> int:
        return min(part.micro_batch(batch, length) for part in self.parts)

    def start(self, capacity: int | None = None) -> PartBelief:
        states = tuple(part.start(capacity) for part in self.parts)
        return PartBelief(states, prior_odds(jnp.asarray(self.weights)))

    def with_room(self, state: PartBelief, rows: int) -> PartBelief:
        states = tuple(
            part.with_room(belief, rows)
            for part, belief in zip(self.parts, state.states, strict=True)
        )
        return PartBelief(states, state.odds)

    def advance(self, state: PartBelief, inputs: Inputs) -> tuple[PartBelief, AnyPrediction]:
        check_evidence(inputs, self.outcome)
        read = [
            part.advance(belief, inputs)
            for part, belief in zip(self.parts, state.states, strict=True)
        ]
        predictions = tuple(prediction for _, prediction in read)
        odds, before = weigh_all(state.odds, log_likelihood(inputs, predictions, self.outcome))
        belief = PartBelief(tuple(part for part, _ in read), odds)
        after = jnp.concatenate([before, log_posterior(odds)[None]])[1:]
        internals = {RESPONSIBILITY: jnp.exp(after)}
        return belief, mixed(before, predictions, internals)


def mixed(
    log_weights: Float[Array, "time part"], predictions: tuple[Any, ...], internals: Any
) -> AnyPrediction:
    """The weighted mean of what the parts predict. Where nothing is possible it is uniform over
    symbols; of points, for which no such thing exists, it is the plain mean of the parts."""
    impossible = jnp.max(log_weights, axis=1, keepdims=True) == -jnp.inf
    if not isinstance(predictions[0], Prediction):
        log_weights = uniform_if(impossible, log_weights)
        return Mixed(log_weights, predictions, internals)
    rows = jnp.stack([prediction.log_probs for prediction in predictions], axis=1)
    row = log_sum(log_weights[:, :, None] + rows, axis=1)
    return Prediction(uniform_if(impossible, row), internals)
