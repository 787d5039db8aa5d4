"""What deciding is: an environment that pays for actions, and a policy that chooses them.

A task emits symbols whatever its reader thinks; an environment answers what was done. So the two
are apart. They share what they can: exact predictors may hold an environment's belief.

    hidden  = environment.start(key)                    # drawn once for a repetition, never shown
    context = environment.context(key, hidden)          # shown at the start of a round
    arm     = policy.act(key, environment, state, context)
    reward  = environment.reward(key, hidden, context)[arm]
    state   = policy.learn(environment, state, context, arm, reward)

Rewards of all arms are drawn in each round, and a policy sees the one of the arm that it pulled.
Two policies that pull the same arm in the same round are paid the same: they are paired.
"""

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.specs import Spec

Index = Int[Array, ""]  # the number of an arm, or of a context


class Environment(Spec, open_as="environment", default="BernoulliBandit"):
    """Arms to pull, and what they pay. All methods are for one repetition and one round.

    A member owes:

    - `arms` and `contexts`: how many there are, as fields or properties; without contexts 1;
    - `start(key)`: what is hidden, drawn from the prior;
    - `context(key, hidden)`: which of the contexts comes;
    - `reward(key, hidden, context)`: what each arm would pay in this round;
    - `expected(hidden, context)`: the mean of that, which regret is computed from;
    - `examples()`: small instances, by which the contract tests judge it.

    It may add `bounds`, and its exact posterior: `belief`, `update` and `draw`.
    """

    if TYPE_CHECKING:  # fields or properties, at the member's choice

        @property
        def arms(self) -> int: ...
        @property
        def contexts(self) -> int: ...
    else:
        arms: eqx.AbstractVar[int]
        contexts: eqx.AbstractVar[int]

    bounds: ClassVar[tuple[float, float] | None] = None
    """The lowest and the highest reward, where there are such."""

    @abc.abstractmethod
    def start(self, key: Key[Array, ""]) -> Any:
        """What is hidden from policies, drawn from the prior."""

    @abc.abstractmethod
    def context(self, key: Key[Array, ""], hidden: Any) -> Index:
        """The context of a round, from 0 to contexts - 1; it does not depend on what was done."""

    @abc.abstractmethod
    def reward(self, key: Key[Array, ""], hidden: Any, context: Index) -> Float[Array, " arm"]:
        """What each arm would pay in this round."""

    @abc.abstractmethod
    def expected(self, hidden: Any, context: Index) -> Float[Array, " arm"]:
        """The mean reward of each arm for who knows what is hidden."""

    def best(self, hidden: Any, context: Index) -> Float[Array, ""]:
        """The mean reward of the best arm for who knows what is hidden."""
        return jnp.max(self.expected(hidden, context))

    def belief(self) -> Any:
        """The exact posterior before any reward."""
        raise self._lacks_posterior()

    def update(self, belief: Any, context: Index, arm: Index, reward: Float[Array, ""]) -> Any:
        """The exact posterior after one more reward."""
        raise self._lacks_posterior()

    def draw(self, key: Key[Array, ""], belief: Any) -> Any:
        """What may be hidden: one draw from the posterior."""
        raise self._lacks_posterior()

    @property
    def has_belief(self) -> bool:
        """Whether there is a belief, which exact Bayesian policies act on."""
        return type(self).belief is not Environment.belief

    def _lacks_posterior(self) -> NotImplementedError:
        return NotImplementedError(
            f"{type(self).__name__} has no exact posterior. Play a policy that needs none, such as "
            "EpsilonGreedy()."
        )


class Policy(Spec, open_as="policy", default="ThompsonSampling"):
    """Which arm to pull, after what was seen. All methods are for one repetition.

    The environment that methods get is the spec: its rules and its prior, not what is hidden. A
    member owes:

    - `start(environment, rounds)`: the state before the first round;
    - `act(key, environment, state, context)`: the arm to pull;
    - `learn(environment, state, context, arm, reward)`: the state after it has paid.

    What counts pulls and rewards alone derives from `TallyPolicy` and owes `act`. Optional:
    `suits`, where it does not fit every environment; and `examples()`, small instances by which
    the contract tests judge it.
    """

    def suits(self, environment: Environment, rounds: int) -> None:
        """Raise ValueError where the policy cannot play that many rounds of the environment; say
        what can. By default it fits everywhere."""
        del environment, rounds

    @abc.abstractmethod
    def start(self, environment: Environment, rounds: int) -> Any:
        """The state before the first round: arrays, of shapes that stay. Called once for all
        repetitions and outside compiled code, so that a policy may plan here."""

    @abc.abstractmethod
    def act(
        self, key: Key[Array, ""], environment: Environment, state: Any, context: Index
    ) -> Index:
        """The arm to pull, from 0 to arms - 1."""

    @abc.abstractmethod
    def learn(
        self,
        environment: Environment,
        state: Any,
        context: Index,
        arm: Index,
        reward: Float[Array, ""],
    ) -> Any:
        """The state after the arm that was pulled has paid."""
