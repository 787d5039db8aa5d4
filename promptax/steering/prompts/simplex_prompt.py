"""A prompt of probability vectors over the symbols: the relaxation of a hard prompt."""

from typing import ClassVar, Literal

import jax
from jaxtyping import Array, Float, Key

from promptax.protocol.predictor import WEIGHTS, Predictor, check_reads
from promptax.protocol.prompted import Prompt
from promptax.steering.gradient import PromptTuner, initial_rows


class SimplexPrompt(PromptTuner):
    """Tunes rows on the probability simplex, softmax(values), read in place of tokens.

    Works on every predictor that reads weights over symbols: networks, and exact predictors that
    count, for which a row of weights is that much of each symbol.


    "SimplexPT" of Genewein et al. 2025, whose initial values are one-hot rows *before* the softmax.
    """

    needs_alphabet: ClassVar[bool] = True
    language_rate: ClassVar[float] = 3.0  # of 49,152 symbols none counts below a value of 10

    length: int = 6
    """Number of rows of the prompt; 0 is no prompt."""
    initial: Literal["one_hot", "uniform", "zeros"] = "one_hot"
    """Values before the softmax at the start."""
    learning_rate: float | None = None
    """Adam's learning rate where the fit settings give none (None: 5e-3, on language models
    3)."""

    @classmethod
    def examples(cls) -> "tuple[SimplexPrompt, ...]":
        return cls(length=2), cls(length=1, initial="uniform")

    def suits(self, predictor: Predictor) -> None:
        check_reads(predictor, WEIGHTS, " HardPrompt works on any predictor of symbols.")

    def row_width(self, predictor: Predictor) -> int:
        return predictor.symbols

    def prompt(self, key: Key[Array, ""], predictor: Predictor) -> "SoftmaxRows":
        return SoftmaxRows(initial_rows(key, self.initial, self.length, predictor.symbols))


class SoftmaxRows(Prompt):
    """Weights over symbols, softmax(values)."""

    values: Float[Array, "*batch prompt symbol"]

    def inputs(self) -> Float[Array, "*batch prompt symbol"]:
        return jax.nn.softmax(self.values)
