"""Word tasks in context and tuned: k demonstrations before each input, or none and tuned leaves.

Classes are calibrated by their priors (Zhao et al. 2021, arXiv 2102.09690); demonstrations with
each other's answers are the control (Min et al. 2022, arXiv 2202.12837).
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Key

from promptax.axes import NATS, labelled
from promptax.fit.fitted import Fitted
from promptax.fit.probes import Probe
from promptax.fit.settings import FitSettings
from promptax.language.word_tasks.exam import Exam, Scores
from promptax.language.word_tasks.pairs import Pair, Split
from promptax.progress import Callback, reporting
from promptax.protocol.predictor import Predictor
from promptax.specs import check, check_kind
from promptax.steering.gradient import GradientTuner

SHOTS = (0, 1, 2, 5, 10)
ANSWERS = ("right", "shuffled")
PRIORS = ("none", "content free", "training inputs")


# --- shown ----------------------------------------------------------------------------------


def draw_demonstrations(
    split: Split, shots: int, seed: int, answers: str = "right"
) -> tuple[Pair, ...]:
    """Draw demonstrations at random; those of fewer shots are the last of those of more.

    `answers`: "right", or "shuffled": each input has the answer of the pair drawn after it, so that
    inputs, answers and their form stay and only what belongs together is lost.
    """
    pool = split.demonstrations
    check(
        0 <= shots < len(pool),
        f"Expected fewer shots than the {len(pool)} demonstrations; got {shots}. Split off more: "
        "task.split(demonstrations=…).",
    )
    check(
        answers in ANSWERS, f"Expected the demonstrations' answers from {ANSWERS}; got {answers!r}."
    )
    order = np.random.default_rng(seed).permutation(len(pool))
    mixed = [pool[index] for index in order]
    chosen, following = mixed[:shots], mixed[1 : shots + 1]
    if answers == "shuffled":
        neighbours = zip(chosen, following, strict=True)
        chosen = [Pair(pair.given, neighbour.answer) for pair, neighbour in neighbours]
    return tuple(reversed(chosen))


def few_shot(
    predictor: Predictor,
    exam: Exam,
    shots: Sequence[int] = SHOTS,
    *,
    draws: int = 3,
    answers: Sequence[str] = ANSWERS,
    callbacks: Sequence[Callback] | None = None,
) -> xr.Dataset:
    """Measure how well a predictor answers behind demonstrations.

    Variables: `log_loss` [answers, shots, draw, sequence], nats per answer; `correct`, the same
    shape. With labels also `label_log_loss` and `label_correct` [calibration, answers, shots, draw,
    sequence], among the labels alone, their chances divided by a prior: those behind the same
    demonstrations for an input without content, or the mean over training inputs.
    """
    settings = [(kind, shot, draw) for kind in answers for shot in shots for draw in range(draws)]
    shown = [draw_demonstrations(exam.split, shot, draw, kind) for kind, shot, draw in settings]
    room = exam.room(max(shots))
    scores: dict[tuple[Pair, ...], Scores] = {}
    with reporting("demonstrations", callbacks) as progress:
        for count, pairs in enumerate(shown, start=1):
            if pairs not in scores:  # without demonstrations all draws are one
                scores[pairs] = exam.judge(predictor, pairs, room=room)
            progress(count, len(shown))
    shape = len(answers), len(shots), draws
    coordinates = {"answers": list(answers), "shots": list(shots), "draw": np.arange(draws)}
    return _label_scores([scores[pairs] for pairs in shown], exam, shape, coordinates)


def _label_scores(
    scores: Sequence[Scores], exam: Exam, shape: tuple[int, ...], coordinates: dict[str, Any]
) -> xr.Dataset:
    """Name the axes of scores. `shape`: the sizes of the axes before `sequence`."""
    axes = (*coordinates, "sequence")

    def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(rows).reshape(*shape, -1)

    variables: dict[str, Any] = {
        "log_loss": (axes, stacked([score.log_loss for score in scores]), {"unit": NATS}),
        "correct": (axes, stacked([score.correct for score in scores])),
    }
    if exam.task.labels:
        by_label = [
            calibrated(score.label_log_probs, len(exam.split.held_out))
            for score in scores
            if score.label_log_probs is not None
        ]
        log_probs = np.stack(by_label, axis=1)  # [calibration, …, sequence, label]
        right = np.broadcast_to(exam.right, log_probs.shape[:-1])
        loss = -np.take_along_axis(log_probs, right[..., None], axis=-1)[..., 0]
        whole = len(PRIORS), *shape, -1
        axes = ("calibration", *axes)
        variables["label_log_loss"] = (axes, loss.reshape(whole), {"unit": NATS})
        correct = log_probs.argmax(axis=-1) == right
        variables["label_correct"] = (axes, correct.reshape(whole))
        coordinates = {"calibration": list(PRIORS), **coordinates}
    coordinates |= {"sequence": [pair.given for pair in exam.split.held_out]}
    return labelled(variables, coordinates, {"task": exam.task.name})


def calibrated(
    label_log_probs: Float[np.ndarray, "row label"], held_out: int
) -> Float[np.ndarray, "calibration sequence label"]:
    """Log probabilities among the labels, divided by each of the `PRIORS` and made to sum to 1."""
    rows = _normalised(label_log_probs)
    asked, content_free, training = np.split(rows, [held_out, held_out + 1])
    mean = np.log(np.mean(np.exp(training), axis=0, keepdims=True))
    return np.stack([_normalised(asked - prior) for prior in (0.0, content_free, mean)])


def _normalised(log_probs: Float[np.ndarray, "row label"]) -> Float[np.ndarray, "row label"]:
    """Log probabilities of which each row sums to 1 as probabilities."""
    return log_probs - np.logaddexp.reduce(log_probs, axis=-1, keepdims=True)


# --- tuned ----------------------------------------------------------------------------------


def tune(
    key: Key[Array, ""],
    tuner: GradientTuner,
    predictor: Predictor,
    exam: Exam,
    settings: FitSettings,
    *,
    pairs: Sequence[Pair] | None = None,
    every: int = 25,
    callbacks: Sequence[Callback] | None = None,
) -> tuple[Fitted, xr.Dataset]:
    """Tune to pairs without demonstrations, and watch the held-out ones.

    Args:
        settings: `length` None reads the longest pair whole.
        pairs: what to tune to (None: the training pairs), such as the demonstrations.
        every: updates between two looks; nothing that is tuned depends on them.

    The curve: `log_loss` and `correct` [step, repetition, sequence] as in `few_shot`; `seconds` and
    `processor_seconds` [step], of tuning alone, compilation included; step 0 is the start.
    """
    texts = exam.texts(exam.split.training if pairs is None else pairs)
    settings = settings.filled(length=texts.longest, learning_rate=tuner.rate_on(predictor))
    seconds, scores, room = [], [], exam.room(0)

    def clocks() -> np.ndarray:
        return np.array([time.monotonic(), time.process_time()])

    began = clocks()

    def look(tuned: Predictor) -> dict[str, float]:
        nonlocal began
        started = clocks()
        if len(scores) % settings.repetitions == 0:  # the first repetition of this look
            seconds.append(started - began)
        scores.append(exam.judge(tuned, room=room))
        began = began + clocks() - started  # looking is no part of tuning
        return {"log_loss": float(np.mean(scores[-1].log_loss))}

    probes = (Probe(every, look),)
    fitted = tuner.tune(key, predictor, texts, settings, probes=probes, callbacks=callbacks)
    steps = fitted.probes.step.values
    shape = len(steps), settings.repetitions
    coordinates = {"step": steps, "repetition": np.arange(settings.repetitions)}
    curve = _label_scores(scores, exam, shape, coordinates)
    for name, clock in zip(("seconds", "processor_seconds"), np.transpose(seconds), strict=True):
        curve[name] = ("step", clock, {"unit": "seconds"})
    curve.attrs |= {"tuner": repr(tuner), "training_pairs": len(texts.sequences)}
    return fitted, curve


# --- in short -------------------------------------------------------------------------------


def summarise(scores: xr.Dataset) -> xr.Dataset:
    """Average over inputs and over draws or repetitions.

    Variables: `log_loss` in nats per answer and `accuracy`; `standard_error` of the loss over
    inputs; `between`, its standard deviation between draws or repetitions. With labels also
    `label_accuracy` and `label_log_loss`, among the labels alone.
    """
    check_kind(scores, xr.Dataset, "few_shot(predictor, exam)")
    repeated = next(axis for axis in ("draw", "repetition") if axis in scores.dims)
    loss = scores["log_loss"]
    by_input = loss.mean(repeated)
    count = math.sqrt(loss.sizes["sequence"])
    has_several = loss.sizes[repeated] > 1
    means = {
        "log_loss": by_input.mean("sequence"),
        "standard_error": by_input.std("sequence", ddof=1) / count,
        "between": loss.mean("sequence").std(repeated, ddof=1 if has_several else 0),
        "accuracy": scores["correct"].mean((repeated, "sequence")),
    }
    if "label_correct" in scores:
        means["label_accuracy"] = scores["label_correct"].mean((repeated, "sequence"))
        means["label_log_loss"] = scores["label_log_loss"].mean((repeated, "sequence"))
    for name in ("log_loss", "standard_error", "between"):
        means[name].attrs["unit"] = NATS
    if "label_log_loss" in means:
        means["label_log_loss"].attrs["unit"] = NATS
    return labelled(means, attrs=scores.attrs)
