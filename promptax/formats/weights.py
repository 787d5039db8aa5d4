"""Weights that others trained, as named arrays: from GGUF files, Hugging Face folders and adapters.

What is there is listed first, name by name with its shape, before any of it is read: a file that
claims billions, or holds what nobody asks for, is so found out before memory is taken.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from promptax import files, platforms
from promptax.files import StoreError, expect
from promptax.formats import fetch, gguf
from promptax.formats.settings import (
    HUGGING_FACE,
    POINTER,
    Object,
    Settings,
    expect_no_pointer,
    read_object,
    shown,
)

Weights = dict[str, np.ndarray]
Config = Object
Shape = tuple[int, ...]
Named = Iterator[tuple[str, np.ndarray]]

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PLAIN = ("F64", "F32", "F16", "BF16")  # safetensors' names of numbers that need no scale
FLOAT64 = 28  # GGML's number for them; the package gguf does not read it
PICKLE = "Weights in a .bin or .pt file are a pickle, which is not read: save them as safetensors."


class Tensors(NamedTuple):
    """The tensors of a file or a folder."""

    place: Path
    """Where they are, for messages."""
    shapes: dict[str, Shape]
    """What is there, by name, rows first; known before anything is read."""
    read: Callable[[], Named]
    """Reads one after the other, as numbers of 16 bits or more."""


def read_gguf(path: Path) -> tuple[Settings, Tensors]:
    """Read what a GGUF file says about itself, and list its tensors, which are dequantised to
    float32 as they are read.

    Raises:
        StoreError: the file is truncated, no GGUF file, quantised in a way that is not known, or
            was fetched and has changed since.
        ValueError: the package `gguf` is not installed.
    """
    header = gguf.read(path)
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError as error:
        raise ValueError(
            f"Expected the package gguf to read {path.name}; it is not installed. "
            f"{platforms.how_to_install('lm')}"
        ) from error
    raw = np.memmap(path, np.uint8, "r")
    pieces: dict[str, tuple[Any, Shape]] = {}  # a tensor's type, and its shape in bytes
    for name, place in header.tensors.items():
        try:
            kind = GGMLQuantizationType(place.kind)
            pieces[name] = kind, tuple(quants.quant_shape_to_byte_shape(place.shape, kind))
        except (ValueError, KeyError, IndexError) as error:
            raise StoreError(
                f"Expected numbers that the package gguf knows in {path}; got {name} of shape "
                f"{place.shape} and type {place.kind} ({error}). A newer gguf may know it; or "
                "quantise the model anew, such as with Q8_0."
            ) from error
    _expect_apart(path, len(raw), {n: (header.tensors[n].offset, math.prod(shape))
                                   for n, (_, shape) in pieces.items()})  # fmt: skip

    def tensors() -> Named:
        with fetch.verified(path):
            yield from dequantised()

    def dequantised() -> Named:
        for name, (kind, shape) in pieces.items():
            begin = header.tensors[name].offset
            data = raw[begin : begin + math.prod(shape)].reshape(shape)
            try:
                plain = data.view("<f8") if int(kind) == FLOAT64 else quants.dequantize(data, kind)
            except (NotImplementedError, ValueError) as error:
                raise StoreError(
                    f"Expected numbers that the package gguf can dequantise in {path}; got {name} "
                    f"of type {kind!r} ({error}). Quantise the model anew, such as with Q8_0."
                ) from error
            yield name, plain

    shapes = {name: place.shape for name, place in header.tensors.items()}
    return Settings(header.values, path), Tensors(path, shapes, tensors)


def _expect_apart(path: Path, size: int, places: dict[str, tuple[int, int]]) -> None:
    """Complain about tensors that go beyond the file's end, or lie in one another."""
    end, before = 0, ""
    for name, (begin, count) in sorted(places.items(), key=lambda item: item[1]):
        expect(
            begin + count <= size,
            f"Expected a whole GGUF file; {path} with {size:,} bytes ends within {name}. Fetch or "
            "copy it again.",
        )
        expect(
            begin >= end,
            f"Expected tensors apart from one another in {path}; {name} begins within {before}. "
            "The file is damaged: fetch or copy it again.",
        )
        end, before = begin + count, name


