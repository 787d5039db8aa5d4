"""The Bernoulli bandit: arms that pay 0 or 1, each with a hidden chance of its own."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from promptax.decisions.base import Index
from promptax.decisions.bernoulli_arms import BernoulliArms, Chances


class BernoulliBandit(BernoulliArms):
    """Each repetition draws a chance of reward for every arm from Beta(a, b), independently.

    Example:

        BernoulliBandit(arms=2, prior=(1.0, 1.0))     # uniform chances
    """

    @property
    def contexts(self) -> int:
        return 1

    def context(self, key: Key[Array, ""], hidden: Chances) -> Index:
        del key, hidden  # there is only one
        return jnp.zeros((), jnp.int32)

    @classmethod
    def examples(cls) -> "tuple[BernoulliBandit, ...]":
        return (cls(arms=3, prior=(0.5, 1.5)),)
