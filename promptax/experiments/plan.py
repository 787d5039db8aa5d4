"""What an experiment is made of, as data: a network, its pretraining, and every way to steer it.

`Experiment` is the measurement; `stages` reads a plan and does the work.
"""

from typing import Any

import equinox as eqx
import jax

from promptax.experiments.groups import PRETRAINING, UNTUNED, slug
from promptax.experiments.measurement import Measurement
from promptax.fit.settings import FitSettings
from promptax.predictors import Architecture, Transformer
from promptax.specs import check, later
from promptax.steering import (
    EmbeddingWeights,
    FullWeights,
    HardPrompt,
    LowRank,
    RandomPrompt,
    RealPrompt,
    SimplexPrompt,
    SoftPrompt,
    Tuner,
)
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Task
from promptax.tasks.base import steps_to_read

RANDOM = "random prompt"

PUBLISHED: dict[str, Any] = {"learning_rate": 5e-3}
PUBLISHED_START: dict[str, Any] = {"initial": "one_hot", **PUBLISHED}
"""Of a prompt. Studies know their results by the JSON of what was run: these stand in it."""

METHODS = {
    "hard prompt": HardPrompt(),
    "simplex prompt": SimplexPrompt(**PUBLISHED_START),
    "real prompt": RealPrompt(**PUBLISHED_START),
    "soft prompt": SoftPrompt(**PUBLISHED_START),
    "full weights": FullWeights(**PUBLISHED),
    "low rank": LowRank(**PUBLISHED),
    "embedding": EmbeddingWeights(unembedding=False),
    "unembedding": EmbeddingWeights(embedding=False),
    "both embeddings": EmbeddingWeights(),
    RANDOM: RandomPrompt(),
}
"""The nine methods of Genewein et al. 2025 and their control."""


class Plan(Measurement):
    """The fields of an experiment: what to pretrain, what to steer it to, how, and how to measure.

    A plan says what it costs; how it is measured, its one member adds.
    """

    network: Architecture = Transformer()
    """Architecture."""
    prior: Task = DirichletCategorical()
    """What the network is pretrained on."""
    targets: dict[str, Task] = eqx.field(
        default_factory=lambda: {"single coin": Categorical(), "two coins": CategoricalMixture()}
    )
    """What it is steered to, by name."""
    methods: dict[str, Tuner] = eqx.field(default_factory=lambda: dict(METHODS))
    """How, by name."""
    pretraining: FitSettings = FitSettings()
    """How to pretrain."""
    tuning: FitSettings = FitSettings(repetitions=3)
    """How to tune: length, steps, repetitions."""
    sequences: int = 2048
    """Sequences to evaluate on, the same for all predictors."""
    length: int = 200
    """Steps of each of them."""
    also_on_prior: bool = False
    """Measure everything on the pretraining task too, over its length: what tuning forgets."""
    prior_sequences: int = later(0)
    """Sequences of each target on which to fit the prior that every predictor behaves like, over
    the length of tuning (`effective_prior`); 0: leave it."""

    def __check_init__(self) -> None:
        check(
            self.sequences >= 2 and self.length >= 1,
            f"Expected at least 2 sequences of length 1; got {self.sequences} of {self.length}.",
        )
        check(
            self.prior_sequences >= 0,
            f"Expected prior_sequences of at least 0; got {self.prior_sequences}.",
        )
        slugs = [PRETRAINING, *map(slug, self.targets)]
        check(
            len(set(slugs)) == len(slugs),
            f"Expected targets whose letters and digits differ, and none named {PRETRAINING!r}; "
            f"got {list(self.targets)}.",
        )
        taken = {UNTUNED, "oracle", "bayes", "prior bayes", "prior bayes, best prompt"}
        taken &= set(self.methods)
        check(not taken, f"Expected methods not named as baselines are; got {sorted(taken)}.")
        for tuner in self.methods.values():
            tuner.check_alphabet(self.prior)
        kind = self.prior.outcome
        check(
            self.prior_sequences == 0 or kind.alphabet is not None,
            f"Expected prior_sequences=0, since no Dirichlet prior is over {kind.words()}; got "
            f"{self.prior_sequences}.",
        )
        for name, target in self.targets.items():
            check(
                target.outcome == kind,
                f"Expected targets over {kind.words()}, as the prior; {name!r} is over "
                f"{target.outcome.words()}.",
            )

    def lengths(self, name: str) -> tuple[int, int]:
        """Steps of time of a sequence that is tuned on, of the target of that name, and of one that
        is pretrained on."""
        tuning = steps_to_read(self.targets[name], self.tuning.length, 50)
        return tuning, self._training_length()

    def _training_length(self) -> int:
        return steps_to_read(self.prior, self.pretraining.length, 100)

    def work(self) -> float:
        """Numbers touched by all updates, and by measuring, which is a third of the work for each
        token."""

        def build(key: jax.Array) -> Any:
            return self.network.build(key, self.prior.outcome)

        shapes = eqx.filter_eval_shape(build, jax.random.key(0))
        size = sum(
            leaf.size for leaf in jax.tree.leaves(shapes) if isinstance(leaf, jax.ShapeDtypeStruct)
        )
        read = self.pretraining.steps * self.pretraining.batch * self._training_length()
        fits = len(self.methods) * len(self.targets) * self.tuning.repetitions
        tuned = len(self.methods) * self.tuning.repetitions * self.tuning.steps
        read += tuned * self.tuning.batch * sum(self.lengths(name)[0] for name in self.targets)
        measured = (fits + len(self.targets)) * self.sequences * self.length
        return size * (read + measured / 3)