def read_folder(folder: Path) -> tuple[Settings, Tensors]:
    """Read `config.json` of a Hugging Face folder, and list its tensors: of `model.safetensors` or,
    where there is none, of the shards that an index names.

    `transformers` takes the single file too where both are there; its `save_pretrained` leaves
    the index of older shards in place.

    Raises:
        FileNotFoundError: no such folder, or files are missing from it.
        StoreError: a file is truncated or foreign.
    """
    expect(
        not folder.is_file(),
        f"Expected a folder or a GGUF file; got the file {folder}. {HUGGING_FACE}",
    )
    config = folder / "config.json"
    settings = Settings(read_object(config, _hint(folder)), config)
    names = [SINGLE]
    if not (folder / SINGLE).is_file() and (folder / INDEX).is_file():
        names = _shards(folder / INDEX)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        files_there = sorted(file.name for file in folder.iterdir())
        has_pickle = any(name.endswith((".bin", ".pt")) for name in files_there)
        raise FileNotFoundError(
            f"Expected the weights {missing[0]} in {folder}; there are {files_there}. Copy the "
            f"whole folder. {PICKLE if has_pickle else ''}".rstrip()
        )
    return settings, _listed(folder, [folder / name for name in names])


def _hint(folder: Path) -> str:
    """What to do where there is no config.json."""
    models = sorted(folder.glob("*.gguf")) if folder.is_dir() else []
    return f"Did you mean {models[0]}?" if models else HUGGING_FACE


def _shards(index: Path) -> list[str]:
    """The names of the files that an index names, each a file of the index's own folder."""
    places = read_object(index).get("weight_map")
    expect(
        isinstance(places, dict)
        and len(places) > 0
        and all(isinstance(name, str) for name in places.values()),
        f"Expected weight_map in {index}, which names the file of each tensor; got "
        f"{shown(places)}. Copy it again.",
    )
    assert isinstance(places, dict)
    names = sorted(set(places.values()))
    strange = [name for name in names if Path(name).name != name or "\0" in name]
    expect(
        not strange,
        f"Expected names of files beside {index}; got {shown(strange[:1])}, which leads elsewhere.",
    )
    return names


def _listed(place: Path, paths: list[Path]) -> Tensors:
    """List the tensors of safetensors files."""
    shapes: dict[str, Shape] = {}
    kinds: dict[str, str] = {}
    for path in paths:
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118
                expect(
                    name not in shapes,
                    f"Expected each tensor once in {place}; {name} is in {path.name} and in "
                    "another file. Remove the files that do not belong to the model.",
                )
                part = file.get_slice(name)
                shapes[name], kinds[name] = tuple(part.get_shape()), part.get_dtype()
    quantised = {name: kind for name, kind in kinds.items() if kind not in PLAIN}
    expect(
        not quantised,
        f"Expected plain numbers ({', '.join(PLAIN)}) in {place}; got "
        f"{', '.join(f'{name} of {kind}' for name, kind in sorted(quantised.items())[:2])}. "
        "Quantised weights mean nothing without their scales: save the model dequantised.",
    )

    def tensors() -> Named:
        for path in paths:
            with _opened(path) as file, _opened(path, "numpy") as in_numpy:
                for name in file.keys():  # noqa: SIM118
                    wide = kinds[name] == "F64"  # which JAX would cut to 32 bits, with a warning
                    yield name, np.asarray((in_numpy if wide else file).get_tensor(name))

    return Tensors(place, shapes, tensors)


def _opened(path: Path, framework: str = "flax") -> Any:
    """A safetensors file; `flax` reads bfloat16 too."""
    try:
        return safetensors.safe_open(path, framework=framework)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        with files.mapped(path) as data:
            expect_no_pointer(path, data[: len(POINTER)])
        raise StoreError(
            f"Expected a whole safetensors file; got {path} with {path.stat().st_size:,} bytes, "
            f"which is truncated or foreign ({error}). Copy it again."
        ) from error


ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base_model_name_or_path"  # the model that an adapter is for


