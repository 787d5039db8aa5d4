"""A prompt of real vectors in the place of one-hot tokens, or of an outcome's rows."""

from typing import ClassVar, Literal

from jaxtyping import Array, Key

from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import GivenPrompt
from promptax.steering.gradient import PromptTuner, initial_rows, network_of


class RealPrompt(PromptTuner):
    """Tunes unconstrained rows [prompt, symbol] that pass through the embedding.

    "RealPT" of Genewein et al. 2025. Where the network's outcome has no alphabet, rows
    [prompt, input] of that outcome: pseudo-data, such as points with answers that may count half.
    """

    language_rate: ClassVar[float] = 1e-3

    length: int = 6
    """Number of rows of the prompt; 0 is no prompt."""
    initial: Literal["one_hot", "uniform", "zeros"] = "one_hot"
    """The rows at the start."""
    learning_rate: float | None = None
    """Adam's learning rate where the fit settings give none (None: 5e-3, on language models
    1e-3)."""

    @classmethod
    def examples(cls) -> "tuple[RealPrompt, ...]":
        return cls(length=2), cls(length=1, initial="zeros")

    def suits(self, predictor: Predictor) -> None:
        network_of(predictor, self)

    def row_width(self, predictor: Predictor) -> int:
        return predictor.outcome.input_width()

    def prompt(self, key: Key[Array, ""], predictor: Predictor) -> GivenPrompt:
        return GivenPrompt(initial_rows(key, self.initial, self.length, self.row_width(predictor)))
