"""What simple policies remember: how often each arm was pulled, and what it paid in all."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.decisions.base import Environment, Index, Policy


class Tally(NamedTuple):
    """Numbers of pulls [context, arm], and sums of rewards [context, arm]."""

    pulls: Float[Array, "context arm"]
    rewards: Float[Array, "context arm"]

    def count(self, context: Index, arm: Index, reward: Float[Array, ""]) -> "Tally":
        """One pull more."""
        return Tally(
            self.pulls.at[context, arm].add(1.0), self.rewards.at[context, arm].add(reward)
        )

    def means(self, context: Index) -> Float[Array, " arm"]:
        """Mean rewards in a context; infinite for arms that were never pulled: they come first."""
        pulls = self.pulls[context]
        return jnp.where(pulls > 0, self.rewards[context] / jnp.maximum(pulls, 1.0), jnp.inf)


def empty_tally(environment: Environment) -> Tally:
    """Nothing was pulled yet."""
    zeros = jnp.zeros((environment.contexts, environment.arms))
    return Tally(zeros, zeros)


def best_arm(key: Key[Array, ""], scores: Float[Array, " arm"]) -> Index:
    """The arm of the highest score. Ties are broken at random: no arm gains by its number."""
    tickets = jax.random.uniform(key, scores.shape)
    return jnp.argmax(jnp.where(scores == jnp.max(scores), tickets, -1.0))


class TallyPolicy(Policy):
    """A policy that remembers a `Tally` and nothing else; a member owes `act`."""

    def start(self, environment: Environment, rounds: int) -> Tally:
        del rounds
        return empty_tally(environment)

    def learn(
        self,
        environment: Environment,
        state: Tally,
        context: Index,
        arm: Index,
        reward: Float[Array, ""],
    ) -> Tally:
        del environment
        return state.count(context, arm, reward)
