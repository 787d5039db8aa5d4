"""A prompt of random symbols: the control for every other prompt.

It is a tuner, not a `Search`: it reads nothing and takes no step, and one key draws the prompts of
all repetitions, as it did for results that are kept.
"""

from collections.abc import Sequence
from typing import ClassVar

import jax
import numpy as np
from jaxtyping import Array, Key

from promptax.fit.cost import nothing
from promptax.fit.fitted import Checkpoint, Fitted
from promptax.fit.loop import check_outcome
from promptax.fit.settings import FitSettings
from promptax.progress import Callback
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.base import Tuner, check_one
from promptax.steering.search import behind, searched
from promptax.tasks.base import Task


class RandomPrompt(Tuner):
    """Reads independent, uniformly drawn symbols; nothing is tuned.

    "RandomPF" of Genewein et al. 2025.
    """

    group: ClassVar[str] = "baselines"
    needs_alphabet: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""

    def __check_init__(self) -> None:
        check(self.length >= 0, f"Expected a prompt length of at least 0; got {self.length}.")

    @classmethod
    def examples(cls) -> "tuple[RandomPrompt, ...]":
        return (cls(length=3),)

    def suits(self, predictor: Predictor) -> None:
        del predictor

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
        """Draw a prompt for each repetition; of the settings, only `repetitions` applies."""
        del checkpoint, callbacks
        check_one(predictor)
        self.check_alphabet(predictor)
        check_outcome(lambda key: predictor, key, target)
        shape = (settings or FitSettings()).repetitions, self.length
        prompts = np.asarray(jax.random.randint(key, shape, 0, predictor.symbols))
        steered = [behind(predictor, prompt) for prompt in prompts]
        return searched(steered, np.zeros((len(steered), 0), np.float32), nothing(len(steered)))
