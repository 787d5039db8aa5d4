"""Word tasks as measurements: a language model that is shown pairs, or tuned to them.

Both members examine one model on the held-out inputs of one word task. The seed splits the pairs,
initialises what is tuned, and orders its batches; it also makes the network where that is one from
scratch. The demonstrations of the first draw, of the second, … follow from the split alone, so that
measurements with the same seed show the same pairs and are compared input by input.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Literal

import equinox as eqx
import jax
import xarray as xr

from promptax.checks import as_tuple
from promptax.experiments.measurement import (
    Announce,
    Keep,
    Measurement,
    Stage,
    keep_nothing,
    silent,
)
from promptax.fit.settings import FitSettings
from promptax.language.language_model import read_model, weights_path
from promptax.language.tokenizer import BYTES, Tokenizer
from promptax.language.word_tasks import few_shot
from promptax.language.word_tasks.exam import Exam
from promptax.language.word_tasks.pairs import WORD_TASKS, Split, WordTask, common_words
from promptax.predictors.base import Architecture
from promptax.predictors.llama import Llama
from promptax.protocol.entries import condition
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering import GradientTuner, SoftPrompt

SHOWN, TUNED = "shown", "tuned"  # the groups of results
NUMBERS_OF_A_MODEL = 1.35e8  # of SmolLM2: how large a model is that has not been read yet
ROWS_OF_AN_INPUT = 16  # an estimate: an input, what separates it, and its answer
TINY = Llama(width=8, depth=1, heads=2, key_heads=1, head_width=4, hidden=12)
SCRATCH: dict[str, Any] = {"weights": BYTES, "network": TINY}
"""What examples are of: it needs no weights."""


class WordExam(Measurement):
    """What measurements on a word task share. A member brings the fields below, and the methods
    `stages` and `work`, which use `exam`, `model` and `size`."""

    task: eqx.AbstractVar[str]
    """A word task by its name (`pairs.WORD_TASKS`)."""
    weights: eqx.AbstractVar[str]
    """Whose tokenizer it is: "smollm2", a folder, a GGUF file, or "bytes"."""
    network: eqx.AbstractVar[Architecture | None]
    """A network from scratch over the tokenizer's alphabet; None: the model of the weights."""
    pool: eqx.AbstractVar[int]
    """Pairs that are set apart for demonstrations."""
    held_out: eqx.AbstractVar[int | None]
    """Pairs to judge by (None: half of all, at most 100)."""

    def __check_init__(self) -> None:
        check(
            self.task in WORD_TASKS,
            f"Expected a word task from {list(WORD_TASKS)}; got {self.task!r}.",
        )
        check(
            self.network is not None or self.weights != BYTES,
            f"Expected a network for the tokenizer {BYTES!r}, which has no weights; got None. Give "
            "an architecture, such as Llama().",
        )

    def verify(self) -> None:
        """Refuse where weights or packages of words are missing, or pairs too few."""
        if self.network is None:
            weights_path(self.weights)
        self.split(seed=0)

    def split(self, seed: int) -> Split:
        """The task's pairs on three sides."""
        task = _task_once(self.task, self.weights)
        return task.split(seed, demonstrations=self.pool, held_out=self.held_out)

    def exam(self, seed: int) -> Exam:
        """The held-out inputs of that split."""
        return Exam(_task_once(self.task, self.weights), self.split(seed), self.weights)

    def model(self, seed: int, exam: Exam) -> Predictor:
        """What is examined."""
        if self.network is None:
            return read_model(self.weights)
        return self.network.build(jax.random.key(seed), exam.tokenizer.symbols)

    def size(self) -> float:
        """About how many numbers the model has."""
        if self.network is None:
            return NUMBERS_OF_A_MODEL
        network, symbols = self.network, Tokenizer.named(self.weights).symbols

        def build() -> Any:
            return network.build(jax.random.key(0), symbols)

        leaves = jax.tree.leaves(eqx.filter_eval_shape(build))
        return float(sum(leaf.size for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct)))

    def rows(self) -> int:
        """About how many rows one look at the held-out inputs reads."""
        return ROWS_OF_AN_INPUT * (self.held_out or 100)


class Demonstrations(WordExam):
    """A language model that reads demonstrations before each held-out input (Brown et al. 2020).

    One stage, "shown": the scores of `few_shot` [answers, shots, draw, sequence].
    """

    task: str = "past tenses"
    """A word task: capitals, past tenses, sentiments or number words."""
    weights: str = "smollm2"
    """The language model: "smollm2", a folder, a GGUF file; or "bytes" with a network."""
    network: Architecture | None = None
    """A network from scratch over the tokenizer's alphabet; None: the model of the weights."""
    pool: int = 12
    """Pairs that are set apart for demonstrations."""
    held_out: int | None = None
    """Pairs to judge by (None: half of all, at most 100)."""
    instruction: str = ""
    """Text that stands before the demonstrations."""
    shots: tuple[int, ...] = eqx.field(default=few_shot.SHOTS, converter=as_tuple)
    """Numbers of demonstrations."""
    answers: tuple[str, ...] = eqx.field(default=("right",), converter=as_tuple)
    """What the demonstrations answer: "right", "shuffled" (each other's answers), or both."""
    draws: int = 3
    """How often the demonstrations are drawn."""

    def __check_init__(self) -> None:
        check(
            len(self.shots) > 0 and 0 <= min(self.shots) <= max(self.shots) < self.pool,
            f"Expected shots from 0 to fewer than the pool of {self.pool}; got {self.shots}.",
        )
        check(
            len(self.answers) > 0 and set(self.answers) <= set(few_shot.ANSWERS),
            f"Expected answers from {few_shot.ANSWERS}; got {self.answers}.",
        )
        check(self.draws >= 1, f"Expected at least one draw; got {self.draws}.")

    @classmethod
    def examples(cls) -> "tuple[Demonstrations, ...]":
        return (cls("number words", pool=3, held_out=3, shots=(0, 1), draws=2, **SCRATCH),)

    def stages(
        self, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
    ) -> Iterator[Stage]:
        del keep  # nothing is fitted
        exam = self.exam(seed)
        model = self.model(seed, exam)
        if self.instruction:
            model = condition(model, exam.tokenizer.encode(self.instruction))
        yield (
            SHOWN,
            few_shot.few_shot(
                model,
                exam,
                self.shots,
                draws=self.draws,
                answers=self.answers,
                callbacks=announce(f"{self.task}: demonstrations"),
            ),
        )

    def work(self) -> float:
        """The rows that are read, times the model's size; reading takes a third of the work of an
        update."""
        looks = len(self.answers) * len(self.shots) * self.draws
        return self.size() * self.rows() * looks / 3

    def numbers(self, results: xr.DataTree) -> list[dict[str, object]]:
        """A row for each kind of answers and each number of shots (`few_shot.summarise`)."""
        short = few_shot.summarise(results[SHOWN].to_dataset())
        return [
            {"answers": kind, "shots": shots, **_number_row(short.sel(answers=kind, shots=shots))}
            for kind in short["answers"].values.tolist()
            for shots in short["shots"].values.tolist()
        ]


