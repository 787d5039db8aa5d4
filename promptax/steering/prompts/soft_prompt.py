"""A prompt of embedding rows: it reaches activations that no token can."""

from typing import ClassVar, Literal

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
    is_language_model,
    network_of,
)


class SoftPrompt(PromptTuner):
    """Tunes rows [prompt, embedding] that enter behind the embedding, after the begin row.

    "SoftPT" of Genewein et al. 2025 (prefix tuning, Eq. 7), which starts from one-hot rows. On a
    language model a one-hot row is unlike any that it has read, and tokens are a better start
    (Lester et al. 2021).
    """

    language_rate: ClassVar[float] = 2e-2

    length: int = 6
    """Number of rows of the prompt; 0 is no prompt."""
    initial: Literal["one_hot", "uniform", "zeros", "tokens"] | None = None
    """The rows at the start; "tokens": the embeddings of random symbols, or of random rows where
    the network reads no symbols. None: one-hot rows, and tokens on language models (1,000 symbols
    or more) or where `initial_tokens` are given."""
    learning_rate: float | None = None
    """Adam's learning rate where the fit settings give none (None: 5e-3, on language models
    2e-2)."""
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
        how = self.initial
        if how is None:
            starts_from_tokens = self.initial_tokens or is_language_model(predictor)
            how = "tokens" if starts_from_tokens else "one_hot"
        if how == "tokens":
            tokens = initial_inputs(key, self.initial_tokens, self.length, network.outcome)
            rows = network.embed(tokens).astype(jnp.float32)  # small steps need all its digits
        else:
            rows = initial_rows(key, how, self.length, network.embedding_width)
        return SoftRows(rows, self.before_begin)


class SoftRows(Prompt):
    """Rows that enter behind the embedding."""

    values: Float[Array, "*batch prompt embedding"]
    before_begin: bool = later(False, static=True)  # pyright: ignore[reportIncompatibleVariableOverride, reportAssignmentType]

    def inputs(self) -> Embedded:
        return Embedded(self.values)