def read_adapter(folder: Path) -> tuple[Settings, Weights]:
    """The configuration of a PEFT adapter folder, and its tensors by name.

    Raises:
        FileNotFoundError: no such folder, or files are missing from it.
        StoreError: a file is truncated or foreign.
    """
    hint = f"Name a folder that PEFT's save_pretrained wrote: {ADAPTER_CONFIG}, {ADAPTER_WEIGHTS}."
    config, weights = folder / ADAPTER_CONFIG, folder / ADAPTER_WEIGHTS
    settings = Settings(read_object(config, hint), config)
    if not weights.is_file():
        raise FileNotFoundError(
            f"Expected {ADAPTER_WEIGHTS} in {folder}; there are "
            f"{sorted(file.name for file in folder.iterdir())}. Weights in a .bin file are a "
            "pickle, which is not read: have PEFT save them again, safely."
        )
    tensors = dict(_listed(folder, [weights]).read())
    for name, tensor in tensors.items():
        expect_finite(name, tensor, weights)
    return settings, tensors


def expect_as_written(folder: Path, settings: Settings, tensors: Weights) -> None:
    """Complain unless an adapter is what promptax wrote there. What others wrote has no digest."""
    with _opened(folder / ADAPTER_WEIGHTS) as file:
        digest = (file.metadata() or {}).get(files.ENTRY)
    expect(
        digest is None or digest == _digest_of_adapter(settings.values, tensors),
        f"Expected {folder} as promptax wrote it; its settings or its tensors differ from their "
        "digest: they were damaged or edited. Copy the folder again, or save the adapter again: "
        "promptax.language.adapters.save_adapter.",
    )


def adapter_files(config: Config, tensors: Weights) -> dict[str, bytes]:
    """The files of an adapter folder, by name; a digest of both is in that of the tensors, in an
    entry that PEFT passes over."""
    metadata = {"format": "pt", files.ENTRY: _digest_of_adapter(config, tensors)}
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    return {
        ADAPTER_CONFIG: text.encode(),
        ADAPTER_WEIGHTS: safetensors.numpy.save(tensors, metadata),
    }


def _digest_of_adapter(config: Mapping[str, Any], tensors: Weights) -> str:
    """A digest of an adapter, whatever its base is called: people write down where they have it."""
    named = {key: value for key, value in config.items() if key != BASE}
    return digest_of_arrays(json.dumps(named, sort_keys=True), tensors)


STORED = (  # dtypes that safetensors and NumPy both know, and bfloat16
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "bfloat16", "float32", "float64", "complex64",
)  # fmt: skip


def as_stored(name: str, array: Any) -> np.ndarray:
    """An array with its bytes in the order that the file has, row by row."""
    array = np.asarray(array, order="C")
    if not array.dtype.isnative:  # such as the big-endian arrays of FITS and netCDF
        array = array.astype(array.dtype.newbyteorder("="))
    expect(
        array.dtype.name in STORED,
        f"Expected arrays of {', '.join(STORED)}; got {array.dtype} at {name!r}. Turn it into one "
        "of these first: array.astype(...).",
    )
    return array


def digest_of_arrays(note: str, arrays: Mapping[str, np.ndarray]) -> str:
    """A digest of a note and of all bytes of arrays by name, in whatever order they are."""
    digest = begun_digest(note)
    for name in sorted(arrays):
        add_to_digest(digest, name, arrays[name])
    return digest.hexdigest()


def begun_digest(note: str) -> Any:
    """A digest of a note; arrays are added in the order of their names."""
    return hashlib.sha256(note.encode())


def add_to_digest(digest: Any, name: str, array: np.ndarray) -> None:
    """Add an array to a digest."""
    digest.update(name.encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def expect_finite(name: str, tensor: np.ndarray, place: Path) -> None:
    """Complain about numbers that are not finite."""
    flat = tensor.reshape(-1)
    if tensor.dtype.name == "bfloat16":  # slow to add up; all ones in the exponent: not finite
        is_finite = not ((flat.view(np.uint16) & 0x7F80) == 0x7F80).any()
    else:  # a sum shows it in a third of the time; it may overflow where no number does
        with np.errstate(all="ignore"):
            is_finite = bool(np.isfinite(flat.sum())) or bool(np.isfinite(flat).all())
    expect(
        is_finite,
        f"Expected finite numbers in {name} of {place}; got NaN, infinity, or more than "
        f"{tensor.dtype} can hold. The file is damaged, or its training went astray.",
    )
