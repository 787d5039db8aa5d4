"""A prompt of embedding rows: it reaches activations that no token can."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.checks import as_tuple
from promptax.protocol.predictor import Embedded, Predictor
from promptax.protocol.prompted import Prompt
from promptax.specs import later
from promptax.steering.gradient import (
    PromptTuner,
    check_initial_tokens,
    initial_inputs,
    initial_rows,
    network_of,
)


class SoftPrompt(PromptTuner):
    """Tunes rows [prompt, embedding] that enter behind the embedding, after the begin row.

    "SoftPT" of Genewein et al. 2025 (prefix tuning, Eq. 7), which starts from one-hot rows. On a
    language model start from tokens (Lester et al. 2021): a one-hot row is unlike any that it has
    read.
    """

    length: int = 6
    """Number of rows of the prompt; 0 is no prompt."""
    initial: Literal["one_hot", "uniform", "zeros", "tokens"] = "one_hot"
    """The rows at the start; "tokens": the embeddings of random symbols, or of random
    rows where the network reads no symbols."""
    learning_rate: float = 5e-3
    """Adam's learning rate where the fit settings give none."""
    initial_tokens: tuple[int, ...] = later((), converter=as_tuple)
    """With initial="tokens": these, repeated or cut to the length (empty: random symbols)."""
    before_begin: bool = later(False)
    """Put the rows before the begin row, as PEFT does, not after it, as the paper does."""

    def __check_init__(self) -> None:
        check_initial_tokens(self.initial, self.initial_tokens)

    @classmethod
    def examples(cls) -> "tuple[SoftPrompt, ...]":
        return cls(length=2), cls(length=1, initial="tokens", before_begin=True)

    def suits(self, predictor: Predictor) -> None:
        network_of(predictor, self)

    def row_width(self, predictor: Predictor) -> int:
        return network_of(predictor, self).embedding_width

    def prompt(self, key: Key[Array, ""], predictor: Predictor) -> "SoftRows":
        network = network_of(predictor, self)
        if self.initial == "tokens":
            tokens = initial_inputs(key, self.initial_tokens, self.length, network.outcome)
            rows = network.embed(tokens).astype(jnp.float32)  # small steps need all its digits
        else:
            rows = initial_rows(key, self.initial, self.length, network.embedding_width)
        return SoftRows(rows, self.before_begin)


class SoftRows(Prompt):
    """Rows that enter behind the embedding."""

    values: Float[Array, "*batch prompt embedding"]
    before_begin: bool = later(False, static=True)  # pyright: ignore[reportIncompatibleVariableOverride, reportAssignmentType]

    def inputs(self) -> Embedded:
        return Embedded(self.values)
