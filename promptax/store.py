"""The only file that touches disk: specs as JSON, records as safetensors, results as netCDF.

No pickle, and nothing in a file is ever run. A write goes to a temporary file in the same folder,
which then takes the final name in one step: whoever opens that name finds the old file or the new
one, never half of one, even after a kill.
"""

import dataclasses
import difflib
import importlib.metadata
import io
import json
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import safetensors
import safetensors.numpy
import xarray as xr
from matplotlib.figure import Figure

from promptax.specs import Record, Spec, from_json, to_json

FORMAT = 1  # raise it when older versions could not read what is written
ENTRY = "promptax"  # our entry in the metadata of safetensors and netCDF files
RUN_MARK = ".promptax-run"  # a folder with this file was made by `new_run_folder`
_HDF5 = b"\x89HDF\r\n\x1a\n"


class StoreError(ValueError):
    """A file or folder is not what was expected."""


class StoredKey(Record):
    """A PRNG key array as its numbers, and the name of its algorithm."""

    data: Any
    algorithm: str


# --- save and load --------------------------------------------------------------------------


def save(path: str | os.PathLike, thing: Any) -> Path:
    """Write one file exactly at `path`; `load` returns an equal thing.

    A record (predictor, `Repeated`, fitted result, spec) or a nest of dicts, tuples and lists with
    records and arrays becomes safetensors; lists come back as tuples, NumPy arrays as JAX arrays.
    An xarray Dataset or DataTree becomes netCDF. A spec becomes plain JSON, as the command line
    reads it (`@FILE`), if the path ends in .json.

    Raises:
        StoreError: the thing has no form on disk, or the path cannot be a file.
    """
    path = Path(path)
    if isinstance(thing, xr.Dataset | xr.DataTree):
        marked = thing.copy()
        note = {"format": FORMAT, "kind": type(thing).__name__, "versions": _versions()}
        marked.attrs[ENTRY] = json.dumps(note)
        with _replacing(path) as temporary:
            marked.to_netcdf(temporary, engine="h5netcdf")
    elif path.suffix == ".json":
        _expect(
            isinstance(thing, Spec),
            f"Expected a spec (task, architecture, tuner, settings) for {path}; got "
            f"{type(thing).__name__}. Give the path another ending, such as .safetensors.",
        )
        write_text(path, json.dumps(to_json(thing), indent=1) + "\n")
    else:
        arrays = _Named()
        description = to_json(_keys_as_numbers(_checked_names(thing)), arrays)
        note = {"thing": description, "arrays": _table(arrays)}
        _write_arrays(path, arrays, note, kind="record")
    return path


def load(path: str | os.PathLike) -> Any:
    """What `save` wrote; the content of the file says what it is, not its name.

    Raises:
        FileNotFoundError: with the names that come close.
        StoreError: the file is truncated, foreign, or of a class that is not known here.
    """
    path = Path(path)
    _expect_file(path)
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(_HDF5):
        return _load_labelled(path)
    if b"\0" in head[:8]:  # the length of a safetensors header; no text has a zero byte
        return _load_record(path)
    if head.lstrip()[:1] == b"{":
        return _load_json(path)
    raise StoreError(
        f"Expected a file that promptax.save wrote; got {path} with {path.stat().st_size} bytes "
        "that are neither safetensors, netCDF nor JSON. It is foreign or truncated; save it again."
    )


def _load_labelled(path: Path) -> xr.Dataset | xr.DataTree:
    """netCDF into memory. Files by other programs are read too: their labels say what they are."""
    units_stay_words = xr.coders.CFTimedeltaCoder(decode_via_units=False)
    try:
        with xr.open_datatree(path, engine="h5netcdf", decode_timedelta=units_stay_words) as file:
            tree = file.load()
    except Exception as error:  # h5py has no exception of its own for a damaged file
        raise StoreError(_damaged(path, "netCDF", error)) from error
    note = _json(path, tree.attrs.pop(ENTRY, "{}"))
    _expect_format(path, note.get("format", FORMAT))
    is_tree = bool(tree.children) or note.get("kind") == "DataTree"
    return tree if is_tree else tree.to_dataset()


def _load_record(path: Path) -> Any:
    arrays, note = _read_arrays(path, kind="record")
    found = _table(arrays)
    for name, expected in note["arrays"].items():
        _expect(
            found.get(name) == expected,
            f"Expected array {name!r} of {expected[0]} {expected[1]} in {path}; got "
            f"{_words(found.get(name))}. The file was edited; save it again.",
        )
    with jax.enable_x64(True):  # 64-bit arrays stay what they were
        return _numbers_as_keys(_from_json(path, note["thing"], arrays))


def _load_json(path: Path) -> Any:
    data = _json(path, path.read_text(encoding="utf-8", errors="replace"))
    _expect(
        "class" in data,
        f'Expected the JSON of a spec, with a "class"; got {path} with {sorted(data)[:8]}. '
        "promptax.save(path, spec) writes one.",
    )
    return _from_json(path, data, None)


