"""One experiment as data: a network, its pretraining, and every way to steer it to some targets.

`stages` does the work. The demo runs an experiment, studies are made of them; neither is known
here.
"""

import equinox as eqx

from promptax.fit.settings import FitSettings
from promptax.predictors import Architecture, Transformer
from promptax.specs import Spec, check, later
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

UNTUNED, RANDOM = "untuned", "random prompt"
PRETRAINING = "pretraining"  # a group of results beside one for each target

METHODS = {
    "hard prompt": HardPrompt(),
    "simplex prompt": SimplexPrompt(),
    "real prompt": RealPrompt(),
    "soft prompt": SoftPrompt(),
    "full weights": FullWeights(),
    "low rank": LowRank(),
    "embedding": EmbeddingWeights(unembedding=False),
    "unembedding": EmbeddingWeights(embedding=False),
    "both embeddings": EmbeddingWeights(),
    RANDOM: RandomPrompt(),
}
"""The nine methods of Genewein et al. 2025 and their control."""


class Experiment(Spec):
    """What to pretrain, what to steer it to, how, and how to measure."""

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
        for name, target in self.targets.items():
            check(
                target.symbols == self.prior.symbols,
                f"Expected targets over the {self.prior.symbols} symbols of the prior; {name!r} "
                f"has {target.symbols}.",
            )

    def lengths(self) -> tuple[int, int]:
        """Steps of time of a tuning and of a pretraining sequence."""
        return self.tuning.length or 50, self.pretraining.length or 100


def slug(name: str) -> str:
    """A target's or method's name as the name of a group or file."""
    return "".join(c if c.isalnum() else "-" for c in name)