class PairTuning(WordExam):
    """A language model that is tuned to pairs, without demonstrations (Lester et al. 2021).

    One stage, "tuned": the curve of `few_shot.tune` [step, repetition, sequence].
    """

    task: str = "past tenses"
    """A word task: capitals, past tenses, sentiments or number words."""
    weights: str = "smollm2"
    """The language model: "smollm2", a folder, a GGUF file; or "bytes" with a network."""
    network: Architecture | None = None
    """A network from scratch over the tokenizer's alphabet; None: the model of the weights."""
    pool: int = 12
    """Pairs that are set apart for demonstrations."""
    held_out: int | None = None
    """Pairs to judge by (None: half of all, at most 100)."""
    tuner: GradientTuner = SoftPrompt(length=10, initial="tokens")
    """How it is tuned."""
    instruction: str = ""
    """Text that a tuned prompt begins as (empty: as the tuner has it)."""
    tuning: FitSettings = FitSettings(steps=120, batch=8, schedule="cosine")
    """For how long; `length` None reads the longest pair whole."""
    side: Literal["training", "demonstrations"] = "training"
    """The pairs that it is tuned to: those for training, or the pool of demonstrations."""
    every: int = 20
    """Steps between two looks at the held-out inputs; nothing that is tuned depends on them."""

    def __check_init__(self) -> None:
        check(
            not self.instruction or "initial_tokens" in self.tuner.__dataclass_fields__,
            f"Expected a tuner whose prompt can begin as the instruction, such as SoftPrompt; got "
            f"{type(self.tuner).__name__}. Leave the instruction out.",
        )
        check(self.every >= 1, f"Expected every of at least 1 step; got {self.every}.")

    @classmethod
    def examples(cls) -> "tuple[PairTuning, ...]":
        soft, short = SoftPrompt(length=2), FitSettings(steps=2, batch=2)
        fields: dict[str, Any] = {
            "tuner": soft,
            "tuning": short,
            "instruction": "Write:",
            "every": 2,
        }
        return (cls("number words", pool=3, held_out=3, **fields, **SCRATCH),)

    def stages(
        self, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
    ) -> Iterator[Stage]:
        del keep  # the looks at the held-out inputs would be lost
        exam, tuner = self.exam(seed), self.tuner
        if self.instruction:
            tokens = tuple(exam.tokenizer.encode(self.instruction).tolist())
            begun: dict[str, Any] = {"initial": "tokens", "initial_tokens": tokens}
            tuner = dataclasses.replace(tuner, **begun)
        _, curve = few_shot.tune(
            jax.random.key(seed),
            tuner,
            self.model(seed, exam),
            exam,
            self.tuning,
            pairs=getattr(exam.split, self.side),
            every=self.every,
            callbacks=announce(f"{self.task}: tuning"),
        )
        yield TUNED, curve

    def work(self) -> float:
        """The rows that updates and looks read, times the model's size; a look takes a third of
        the work of an update."""
        updates = self.tuning.steps * self.tuning.batch * ROWS_OF_AN_INPUT
        looks = (2 + self.tuning.steps / self.every) * self.rows() / 3
        return self.size() * self.tuning.repetitions * (updates + looks)

    def numbers(self, results: xr.DataTree) -> list[dict[str, object]]:
        """A row for each look (`few_shot.summarise`), with the seconds of tuning until then."""
        curve = results[TUNED].to_dataset()
        short = few_shot.summarise(curve)
        return [
            {
                "step": step,
                **_number_row(short.sel(step=step)),
                "processor_seconds": float(curve["processor_seconds"].sel(step=step)),
            }
            for step in short["step"].values.tolist()
        ]


def _number_row(short: xr.Dataset) -> dict[str, object]:
    """The numbers of one setting; accuracies among the labels by their calibration."""
    names = "log_loss", "standard_error", "between", "accuracy"
    row: dict[str, object] = {name: float(short[name]) for name in names}
    if "label_accuracy" in short:
        for prior in short["calibration"].values.tolist():
            value = float(short["label_accuracy"].sel(calibration=prior))
            row[f"label_accuracy_{prior.replace(' ', '_')}"] = value
    return row


@functools.lru_cache(maxsize=8)
def _task_once(name: str, weights: str) -> WordTask:
    """A word task of the common words that the tokenizer knows."""
    return WORD_TASKS[name](common_words(Tokenizer.named(weights)))
