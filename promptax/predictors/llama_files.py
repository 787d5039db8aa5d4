"""Trained llamas from files: GGUF, and folders in the Hugging Face format.

GGUF keeps the rows of queries and keys for rotary pairs that are neighbours; here they are put back
into halves.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from promptax import weights
from promptax.predictors.base import Network
from promptax.predictors.layers import Dense, Transposed
from promptax.predictors.llama import Llama, LlamaLayer, LlamaTorso
from promptax.specs import check

Dtype = Literal["float32", "bfloat16"]
Named = Iterator[tuple[str, np.ndarray]]

# our name: GGUF's, Hugging Face's
LAYER = {
    "before_attention": ("attn_norm", "input_layernorm"),
    "query": ("attn_q", "self_attn.q_proj"),
    "key": ("attn_k", "self_attn.k_proj"),
    "value": ("attn_v", "self_attn.v_proj"),
    "attention_output": ("attn_output", "self_attn.o_proj"),
    "before_mlp": ("ffn_norm", "post_attention_layernorm"),
    "gate": ("ffn_gate", "mlp.gate_proj"),
    "mlp_input": ("ffn_up", "mlp.up_proj"),
    "mlp_output": ("ffn_down", "mlp.down_proj"),
}
OUTSIDE = {
    "embedding": ("token_embd", "model.embed_tokens"),
    "norm": ("output_norm", "model.norm"),
    "unembedding": ("output", "lm_head"),
}
NORMS = ("before_attention", "before_mlp")


def from_gguf(path: Path, dtype: Dtype = "float32") -> Network:
    """The llama in a GGUF file."""
    about, tensors = weights.read_gguf(path)
    kind = about.get("general.architecture")
    _check_kind(kind, path)
    get = lambda name: about[f"llama.{name}"]  # noqa: E731
    heads = get("attention.head_count")
    spec = Llama(
        width=get("embedding_length"),
        depth=get("block_count"),
        heads=heads,
        key_heads=about.get("llama.attention.head_count_kv", heads),
        head_width=about.get("llama.rope.dimension_count", get("embedding_length") // heads),
        hidden=get("feed_forward_length"),
        rotary_base=float(about.get("llama.rope.freq_base", 1e4)),
        epsilon=round(float(get("attention.layer_norm_rms_epsilon")), 12),
        opens_with=about.get("tokenizer.ggml.bos_token_id"),
        tied=False,
        dtype=dtype,
    )
    where = {f"blk.{i}.{gguf}.weight": (i, ours) for ours, (gguf, _) in LAYER.items()
             for i in range(spec.depth)}  # fmt: skip
    where |= {f"{gguf}.weight": (None, ours) for ours, (gguf, _) in OUTSIDE.items()}

    def halves(ours: str, tensor: np.ndarray) -> np.ndarray:
        if ours not in ("query", "key"):
            return tensor
        pairs = tensor.reshape(-1, spec.head_width // 2, 2, tensor.shape[-1])
        return pairs.swapaxes(1, 2).reshape(tensor.shape)

    scaling = about.get("llama.rope.scaling.type", "none")
    check(
        scaling == "none",
        f"Expected rotary positions that are not rescaled; {path} has {scaling!r}.",
    )
    return _network(spec, tensors, where, path, halves, may_be_tied=True)


def from_folder(folder: Path, dtype: Dtype = "float32") -> Network:
    """The llama in a folder in the Hugging Face format."""
    config, tensors = weights.read_folder(folder)
    _check_kind(config.get("model_type"), folder)
    for name, plain in (("attention_bias", False), ("mlp_bias", False), ("hidden_act", "silu")):
        check(
            config.get(name, plain) == plain,
            f"Expected {name} {plain!r} in {folder / 'config.json'}; got {config.get(name)!r}, "
            "which this llama does not have.",
        )
    rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rotary.get("rope_type", rotary.get("type", "default"))
    check(
        kind == "default",
        f"Expected rotary positions that are not rescaled; {folder / 'config.json'} has {kind!r}.",
    )
    heads, begin = config["num_attention_heads"], config.get("bos_token_id")
    spec = Llama(
        width=config["hidden_size"],
        depth=config["num_hidden_layers"],
        heads=heads,
        key_heads=config.get("num_key_value_heads") or heads,
        head_width=config.get("head_dim") or config["hidden_size"] // heads,
        hidden=config["intermediate_size"],
        rotary_base=float(rotary.get("rope_theta") or config.get("rope_theta", 1e4)),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        tied=bool(config.get("tie_word_embeddings", False)),
        opens_with=begin[0] if isinstance(begin, list) else begin,
        dtype=dtype,
    )
    where = {f"model.layers.{i}.{theirs}.weight": (i, ours) for ours, (_, theirs) in LAYER.items()
             for i in range(spec.depth)}  # fmt: skip
    where |= {f"{theirs}.weight": (None, ours) for ours, (_, theirs) in OUTSIDE.items()}
    return _network(spec, tensors, where, folder, lambda ours, tensor: tensor)


def _check_kind(kind: Any, path: Path) -> None:
    check(
        kind == "llama",
        f"Expected the llama architecture; {path} has {kind!r}. Others of the same kind (SmolLM2, "
        "TinyLlama, Llama 2) say 'llama' there.",
    )


def _network(
    spec: Llama,
    tensors: Named,
    where: Mapping[str, tuple[int | None, str]],
    path: Path,
    halves: Callable[[str, np.ndarray], np.ndarray],
    may_be_tied: bool = False,
) -> Network:
    """The network from named tensors; each goes to its layer of a stacked array. One that may be
    tied is, if it has no unembedding."""
    query, other = spec.heads * spec.head_width, spec.key_heads * spec.head_width
    shapes = {
        "before_attention": (spec.width,),
        "query": (query, spec.width),
        "key": (other, spec.width),
        "value": (other, spec.width),
        "attention_output": (spec.width, query),
        "before_mlp": (spec.width,),
        "gate": (spec.hidden, spec.width),
        "mlp_input": (spec.hidden, spec.width),
        "mlp_output": (spec.width, spec.hidden),
    }
    stacked = {n: np.empty((spec.depth, *s), jnp.dtype(spec.dtype)) for n, s in shapes.items()}
    outside: dict[str, np.ndarray] = {}
    last = {n for n, at in where.items() if at[1] == "unembedding"}
    missing = set(where) - (last if spec.tied or may_be_tied else set())
    for name, tensor in tensors:
        check(
            "rope_freqs" not in name,
            f"Expected rotary positions that are not rescaled; {path} has {name}.",
        )
        if name not in where:
            continue
        layer, ours = where[name]
        missing.discard(name)
        if layer is None:
            outside[ours] = tensor
            continue
        got = halves(ours, tensor)
        check(
            got.shape == shapes[ours],
            f"Expected {name} of shape {shapes[ours]}; got {tensor.shape} in {path}.",
        )
        stacked[ours][layer] = got
    check(not missing, f"Expected {sorted(missing)[:3]} and more in {path}; they are missing.")
    embedding, norm = (jnp.asarray(outside[n], spec.dtype) for n in ("embedding", "norm"))
    check(
        embedding.ndim == 2 and embedding.shape[1] == spec.width and norm.shape == (spec.width,),
        f"Expected an embedding and a norm of width {spec.width} in {path}; got shapes "
        f"{embedding.shape} and {norm.shape}.",
    )
    last = None if spec.tied else outside.get("unembedding")
    check(
        last is None or last.shape == embedding.shape,
        f"Expected an unembedding of the embedding's shape, {embedding.shape}, in {path}; got "
        f"{None if last is None else last.shape}.",
    )
    spec = dataclasses.replace(spec, tied=last is None)
    layers: dict[str, Any] = {
        name: array if name in NORMS else Transposed(array)
        for name in shapes
        for array in [jnp.asarray(stacked.pop(name))]  # one after the other: half the memory
    }
    return Network(
        architecture=spec,
        embedding=Dense(embedding),
        torso=LlamaTorso(LlamaLayer(**layers), norm, spec),
        unembedding=None if last is None else Transposed(jnp.asarray(last, spec.dtype)),
    )
