"""Inner steps on the first part of a sequence, or on other sequences, judged by what follows."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.fit.objectives.inner_steps import InnerSteps, LossByStep, losses_of
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor, State
from promptax.specs import check, later
from promptax.tasks.base import Task
from promptax.tasks.batches import sample_batch


class SupportAndQuery(InnerSteps):
    """To implement one: `inner_slope`. The loss of a sequence is that of its query, summed over the
    query's steps, after inner steps on its support.

    Both are parts of the same sequence, so they share its latent. Where symbols are independent
    given the latent, the query is as good as another sequence of the same latent. Where they are
    not, as in a Markov chain, `support_sequences` makes it one: other sequences of the same latent
    are adapted to, each read from the start, and the query is a sequence from its beginning.

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
    support_sequences: int = later(0)
    """How many other sequences of the same latent are the support, of `support` symbols each: an
    inner step follows the mean of their losses. They count in the `length` of a fit, the query is
    the rest of it. 0: the support is the beginning of the query's own sequence."""

    def __check_init__(self) -> None:
        support = self.support
        check(
            support is None or support >= 1,
            f"Expected a support of at least 1 symbol; got {support}.",
        )
        count = self.support_sequences
        check(count >= 0, f"Expected support_sequences of at least 0; got {count}.")
        check(
            count == 0 or (support is not None and not self.in_context),
            f"Expected a support of so many symbols, and in_context=False, for {count} "
            f"support_sequences, which no query goes on from; got support={support} and "
            f"in_context={self.in_context}.",
        )

    def draw(self, task: Task, keys: Key[Array, "*batch"] | Array, length: int) -> Episode:
        if not self.support_sequences:
            return sample_batch(task, keys, length)
        assert self.support is not None
        return _draw_together(task, keys, self.support_sequences, self.support, length)

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        assert settings.length is not None
        support = settings.length - 1 if self.support is None else self.support_rows
        count = self.support_sequences
        several = f"{count} sequence{'s' if count > 1 else ''} of " if count else ""
        check(
            support < settings.length,
            f"Expected a support shorter than the sequence of {settings.length} steps; got "
            f"{several}{self.support} for {type(self).__name__}. Give it a shorter support, or the "
            "fit a longer length.",
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
        _, adapted = self.adapted(predictor, self.support_of(episode), outcome.log_loss)
        return jnp.sum(self.query_losses(adapted, episode, outcome.log_loss))

    @property
    def support_rows(self) -> int:
        """How many rows of a sequence are the support, all of its own sequences together."""
        assert self.support is not None
        return self.support * max(1, self.support_sequences)

    def support_of(self, episode: Episode) -> Episode:
        """What to adapt to [time]; [sequence, time] where the support has sequences of its own."""
        first = jax.tree.map(lambda leaf: leaf[: self.support_rows], episode)
        if not self.support_sequences:
            return first
        shape = self.support_sequences, self.support
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), first)

    def query_losses(
        self, adapted: Predictor, episode: Episode, log_loss: LossByStep
    ) -> Float[Array, "time ..."]:
        """The loss of every step after the support, nats; `log_loss(prediction, episode)`."""
        if self.in_context:
            return losses_of(adapted, episode, log_loss)[self.support_rows :]
        query = jax.tree.map(lambda leaf: leaf[self.support_rows :], episode)
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


@eqx.filter_jit
def _draw_together(
    task: Task, keys: Key[Array, "*batch"] | Array, sequences: int, support: int, length: int
) -> Episode:
    """For each key several sequences of one latent, laid end to end: those of the support, and the
    query, which is as long as is left."""

    def draw(key: Key[Array, ""]) -> Episode:
        first, others = jax.random.split(key)
        query = task.sample(first, length - sequences * support)

        def draw_other(key: Key[Array, ""]) -> Episode:
            other = task.sample_given(key, query.latent, support)
            return dataclasses.replace(other, latent=None)

        def join(support: Array, query: Array) -> Array:
            return jnp.concatenate([support.reshape(-1, *query.shape[1:]), query])

        supports = jax.vmap(draw_other)(jax.random.split(others, sequences))
        together = jax.tree.map(join, supports, dataclasses.replace(query, latent=None))
        return dataclasses.replace(together, latent=query.latent)

    for _ in keys.shape:
        draw = jax.vmap(draw)
    return draw(keys)
