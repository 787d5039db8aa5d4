"""A Bayes-weighted mixture of prompts of one predictor: several hypotheses, kept apart.

One prompt conditions one belief, and a belief that was conditioned on a long text knows one task
only. Where the target is itself a mixture (a bag of two coins), no single hard prompt is optimal
(Genewein et al. 2025). K prompts that are read side by side, each with a posterior weight, can be
(mixtures of prompts: Qin and Eisner 2021, "Learning How to Ask"):

    p(x_n | x_<n)  =  Σ_k w_k(n) π(x_n | s_k, x_<n),    w_k(n)  ∝  w_k Π_{m<n} π(x_m | s_k, x_<m)

A sequence's probability is then the weighted mean of its probabilities after each prompt, so the
mixture loses at most log(1 / w_k) nats more than its prompt k alone, whatever k is.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.checks import as_tuple
from promptax.doors import door
from promptax.protocol.entries import condition
from promptax.protocol.exchangeable import uniform_if
from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictions import AnyPrediction, Mixed, Prediction
from promptax.protocol.predictor import (
    Embedded,
    Inputs,
    KeyValues,
    Predictor,
    State,
    real_rows,
)
from promptax.protocol.prompted import Prompt, Prompted, Wrapper, rows_read
from promptax.specs import Record, check, check_distribution, renamed_from

RESPONSIBILITY = "responsibility"
MOST_COMPONENTS = 256  # a target has fewer modes, and each is read by itself


def check_components(count: int) -> None:
    """Raise ValueError unless a mixture can have so many prompts."""
    check(count >= 1, f"Expected at least 1 component; got {count}.")
    check(
        count <= MOST_COMPONENTS,
        f"Expected a mixture of at most {MOST_COMPONENTS:,} prompts; got {count:,}.",
    )


class MixtureState(eqx.Module):
    """What each component knows, and log w_k [component], the log posterior weights, nats; all of
    them -inf after a history that is impossible for every component."""

    states: tuple[State, ...]
    log_weights: Float[Array, "*batch component"]


class PromptedMixture(Wrapper):
    """A predictor that has read several prompts, each by itself, and weighs what follows from each.

    `predictor`: what reads. `context`: the prompts, one for each component.
    `log_weights` [component]: the initial log weights up to a constant, nats.

    Reads tokens, or weights over symbols, whose evidence for a component is Σ_s weight_s log p(s),
    that of tokens for one-hot rows; or rows of an outcome without an alphabet, whose evidence is
    their log density. Internal states: "responsibility" [time, component], the
    posterior weights after each input; and those of the first component under their own names.
    """

    predictor: Predictor
    context: tuple[Prompt, ...] = eqx.field(converter=as_tuple, metadata=renamed_from("reads"))
    log_weights: Float[Array, "*batch component"]

    def __check_init__(self) -> None:
        components = jnp.shape(self.log_weights)[-1]
        check(
            len(self.context) == components >= 1,
            "Expected at least one prompt and one weight for each; got "
            f"{len(self.context)} prompts and {components} weights.",
        )

    @property
    def prompt(self) -> Array:
        """What is read before the data [component, prompt, ...]; prompts of one length."""
        return jnp.stack([prompt.shown() for prompt in self.context])

    @property
    def weights(self) -> Array:
        """The initial weights [component], which sum to 1."""
        return jax.nn.softmax(self.log_weights)

    def start(self, capacity: int | None = None) -> MixtureState:
        states = tuple(Prompted(self.predictor, prompt).start(capacity) for prompt in self.context)
        return MixtureState(states, jax.nn.log_softmax(self.log_weights))

    def most_inputs(self, behind: tuple[Inputs, ...] = ()) -> int | None:
        """As many as behind the longest of its prompts."""
        each = [Prompted(self.predictor, prompt).most_inputs(behind) for prompt in self.context]
        return min((limit for limit in each if limit is not None), default=None)

    def advance(self, state: MixtureState, inputs: Inputs) -> tuple[MixtureState, AnyPrediction]:
        check_evidence(inputs, self.outcome)
        read = [self.predictor.advance(component, inputs) for component in state.states]
        return _mixed(state, inputs, read, self.outcome)

    def advance_batch(
        self, state: MixtureState, inputs: Inputs
    ) -> tuple[MixtureState, AnyPrediction]:
        check_evidence(inputs, self.outcome)
        read = [self.predictor.advance_batch(component, inputs) for component in state.states]
        return _mixed(state, inputs, read, self.outcome)

    def reading_bytes(self, rows: int) -> int:
        return len(self.context) * self.predictor.reading_bytes(rows)

    def prompt_rows(self) -> int:
        read = sum(rows_read(prompt) for prompt in self.context)
        return len(self.context) * self.predictor.prompt_rows() + read

    def readers(self) -> int:
        return len(self.context) * self.predictor.readers()

    def reading_operations(self, rows: int) -> float:
        return len(self.context) * self.predictor.reading_operations(rows)

    def micro_batch(self, batch: int, length: int) -> int:
        return self.predictor.micro_batch(batch, length * len(self.context))

    def prompts_at_once(self, prompts: int, sequences: int, length: int) -> int:
        return self.predictor.prompts_at_once(prompts, sequences, length * len(self.context))


@door
def mix(
    predictor: Predictor, prompts: Sequence[Any], weights: Sequence[float] | None = None
) -> PromptedMixture:
    """The Bayes-weighted mixture of what a predictor says after each of the prompts.

    Args:
        prompts: each tokens [prompt], weights [prompt, symbol], or lists, as for `condition`.
        weights: the prior probability of each (None: equal).

    Raises:
        ValueError: no prompts, or weights that are not one probability for each prompt.

    Example: `mix(coins.bayes(), [[0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]])`.
    """
    check(len(prompts) >= 1, "Expected at least one prompt to mix; got none.")
    weights = tuple(weights) if weights is not None else (1 / len(prompts),) * len(prompts)
    check_distribution("weights", weights)
    context = tuple(condition(predictor, prompt).context for prompt in prompts)
    return PromptedMixture(predictor, context, jnp.log(jnp.asarray(weights)))


def check_evidence(inputs: Inputs, outcome: Outcome) -> None:
    """Complain about inputs that say nothing for one component against another.

    Raises:
        TypeError: rows behind an embedding, keys and values; or no rows of the outcome.
        ValueError: rows of another width.
    """
    if isinstance(inputs, Embedded | KeyValues):
        rows = "embedding rows" if isinstance(inputs, Embedded) else "keys and values"
        raise TypeError(
            f"Expected tokens or weights over symbols; got {rows}, which say nothing for one "
            "prompt of a mixture against another. Read them before the mixture: steer the "
            "predictor inside, or use PromptMixture(prompt=SoftPrompt())."
        )
    if outcome.alphabet is None:
        real_rows(inputs, outcome)
    elif jnp.issubdtype(inputs.dtype, jnp.floating) and inputs.shape[-1] != outcome.alphabet:
        raise ValueError(
            f"Expected weights [time, symbol] over {outcome.words()}; got shape {inputs.shape}."
        )


def _mixed(
    state: MixtureState, inputs: Inputs, read: Sequence[tuple[State, Any]], outcome: Outcome
) -> tuple[MixtureState, AnyPrediction]:
    """The mixture's new state and prediction, from those of its components."""
    predictions = tuple(prediction for _, prediction in read)
    evidence = jnp.cumsum(_relative(log_likelihood(inputs, predictions, outcome)), axis=-2)
    first = jnp.broadcast_to(
        state.log_weights[..., None, :], (*evidence.shape[:-2], 1, evidence.shape[-1])
    )
    log_weights = _normalised(jnp.concatenate([first, first + evidence], axis=-2))
    before, after = log_weights[..., :-1, :], log_weights[..., 1:, :]
    internals = {RESPONSIBILITY: jnp.exp(after), **predictions[0].internals}
    new = MixtureState(tuple(state for state, _ in read), log_weights[..., -1, :])
    if outcome.alphabet is None:
        return new, Mixed(before, predictions, internals)
    impossible = jnp.max(before, axis=-1, keepdims=True) == -jnp.inf
    rows = jax.nn.logsumexp(before[..., None] + rows_by_component(predictions), axis=-2)
    many = any(prediction.scores is not None for prediction in predictions)
    scores = MixedScores(predictions, before) if many else None
    return new, Prediction(uniform_if(impossible, rows), internals, scores)


