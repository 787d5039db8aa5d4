"""Classification in context: points around prototypes, of classes that come in bursts.

Reddy 2023, "The mechanistic basis of data dependence and abrupt learning in an in-context
classification task" (arXiv 2312.03002), after Chan et al. 2022, "Data Distributional Properties
Drive Emergent In-Context Learning in Transformers": whether a network learns the classes into its
weights, or to look them up in its context, depends on how the classes come.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.protocol.outcomes import Episode, Points, Symbols, alphabet_of
from promptax.specs import check, floats, later
from promptax.tasks.base import Task, draw
from promptax.tasks.classification.context_copy import ContextCopy
from promptax.tasks.classification.pool import Pool, log_densities, paths_of_classes
from promptax.tasks.classification.pool_posterior import PoolMemory, PoolPosterior
from promptax.tasks.hidden.forward import log_sum
from promptax.tasks.markov.contexts import check_whole

MOST_CELLS = 2**24  # sets of classes times classes, in the exact predictor: 64 MiB


class PrototypeClassification(Task):
    """Points near the prototypes of classes; the answer to a point is the label of its class.

    *Pool*: K `classes` have prototypes μ_k ~ N(0, I / D), drawn from `seed` once and for all, so
    that they can be learned by heart. Class k has label k mod L, so that K / L of them share one.
    With `novel`, every sequence draws prototypes of its own, and nothing can be learned by heart.
    Labels that change from sequence to sequence are a `Mixture` of tasks that differ in
    `relabelling` alone: the same classes, and each part gives them other labels.

    *Points*: x = (μ_k + ε η) / √(1 + ε²), η ~ N(0, I / D), with ε the `noise` within a class.

    *Classes*: class k has probability p_k ∝ (k + 1)^-`zipf`. In a sequence that is not bursty every
    point draws its class from p. A bursty one, with probability `burstiness`, draws `kinds` classes
    from p, independently, and each point takes one of these, all equally likely. So N points show
    each of them N / `kinds` times on average, which is B in the paper.

    A point is read as two rows: the question (x, 0, 0), then the answer (x, one-hot label, 1); see
    `promptax.protocol.Points`. So `length` counts rows. The oracle knows the class of every point,
    and loses nothing; what others lose is all that has to be found out.

    Three predictors answer from different knowledge: `bayes()` from pool and context, `by_memory()`
    from the pool alone, `by_copying()` from the context alone.
    """

    dimensions: int = 8
    """How many numbers x has; D."""
    classes: int = 16
    """How many classes there are; K."""
    labels: int = 4
    """How many labels they share; L. It divides the number of classes."""
    noise: float = eqx.field(default=0.1, converter=floats)
    """Standard deviation within a class, where that of prototypes is 1; ε."""
    zipf: float = eqx.field(default=0.0, converter=floats)
    """Exponent of the frequency of classes; 0: all are equally frequent."""
    burstiness: float = eqx.field(default=0.9, converter=floats)
    """Probability that a sequence shows few classes, from 0 to 1."""
    kinds: int = 2
    """How many classes a bursty sequence draws."""
    novel: bool = False
    """Whether every sequence has prototypes of its own."""
    seed: int = 0
    """Which pool; pools of different seeds share nothing."""
    relabelling: int = later(0)
    """Which class has which number, and with it which label. 0: classes are numbered as they are
    drawn; any other number shuffles them, prototype and frequency together."""

    def __check_init__(self) -> None:
        for name in ("dimensions", "classes", "kinds"):
            check_whole(name, getattr(self, name), 1, "1 is the least.")
        check_whole("labels", self.labels, 2, "2 are the least that can differ.")
        check_whole("relabelling", self.relabelling, 0, "0 leaves all as it is.")
        check(
            self.classes % self.labels == 0,
            f"Expected a number of classes that {self.labels} labels divide; got {self.classes}. "
            "Each label has the same number of classes.",
        )
        check(
            0 < self.noise < math.inf,
            f"Expected a noise above 0, a standard deviation; got {self.noise}.",
        )
        check(self.zipf >= 0, f"Expected a zipf exponent of at least 0; got {self.zipf}.")
        check(
            0 <= self.burstiness <= 1,
            f"Expected a burstiness, a probability from 0 to 1; got {self.burstiness}.",
        )

    @property
    def outcome(self) -> Points:
        return Points(self.dimensions, Symbols(self.labels))

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    @property
    def has_bayes(self) -> bool:
        return not self.novel and self._cells() <= MOST_CELLS

    def _cells(self) -> int:
        return self.classes * (1 + math.comb(self.classes + self.kinds - 1, self.kinds))

    def prototypes(self, key: Key[Array, ""] | None = None) -> Float[Array, "class feature"]:
        """μ [class, feature]: those of the pool, or new ones from a key."""
        key = jax.random.key(self.seed) if key is None else key
        numbers = jax.random.normal(key, (self.classes, self.dimensions), jnp.float32)
        return self._numbered(numbers.astype(jnp.zeros(()).dtype)) / math.sqrt(self.dimensions)

    def frequencies(self) -> Float[Array, " class"]:
        """p_k ∝ (k + 1)^-zipf, with k the number before `relabelling`."""
        ranks = jnp.arange(1, self.classes + 1)
        return self._numbered(jax.nn.softmax(-jnp.asarray(self.zipf) * jnp.log(ranks)))

    def _numbered(self, classes: Float[Array, "class *numbers"]) -> Float[Array, "class *numbers"]:
        """Something of each class, in the order of their numbers."""
        if not self.relabelling:
            return classes
        return classes[jax.random.permutation(jax.random.key(self.relabelling), self.classes)]

    def pool(self) -> Pool:
        """What can be learned by heart."""
        return Pool(self.prototypes(), self.frequencies(), jnp.asarray(self.noise))

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        new, burst, few, which, plain, spread = jax.random.split(key, 6)
        points, frequencies = -(-length // 2), self.frequencies()
        kinds = draw(few, frequencies, self.kinds)
        repeated = kinds[jax.random.randint(which, (points,), 0, self.kinds)]
        bursty = jax.random.uniform(burst) < jnp.asarray(self.burstiness)
        classes = jnp.where(bursty, repeated, draw(plain, frequencies, points))
        prototypes = self.prototypes(new if self.novel else None)
        deviation = jax.random.normal(spread, (points, self.dimensions)) / math.sqrt(
            self.dimensions
        )
        noise = jnp.asarray(self.noise)
        x = (prototypes[classes] + noise * deviation) / jnp.sqrt(1 + noise**2)
        return Episode(self.outcome.rows(x, classes % self.labels, length), latent=classes)

    def oracle(
        self, latent: Int[Array, " point"], inputs: Float[Array, "time input"]
    ) -> Float[Array, "time parameter"]:
        """Log probabilities [time, label] of the answer to each point: 0 for that of its class."""
        label = jnp.repeat(latent % self.labels, 2)[: len(inputs)]
        return jnp.where(label[:, None] == jnp.arange(self.labels), 0.0, -jnp.inf)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return jnp.zeros(length)

    def bayes(self) -> PoolPosterior:
        """The exact predictor, which knows the pool and not which classes a sequence shows.

        Raises:
            NotImplementedError: prototypes are novel, or there are too many sets of classes.
        """
        if self.novel:
            raise NotImplementedError(
                "Expected a pool that is known; prototypes that every sequence draws anew have no "
                "exact predictor here, which would sum over all ways to share the points among "
                "classes. Take novel=False, or by_copying()."
            )
        if self._cells() > MOST_CELLS:
            raise NotImplementedError(
                f"Expected at most {MOST_CELLS:,} numbers for the sets of {self.kinds} of "
                f"{self.classes} classes that a sequence may show; got {self._cells():,}. Take "
                "fewer kinds or classes, by_memory() or by_copying()."
            )
        return PoolPosterior(self.outcome, self.pool(), jnp.asarray(self.burstiness), self.kinds)

    def by_memory(self) -> PoolMemory:
        """What "memorise" means in the literature: the pool's answer to the question alone.

        Raises:
            NotImplementedError: prototypes are novel: there is no pool to remember.
        """
        if self.novel:
            raise NotImplementedError(
                "Expected a pool that can be learned by heart; got novel=True, where every "
                "sequence draws prototypes of its own. Take by_copying(), or by_memory() of the "
                "same task with novel=False: what a reader would say that remembers that pool."
            )
        return PoolMemory(self.outcome, self.pool())

    def by_copying(self) -> ContextCopy:
        """The answers in the context, by how likely their points are of the class of the
        question."""
        return ContextCopy(self.outcome, jnp.asarray(self.noise))

    def log_evidence(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, tokens: Float[Array, "time input"]
    ) -> Float[Array, ""]:
        """log P(answers | questions) as each comes, of questions and answers in turn, nats:

            Σ_t log P(x_1, y_1, ..., x_t, y_t) - log P(x_1, y_1, ..., x_t),

        with the probability of points as a sum over the classes of all of them together.
        """
        answered = tokens[1::2]
        x, y = answered[:, : self.dimensions], self.outcome.answers(answered)
        density = log_densities(self.pool(), x)
        total = jnp.zeros(())
        for points in range(1, len(answered) + 1):
            paths = paths_of_classes(self.classes, points)
            chance = self._log_chance_of_classes(paths)
            chance += jnp.sum(density[np.arange(points), paths], axis=1)
            fits = paths % self.labels == y[:points]
            before = jnp.where(jnp.all(fits[:, :-1], axis=1), chance, -jnp.inf)
            after = jnp.where(jnp.all(fits, axis=1), chance, -jnp.inf)
            total += log_sum(after, axis=0) - log_sum(before, axis=0)
        return total

    def _log_chance_of_classes(self, paths: Int[np.ndarray, "path point"]) -> Float[Array, " path"]:
        """log P(the classes of all points), nats, summed over all that a sequence may show."""
        frequencies, burstiness = self.frequencies(), jnp.asarray(self.burstiness)
        plain = jnp.prod(frequencies[paths], axis=1)
        tuples = paths_of_classes(self.classes, self.kinds)
        shares = np.mean(tuples[:, None, :, None] == paths[None, :, None, :], axis=2)
        weights = jnp.prod(frequencies[tuples], axis=1)
        bursty = weights @ jnp.prod(jnp.asarray(shares), axis=2)
        return jnp.log((1 - burstiness) * plain + burstiness * bursty)

    @classmethod
    def examples(cls) -> "tuple[Any, ...]":
        small = cls(2, 4, 2, noise=0.5, zipf=1.0, burstiness=0.7, relabelling=1)
        return small, cls(1, 3, 3, noise=0.3, burstiness=1.0, kinds=1), cls(2, 4, 2, novel=True)
