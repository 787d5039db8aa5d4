"""The llama architecture: rotary positions, grouped-query attention, RMSNorm, SwiGLU.

Layers are stacked: every weight has a leading `layer` axis, and one compiled layer is scanned over
it. Rotary positions are in the half-split form of Hugging Face (Su et al. 2021; Touvron et al.
2023).
"""

import dataclasses
import functools
import math
import os
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.checks import kind_of
from promptax.files import path_of
from promptax.formats import fetch
from promptax.formats import llama as formats
from promptax.predictors.base import Architecture, Network
from promptax.predictors.parts.attention import (
    Heads,
    KeptRows,
    Past,
    Turn,
    append,
    attention,
    rotated,
    rotation,
)
from promptax.predictors.parts.layers import Dense, Layer, Stack, Transposed, check_depth, rms_norm
from promptax.predictors.torso import (
    BatchOutputs,
    BatchRows,
    Internals,
    Outputs,
    Remembered,
    Rows,
    Torso,
)
from promptax.protocol.outcomes import Outcome, as_outcome
from promptax.protocol.prompted import AnyPredictor, with_innermost
from promptax.specs import check, check_whole_numbers, later

NORMS = ("before_attention", "before_mlp")  # layers' vectors; all else is a matrix
LARGE = 256  # width from which micro-batches and several programs pay
INITIAL_SCALE = 0.02  # standard deviation of fresh weights, as in Touvron et al. 2023
MICRO_BATCH_ROWS = 1024  # rows to differentiate at a time: about 1.5 GiB for 135 million weights
PROMPT_ROWS = 512  # rows behind the prompts of a search that are read side by side: a third of the
# time for texts of 15 tokens; many more, and the rows no longer stay in a core's cache


