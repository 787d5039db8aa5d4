"""A predictor that adapts its weights to what it reads, by the inner steps of an objective."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.checks import check_kind
from promptax.fit.objectives.inner_steps import InnerSteps
from promptax.protocol.exchangeable import symbol_weights
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, WEIGHTS, Inputs, Predictor


class Seen(eqx.Module):
    """What was read: the first `count` of the tokens."""

    tokens: Int[Array, "*batch time"]
    count: Int[Array, "*batch"]
    grows: bool = eqx.field(static=True)  # or it has the room that it has


class Adapting(Predictor):
    """Row t is predicted after the inner steps of `steps` from the predictor's own weights, on all
    that was read before: tokens[:t]. Every row adapts anew, so it costs inner_steps readings.

    `predictor`: what adapts. With `in_context`, the adapted predictor has also read these tokens;
    without it, it predicts from its start, and they speak through the inner steps alone. Reads
    tokens.

    What says the same whatever it read (`Predictor.learns` is False) adapts to counts alone: then
    weights over symbols can be read too, and expectations over all sequences are exact
    (`promptax.evaluation.expected_losses`), as for any exact predictor.

    Example: `px.evaluate(key, {"inner steps": Adapting(network, MAML())}, coin)`.
    """

    merges: ClassVar[bool] = False  # its state is all that was read

    predictor: Predictor
    steps: InnerSteps
    in_context: bool = False

    def __check_init__(self) -> None:
        check_kind(self.predictor, Predictor, "LSTM(width=8).build(key, 2)")
        check_kind(self.steps, InnerSteps, "MAML()")
        check_kind(self.in_context, bool, "True")
        self.steps.check_pace(self.predictor)

    @property
    def symbols(self) -> int:
        return self.predictor.symbols

    @property
    def exchangeable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.predictor.learns

    @property
    def reads(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return frozenset({TOKENS, WEIGHTS} if self.exchangeable else {TOKENS})

    def start(self, capacity: int | None = None) -> Seen | Float[Array, " symbol"]:
        """What was read; of a predictor that does not learn from it, how often each symbol came."""
        if self.exchangeable:
            return jnp.zeros(self.symbols)
        room = 0 if capacity is None else capacity
        return Seen(jnp.zeros(room, jnp.int32), jnp.int32(0), capacity is None)

    def advance(self, state: Any, inputs: Inputs) -> tuple[Any, Prediction]:
        if self.exchangeable:
            rows = symbol_weights(inputs, self.symbols)
            counts = jnp.concatenate([state[None], state + jnp.cumsum(rows, axis=0)])
            return counts[-1], Prediction(jax.vmap(self._after)(counts[:-1]))
        if not (eqx.is_array(inputs) and jnp.issubdtype(inputs.dtype, jnp.integer)):
            raise TypeError(
                "Expected tokens, which Adapting can take inner steps on; got weights over symbols "
                "or rows. Let the predictor inside read them first."
            )
        if len(inputs) == 0:
            return state, Prediction(jnp.zeros((0, self.symbols)))
        tokens = self._with(state, inputs)
        times = state.count + jnp.arange(len(inputs))
        log_probs = jax.lax.map(lambda time: self._row(tokens, time), times)
        if not state.grows:  # what there was no room for is NaN, never silently wrong
            log_probs = jnp.where((times < len(tokens))[:, None], log_probs, jnp.nan)
        return Seen(tokens, state.count + len(inputs), state.grows), Prediction(log_probs)

    def _after(self, counts: Float[Array, " symbol"]) -> Float[Array, " symbol"]:
        """Log probabilities of the next symbol, nats, after adapting to so many of each."""
        every, predictor = Episode(jnp.arange(self.symbols)), self.predictor
        _, adapted = self.steps.adapted(predictor, every, predictor.outcome.log_loss, counts)
        return adapted.advance(adapted.start(), jnp.zeros(1, jnp.int32))[1].log_probs[0]

    def _with(self, state: Seen, inputs: Int[Array, " time"]) -> Int[Array, " _time"]:
        """All tokens: those read before, and the new ones."""
        if state.grows:
            return jnp.concatenate([state.tokens, inputs.astype(jnp.int32)])
        places = state.count + jnp.arange(len(inputs))
        return state.tokens.at[places].set(inputs.astype(jnp.int32), mode="drop")

    def _row(self, tokens: Int[Array, " time"], time: Int[Array, ""]) -> Float[Array, " symbol"]:
        """Log probabilities of tokens[time], nats, after adapting to those before it."""
        before = Episode(tokens, scored=jnp.arange(len(tokens)) < time)
        _, adapted = self.steps.adapted(self.predictor, before, self.predictor.outcome.log_loss)
        read = tokens if self.in_context else jnp.zeros(1, jnp.int32)
        rows = adapted.advance(adapted.start(), read)[1].log_probs
        return rows[time] if self.in_context else rows[0]
