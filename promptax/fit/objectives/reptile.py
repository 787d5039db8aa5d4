"""Reptile: weights that lie near those which every task's own training leads to."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.fit.objectives.inner_steps import InnerSteps, losses_of
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor, State


class Reptile(InnerSteps):
    """Moves θ towards φ_K, where inner steps on the whole sequence end.

    The update direction is θ - φ_K, which is the gradient of no loss. It reaches the loop as the
    slope of a loss whose value is something else: the sequence's log loss at θ, which is what a fit
    records. Adam takes the outer step, where the paper takes θ + ε (φ_K - θ); the length of
    θ - φ_K, about inner_rate · inner_steps times a gradient, matters to clipping alone. With one
    inner step this is training on the inner loss. Nothing is held out: there is no query.

    Nichol, Achiam and Schulman 2018, "On First-Order Meta-Learning Algorithms", Algorithm 2; all
    inner steps see the whole sequence.
    """

    slope_is_of_value: ClassVar[bool] = False
    keeps_steps: ClassVar[bool] = False

    inner_steps: int = 5
    """Number of gradient steps that every sequence takes."""

    @classmethod
    def examples(cls) -> "tuple[Reptile, ...]":
        return (cls(inner_steps=2),)

    def inner_slope(self, gradient: Any) -> Any:
        return jax.lax.stop_gradient(gradient)

    def losses(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        state: State,
        episodes: Episode,
        outcome: Any,
    ) -> Float[Array, " sequence"]:
        del key, state

        def lose(episode: Episode) -> Float[Array, ""]:
            start, adapted = self.adapted(predictor, episode, outcome.log_loss)
            end = self.split_leaves(adapted)[0]
            loss = jnp.sum(losses_of(predictor, episode, outcome.log_loss))
            # a·b with b = θ - φ held fixed has the slope b for a = θ
            products = jax.tree.map(
                lambda a, b: jnp.sum(a * jax.lax.stop_gradient(a - b)), start, end
            )
            slope = sum(jax.tree.leaves(products), jnp.zeros(()))
            return jax.lax.stop_gradient(loss - slope) + slope

        return jax.vmap(lose)(dataclasses.replace(episodes, latent=None))
