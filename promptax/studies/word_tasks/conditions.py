"""What is measured, as data: word tasks, how they are shown to a language model, how it is tuned.

A condition is one task and one way with one seed: "past tenses · soft prompt · seed 0". Ways that
have a seed in common have their held-out inputs and their demonstrations in common, and are
compared input by input.
"""

from typing import Any, NamedTuple

from promptax.experiments.conditions import Condition
from promptax.experiments.measurement import Measurement
from promptax.fit.settings import FitSettings
from promptax.language.tokenizer import BYTES
from promptax.language.word_tasks.measurements import Demonstrations, PairTuning
from promptax.predictors import Llama
from promptax.specs import check
from promptax.steering import GradientTuner, KeyValuePrompt, LowRank, SoftPrompt

CAPITALS, PAST_TENSES, SENTIMENTS, NUMBER_WORDS = (
    "capitals",
    "past tenses",
    "sentiments",
    "number words",
)
INSTRUCTIONS = {
    CAPITALS: "Name the capital of each country:\n",
    PAST_TENSES: "Write the past tense of each verb:\n",
    SENTIMENTS: "Is each word positive or negative?\n",
    NUMBER_WORDS: "Write each number in words:\n",
}
TASKS = tuple(INSTRUCTIONS)
SHOWN, SHUFFLED, INSTRUCTED = "right answers", "shuffled answers", "instruction"
SOFT, LOW_RANK = "soft prompt", "low rank"
RANDOM_TOKENS, FEW_PAIRS, KEY_VALUE = (
    "soft prompt from random tokens",
    "soft prompt on few pairs",
    "key/value prompt",
)
TUNED = (SOFT, LOW_RANK, RANDOM_TOKENS, FEW_PAIRS, KEY_VALUE)
SHOTS = (0, 1, 2, 5, 10)
LENGTH = 10  # rows of a prompt: about as many tokens as an instruction has
TINY = Llama(width=16, depth=1, heads=2, key_heads=1, head_width=8, hidden=32)


class Scale(NamedTuple):
    """Sizes of everything. `held_out`: inputs to judge by (None: half of all, at most 100)."""

    seeds: int
    tasks: tuple[str, ...]
    ways: tuple[str, ...]
    held_out: int | None
    draws: int
    steps: int
    batch: int
    every: int


SCALES = {
    "smoke": Scale(1, (NUMBER_WORDS,), (SHOWN, SHUFFLED, SOFT), 4, 1, 2, 2, 1),
    "small": Scale(1, TASKS, (SHOWN, SHUFFLED, INSTRUCTED, SOFT, LOW_RANK), 40, 2, 40, 8, 10),
    "paper": Scale(5, TASKS, (SHOWN, SHUFFLED, INSTRUCTED, *TUNED), None, 3, 120, 8, 20),
}
"""An update of 8 pairs takes about a second of two idle cores, and reading 40 inputs as long. At
the smoke scale a tiny network, which needs no weights, reads bytes. `paper`, seed 0, is what
docs/language_models.md prints; five seeds are for a GPU."""


def name_of(task: str, way: str, seed: int) -> str:
    """The name of a condition."""
    return f"{task} · {way} · seed {seed}"


def conditions(scale: str, weights: str, seeds: int | None) -> dict[str, Condition]:
    """All conditions at that scale, by name."""
    check(scale in SCALES, f"Expected a scale from {tuple(SCALES)}; got {scale!r}.")
    sizes = SCALES[scale]
    return {
        name_of(task, way, seed): Condition(measurement(scale, weights, task, way), seed)
        for seed in range(seeds or sizes.seeds)
        for task in sizes.tasks
        for way in sizes.ways
    }


def measurement(scale: str, weights: str, task: str, way: str) -> Measurement:
    """One way on one task."""
    sizes = SCALES[scale]
    what: dict[str, Any] = {"task": task, "weights": weights, "held_out": sizes.held_out}
    if scale == "smoke":
        what |= {"weights": BYTES, "network": TINY}
    if way not in TUNED:
        return Demonstrations(draws=sizes.draws, **what, **_shown(task, way))
    part = 2 if way == FEW_PAIRS else 1  # the pool's pairs would be seen too often
    tuning = FitSettings(steps=sizes.steps // part, batch=sizes.batch // part, schedule="cosine")
    return PairTuning(tuning=tuning, every=sizes.every, **what, **_tuned(task, way))


def _shown(task: str, way: str) -> dict[str, Any]:
    """The fields that make a way to show."""
    if way == SHUFFLED:
        return {"answers": ("shuffled",), "shots": (5, 10)}
    if way == INSTRUCTED:
        return {"instruction": INSTRUCTIONS[task], "shots": (0, 5)}
    return {"shots": SHOTS}


def _tuned(task: str, way: str) -> dict[str, Any]:
    """The fields that make a way to tune. Nothing was searched; rates are those at which losses
    fell in a first trial of 60 updates, a tenth of them for weights."""
    prompt: dict[str, Any] = {"length": LENGTH, "initial": "tokens", "learning_rate": 5e-3}
    tuners: dict[str, GradientTuner] = {
        LOW_RANK: LowRank(rank=4, learning_rate=1e-3),
        KEY_VALUE: KeyValuePrompt(**prompt),
    }
    fields: dict[str, Any] = {"tuner": tuners.get(way, SoftPrompt(**prompt))}
    if way not in (LOW_RANK, RANDOM_TOKENS):
        fields |= {"instruction": INSTRUCTIONS[task]}
    if way == FEW_PAIRS:
        fields |= {"side": "demonstrations"}
    return fields
