"""Prompts as PEFT keeps them: one row of numbers for each row of the prompt."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.files import expect
from promptax.formats.settings import Settings
from promptax.formats.weights import Config, Weights
from promptax.predictors.llama import Llama
from promptax.protocol.predictor import Embedded, KeyValues, rows_in
from promptax.protocol.prompted import Prompt
from promptax.specs import check
from promptax.steering.prompts.key_value_prompt import KeyValueRows
from promptax.steering.prompts.soft_prompt import SoftRows

PROMPT = "prompt_embeddings"


def describe(spec: Llama, prompt: Prompt) -> tuple[Config, dict[str, Array]]:
    """PEFT's settings and tensors for a prompt of that llama.

    Raises:
        ValueError: PEFT cannot read such a prompt, or not there.
    """
    inputs = prompt.inputs()
    check(
        isinstance(inputs, Embedded | KeyValues),
        f"Expected embedding rows, or keys and values; got a prompt of {type(prompt).__name__}. "
        "PEFT knows SoftPrompt(before_begin=True) and KeyValuePrompt.",
    )
    check(
        prompt.before_begin,
        "Expected a prompt that stands before the begin row, where PEFT puts it; got one that "
        "stands after it, which predicts otherwise. Tune it there: SoftPrompt(before_begin=True).",
    )
    check(rows_in(inputs) > 0, "Expected a prompt of at least one row; got none.")
    config: Config = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": rows_in(inputs),
        "num_transformer_submodules": 1,
        "num_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "token_dim": spec.width,
    }
    if isinstance(inputs, Embedded):
        return config, {PROMPT: inputs.rows}
    config |= {
        "peft_type": "PREFIX_TUNING",
        "num_attention_heads": spec.key_heads,
        "token_dim": spec.key_heads * spec.head_width,
        "prefix_projection": False,
    }
    parts = jnp.stack([inputs.keys, inputs.values], axis=1)  # [layer, part, head, prompt, each]
    return config, {PROMPT: jnp.moveaxis(parts, 3, 0).reshape(rows_in(inputs), -1)}


def soft_rows(spec: Llama, config: Settings, tensors: Weights) -> SoftRows:
    """The embedding rows [prompt, embedding] of an adapter of type PROMPT_TUNING, or of P_TUNING,
    of which PEFT saves what its encoder makes of the rows."""
    rows = _rows(config, tensors, spec.width, "the embedding's width")
    return SoftRows(rows, before_begin=True)


def keys_and_values(spec: Llama, config: Settings, tensors: Weights) -> KeyValueRows:
    """The keys and values of an adapter of type PREFIX_TUNING. With `prefix_projection` the file
    holds what PEFT's small network computes, too."""
    shape = spec.depth, 2, spec.key_heads, spec.head_width
    what = f"{spec.depth} layers · 2 · {spec.key_heads} heads of keys · {spec.head_width}"
    rows = _rows(config, tensors, math.prod(shape), what)
    cut = {"num_layers": spec.depth, "num_attention_heads": spec.key_heads}
    for key, number in cut.items():  # other numbers may have the same product
        config.require(key, (number,), "of another model, or edited.")
    parts = jnp.moveaxis(rows.reshape(-1, *shape), 0, 3)  # [layer, part, head, prompt, each]
    return KeyValueRows(parts[:, 0], parts[:, 1])


def _rows(
    config: Settings, tensors: Weights, width: int, what: str
) -> Float[Array, "prompt width"]:
    place = config.path.parent
    expect(
        set(tensors) == {PROMPT},
        f"Expected the tensor {PROMPT!r} alone in {place}; got {sorted(tensors)[:4]}. Was it saved "
        "by PEFT?",
    )
    shape, expected = tensors[PROMPT].shape, (config.whole_number("num_virtual_tokens"), width)
    expect(
        shape == expected,
        f"Expected {PROMPT} of shape {expected}: num_virtual_tokens, and {what}; got {shape} in "
        f"{place}. The adapter belongs to another model, or was edited.",
    )
    return jnp.asarray(tensors[PROMPT], jnp.float32)
