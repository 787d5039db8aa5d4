"""Arms that pay 0 or 1: what bandits with and without contexts share.

The rewards of one arm in one context are a sequence of the task `DirichletCategorical`, random
coins. Its exact predictor therefore holds the belief: one state for each context and arm.
"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.decisions.base import Environment, Index
from promptax.specs import check, check_concentration, floats
from promptax.tasks.independent.dirichlet_categorical import DirichletPosterior

Chances = Float[Array, "context arm"]  # of reward 1
CountsOfArms = Float[Array, "context arm symbol=2"]  # how often each arm paid 0 and 1

MOST_ARMS = 2**20  # with 100 repetitions side by side, their beliefs are 800 MiB


class BernoulliArms(Environment):
    """Independent arms in independent, equally likely contexts. The chance of reward 1 is drawn for
    each of them from Beta(a, b). A member owes `contexts` and `context`.
    """

    bounds: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    arms: int = 2
    """Number of arms."""
    prior: tuple[float, float] = eqx.field(default=(1.0, 1.0), converter=floats)
    """Beta(a, b) of every arm: a counts for reward 1, b for reward 0."""

    def __check_init__(self) -> None:
        check(
            self.arms >= 1 and self.contexts >= 1,
            f"Expected at least 1 arm and 1 context; got {self.arms} and {self.contexts}.",
        )
        check(
            self.arms * self.contexts <= MOST_ARMS,
            f"Expected at most {MOST_ARMS:,} arms in all contexts together; got {self.arms:,} in "
            f"each of {self.contexts:,}.",
        )
        check(
            min(self.prior) > 0 and max(self.prior) < float("inf"),
            f"Expected the two positive numbers of a beta distribution as the prior; got "
            f"{self.prior}. (1.0, 1.0) is the uniform prior.",
        )
        check_concentration("a prior", self.prior)

    def arm_predictor(self) -> DirichletPosterior:
        """The exact predictor of one arm's rewards, symbols 0 and 1; its state counts them."""
        return DirichletPosterior(jnp.flip(jnp.asarray(self.prior)))

    def start(self, key: Key[Array, ""]) -> Chances:
        """Chances of reward 1 [context, arm]."""
        return self.draw(key, self.belief())

    def reward(self, key: Key[Array, ""], hidden: Chances, context: Index) -> Float[Array, " arm"]:
        chances = hidden[context]
        return jnp.where(jax.random.uniform(key, chances.shape) < chances, 1.0, 0.0)

    def expected(self, hidden: Chances, context: Index) -> Float[Array, " arm"]:
        return hidden[context]

    def belief(self) -> CountsOfArms:
        """States of the arms' exact predictors."""
        state = self.arm_predictor().start()
        return jnp.broadcast_to(state, (self.contexts, self.arms, *state.shape))

    def update(
        self, belief: CountsOfArms, context: Index, arm: Index, reward: Float[Array, ""]
    ) -> CountsOfArms:
        symbol = reward.astype(jnp.int32)
        state, _ = self.arm_predictor().advance(belief[context, arm], symbol[None])
        return belief.at[context, arm].set(state)

    def draw(self, key: Key[Array, ""], belief: CountsOfArms) -> Chances:
        """Chances [context, arm] from Beta(a + rewards 1, b + rewards 0)."""
        reward, no_reward = self.prior
        return jax.random.beta(key, reward + belief[..., 1], no_reward + belief[..., 0])
