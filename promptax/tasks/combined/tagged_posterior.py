"""The exact predictor of sources that are told by a tag."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.protocol.exchangeable import uniform_if
from promptax.protocol.mixture import RESPONSIBILITY
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor, State
from promptax.tasks.combined.parts import check_keeps_shape
from promptax.tasks.hidden.forward import log_sum
from promptax.tasks.markov.contexts import only_tokens
from promptax.tasks.pools.odds import Odds, log_posterior, prior_odds, weigh


class TagBelief(eqx.Module):
    """What each part's predictor knows, how probable each part is, and how many steps were read.
    `grows`: whether it began without a capacity."""

    states: tuple[State, ...]
    odds: Odds
    time: Int[Array, ""]
    grows: bool = eqx.field(static=True)


class TaggedPosterior(Predictor):
    """Exact prediction of `Tagged`. Reads tokens only.

    A tag makes its part certain. At its place

        p(tag k) = (1 - dropped) w_k(t),    p(symbol) = dropped Σ_k w_k(t) p_k(symbol | before),

    and everywhere else tags have probability zero. The parts do not read the tag. After a history
    that is impossible it predicts uniformly.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    parts: tuple[Predictor, ...]
    weights: tuple[float, ...] | Float[Array, " part"]
    dropped: float | Float[Array, ""]
    place: int

    @property
    def symbols(self) -> int:
        return self.parts[0].symbols + len(self.parts)

    @property
    def merges(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(part.merges for part in self.parts)

    def reading_bytes(self, rows: int) -> int:
        return sum(part.reading_bytes(rows) for part in self.parts)

    def start(self, capacity: int | None = None) -> TagBelief:
        states = tuple(part.start(capacity or 0) for part in self.parts)
        odds = prior_odds(jnp.asarray(self.weights))
        return TagBelief(states, odds, jnp.zeros((), jnp.int32), grows=capacity is None)

    def with_room(self, state: TagBelief, rows: int) -> TagBelief:
        states = tuple(
            part.with_room(belief, rows)
            for part, belief in zip(self.parts, state.states, strict=True)
        )
        return TagBelief(states, state.odds, state.time, state.grows)

    def advance(self, state: TagBelief, inputs: Inputs) -> tuple[TagBelief, Prediction]:
        tokens = only_tokens(inputs)
        if state.grows:
            state = self.with_room(state, len(tokens))
        for part, belief in zip(self.parts, state.states, strict=True):
            check_keeps_shape(part, belief)

        def step(belief: Any, token: Int[Array, ""]) -> tuple[Any, tuple[Array, Array]]:
            states, odds, time = belief
            before, at_place = log_posterior(odds), time == self.place
            states, evidence, row = self._read(states, before, at_place, token)
            odds = weigh(odds, evidence)
            return (states, odds, time + 1), (row, jnp.exp(log_posterior(odds)))

        belief = state.states, state.odds, state.time
        (states, odds, time), (rows, after) = jax.lax.scan(step, belief, tokens)
        belief = TagBelief(states, odds, time, state.grows)
        return belief, Prediction(rows, {RESPONSIBILITY: after})

    def _read(
        self,
        states: tuple[State, ...],
        before: Float[Array, " part"],
        at_place: Array,
        token: Int[Array, ""],
    ) -> tuple[tuple[State, ...], Float[Array, " part"], Float[Array, " symbol"]]:
        """States behind the token, its evidence for each part, and what was predicted."""
        symbols = self.parts[0].symbols
        is_tag, symbol = token >= symbols, jnp.minimum(token, symbols - 1)
        read = [
            part.advance(belief, symbol[None])
            for part, belief in zip(self.parts, states, strict=True)
        ]
        rows = jnp.stack([prediction.log_probs[0] for _, prediction in read])
        no_tag = jnp.log(jnp.where(at_place, self.dropped, 1.0))
        a_tag = jnp.log(jnp.where(at_place, 1 - jnp.asarray(self.dropped), 0.0))
        text = log_sum(before[:, None] + rows, axis=0)
        row = jnp.concatenate([no_tag + text, a_tag + before])
        row = uniform_if(jnp.max(before) == -jnp.inf, row)
        its_part = jnp.arange(len(self.parts)) == token - symbols
        of_tag = jnp.where(its_part, a_tag, -jnp.inf)
        evidence = jnp.where(is_tag, of_tag, no_tag + rows[:, symbol])

        def keep_at_tag(old: Array, new: Array) -> Array:
            return jnp.where(is_tag, old, new)

        following = tuple(state for state, _ in read)
        return jax.tree.map(keep_at_tag, states, following), evidence, row
