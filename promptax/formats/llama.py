"""Trained llamas from files: GGUF, and folders in the Hugging Face format.

GGUF keeps the rows of queries and keys for rotary pairs that are neighbours; here they are put back
into halves. Each tensor of a file must be one that the network has: what is there beyond, such as
the scales of quantised weights or biases, would change what the model computes, and is refused.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from promptax.files import expect
from promptax.formats import llama_settings, weights
from promptax.formats.settings import shown
from promptax.formats.weights import Shape, Tensors, expect_finite

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


Place = tuple[int | None, str]  # the layer (None: outside), and our name
INVERSE_RATES = re.compile(r"(.*\.)?rotary_emb\.inv_freq")  # older files keep what follows from θ
RATE_TOLERANCE = 1e-2  # relative; such files may have them in bfloat16


def from_gguf(path: Path, dtype: Any) -> LlamaFile:
    """The llama in a GGUF file; its layers as numbers of that type.

    Raises:
        FileNotFoundError: naming the files that are there.
        StoreError: another architecture, settings or tensors that are not known here, or a file
            that is truncated or foreign.
    """
    settings, tensors = weights.read_gguf(path)
    fields = llama_settings.from_gguf(settings)
    expect(
        "rope_freqs.weight" not in tensors.shapes,
        f"Expected rotary positions that are not rescaled; {path} has rope_freqs.weight.",
    )
    _expect_enough(fields["depth"], tensors)
    where: dict[str, Place] = {f"blk.{i}.{gguf}.weight": (i, ours)
             for ours, (gguf, _) in LAYER.items() for i in range(fields["depth"])}  # fmt: skip
    where |= {f"{gguf}.weight": (None, ours) for ours, (gguf, _) in OUTSIDE.items()}
    fields["tied"] = "output.weight" not in tensors.shapes

    def halves(ours: str, tensor: np.ndarray) -> np.ndarray:
        if ours not in ("query", "key"):
            return tensor
        pairs = tensor.reshape(-1, fields["head_width"] // 2, 2, tensor.shape[-1])
        return pairs.swapaxes(1, 2).reshape(tensor.shape)

    return _read(fields, tensors, where, halves, dtype)


def from_folder(folder: Path, dtype: Any) -> LlamaFile:
    """The llama in a folder in the Hugging Face format; its layers as numbers of that type.

    As in `transformers`, names may lack "model." (of a model saved without its unembedding), and an
    unembedding that differs from the embedding is one of its own, even where config.json ties them.

    Raises:
        FileNotFoundError: files are missing.
        StoreError: another architecture, settings or tensors that are not known here, or a file
            that is truncated or foreign.
    """
    settings, tensors = weights.read_folder(folder)
    fields = llama_settings.from_config(settings)
    _expect_enough(fields["depth"], tensors)
    tensors = _with_prefix(tensors)
    where: dict[str, Place] = {f"model.layers.{i}.{module}.weight": (i, ours)
             for ours, (_, module) in LAYER.items() for i in range(fields["depth"])}  # fmt: skip
    where |= {f"{module}.weight": (None, ours) for ours, (_, module) in OUTSIDE.items()}
    return _read(fields, tensors, where, lambda ours, tensor: tensor, dtype)


def _with_prefix(tensors: Tensors) -> Tensors:
    """The tensors by the names that they have in a whole model."""
    full = {
        name: name if name.startswith(("model.", "lm_head.")) else f"model.{name}"
        for name in tensors.shapes
    }
    expect(
        len(set(full.values())) == len(full),
        f"Expected each tensor once in {tensors.place}; some are there with and without 'model.' "
        "before their name. Save the model again.",
    )
    shapes = {full[name]: shape for name, shape in tensors.shapes.items()}
    return Tensors(
        tensors.place, shapes, lambda: ((full[name], array) for name, array in tensors.read())
    )


def _expect_enough(depth: int, tensors: Tensors) -> None:
    """Complain about a number of layers that the file cannot have, before they are listed."""
    expect(
        depth * len(LAYER) <= len(tensors.shapes),
        f"Expected {len(LAYER)} tensors for each of {depth:,} layers; {tensors.place} has "
        f"{len(tensors.shapes):,}. They are missing: copy all its files again.",
    )


def _read(
    fields: dict[str, Any],
    tensors: Tensors,
    where: dict[str, Place],
    halves: Callable[[str, np.ndarray], np.ndarray],
    dtype: Any,
) -> LlamaFile:
    """The llama from named tensors; each goes to its layer of a stacked array.

    `where`: the place of each tensor's name. Names and shapes are compared first: a file that does
    not fit takes no memory. `halves` puts the rows of queries and keys into our order.
    """
    place, symbols = tensors.place, fields.pop("vocab_size")
    shapes = _shapes(fields)
    _expect_fitting(fields, tensors, where, shapes, symbols)
    layers = {name: np.empty((fields["depth"], *shape), dtype) for name, shape in shapes.items()}
    outside: dict[str, np.ndarray] = {}
    for name, tensor in tensors.read():
        if INVERSE_RATES.fullmatch(name):
            _expect_rates(name, tensor, fields, place)
            continue
        with np.errstate(over="ignore"):  # which then shows
            numbers = tensor.astype(dtype, copy=False)
        expect_finite(name, numbers, place)
        layer, ours = where[name]
        if layer is None:
            outside[ours] = numbers
        else:
            layers[ours][layer] = halves(ours, numbers)
    last = outside.pop("unembedding", None)
    embedding = outside.get("embedding", last)
    assert embedding is not None
    tied = fields["tied"] and (last is None or np.array_equal(last, embedding))
    begin = fields["opens_with"]
    expect(
        begin is None or (type(begin) is int and 0 <= begin < len(embedding)),
        f"Expected a begin token from 0 to {len(embedding) - 1} in {place}; got {shown(begin)}. "
        "Correct bos_token_id, or leave it out.",
    )
    return LlamaFile(
        fields | {"tied": tied}, layers, embedding, outside["norm"], None if tied else last
    )


def _shapes(fields: dict[str, Any]) -> dict[str, Shape]:
    """The shape of each tensor of a layer, by our names."""
    width, hidden = fields["width"], fields["hidden"]
    query, other = (fields[heads] * fields["head_width"] for heads in ("heads", "key_heads"))
    return {
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


def _expect_fitting(
    fields: dict[str, Any],
    tensors: Tensors,
    where: dict[str, Place],
    shapes: dict[str, Shape],
    symbols: int | None,
) -> None:
    """Complain unless a file has each tensor of the network, in its shape, and nothing else."""
    place, listed = tensors.place, tensors.shapes
    names = {ours: name for name, (layer, ours) in where.items() if layer is None}
    left_out = names["unembedding"]
    if fields["tied"] and names["embedding"] not in listed:  # either of the two is both
        left_out = names["embedding"]
    missing = sorted(set(where) - set(listed) - ({left_out} if fields["tied"] else set()))
    expect(not missing, f"Expected {missing[:3]} and more in {place}; they are missing.")
    others = sorted(n for n in listed if n not in where and not INVERSE_RATES.fullmatch(n))
    expect(
        not others,
        f"Expected the tensors of a llama and no others in {place}; got {shown(others[:3])} "
        f"({len(others)} in all), such as biases or the scales of quantised weights. They would "
        "change what it computes: save the model plain, dequantised and with adapters merged.",
    )
    of_table = listed.get(names["embedding"], listed.get(names["unembedding"], ()))
    rows = symbols or (of_table[0] if of_table else 1)
    table = rows, fields["width"]
    expected = {"embedding": table, "unembedding": table, "norm": (fields["width"],), **shapes}
    for name, (_, ours) in where.items():
        expect(
            name not in listed or listed[name] == expected[ours],
            f"Expected {name} of shape {expected[ours]}; got {listed.get(name)} in {place}. Its "
            "settings and its weights are of different models.",
        )


def _expect_rates(name: str, tensor: np.ndarray, fields: dict[str, Any], place: Path) -> None:
    """Complain about rates of rotary positions that contradict θ."""
    half = fields["head_width"] // 2
    rates = fields["rotary_base"] ** (-np.arange(half) / half)
    expect(
        tensor.shape == rates.shape
        and bool(np.allclose(tensor.astype(np.float64), rates, rtol=RATE_TOLERANCE)),
        f"Expected {name} in {place} as it follows from rope_theta; got other rates. Correct "
        "rope_theta, or remove the tensor.",
    )
