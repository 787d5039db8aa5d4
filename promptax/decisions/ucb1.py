"""Optimism in the face of uncertainty: UCB1 (Auer, Cesa-Bianchi and Fischer 2002, Figure 1)."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from promptax.decisions.base import Environment, Index
from promptax.decisions.tally import Tally, TallyPolicy, best_arm
from promptax.specs import check


class UCB1(TallyPolicy):
    """Pulls every arm once, then the one whose mean might still be the highest. It maximises

        mean[a] + (high - low) sqrt(2 ln n / pulls[a]),

    where n is the number of pulls so far and low and high are the bounds of rewards. Each context
    is a bandit of its own. It needs no prior; regret grows with the logarithm of the rounds.
    """

    def suits(self, environment: Environment, rounds: int) -> None:
        del rounds
        check(
            environment.bounds is not None,
            f"Expected an environment with bounded rewards; {type(environment).__name__} gives no "
            "`bounds`. Declare them, or play EpsilonGreedy().",
        )

    def act(
        self, key: Key[Array, ""], environment: Environment, state: Tally, context: Index
    ) -> Index:
        assert environment.bounds is not None, "what has no bounds was refused before"
        low, high = environment.bounds
        pulls = jnp.maximum(state.pulls[context], 1.0)
        spread = (high - low) * jnp.sqrt(2 * jnp.log(jnp.sum(pulls)) / pulls)
        return best_arm(key, state.means(context) + spread)
