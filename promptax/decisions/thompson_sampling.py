"""Probability matching: Thompson sampling from the exact posterior (Thompson 1933)."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.decisions.base import Environment, Index, Policy
from promptax.specs import check


class ThompsonSampling(Policy):
    """Draws from the posterior what may be hidden, and pulls the arm that would be best then.

    So each arm is pulled with the probability that it is the best one, given all that was seen. The
    prior is the environment's.
    """

    def suits(self, environment: Environment, rounds: int) -> None:
        del rounds
        check(
            environment.has_belief,
            f"Expected an environment with an exact posterior; {type(environment).__name__} has no "
            "`belief`. Play a policy that needs none, such as EpsilonGreedy().",
        )

    def start(self, environment: Environment, rounds: int) -> Any:
        del rounds
        return environment.belief()

    def act(
        self, key: Key[Array, ""], environment: Environment, state: Any, context: Index
    ) -> Index:
        possible = environment.draw(key, state)
        return jnp.argmax(environment.expected(possible, context))

    def learn(
        self,
        environment: Environment,
        state: Any,
        context: Index,
        arm: Index,
        reward: Float[Array, ""],
    ) -> Any:
        return environment.update(state, context, arm, reward)
