"""A prompt of random symbols: the control for every other prompt.

It is a tuner, not a `Search`: it reads nothing and takes no step, and one key draws the prompts of
all repetitions, as it did for results that are kept.
"""

from typing import ClassVar

import jax
import numpy as np

from promptax.fit.cost import nothing
from promptax.fit.fitted import Fitted
from promptax.protocol.predictor import Predictor
from promptax.steering.base import Tuner, Tuning, check_length
from promptax.steering.search import behind, searched


class RandomPrompt(Tuner):
    """Reads independent, uniformly drawn symbols; nothing is tuned.

    "RandomPF" of Genewein et al. 2025.
    """

    group: ClassVar[str] = "baselines"
    needs_alphabet: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""

    def __check_init__(self) -> None:
        check_length(self.length)

    @classmethod
    def examples(cls) -> "tuple[RandomPrompt, ...]":
        return (cls(length=3),)

    def suits(self, predictor: Predictor) -> None:
        del predictor

    def run_tuning(self, tuning: Tuning) -> Fitted:
        """Draw a prompt for each repetition; of the settings, only `repetitions` applies."""
        predictor = tuning.predictor
        shape = tuning.settings.repetitions, self.length
        prompts = np.asarray(jax.random.randint(tuning.key, shape, 0, predictor.symbols))
        steered = [behind(predictor, prompt) for prompt in prompts]
        return searched(steered, np.zeros((len(steered), 0), np.float32), nothing(len(steered)))
