"""Inner steps on the first part of a sequence, judged by the rest of it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.fit.objectives.inner_steps import InnerSteps, LossByStep, losses_of
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor, State
from promptax.specs import check


class SupportAndQuery(InnerSteps):
    """To implement one: `inner_slope`. The loss of a sequence is that of its query, summed over the
    query's steps, after inner steps on its support.

    Both are parts of the same sequence, so they share its latent. Where symbols are independent
    given the latent, the query is as good as another sequence of the same latent.

    With support=None every beginning of the sequence is a support, and the symbol after it is the
    query: the loss is that of `Adapting`, Σ_t -log p(x_t) after inner steps on x_<t. It takes
    length × inner_steps readings, one beginning after the other, and keeps those of one of them.
    """

    support: int | None = 10
    """How many symbols at a sequence's beginning to adapt to; the others are the query. None: every
    beginning in turn, and the symbol after it."""
    in_context: bool = False
    """Whether the adapted predictor has also read the support when the query comes. Without it, the
    query starts afresh, and what was seen reaches it through the inner steps alone."""

    def __check_init__(self) -> None:
        support = self.support
        check(
            support is None or support >= 1,
            f"Expected a support of at least 1 symbol; got {support}.",
        )

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        assert settings.length is not None
        support = settings.length - 1 if self.support is None else self.support
        check(
            support < settings.length,
            f"Expected a support shorter than the sequence of {settings.length} steps; got "
            f"{self.support} for {type(self).__name__}. Give it a shorter support, or the fit a "
            "longer length.",
        )
        self.check_leaves(predictor)
        self.check_room(predictor, settings, support)

    def readings(self, length: int) -> int:
        return (self.inner_steps + 1) * (length if self.support is None else 1)

    def losses(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        state: State,
        episodes: Episode,
        outcome: Any,
    ) -> Float[Array, " sequence"]:
        del key, state  # every sequence starts from leaves of its own

        def lose(episode: Episode) -> Float[Array, ""]:
            if self.support is None:
                return self._every_loss(predictor, episode, outcome)
            return self.loss_after_support(predictor, episode, outcome)

        return jax.vmap(lose)(dataclasses.replace(episodes, latent=None))

    def loss_after_support(
        self, predictor: Predictor, episode: Episode, outcome: Any
    ) -> Float[Array, ""]:
        """The loss of one sequence, nats. To override where it is not that of the query."""
        support = jax.tree.map(lambda leaf: leaf[: self.support], episode)
        _, adapted = self.adapted(predictor, support, outcome.log_loss)
        return jnp.sum(self.query_losses(adapted, episode, outcome.log_loss))

    def query_losses(
        self, adapted: Predictor, episode: Episode, log_loss: LossByStep
    ) -> Float[Array, "time ..."]:
        """The loss of every step after the support, nats; `log_loss(prediction, episode)`."""
        if self.in_context:
            return losses_of(adapted, episode, log_loss)[self.support :]
        query = jax.tree.map(lambda leaf: leaf[self.support :], episode)
        return losses_of(adapted, query, log_loss)

    def _every_loss(self, predictor: Predictor, episode: Episode, outcome: Any) -> Float[Array, ""]:
        """The loss of every step of time after inner steps on those before it, summed."""
        times = jnp.arange(jnp.shape(episode.observations)[0])

        @jax.checkpoint
        def lose_one(time: Int[Array, ""]) -> Float[Array, ""]:
            scored = times < time if episode.scored is None else episode.scored & (times < time)
            before = dataclasses.replace(episode, scored=scored)
            _, adapted = self.adapted(predictor, before, outcome.log_loss)
            if self.in_context:
                return losses_of(adapted, episode, outcome.log_loss)[time]
            query = jax.tree.map(lambda leaf: leaf[time][None], episode)
            return losses_of(adapted, query, outcome.log_loss)[0]

        return jnp.sum(jax.lax.map(lose_one, times))