def _from_json(path: Path, data: Any, arrays: Mapping[str, np.ndarray] | None) -> Any:
    try:
        return from_json(data, arrays)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} cannot be read. {error}") from error


def _json(path: Path, text: str) -> dict:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise StoreError(_damaged(path, "JSON", error)) from error
    return data if isinstance(data, dict) else {}


class _Named(dict):
    """Arrays by name; two may not have the same one."""

    def __setitem__(self, name: str, array: np.ndarray) -> None:
        _expect(
            name not in self,
            f"Expected arrays with different names; got two named {name!r}. Take the '/' out of "
            "the dict's keys.",
        )
        super().__setitem__(name, array)


def _checked_names(thing: Any) -> Any:
    """The thing, if its dicts have keys that JSON keeps and that mean nothing else."""
    if isinstance(thing, Mapping):
        for key, part in thing.items():
            _expect(
                isinstance(key, str) and key not in ("class", "array"),
                f"Expected dict keys that are strings other than 'class' and 'array'; got {key!r}. "
                "Rename the key.",
            )
            _checked_names(part)
    elif isinstance(thing, list | tuple):
        for part in thing:
            _checked_names(part)
    elif isinstance(thing, Record):
        for field in dataclasses.fields(thing):
            _checked_names(getattr(thing, field.name))
    return thing


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _keys_as_numbers(thing: Any) -> Any:
    store = lambda key: StoredKey(jax.random.key_data(key), str(jax.random.key_impl(key)))  # noqa: E731
    if not any(map(_is_key, jax.tree.leaves(thing))):
        return thing
    return jax.tree.map(lambda leaf: store(leaf) if _is_key(leaf) else leaf, thing)


def _numbers_as_keys(thing: Any) -> Any:
    stored = lambda leaf: isinstance(leaf, StoredKey)  # noqa: E731
    if not any(map(stored, jax.tree.leaves(thing, is_leaf=stored))):
        return thing
    key = lambda leaf: jax.random.wrap_key_data(leaf.data, impl=leaf.algorithm)  # noqa: E731
    return jax.tree.map(lambda leaf: key(leaf) if stored(leaf) else leaf, thing, is_leaf=stored)


# --- arrays with a note beside them ---------------------------------------------------------


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray], note: dict, *, kind: str) -> None:
    note = {"format": FORMAT, "kind": kind, "versions": _versions(), **note}
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with _replacing(path) as temporary:
        safetensors.numpy.save_file(whole, temporary, {ENTRY: json.dumps(note)})


def _read_arrays(path: Path, *, kind: str) -> tuple[dict[str, np.ndarray], dict]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise StoreError(_damaged(path, "safetensors", error)) from error
    _expect(
        ENTRY in metadata,
        f"Expected a file that promptax wrote; got {path}, safetensors without a {ENTRY!r} entry "
        f"in its metadata ({len(arrays)} arrays). It comes from another program.",
    )
    note = _json(path, metadata[ENTRY])
    _expect_format(path, note.get("format"))
    _expect(
        note.get("kind") == kind,
        f"Expected a {kind}; got {path}, a {note.get('kind')}. Records are read by promptax.load, "
        "a checkpoint by the run that wrote it (--resume).",
    )
    return arrays, note


def _table(arrays: Mapping[str, np.ndarray]) -> dict[str, list]:
    """The dtype and shape of every array."""
    return {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}


def _words(entry: list | None) -> str:
    return "none of that name" if entry is None else f"{entry[0]} {entry[1]}"


# --- checkpoints ----------------------------------------------------------------------------


class Checkpoint:
    """Where a fit keeps its state, to resume from bit for bit.

    `every_seconds`: how long to wait between two saves; 0 saves whenever asked.
    """

    def __init__(self, path: str | os.PathLike, every_seconds: float = 30.0) -> None:
        self.path = Path(path)
        self.every_seconds = every_seconds
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved >= self.every_seconds

    def save(self, identity: str, state: Any) -> None:
        """Write the arrays of `state`, by their place in the tree, and which run they belong to."""
        arrays = {name: _numbers(name, leaf) for name, leaf in _named_leaves(state)}
        _write_arrays(self.path, arrays, {"identity": identity}, kind="checkpoint")
        self._saved = time.monotonic()

    def restore(self, identity: str, like: Any) -> Any | None:
        """The saved state as a tree like `like`, or None if nothing was saved yet.

        Raises:
            StoreError: the file is of another run, truncated or foreign, or its arrays do not fit.
        """
        if not self.path.exists():
            return None
        arrays, note = _read_arrays(self.path, kind="checkpoint")
        if note["identity"] != identity:
            raise StoreError(
                f"Expected a checkpoint of this run at {self.path}; got one of another run: "
                f"{_difference(note['identity'], identity)}. Resume with the old settings, or "
                "start anew: another --out, or --overwrite."
            )
        expected = {name: _numbers(name, leaf) for name, leaf in _named_leaves(like)}
        theirs, ours = _table(arrays), _table(expected)
        for name in sorted(theirs.keys() | ours.keys()):
            _expect(
                theirs.get(name) == ours.get(name),
                f"Expected {name} to be {_words(ours.get(name))} in {self.path}; got "
                f"{_words(theirs.get(name))}. It was written by other code: start anew.",
            )
        leaves = [_like(leaf, arrays[name]) for name, leaf in _named_leaves(like)]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _named_leaves(state: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(at), leaf) for at, leaf in jax.tree.leaves_with_path(state)]


