"""What Genewein et al. 2025 measured, as data: networks, what they are steered to, and how.

A condition is one network with one pretraining seed, steered to one target by many methods. Its
name says which: "LSTM · pretrained · single coin · seed 0".
"""

from typing import NamedTuple

from promptax.experiments.conditions import Condition
from promptax.experiments.experiment import Experiment
from promptax.experiments.plan import METHODS, PUBLISHED_START, RANDOM
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.specs import Spec, check
from promptax.steering import HardPrompt, RandomPrompt, RealPrompt, SimplexPrompt, SoftPrompt, Tuner
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Task

SINGLE, TWO, RANDOM_COINS = "single coin", "two coins", "random coins"
TARGETS: dict[str, Task] = {
    SINGLE: Categorical(),
    TWO: CategoricalMixture(),
    RANDOM_COINS: DirichletCategorical(),
}
TRANSFORMER, LSTM_NAME = "Transformer", "LSTM"
HARD, SIMPLEX, REAL, SOFT = "hard prompt", "simplex prompt", "real prompt", "soft prompt"
FULL, LOW_RANK = "full weights", "low rank"
EMBEDDING, UNEMBEDDING, BOTH = "embedding", "unembedding", "both embeddings"
BAYES, PRIOR, PRIOR_PROMPTED = "bayes", "prior bayes", "prior bayes, best prompt"
EXACT = (BAYES, PRIOR, PRIOR_PROMPTED)  # no network is involved
PRETRAINED, UNTRAINED = "pretrained", "untrained"
LONG, NARROW, LARGE = "prompt length 25", "embedding width 4", "width 256 and 2 layers"
MORE_STEPS = "10 × the steps"
MAIN_LENGTH, LONG_LENGTH = 6, 25
FEW_REPETITIONS = 3  # of the narrow and the large networks, as in Appendices I and J


class Scale(NamedTuple):
    """Sizes of everything; `rates`: of learning, pretraining and tuning, None for the paper's."""

    width: int
    heads: int
    pretraining_steps: int
    steps: int
    batch: int
    sequences: int
    length: int
    seeds: int
    repetitions: int
    rates: tuple[float, float] | None


SCALES = {
    "smoke": Scale(8, 2, 20, 10, 16, 32, 100, 1, 1, (4e-3, 2e-2)),
    "small": Scale(32, 2, 700, 300, 64, 512, 200, 5, 2, (4e-3, 2e-2)),
    "paper": Scale(128, 4, 1000, 1000, 256, 2048, 200, 5, 10, None),
}
"""`small`: a quarter of the width and of the batch, fewer steps, at four times the learning rates,
which then fall to zero."""


def name_of(network: str, variant: str, target: str, seed: int) -> str:
    """The name of a condition."""
    return f"{network} · {variant} · {target} · seed {seed}"


def kind(pretrained: bool, change: str = "") -> str:
    """A variant: "untrained with prompt length 25"."""
    return " with ".join(part for part in (PRETRAINED if pretrained else UNTRAINED, change) if part)


def conditions(study: Spec, scale: str) -> dict[str, Condition]:
    """All conditions at that scale, by name; those of one seed stand together."""
    check(scale in SCALES, f"Expected a scale from {tuple(SCALES)}; got {scale!r}.")
    sizes = SCALES[scale]
    make = _Maker(study, sizes)
    variants: list[tuple[str, bool, str, str]] = [
        (network, pretrained, "", target)
        for pretrained, targets in ((True, (SINGLE, TWO)), (False, (TWO, RANDOM_COINS)))
        for target in targets
        for network in (TRANSFORMER, LSTM_NAME)
        if pretrained or scale != "smoke"
    ]
    networks = (TRANSFORMER, LSTM_NAME)
    if scale != "smoke":
        variants += [(network, True, LONG, TWO) for network in networks]
    if scale == "paper":
        variants += [(network, False, LONG, TWO) for network in networks]
        variants += [
            (network, True, change, target)
            for change in (NARROW, LARGE)
            for target in (SINGLE, TWO)
            for network in networks
        ]
    if scale != "smoke":
        variants.append((LSTM_NAME, False, MORE_STEPS, TWO))
    asked = [variant for variant in variants if make.methods(*variant[1:3])]
    there = {name: None for variant in variants for name in make.every_method(*variant[1:3])}
    check(
        len(asked) > 0, f"Expected methods that the scale {scale} has, {tuple(there)}; got others."
    )
    return {
        name_of(network, kind(pretrained, change), target, seed): Condition(
            make.experiment(network, pretrained, change, target), seed
        )
        for seed in range(getattr(study, "pretraining_seeds", None) or sizes.seeds)
        for network, pretrained, change, target in asked
    }