class Llama(Architecture):
    """A llama: of any size from scratch, or with weights that somebody trained (`language`)."""

    width: int = 64
    """Width of the embedding and of every layer."""
    depth: int = 2
    """Number of layers."""
    heads: int = 4
    """Query heads."""
    key_heads: int = 2
    """Heads of keys and values; must divide the query heads."""
    head_width: int = 16
    """Width of each head; even."""
    hidden: int = 192
    """Width inside the feed-forward part."""
    rotary_base: float = 1e4
    """Slowest wavelength of the rotary positions, over 2π."""
    epsilon: float = 1e-5
    """Added to mean squares before their root is taken."""
    tied: bool = True
    """Whether the unembedding is the embedding's transpose."""
    opens_with: int | None = None
    """The symbol that opens every sequence (None: a row of zeros)."""
    rematerialise: bool = False
    """Keep less for the gradient and compute it again: slower, in less memory."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights and rows; log probabilities are float32."""
    context_length: int | None = later(None)
    """Rows that it was trained to read one after the other, prompts and what opens a sequence
    included: more are refused. None: any number (`longer`)."""

    def __check_init__(self) -> None:
        sizes = ("width", "depth", "heads", "key_heads", "head_width", "hidden")
        for name in sizes:
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")
        check_depth(self.depth)
        check(
            self.heads % self.key_heads == 0,
            f"Expected key_heads that divide the {self.heads} heads; got {self.key_heads}.",
        )
        check(
            self.context_length is None or self.context_length >= 2,
            f"Expected a context_length of at least 2, or None; got {self.context_length}.",
        )
        check(self.head_width % 2 == 0, f"Expected an even head_width; got {self.head_width}.")
        check(
            self.dtype in ("float32", "bfloat16"),
            f"Expected dtype 'float32' or 'bfloat16'; got {self.dtype!r}.",
        )

    @classmethod
    def examples(cls) -> "tuple[Llama, ...]":
        return (cls(width=8, heads=2, key_heads=1, head_width=4, hidden=12),)

    @staticmethod
    def smollm2_135m(dtype: Literal["float32", "bfloat16"] = "float32") -> Network:
        """SmolLM2-135M-Instruct, 134.5 million weights over 49,152 symbols (Allal et al. 2025),
        from the file that `promptax lm fetch` gets.

        Raises:
            FileNotFoundError: it was not fetched yet.
        """
        return Llama.from_gguf(fetch.smollm2_path(), dtype)

    @staticmethod
    def from_gguf(
        path: str | os.PathLike, dtype: Literal["float32", "bfloat16"] = "float32"
    ) -> Network:
        """The llama in a GGUF file, dequantised."""
        return _trained(formats.from_gguf(path_of(path), jnp.dtype(dtype)), dtype)

    @staticmethod
    def from_safetensors(
        folder: str | os.PathLike, dtype: Literal["float32", "bfloat16"] = "float32"
    ) -> Network:
        """The llama in a folder as Hugging Face writes it: config.json, safetensors (or shards).

        Raises:
            FileNotFoundError: files are missing.
            ValueError: another architecture, or a file that is truncated or foreign.
        """
        return _trained(formats.from_folder(path_of(folder), jnp.dtype(dtype)), dtype)

    def embedding_width(self) -> int:
        return self.width

    def output_width(self) -> int:
        return self.width

    def begin_token(self) -> int | None:
        return self.opens_with

    def build(self, key: Key[Array, ""], outcome: Outcome | int) -> Network:
        outcome = as_outcome(outcome)
        check(
            outcome.alphabet is not None or self.opens_with is None,
            f"Expected a llama without a begin token, since {outcome.words()} have no tokens; got "
            f"opens_with={self.opens_with}. Leave it out.",
        )
        tied = self.tied and outcome.alphabet is not None  # rows and parameters differ in width
        first, middle, last = jax.random.split(key, 3)
        unembedding = None if tied else self._fresh(last, outcome.parameter_width(), self.width)
        return Network(
            architecture=self,
            embedding=Dense(self._fresh(first, outcome.input_width(), self.width)),
            torso=self.torso(middle),
            unembedding=None if unembedding is None else Transposed(unembedding),
            row_outcome=None if outcome.alphabet else outcome,
        )

    def torso(self, key: Key[Array, ""]) -> "LlamaTorso":
        keys = iter(jax.random.split(key, 7))
        query_width, key_width = self.heads * self.head_width, self.key_heads * self.head_width

        def stacked(inputs: int, outputs: int) -> Transposed:
            return Transposed(self._fresh(next(keys), self.depth, outputs, inputs))

        def ones(*shape: int) -> Array:
            return jnp.ones(shape, self.dtype)

        layers = LlamaLayer(
            before_attention=ones(self.depth, self.width),
            query=stacked(self.width, query_width),
            key=stacked(self.width, key_width),
            value=stacked(self.width, key_width),
            attention_output=stacked(query_width, self.width),
            before_mlp=ones(self.depth, self.width),
            gate=stacked(self.width, self.hidden),
            mlp_input=stacked(self.width, self.hidden),
            mlp_output=stacked(self.hidden, self.width),
        )
        return LlamaTorso(layers, ones(self.width), self)

    def _fresh(self, key: Key[Array, ""], *shape: int) -> Array:
        return INITIAL_SCALE * jax.random.normal(key, shape, self.dtype)


def longer(predictor: AnyPredictor, context_length: int | None = None) -> AnyPredictor:
    """The llama, by itself or behind prompts, with another limit of what it reads: so many rows, or
    any number (None).

    Beyond the context that it was trained on, rotary positions come that it has never met: most
    models predict worse there by nats a token, without a word.

    Raises:
        TypeError: no llama.
        ValueError: a limit below 2.
    """
    return with_innermost(predictor, functools.partial(_changed, context_length=context_length))


def opened_by(predictor: AnyPredictor, token: int | None) -> AnyPredictor:
    """The llama, by itself or behind prompts, with another token that opens every sequence (None: a
    row of zeros).

    What opens a sequence says what kind of text comes: the token that opens a message of a chat is
    a bad start for prose, which many models saw behind the token that ends a text.

    Raises:
        TypeError: no llama.
        ValueError: a token outside the alphabet.
    """
    check_whole_numbers(token=token)
    return with_innermost(predictor, functools.partial(_changed, opens_with=token))