def _numbers(name: str, leaf: Any) -> np.ndarray:
    """A leaf of a state as a NumPy array."""
    if _is_key(leaf):
        return np.asarray(jax.random.key_data(leaf))
    if not eqx.is_array_like(leaf):
        raise TypeError(
            f"Expected a state of arrays and numbers; got {type(leaf).__name__} at {name}. "
            "Partition it first: equinox.partition(state, equinox.is_array)."
        )
    return np.asarray(leaf)


def _like(leaf: Any, array: np.ndarray) -> Any:
    """The array as the kind of leaf that it was."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array):
        with jax.enable_x64(True):  # the dtype is the leaf's own, whatever the setting
            return jnp.asarray(array)
    return array if isinstance(leaf, np.ndarray) else type(leaf)(array[()])


def _difference(there: str, here: str) -> str:
    """The first field in which two runs differ, if both are described as JSON."""
    try:
        return _first_difference(json.loads(there), json.loads(here), "")
    except json.JSONDecodeError:
        return f"its identity is {there!r}, this run's is {here!r}"


def _first_difference(there: Any, here: Any, at: str) -> str:
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        there, here = dict(enumerate(there)), dict(enumerate(here))
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            pair = there.get(key, "nothing"), here.get(key, "nothing")
            if pair[0] != pair[1]:
                return _first_difference(*pair, f"{at}.{key}".strip("."))
    return f"{at or 'its identity'} was {there!r} and is {here!r} now"


# --- text, figures, folders -----------------------------------------------------------------


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write UTF-8 text in one step."""
    with _replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def write_figure(path: str | os.PathLike, figure: Figure, dots_per_inch: int = 200) -> Path:
    """Write a figure as what the path ends in, .png or .svg; the same figure, the same bytes."""
    path = Path(path)
    kind = path.suffix.lstrip(".").lower()
    known = sorted(figure.canvas.get_supported_filetypes())
    _expect(
        kind in known,
        f"Expected a figure's path to end in .png or .svg (or one of {known}); got {path.name!r}.",
    )
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    drawn = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": ENTRY}):
        figure.savefig(drawn, format=kind, dpi=dots_per_inch, metadata=undated)
    with _replacing(path) as temporary:
        temporary.write_bytes(drawn.getvalue())
    return path


def new_run_folder(path: str | os.PathLike, overwrite: bool = False) -> Path:
    """An empty folder for the results of one run.

    `overwrite` empties a folder that this function made before; others are never touched.

    Raises:
        StoreError: something is there already.
    """
    path = Path(path)
    _expect(not path.exists() or path.is_dir(), f"Expected a folder; {path} is a file.")
    if path.is_dir() and any(path.iterdir()):
        _expect(
            overwrite,
            f"Expected a new or empty folder for the results; {path} has files in it. Choose "
            "another --out, replace them with --overwrite, or continue that run with --resume.",
        )
        _expect(
            (path / RUN_MARK).exists(),
            f"Expected --overwrite to name the folder of an earlier run; {path} was not made by "
            "promptax, so its files are left alone. Choose another --out.",
        )
        for child in path.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    write_text(path / RUN_MARK, "")
    return path


def environment() -> dict[str, Any]:
    """What this ran on: versions, platform, device, number of CPUs."""
    return {
        **_versions(),
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "cpus": os.cpu_count(),
    }


def _versions() -> dict[str, str]:
    names = ("jax", "jaxlib", "equinox", "optax", "numpy")
    return {
        "python": platform.python_version(),
        "promptax": str(getattr(sys.modules["promptax"], "__version__", "unknown")),
        **{name: importlib.metadata.version(name) for name in names},
    }


# --- one step on disk, and what can be wrong with a file ------------------------------------


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes the name `path` if the body succeeds."""
    _expect(
        not path.is_dir() and path.name != "", f"Expected a file's path; {path} is a folder."
    )
    path = path.resolve()  # a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until the file, or the folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise StoreError(message)


def _expect_file(path: Path) -> None:
    _expect(not path.is_dir(), f"Expected a file; {path} is a folder. Name a file in it.")
    if not path.exists():
        there = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, there, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Check the path."
        raise FileNotFoundError(f"Expected a file at {path}; there is none. {hint}")


def _expect_format(path: Path, found: Any) -> None:
    _expect(
        found == FORMAT,
        f"Expected format {FORMAT}; got format {found} in {path}. Read it with the version of "
        "promptax that wrote it, or update promptax.",
    )


def _damaged(path: Path, kind: str, error: Exception) -> str:
    return (
        f"Expected a whole {kind} file; got {path} with {path.stat().st_size} bytes, which is "
        f"truncated or damaged ({error}). Copy it again or write it again."
    )
