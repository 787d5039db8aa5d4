"""What is measured, as data: a language model, how a coin's outcomes are spelled, what it is
steered to, and how.

A condition is one spelling and one target with one seed: "H T · random coins · seed 0". On random
coins the model is left as it is; to a single coin and to two coins it is steered, in one spelling.
"""

from typing import NamedTuple

from promptax.experiments.conditions import Condition
from promptax.experiments.experiment import Experiment
from promptax.fit.settings import FitSettings
from promptax.language import LanguageModel, SpelledNetwork
from promptax.predictors import Architecture, Llama
from promptax.specs import check
from promptax.steering import HardPrompt, KeyValuePrompt, LowRank, PromptMixture, SoftPrompt, Tuner
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Task

RANDOM_COINS, SINGLE, TWO = "random coins", "single coin", "two coins"
TARGETS: dict[str, Task] = {
    RANDOM_COINS: DirichletCategorical(),
    SINGLE: Categorical(),
    TWO: CategoricalMixture(),
}
SPELLINGS: dict[str, tuple[str, ...]] = {
    "H T": (" H", " T"),
    "heads tails": (" heads", " tails"),
    "heads, tails,": (" heads,", " tails,"),
    "01": ("0", "1"),
    "A B": (" A", " B"),
}
"""Words of the outcomes, by how a sequence looks."""
MAIN = "H T"
"""In which the model is steered: one token for an outcome, the first that comes to mind."""
HARD, SOFT, KEY_VALUE, LOW_RANK = "hard prompt", "soft prompt", "key/value prompt", "low rank"
MIXTURE = "mixture of prompts"
LENGTH = 6  # of all prompts, as in the paper
TUNED_STEPS, STEPS = 50, 100  # flips that are tuned on, and measured
TINY = Llama(width=16, depth=1, heads=2, key_heads=1, head_width=8, hidden=32)
TOY: dict[str, tuple[tuple[int, ...], ...]] = {
    MAIN: ((2,), (3,)),
    "heads, tails,": ((4, 6), (5, 6)),
}
"""What stands for the spellings in the tiny network of the smoke scale, which knows no text."""


class Scale(NamedTuple):
    """Sizes of everything; `sequences`: for each seed, untuned and tuned."""

    untuned_seeds: int
    untuned_sequences: int
    tuning_seeds: int
    tuned_sequences: int
    searched_sequences: int
    steps: int
    batch: int


SCALES = {
    "smoke": Scale(1, 8, 1, 8, 4, 4, 4),
    "small": Scale(5, 16, 1, 64, 16, 50, 8),
    "paper": Scale(5, 64, 5, 512, 256, 500, 32),
}
"""`small`, in tokens that are read: 58,000 untuned, and for each of two targets 51,000 for the hard
prompts and 58,000 for measuring; two idle cores read about 600 a second, which makes 8 minutes.
Three gradient methods × two targets × 50 steps of about 2.5 s are 12 minutes more. `paper` is for a
GPU."""


def name_of(spelling: str, target: str, seed: int) -> str:
    """The name of a condition."""
    return f"{spelling} · {target} · seed {seed}"


def conditions(scale: str, weights: str, tuning_seeds: int | None) -> dict[str, Condition]:
    """All conditions at that scale, by name."""
    check(scale in SCALES, f"Expected a scale from {tuple(SCALES)}; got {scale!r}.")
    sizes = SCALES[scale]
    spellings = TOY if scale == "smoke" else SPELLINGS
    by_name = {
        name_of(spelling, RANDOM_COINS, seed): Condition(untuned(scale, weights, spelling), seed)
        for spelling in spellings
        for seed in range(sizes.untuned_seeds)
    }
    for seed in range(tuning_seeds or sizes.tuning_seeds):
        for target in (SINGLE, TWO):
            experiment = tuned(scale, weights, target)
            by_name[name_of(MAIN, target, seed)] = Condition(experiment, seed)
    return by_name


def untuned(scale: str, weights: str, spelling: str) -> Experiment:
    """The model as it is, on random coins."""
    return _experiment(scale, weights, spelling, RANDOM_COINS, {}, SCALES[scale].untuned_sequences)


def tuned(scale: str, weights: str, target: str) -> Experiment:
    """The model steered to a target by every method."""
    sequences = SCALES[scale].tuned_sequences
    return _experiment(scale, weights, MAIN, target, methods(scale, target), sequences)


def _experiment(
    scale: str,
    weights: str,
    spelling: str,
    target: str,
    methods: dict[str, Tuner],
    sequences: int,
) -> Experiment:
    sizes = SCALES[scale]
    return Experiment(
        network=network(scale, weights, spelling),
        prior=TARGETS[RANDOM_COINS],
        targets={target: TARGETS[target]},
        methods=methods,
        pretraining=FitSettings(steps=20 if scale == "smoke" else 0, batch=16),
        tuning=FitSettings(
            steps=sizes.steps,
            batch=sizes.batch,
            length=TUNED_STEPS,
            schedule="cosine",
            warmup=sizes.steps // 20,
        ),
        sequences=sequences,
        length=STEPS,
        prior_sequences=sequences,
    )


def network(scale: str, weights: str, spelling: str) -> Architecture:
    """The language model; at the smoke scale a tiny network, which needs no weights."""
    if scale == "smoke":
        return SpelledNetwork(TINY, alphabet=8, words=TOY[spelling])
    return LanguageModel(weights, SPELLINGS[spelling])


def methods(scale: str, target: str) -> dict[str, Tuner]:
    """Rows start from random tokens: one-hot rows are unlike any that a language model has read.
    Learning rates are those at which losses fell fastest in the first 30 steps."""
    soft = SoftPrompt(length=LENGTH, initial="tokens", learning_rate=2e-2)
    tuners: dict[str, Tuner] = {
        HARD: HardPrompt(length=LENGTH, sequences=SCALES[scale].searched_sequences),
        SOFT: soft,
        KEY_VALUE: KeyValuePrompt(length=LENGTH, learning_rate=2e-2),
        LOW_RANK: LowRank(learning_rate=2e-3),
    }
    if scale == "smoke":
        del tuners[KEY_VALUE]  # each method compiles programs of its own
    if scale == "paper" and target == TWO:
        tuners[MIXTURE] = PromptMixture(soft)
    return tuners
