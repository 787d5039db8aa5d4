"""Tuners: surgery on a predictor's tree, and where the tuned leaves are.

A prompt tuner wraps the predictor so that it reads something first; a weight tuner marks some of
its weights, or adds some. Everything else is the loop's (`fit`).
"""

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
from jaxtyping import Array, Key

from promptax.fit.fitted import Checkpoint, Fitted
from promptax.fit.loop import check_outcome
from promptax.fit.settings import FitSettings
from promptax.progress import Callback
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.specs import Spec
from promptax.tasks.base import Task

Mask = Any


class Tuner(Spec, open_as="tuner", default="SoftPrompt"):
    """Steers a predictor to a target task. To implement one, see `PromptTuner`, `WeightTuner`."""

    group: ClassVar[str] = ""  # "prompts", "weights" or "baselines": where reports show it
    # Whether the steered predictor predicts as before until it is tuned.
    starts_unchanged: ClassVar[bool] = False
    # Whether it proposes symbols, or weights over them, so that there must be an alphabet.
    needs_alphabet: ClassVar[bool] = False
    # Whether all hard prompts of its `length` are tried: the result's `scores` are then the losses
    # of all of them, and its `loss` is no curve of training.
    tries_all: ClassVar[bool] = False

    @abc.abstractmethod
    def tune(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        target: Task,
        settings: FitSettings | None = None,
        *,
        checkpoint: Checkpoint | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> Fitted:
        """Steer `predictor` to `target`; it is left as it was. The result's `.predictor` is a
        predictor, or `Repeated` for several repetitions."""

    @abc.abstractmethod
    def suits(self, predictor: Predictor) -> None:
        """Raise TypeError, saying what is missing, if the predictor lacks what is tuned."""

    def verify(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        """Raise, before any compute, if this cannot be tuned."""
        del settings
        check_one(predictor)
        self.check_alphabet(predictor)
        self.suits(predictor)
        check_outcome(lambda key: predictor, jax.random.key(0), target)

    def check_alphabet(self, thing: Predictor | Task) -> None:
        """Raise TypeError if this proposes symbols, and a predictor or task has none."""
        if self.needs_alphabet and thing.outcome.alphabet is None:
            raise TypeError(
                f"Expected symbols, of which {type(self).__name__} makes prompts; got "
                f"{type(thing).__name__} over {thing.outcome.words()}. SoftPrompt, RealPrompt and "
                "weight tuners work on every network."
            )

    def plan(self, symbols: int) -> str:
        """What will be tried over an alphabet of that size, in words; "" for gradient tuners."""
        del symbols
        return ""


def filled(settings: FitSettings | None, target: Task, learning_rate: float) -> FitSettings:
    """Open choices made: tuning reads whole texts, and 50 steps of what goes on."""
    given = settings or FitSettings()
    return given.filled(length=target.longest or 50, learning_rate=learning_rate)


def check_one(predictor: Any) -> None:
    """Complain unless this is one predictor."""
    if isinstance(predictor, Repeated):
        raise TypeError(
            f"Expected one predictor to steer; got {len(predictor)} repetitions. Pick one: "
            "predictor[0]."
        )
    if not isinstance(predictor, Predictor):
        raise TypeError(
            f"Expected a predictor to steer; got {type(predictor).__name__}. Pretrain one first: "
            "promptax.pretrain(key, architecture, task).predictor."
        )
