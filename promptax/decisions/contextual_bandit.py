"""A bandit whose best arm depends on a context that is shown before each round."""

import jax
from jaxtyping import Array, Key

from promptax.decisions.base import Index
from promptax.decisions.bernoulli_arms import BernoulliArms, Chances


class ContextualBandit(BernoulliArms):
    """A Bernoulli bandit of its own in each context; all contexts are equally likely.

    Contexts are few and discrete on purpose. The posterior is then exact (counts of each arm in
    each context), every policy for bandits applies, and the Bayes optimum can be computed.

    Example:

        ContextualBandit(arms=2, contexts=3)
    """

    contexts: int = 3
    """Number of contexts."""

    def context(self, key: Key[Array, ""], hidden: Chances) -> Index:
        del hidden
        return jax.random.randint(key, (), 0, self.contexts)

    @classmethod
    def examples(cls) -> "tuple[ContextualBandit, ...]":
        return (cls(arms=2, contexts=2),)