class MixedScores(Record):
    """Log probabilities of single symbols under a mixture, from those of its components, where
    symbols are many. `log_weights`: log w_k(n), the posterior before each input, nats."""

    predictions: tuple[Prediction, ...]
    log_weights: Float[Array, "*batch time component"]

    def log_probs_of(self, tokens: Int[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """Log probability of each token, nats; uniform after an impossible history."""
        impossible = jnp.max(self.log_weights, axis=-1) == -jnp.inf
        by_component = jnp.stack(
            [prediction.of(tokens) for prediction in self.predictions], axis=-1
        )
        uniform = -jnp.log(self.predictions[0].log_probs.shape[-1])
        mixed = jax.nn.logsumexp(self.log_weights + by_component, axis=-1)
        return jnp.where(impossible, uniform, mixed)


def rows_by_component(
    predictions: Sequence[Prediction],
) -> Float[Array, "*batch time component symbol"]:
    """Log probabilities of every component, nats."""
    return jnp.stack([prediction.log_probs for prediction in predictions], axis=-2)


def log_likelihood(
    inputs: Inputs, predictions: Sequence[Any], outcome: Outcome
) -> Float[Array, "*batch time component"]:
    """log p of what was read, step by step, by each of the predictions, nats; Σ_s weight_s log p(s)
    for weights over symbols, -inf where a symbol of probability zero has weight."""
    if outcome.alphabet is None or not jnp.issubdtype(inputs.dtype, jnp.floating):
        observations = outcome.decode(inputs)
        return jnp.stack([prediction.of(observations) for prediction in predictions], axis=-1)
    weights, log_probs = inputs[..., None, :], rows_by_component(predictions)
    never = log_probs == -jnp.inf  # 0 log 0 = 0; and -inf times 0 in a derivative would be NaN
    excluded = jnp.any(never & (weights != 0), axis=-1)
    total = jnp.sum(weights * jnp.where(never, 0.0, log_probs), axis=-1)
    return jnp.where(excluded, -jnp.inf, total)


def _relative(evidence: Float[Array, "*rows component"]) -> Float[Array, "*rows component"]:
    """Evidence against the best component of each step: long sums of it stay small, and exact."""
    best = jax.lax.stop_gradient(jnp.max(evidence, axis=-1, keepdims=True))
    return evidence - jnp.where(best == -jnp.inf, 0.0, best)


def _normalised(log_weights: Float[Array, "*rows component"]) -> Float[Array, "*rows component"]:
    """Log weights whose exponentials sum to 1, or all -inf."""
    impossible = jnp.max(log_weights, axis=-1, keepdims=True) == -jnp.inf
    fine = jax.nn.log_softmax(jnp.where(impossible, 0.0, log_weights))
    return jnp.where(impossible, -jnp.inf, fine)