def _changed(predictor: Any, **changes: Any) -> Any:
    """The llama, its weights shared, with other settings."""
    if not (isinstance(predictor, Network) and isinstance(predictor.architecture, Llama)):
        got = predictor.architecture if isinstance(predictor, Network) else predictor
        raise TypeError(
            "Expected a llama, such as Llama.smollm2_135m(), or one behind prompts; got "
            f"{kind_of(got)}. Change the llama first, and steer or wrap it afterwards."
        )
    token = changes.get("opens_with")
    check(
        token is None or 0 <= token < predictor.symbols,
        f"Expected a token from 0 to {predictor.symbols - 1}; got {token}.",
    )
    spec = dataclasses.replace(predictor.architecture, **changes)
    torso = dataclasses.replace(predictor.torso, spec=spec)  # pyright: ignore[reportCallIssue]
    return dataclasses.replace(predictor, architecture=spec, torso=torso)


class LlamaLayer(Stack):
    """One layer's weights, or those of all layers with a leading `layer` axis."""

    before_attention: Float[Array, "*layer width"]
    query: Layer
    key: Layer
    value: Layer
    attention_output: Layer
    before_mlp: Float[Array, "*layer width"]
    gate: Layer
    mlp_input: Layer
    mlp_output: Layer


def _trained(read: formats.LlamaFile, dtype: Literal["float32", "bfloat16"]) -> Network:
    """The network of a trained llama. Its layers leave `read` one by one: half the memory."""
    spec = Llama(**read.fields, dtype=dtype)
    layers: dict[str, Any] = {}
    for name in list(read.layers):
        array = jnp.asarray(read.layers.pop(name))
        layers[name] = array if name in NORMS else Transposed(array)
    last = None if read.unembedding is None else jnp.asarray(read.unembedding, dtype)
    return Network(
        architecture=spec,
        embedding=Dense(jnp.asarray(read.embedding, dtype)),
        torso=LlamaTorso(LlamaLayer(**layers), jnp.asarray(read.norm, dtype), spec),
        unembedding=None if last is None else Transposed(last),
    )


class LlamaMemory(KeptRows):
    """What attention looks back at: keys, already rotated by their positions, and values."""

    keys: Float[Array, "layer *batch head row head_width"]
    values: Float[Array, "layer *batch head row head_width"]

    def rows_read(self) -> int | Array:
        return self.keys.shape[-2] if self.filled is None else self.filled

    def with_rows(self, keys: Heads, values: Heads) -> "LlamaMemory":
        add = jax.vmap(append, in_axes=(0, 0, None))
        keys, values = keys.astype(self.keys.dtype), values.astype(self.values.dtype)
        return LlamaMemory(
            self.filled_after(keys.shape[-2]),
            add(self.keys, keys, self.filled),
            add(self.values, values, self.filled),
        )


