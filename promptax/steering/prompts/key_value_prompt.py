"""A prompt of keys and values: what attention looks back at, in every layer."""

from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.checks import as_tuple
from promptax.protocol.predictor import KeyValues, Predictor
from promptax.protocol.prompted import Prompt
from promptax.steering.gradient import (
    PromptTuner,
    check_initial_tokens,
    initial_inputs,
    network_of,
)

SMALL = 0.02  # standard deviation of "normal" numbers, that of fresh weights in most networks


class KeyValuePrompt(PromptTuner):
    """Tunes rows of keys and values in every layer, which stand before the begin row.

    Prefix tuning (Li and Liang 2021) without its reparametrisation: the numbers themselves are
    tuned. A row of a soft prompt enters at the bottom, and its keys and values above follow from
    it; here each layer has its own. Such rows are read by attention and predict nothing themselves,
    so that what comes after them is predicted by the begin row. `prompt` shows them as
    [part, layer, head, prompt, head_width], keys first, then values; the keys as the network
    compares them with queries: normed, or turned by their position.
    """

    language_rate: ClassVar[float] = 2e-2

    length: int = 6
    """Number of rows in each layer; 0 is no prompt."""
    initial: Literal["tokens", "normal", "zeros"] = "tokens"
    """Keys and values at the start. "tokens": those that the network has after random symbols, or
    random rows where it reads no symbols;
    "normal": small random numbers."""
    initial_tokens: tuple[int, ...] = eqx.field(default=(), converter=as_tuple)
    """With initial="tokens": these, repeated or cut to the length (empty: random symbols)."""
    learning_rate: float | None = None
    """Adam's learning rate where the fit settings give none (None: 5e-3, on language models
    2e-2)."""

    def __check_init__(self) -> None:
        check_initial_tokens(self.initial, self.initial_tokens)

    @classmethod
    def examples(cls) -> "tuple[KeyValuePrompt, ...]":
        return cls(length=2), cls(length=1, initial="normal")

    def suits(self, predictor: Predictor) -> None:
        network = network_of(predictor, self)
        network.remembered(network.blank())

    def row_width(self, predictor: Predictor) -> int:
        network = network_of(predictor, self)
        layers, heads, _, head_width = network.remembered(network.blank()).keys.shape
        return 2 * layers * heads * head_width

    def reading_bytes(self, predictor: Predictor) -> int:
        del predictor  # no layer computes anything for such rows
        return 0

    def prompt(self, key: Key[Array, ""], predictor: Predictor) -> "KeyValueRows":
        network = network_of(predictor, self)
        if self.initial == "tokens":
            tokens = initial_inputs(key, self.initial_tokens, self.length, network.outcome)
            memory = network.remembered(network.advance(network.blank(), tokens)[0])
            return KeyValueRows(memory.keys.astype(jnp.float32), memory.values.astype(jnp.float32))
        layers, heads, _, head_width = network.remembered(network.blank()).keys.shape
        shape = 2, layers, heads, self.length, head_width
        scale = SMALL if self.initial == "normal" else 0.0
        return KeyValueRows(*scale * jax.random.normal(key, shape))


class KeyValueRows(Prompt):
    """Keys and values that no layer computed."""

    keys: Float[Array, "*batch layer head prompt head_width"]
    values: Float[Array, "*batch layer head prompt head_width"]

    @property
    def before_begin(self) -> bool:
        return True

    def inputs(self) -> KeyValues:
        return KeyValues(self.keys, self.values)

    def shown(self) -> Float[Array, "part layer head prompt head_width"]:
        return jnp.stack([self.keys, self.values])
