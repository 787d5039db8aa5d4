"""A finite pool of tasks: what a prior drew once, and sequences come from ever after.

Networks that are trained on few tasks memorise them; those trained on many learn the prior that
the tasks came from (Raventós et al. 2023, arXiv 2306.15063; Wurgaft et al. 2025, "In-Context
Learning Strategies Emerge Rationally", arXiv 2506.17859). Both ways are exact predictors here, and
so is what weighs one against the other.
"""

from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.predictor import Predictor
from promptax.specs import argument, check
from promptax.tasks.base import Task
from promptax.tasks.independent.categorical_mixture import CategoricalMixture
from promptax.tasks.independent.dirichlet_categorical import DirichletCategorical
from promptax.tasks.markov.contexts import MOST_NUMBERS, check_whole
from promptax.tasks.markov.markov_chain import MarkovChain
from promptax.tasks.pools.chains import Chains
from promptax.tasks.pools.drawing import (
    copy_of,
    draw_latents,
    numbers_in_latent,
    tables_of,
)
from promptax.tasks.pools.hierarchical import HierarchicalMixture
from promptax.tasks.pools.hypotheses import Latents
from promptax.tasks.regression.linear_regression import LinearRegression

MOST_SEEDS = 2**31


class FinitePool(Task):
    """Each sequence comes from one of `size` tasks, all equally likely, that were drawn once from a
    source.

    The source is a task distribution that draws one latent for each sequence: the probabilities of
    a die, a table of transitions, a tree, the weights of a regression. The pool is `size` of its
    latents, drawn with `seed`. It is part of the spec: the same fields give the same pool
    everywhere, and a smaller pool is the beginning of a larger one. The latent of an episode is the
    number of its task in the pool.

    *Predictors* of a sequence x, with θ_k the pool and P(θ) the source's prior:

    - `memorising()`, which is `bayes()`: p(x) = (1 / size) Σ_k p(x | θ_k), the exact one; for
      regression it is called dMMSE;
    - `generalising()`: p(x) = ∫ p(x | θ) P(θ) dθ, that of the source;
    - `hierarchical(share)`: both, weighed by their evidence.

    The pool is a constant of compiled programs: another source, size or seed compiles anew.

    Example: `FinitePool(DirichletCategorical((1.0,) * 8), size=64)`: 64 dice of eight faces.
    """

    source: Annotated[Task, argument(Task)] = eqx.field(default=DirichletCategorical(), static=True)
    """The prior: a task distribution whose oracle looks back a known number of steps."""
    size: int = 16
    """How many tasks the pool has."""
    seed: int = 0
    """Which pool it is."""

    def __check_init__(self) -> None:
        check_whole("a size", self.size, 1, "One is a known task, more are a pool.")
        check(
            0 <= self.seed < MOST_SEEDS,
            f"Expected a seed of at least 0 and below 2^31; got {self.seed}.",
        )
        source, lookback = self.source, self.source.lookback
        name = type(source).__name__
        check(
            source.has_oracle and lookback is not None,
            "Expected a source with one latent for each sequence, and an oracle that looks back a "
            f"known number of steps; got {name}, whose lookback is {lookback}: nobody said it, or "
            "something new is hidden at each step, such as a path or a switch. There is no finite "
            "pool of that.",
        )
        listed = source.outcome.alphabet is not None
        check(
            listed or type(source).sample_given is not Task.sample_given,
            "Expected a source over an alphabet, or one that draws an episode of a given latent "
            f"(Task.sample_given); got {name} over {source.outcome.words()}.",
        )
        numbers = self.size * (
            source.symbols ** (min(lookback or 0, 64) + 1) if listed else numbers_in_latent(source)
        )
        check(
            numbers <= MOST_NUMBERS,
            f"Expected a pool that has at most {MOST_NUMBERS:,} numbers; got {self.size:,} tasks "
            f"of {name}, which need {numbers:,}. Take a smaller pool, or a source that looks back "
            "less.",
        )

    @property
    def outcome(self) -> Outcome:
        return self.source.outcome

    @property
    def lookback(self) -> int | None:
        return self.source.lookback

    def components(self) -> Chains | Latents:
        """The tasks of the pool."""
        if self.outcome.alphabet is not None:
            return Chains(copy_of(tables_of(self.source, self.size, self.seed)))
        return Latents(self.source, copy_of(draw_latents(self.source, self.size, self.seed)))

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        which, inputs = jax.random.split(key)
        component = jax.random.randint(which, (), 0, self.size)
        return self.components().sample(inputs, component, length)

    def oracle(self, latent: Int[Array, ""], inputs: Array) -> Float[Array, "time parameter"]:
        return self.components().oracle(latent, inputs)

    def bayes(self) -> Predictor:
        return self.components().bayes()

    def memorising(self) -> Predictor:
        """The exact predictor of the pool: the posterior over its tasks."""
        return self.bayes()

    def generalising(self) -> Predictor:
        """The exact predictor of the prior that the pool was drawn from. It knows no pool."""
        return self.source.bayes()

    def hierarchical(self, share: float = 0.5) -> HierarchicalMixture:
        """The exact predictor of sequences of which a `share` comes from the pool, and the others
        from tasks that the source draws anew."""
        return HierarchicalMixture(self.memorising(), self.generalising(), share)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """H_t = (1 / size) Σ_k E[-log p(x_t | θ_k, x_<t)], nats."""
        return jnp.mean(self.components().oracle_entropy(length), axis=0)

    def log_evidence(self, tokens: Array) -> Float[Array, ""]:
        """log (1 / size) Σ_k Π_t p(x_t | θ_k, x_<t), nats: over whole sequences."""

        def log_likelihood(component: Int[Array, ""]) -> Float[Array, ""]:
            prediction = self.outcome.prediction(self.oracle(component, tokens))
            return jnp.sum(prediction.of(self.outcome.decode(tokens)))

        by_component = jax.vmap(log_likelihood)(jnp.arange(self.size))
        return jax.nn.logsumexp(by_component) - jnp.log(self.size)

    @classmethod
    def examples(cls) -> "tuple[FinitePool, ...]":
        coins = CategoricalMixture(((0.2, 0.8), (0.7, 0.3), (0.0, 1.0)), (0.4, 0.3, 0.3))
        chains, lines = MarkovChain(concentration=(0.5, 0.0, 0.5)), LinearRegression(2, 2.0, 0.3)
        return cls(coins, 4, seed=1), cls(chains, 3), cls(lines, 4)