class _Maker:
    """Experiments of one study at one scale."""

    def __init__(self, study: Spec, sizes: Scale) -> None:
        self.sizes = sizes
        self.smoke = sizes is SCALES["smoke"]
        self.published = getattr(study, "as_published", False)
        self.repetitions = getattr(study, "repetitions", None) or sizes.repetitions
        self.only: tuple[str, ...] = getattr(study, "methods", ())

    def experiment(self, network: str, pretrained: bool, change: str, target: str) -> Experiment:
        """One network, one target, and the methods that the paper has for them."""
        sizes = self.sizes
        few = change in (NARROW, LARGE)
        repetitions = min(FEW_REPETITIONS, self.repetitions) if few else self.repetitions
        return Experiment(
            network=self.network(network, change),
            targets={target: TARGETS[target]},
            methods=self.methods(pretrained, change),
            pretraining=self.fit(sizes.pretraining_steps if pretrained else 0, 0),
            tuning=self.tuning(change, repetitions),
            sequences=sizes.sequences,
            length=sizes.length,
            also_on_prior=pretrained and not change,
        )

    def network(self, name: str, change: str) -> Architecture:
        """With the change of the variant."""
        sizes = self.sizes
        width = 2 * sizes.width if change == LARGE else sizes.width
        depth = 2 if change == LARGE else 1
        if name == LSTM_NAME:
            return LSTM(width=width, depth=depth, embedding=4 if change == NARROW else None)
        narrow = change == NARROW
        return Transformer(width=4 if narrow else width, depth=depth, heads=sizes.heads)

    def methods(self, pretrained: bool, change: str) -> dict[str, Tuner]:
        """Those of the paper that were asked for."""
        every = self.every_method(pretrained, change)
        return {name: every[name] for name in every if not self.only or name in self.only}

    def every_method(self, pretrained: bool, change: str) -> dict[str, Tuner]:
        """All; but no full weights without pretraining, prompts alone where they are longer."""
        if change == MORE_STEPS:
            return {SOFT: SoftPrompt(**PUBLISHED_START)}
        if change == LONG:
            return {
                SIMPLEX: SimplexPrompt(length=LONG_LENGTH, **PUBLISHED_START),
                REAL: RealPrompt(length=LONG_LENGTH, **PUBLISHED_START),
                SOFT: SoftPrompt(length=LONG_LENGTH, **PUBLISHED_START),
                RANDOM: RandomPrompt(length=LONG_LENGTH),
            }
        search = HardPrompt()
        if self.published:
            search = HardPrompt.as_published()
        elif self.sizes is not SCALES["paper"]:
            search = HardPrompt(sequences=self.sizes.sequences)
        methods: dict[str, Tuner] = {**METHODS, HARD: search}
        if self.smoke:
            return {name: methods[name] for name in (HARD, SOFT, FULL)}
        return {n: m for n, m in methods.items() if pretrained or n != FULL}

    def tuning(self, change: str, repetitions: int) -> FitSettings:
        """One update more, and clipping over frozen weights too, as published."""
        steps = self.sizes.steps * (10 if change == MORE_STEPS else 1) + int(self.published)
        return self.fit(steps, 1, repetitions, "all" if self.published else "tuned")

    def fit(self, steps: int, which: int, repetitions: int = 1, over: str = "tuned") -> FitSettings:
        """`which`: 0 for the learning rate of pretraining, 1 for that of tuning."""
        rates = self.sizes.rates
        return FitSettings(
            steps=steps,
            batch=self.sizes.batch,
            learning_rate=None if rates is None else rates[which],
            schedule="constant" if rates is None else "cosine",
            warmup=0 if rates is None or which else steps // 20,
            clip_over=over,  # pyright: ignore[reportArgumentType]
            repetitions=repetitions,
        )
