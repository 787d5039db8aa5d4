"""Trained llamas from files: GGUF, and folders in the Hugging Face format.

GGUF keeps the rows of queries and keys for rotary pairs that are neighbours; here they are put back
into halves.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from promptax.formats import weights
from promptax.specs import check

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


class LlamaFile(NamedTuple):
    """A trained llama as numbers: what `Llama` and its network are built from.

    `fields`: those of `Llama`. `layers`: by our names, [layer, ...], in the order of LAYER.
    `unembedding` [symbol, width]: None where it is the embedding's transpose.
    """

    fields: dict[str, Any]
    layers: dict[str, np.ndarray]
    embedding: np.ndarray
    norm: np.ndarray
    unembedding: np.ndarray | None


def from_gguf(path: Path, dtype: Any) -> LlamaFile:
    """The llama in a GGUF file; its layers as numbers of that type."""
    header, tensors = weights.read_gguf(path)
    kind = header.get("general.architecture")
    _check_kind(kind, path)

    def get(name: str) -> Any:
        return header[f"llama.{name}"]

    heads = get("attention.head_count")
    fields: dict[str, Any] = dict(
        width=get("embedding_length"),
        depth=get("block_count"),
        heads=heads,
        key_heads=header.get("llama.attention.head_count_kv", heads),
        head_width=header.get("llama.rope.dimension_count", get("embedding_length") // heads),
        hidden=get("feed_forward_length"),
        rotary_base=float(header.get("llama.rope.freq_base", 1e4)),
        epsilon=round(float(get("attention.layer_norm_rms_epsilon")), 12),
        opens_with=header.get("tokenizer.ggml.bos_token_id"),
        tied=False,
    )
    where = {f"blk.{i}.{gguf}.weight": (i, ours) for ours, (gguf, _) in LAYER.items()
             for i in range(fields["depth"])}  # fmt: skip
    where |= {f"{gguf}.weight": (None, ours) for ours, (gguf, _) in OUTSIDE.items()}

    def halves(ours: str, tensor: np.ndarray) -> np.ndarray:
        if ours not in ("query", "key"):
            return tensor
        pairs = tensor.reshape(-1, fields["head_width"] // 2, 2, tensor.shape[-1])
        return pairs.swapaxes(1, 2).reshape(tensor.shape)

    scaling = header.get("llama.rope.scaling.type", "none")
    check(
        scaling == "none",
        f"Expected rotary positions that are not rescaled; {path} has {scaling!r}.",
    )
    return _read(fields, tensors, where, path, halves, dtype, may_be_tied=True)


def from_folder(folder: Path, dtype: Any) -> LlamaFile:
    """The llama in a folder in the Hugging Face format; its layers as numbers of that type."""
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
    fields: dict[str, Any] = dict(
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
    )
    where = {f"model.layers.{i}.{theirs}.weight": (i, ours) for ours, (_, theirs) in LAYER.items()
             for i in range(fields["depth"])}  # fmt: skip
    where |= {f"{theirs}.weight": (None, ours) for ours, (_, theirs) in OUTSIDE.items()}
    return _read(fields, tensors, where, folder, lambda ours, tensor: tensor, dtype)


def _check_kind(kind: Any, path: Path) -> None:
    check(
        kind == "llama",
        f"Expected the llama architecture; {path} has {kind!r}. Others of the same kind (SmolLM2, "
        "TinyLlama, Llama 2) say 'llama' there.",
    )


def _read(
    fields: dict[str, Any],
    tensors: Named,
    where: Mapping[str, tuple[int | None, str]],
    path: Path,
    halves: Callable[[str, np.ndarray], np.ndarray],
    dtype: Any,
    may_be_tied: bool = False,
) -> LlamaFile:
    """The llama from named tensors; each goes to its layer of a stacked array. One that may be
    tied is, if it has no unembedding."""
    width, hidden = fields["width"], fields["hidden"]
    query, other = (fields[heads] * fields["head_width"] for heads in ("heads", "key_heads"))
    shapes = {
        "before_attention": (width,),
        "query": (query, width),
        "key": (other, width),
        "value": (other, width),
        "attention_output": (width, query),
        "before_mlp": (width,),
        "gate": (hidden, width),
        "mlp_input": (hidden, width),
        "mlp_output": (width, hidden),
    }
    layers = {name: np.empty((fields["depth"], *shape), dtype) for name, shape in shapes.items()}
    outside: dict[str, np.ndarray] = {}
    last = {n for n, at in where.items() if at[1] == "unembedding"}
    missing = set(where) - (last if fields["tied"] or may_be_tied else set())
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
        layers[ours][layer] = got
    check(not missing, f"Expected {sorted(missing)[:3]} and more in {path}; they are missing.")
    embedding, norm = outside["embedding"], outside["norm"]
    check(
        embedding.ndim == 2 and embedding.shape[1] == width and norm.shape == (width,),
        f"Expected an embedding and a norm of width {width} in {path}; got shapes "
        f"{embedding.shape} and {norm.shape}.",
    )
    unembedding = None if fields["tied"] else outside.get("unembedding")
    check(
        unembedding is None or unembedding.shape == embedding.shape,
        f"Expected an unembedding of the embedding's shape, {embedding.shape}, in {path}; got "
        f"{None if unembedding is None else unembedding.shape}.",
    )
    return LlamaFile(fields | {"tied": unembedding is None}, layers, embedding, norm, unembedding)
