"""A predictor that adapts its weights to what it reads, by the inner steps of an objective."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.checks import check_kind
from promptax.fit.objectives.inner_steps import InnerSteps
from promptax.protocol.exchangeable import symbol_weights
from promptax.protocol.outcomes import Episode, Outcome, Points, alphabet_of
from promptax.protocol.predictions import AnyPrediction, Prediction
from promptax.protocol.predictor import (
    OBSERVATIONS,
    TOKENS,
    WEIGHTS,
    Inputs,
    Predictor,
    real_rows,
)
from promptax.specs import check

Read = Int[Array, " _time"] | Float[Array, "_time _input"]  # tokens, or rows without an alphabet


class Seen(eqx.Module):
    """What was read: the first `count` of the `observations` [time], or [time, input], which has a
    fixed size unless it `grows`."""

    observations: Array
    count: Int[Array, "*batch"]
    grows: bool = eqx.field(static=True)


class Adapting(Predictor):
    """Row t is predicted after the inner steps of `steps` from the predictor's own weights, on all
    that was read before it. Every row adapts anew, so it costs inner_steps readings.

    `predictor`: what adapts. With `in_context`, the adapted predictor has also read what it adapted
    to; without it, it predicts from its start, and what was seen speaks through the inner steps
    alone. It reads tokens, or rows of an outcome without an alphabet. Of points `in_context` is
    asked for, since an answer can only be predicted where its question was read; a network without
    memory (`promptax.predictors.FeedForward`) sees the question alone.

    What says the same whatever it read (`Predictor.learns` is False) adapts to counts alone: then
    weights over symbols can be read too, and expectations over all sequences are exact
    (`promptax.evaluation.expected_losses`), as for any exact predictor.

    Example: `px.evaluate(key, {"inner steps": Adapting(network, MAML())}, coin)`.
    """

    predictor: Predictor
    steps: InnerSteps
    in_context: bool = False

    def __check_init__(self) -> None:
        check_kind(self.predictor, Predictor, "LSTM(width=8).build(key, 2)")
        check_kind(self.steps, InnerSteps, "MAML()")
        check_kind(self.in_context, bool, "True")
        self.steps.check_pace(self.predictor)
        check(
            self.in_context or not isinstance(self.outcome, Points),
            f"Expected in_context=True for a predictor of {self.outcome.words()}, which has to "
            "read a question before it answers; got False.",
        )

    @property
    def outcome(self) -> Outcome:
        return self.predictor.outcome

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    @property
    def exchangeable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.outcome.alphabet is not None and not self.predictor.learns

    @property
    def merges(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.exchangeable  # otherwise its state is all that was read

    @property
    def reads(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        if self.outcome.alphabet is None:
            return frozenset({OBSERVATIONS})
        return frozenset({TOKENS, WEIGHTS} if self.exchangeable else {TOKENS})

    def most_inputs(self, behind: tuple[Inputs, ...] = ()) -> int | None:
        return self.predictor.most_inputs(behind)

    def start(self, capacity: int | None = None) -> Seen | Float[Array, " symbol"]:
        """What was read; of a predictor that does not learn from it, how often each symbol came."""
        if self.exchangeable:
            return jnp.zeros(self.symbols)
        room = 0 if capacity is None else capacity
        if self.outcome.alphabet is None:
            rows = jnp.zeros((room, self.outcome.input_width()))
        else:
            rows = jnp.zeros(room, jnp.int32)
        return Seen(rows, jnp.int32(0), capacity is None)

    def advance(self, state: Any, inputs: Inputs) -> tuple[Any, AnyPrediction]:
        if self.exchangeable:
            rows = symbol_weights(inputs, self.symbols)
            counts = jnp.concatenate([state[None], state + jnp.cumsum(rows, axis=0)])
            return counts[-1], Prediction(jax.vmap(self._after)(counts[:-1]))
        if self.outcome.alphabet is None:
            inputs = real_rows(inputs, self.outcome)
        elif not (eqx.is_array(inputs) and jnp.issubdtype(inputs.dtype, jnp.integer)):
            raise TypeError(
                "Expected tokens, which Adapting can take inner steps on; got weights over symbols "
                "or rows. Let the predictor inside read them first."
            )
        if len(inputs) == 0:
            nothing = jnp.zeros((0, self.outcome.parameter_width()))
            return state, self.outcome.prediction(nothing)
        read = self._with(state, inputs)
        times = state.count + jnp.arange(len(inputs))
        rows = jax.lax.map(lambda time: self._row(read, time), times)
        if not state.grows:  # what there was no room for is NaN, never silently wrong
            rows = jnp.where((times < len(read))[:, None], rows, jnp.nan)
        after = Seen(read, state.count + len(inputs), state.grows)
        return after, self.outcome.prediction(rows)

    def _after(self, counts: Float[Array, " symbol"]) -> Float[Array, " symbol"]:
        """Log probabilities of the next symbol, nats, after adapting to so many of each."""
        every, predictor = Episode(jnp.arange(self.symbols)), self.predictor
        _, adapted = self.steps.adapted(predictor, every, predictor.outcome.log_loss, counts)
        return adapted.advance(adapted.start(), jnp.zeros(1, jnp.int32))[1].log_probs[0]

    def _with(self, state: Seen, inputs: Read) -> Read:
        """All observations: those read before, and the new ones."""
        inputs = inputs.astype(state.observations.dtype)
        if state.grows:
            return jnp.concatenate([state.observations, inputs])
        places = state.count + jnp.arange(len(inputs))
        return state.observations.at[places].set(inputs, mode="drop")

    def _row(self, read: Read, time: Int[Array, ""]) -> Float[Array, " parameter"]:
        """What is said of read[time], after adapting to what came before it: the numbers of the
        outcome, for symbols log probabilities in nats."""
        before = Episode(read, scored=jnp.arange(len(read)) < time)
        _, adapted = self.steps.adapted(self.predictor, before, self.outcome.log_loss)
        shown = read if self.in_context else jnp.zeros_like(read[:1])
        rows = adapted.advance(adapted.start(), shown)[1].shown()
        return rows[time] if self.in_context else rows[0]
