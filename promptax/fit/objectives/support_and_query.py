"""Inner steps on the first part of a sequence, judged by the rest of it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.fit.objectives.inner_steps import InnerSteps, losses_of
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor, State
from promptax.specs import check


class SupportAndQuery(InnerSteps):
    """To implement one: `inner_slope`. The loss of a sequence is that of its query, summed over the
    query's steps, after inner steps on its support.

    Both are parts of the same sequence, so they share its latent. Where symbols are independent
    given the latent, the query is as good as another sequence of the same latent.
    """

    support: int = 10
    """How many symbols at a sequence's beginning to adapt to; the others are the query."""
    in_context: bool = False
    """Whether the adapted predictor has also read the support when the query comes. Without it, the
    query starts afresh, and what was seen reaches it through the inner steps alone."""

    def __check_init__(self) -> None:
        check(self.support >= 1, f"Expected a support of at least 1 symbol; got {self.support}.")

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        assert settings.length is not None
        check(
            self.support < settings.length,
            f"Expected a support shorter than the sequence of {settings.length} steps; got "
            f"{self.support} for {type(self).__name__}. Give it a shorter support, or the fit a "
            "longer length.",
        )
        self._split(predictor)

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
            support = jax.tree.map(lambda leaf: leaf[: self.support], episode)
            _, adapted = self.adapted(predictor, support, outcome.log_loss)
            if self.in_context:
                losses = losses_of(adapted, episode, outcome.log_loss)[self.support :]
            else:
                query = jax.tree.map(lambda leaf: leaf[self.support :], episode)
                losses = losses_of(adapted, query, outcome.log_loss)
            return jnp.sum(losses)

        return jax.vmap(lose)(dataclasses.replace(episodes, latent=None))
