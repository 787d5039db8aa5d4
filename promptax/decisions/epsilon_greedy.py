"""The arm that paid best so far, or now and then any arm (Sutton and Barto 2018, section 2.2)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from promptax.decisions.base import Environment, Index
from promptax.decisions.tally import Tally, TallyPolicy, best_arm
from promptax.specs import check


class EpsilonGreedy(TallyPolicy):
    """With probability ε any arm, else the one of the highest mean reward in this context.

    Arms that were never pulled come first; ties are broken at random. ε stays the same, so that
    regret grows linearly in the end.
    """

    exploration: float = 0.1
    """ε, the probability of pulling any arm."""

    def __check_init__(self) -> None:
        check(
            0 <= self.exploration <= 1,
            f"Expected a probability of exploration from 0 to 1; got {self.exploration}.",
        )

    def act(
        self, key: Key[Array, ""], environment: Environment, state: Tally, context: Index
    ) -> Index:
        coin_key, any_key, tie_key = jax.random.split(key, 3)
        explores = jax.random.uniform(coin_key) < self.exploration
        any_arm = jax.random.randint(any_key, (), 0, environment.arms)
        return jnp.where(explores, any_arm, best_arm(tie_key, state.means(context)))

    @classmethod
    def examples(cls) -> "tuple[EpsilonGreedy, ...]":
        return (cls(exploration=0.3),)
