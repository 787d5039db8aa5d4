"""A prompt of embedding rows: it reaches activations that no token can."""

from typing import Literal

import jax
from jaxtyping import Array, Float, Key

from promptax.protocol import Embedded, Predictor, Prompt
from promptax.steering.base import (
    INITIAL,
    PromptTuner,
    check_initial,
    initial_rows,
    network_of,
)


class SoftPrompt(PromptTuner):
    """Tunes rows [prompt, embedding] that enter behind the embedding, after the begin row.

    "SoftPT" of Genewein et al. 2025 (prefix tuning, Eq. 7), which starts from one-hot rows.
    """

    length: int = 6
    """Number of rows of the prompt; 0 is no prompt."""
    initial: Literal["one_hot", "uniform", "zeros", "tokens"] = "one_hot"
    """The rows at the start; "tokens": the embeddings of random symbols."""
    learning_rate: float = 5e-3
    """Adam's learning rate where the fit settings give none."""

    def __check_init__(self) -> None:
        check_initial(self.initial, (*INITIAL, "tokens"))

    @classmethod
    def examples(cls) -> "tuple[SoftPrompt, ...]":
        return cls(length=2), cls(length=1, initial="tokens")

    def suits(self, predictor: Predictor) -> None:
        network_of(predictor, self)

    def row_width(self, predictor: Predictor) -> int:
        return network_of(predictor, self).embedding_width

    def prompt(self, key: Key[Array, ""], predictor: Predictor) -> "SoftRows":
        network = network_of(predictor, self)
        if self.initial == "tokens":
            tokens = jax.random.randint(key, (self.length,), 0, network.symbols)
            return SoftRows(network.embed(tokens))
        width = network.embedding_width
        return SoftRows(initial_rows(key, self.initial, self.length, width))


class SoftRows(Prompt):
    """Rows that enter behind the embedding."""

    values: Float[Array, "*batch prompt embedding"]

    def inputs(self) -> Embedded:
        return Embedded(self.values)