class LlamaTorso(Torso):
    """Layers one after the other, and a last norm."""

    forgets: ClassVar[bool] = True

    layers: LlamaLayer
    norm: Float[Array, " width"]
    spec: Llama = eqx.field(static=True)

    def start(self, capacity: int | None) -> LlamaMemory:
        spec = self.spec
        shape = spec.depth, spec.key_heads, capacity or 0, spec.head_width
        empty = jnp.zeros(shape, spec.dtype)
        return LlamaMemory(None if capacity is None else jnp.array(0), empty, empty)

    def advance(self, state: LlamaMemory, rows: Rows) -> tuple[LlamaMemory, Outputs, Internals]:
        return self._read(state, rows)

    def advance_batch(
        self, state: LlamaMemory, rows: BatchRows
    ) -> tuple[LlamaMemory, BatchOutputs, Internals]:
        return self._read(state, rows)

    def _read(self, state: LlamaMemory, rows: Array) -> tuple[LlamaMemory, Array, Internals]:
        spec = self.spec
        turn = rotation(state.rows_read(), rows.shape[-2], spec.head_width, spec.rotary_base)
        grows, kept = state.filled is None, Past(state.keys, state.values, state.filled)

        def layer(hidden: Array, given: Any) -> tuple:
            weights, past = given if grows else (self.layers.in_stack(given), kept.of_layer(given))
            hidden, *new = one_layer(spec, weights, hidden, turn, past)
            return hidden, tuple(new)

        # for the gradient, keep products with weights; what lies between them is soon made again
        products = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        layer = jax.checkpoint(layer, policy=None if spec.rematerialise else products)
        # a scan copies each layer's part of a stack, which costs single rows half of their time
        given = (self.layers, kept) if grows else jnp.arange(spec.depth)
        hidden, (keys, values) = jax.lax.scan(layer, rows.astype(spec.dtype), given)
        outputs = rms_norm(hidden, self.norm, spec.epsilon).astype(jnp.float32)
        return state.with_rows(keys, values), outputs, {"residual": hidden.astype(jnp.float32)}

    @property
    def context_length(self) -> int | None:
        return self.spec.context_length

    def rows_before(self, state: LlamaMemory) -> int | None:
        return state.keys.shape[-2] if state.filled is None else None

    def forget(self, state: LlamaMemory, rows: Int[Array, ""]) -> LlamaMemory:
        return state.without_last(rows)

    def remember(self, state: LlamaMemory, keys: Remembered, values: Remembered) -> LlamaMemory:
        return state.with_rows(keys, values)

    def remembered(self, state: LlamaMemory) -> tuple[Remembered, Remembered]:
        return state.keys, state.values

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("query", "key", "value", "attention_output")

    def reading_bytes(self, rows: int) -> int:
        spec = self.spec
        return 4 * rows * (spec.depth * 2 * spec.key_heads * spec.head_width + 2 * spec.hidden)

    @property
    def is_large(self) -> bool:
        return self.spec.width >= LARGE

    def micro_batch(self, batch: int, length: int) -> int:
        if not self.is_large:
            return batch
        return math.gcd(batch, 2 ** int(math.log2(max(1, MICRO_BATCH_ROWS // length))))

    def prompts_at_once(self, prompts: int, sequences: int, length: int) -> int:
        if not self.is_large or not platforms.on_cpu():
            return platforms.prompts_at_once(prompts)
        return min(prompts, max(1, PROMPT_ROWS // (sequences * length)))

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        if not self.is_large:
            return (length,)
        return tuple(sorted({max(1, math.ceil(length / part)) for part in (1, 2)}))


def one_layer(
    spec: Llama,
    weights: LlamaLayer,
    hidden: Float[Array, "*batch time width"],
    turn: Turn,
    past: Past,
) -> tuple[Float[Array, "*batch time width"], Heads, Heads]:
    """Read rows by one layer: its outputs, and the rows' keys (rotated) and values."""
    time, groups = hidden.shape[-2], spec.heads // spec.key_heads
    normed = rms_norm(hidden, weights.before_attention, spec.epsilon)
    query = rotated(_heads(weights.query(normed), spec.heads), turn)
    key = rotated(_heads(weights.key(normed), spec.key_heads), turn)
    value = _heads(weights.value(normed), spec.key_heads)
    shape = *query.shape[:-3], spec.key_heads, groups * time, spec.head_width
    query = query.reshape(shape) / math.sqrt(spec.head_width)
    hidden = hidden + weights.attention_output(attention(query, key, value, past, groups))
    normed = rms_norm(hidden, weights.before_mlp, spec.epsilon)
    inner = jax.nn.silu(weights.gate(normed)) * weights.mlp_input(normed)
    return hidden + weights.mlp_output(inner), key, value


def _heads(rows: Float[Array, "*batch time all"], heads: int) -> Heads:
    split = rows.reshape(*rows.shape[:-1], heads, rows.shape[-1] // heads)
    return jnp.swapaxes(split, -2, -3)
