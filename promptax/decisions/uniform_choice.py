"""Pulling any arm: what every other policy has to beat."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.decisions.base import Environment, Index, Policy


class UniformChoice(Policy):
    """Pulls every arm with the same probability and learns nothing."""

    def start(self, environment: Environment, rounds: int) -> Array:
        del environment, rounds
        return jnp.zeros(0)

    def act(
        self, key: Key[Array, ""], environment: Environment, state: Array, context: Index
    ) -> Index:
        del state, context
        return jax.random.randint(key, (), 0, environment.arms)

    def learn(
        self,
        environment: Environment,
        state: Array,
        context: Index,
        arm: Index,
        reward: Float[Array, ""],
    ) -> Array:
        del environment, context, arm, reward
        return state
