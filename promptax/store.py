"""What files hold: specs as JSON, records as safetensors, results as netCDF, figures.

No pickle, and nothing in a file is ever run. How they get to disk, in one step: `files`. Each
carries a digest of its content, so that a flipped bit is noticed when it is read.
"""

import codecs
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax.tree_util import DictKey, keystr

from promptax import platforms
from promptax.checks import kind_of, warn
from promptax.files import (
    DIGEST,
    ENTRY,
    StoreError,
    expect,
    expect_file,
    path_of,
    read_json,
    remove_temporaries_of,
    replacing,
    write_bytes,
    write_json,
)
from promptax.formats.identities import agree, difference
from promptax.formats.weights import add_to_digest, as_stored, begun_digest, digest_of_arrays
from promptax.specs import Arrays, Record, Spec, from_json, to_json

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray as xr  # takes long to import; annotations alone need it here

FORMAT = 1  # raise it when older versions could not read what is written


class StoredKey(Record):
    """A PRNG key array as its numbers, and the name of its algorithm."""

    data: Any
    algorithm: str

    @classmethod
    def of(cls, key: Any) -> "StoredKey":
        """Take a key array apart, so that it can be stored."""
        return cls(jax.random.key_data(key), str(jax.random.key_impl(key)))

    def key(self) -> Any:
        """Put the key array together again."""
        return jax.random.wrap_key_data(self.data, impl=self.algorithm)


def save(path: str | os.PathLike, thing: Any) -> Path:
    """Write one file exactly at `path`; `load` returns an equal thing.

    A record (predictor, `Repeated`, fitted result, spec) or a nest of dicts, tuples and lists with
    records and arrays becomes safetensors; lists come back as tuples, NumPy arrays as JAX arrays.
    An xarray Dataset, DataTree or DataArray becomes netCDF. A spec becomes plain JSON, as the
    command line reads it (`@FILE`), if the path ends in .json. Every file carries a digest, which
    `load` verifies.

    Raises:
        StoreError: the thing has no form on disk, or the path cannot be a file.
    """
    import xarray as xr

    path = path_of(path)
    if isinstance(thing, xr.Dataset | xr.DataTree | xr.DataArray):
        from promptax.formats import netcdf

        note = {"format": FORMAT, "environment": platforms.environment()}
        # through memory: HDF5 brings the process down if the disk is full
        write_bytes(path, netcdf.encoded(thing, note))
    elif path.suffix == ".json":
        expect(
            isinstance(thing, Spec),
            f"Expected a spec (task, architecture, tuner, settings) for {path}; got "
            f"{kind_of(thing)}. Give the path another ending, such as .safetensors.",
        )
        write_json(path, to_json(thing))
    else:
        _check_dict_keys(thing)
        _write(path, "record", thing)
    return path


def load(path: str | os.PathLike) -> Any:
    """Read what `save` wrote. The content of the file says what it is, not its name.

    A run folder stands for its predictor: `promptax pretrain --out runs/base`, `load("runs/base")`.

    Raises:
        FileNotFoundError: with the names that come close.
        StoreError: the file is truncated, foreign, or of an unknown class; a folder holds none.
    """
    path = path_of(path)
    path = _predictor_in(path) if path.is_dir() else path
    expect_file(path)
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _load_labelled(path)
    if b"\0" in head[:8]:  # the length of a safetensors header; no text has a zero byte
        return _read(path, "record")[0]
    if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{":
        data = read_json(path)
        expect("class" in data, f'Expected the JSON of a spec, with a "class"; {path} has none.')
        return _from_json(path, data)
    raise StoreError(
        f"Expected a file that promptax.save wrote; got {path} with {path.stat().st_size} bytes "
        "that are neither safetensors, netCDF nor JSON. It is foreign or truncated; save it again."
    )


def _predictor_in(folder: Path) -> Path:
    """The file of a run folder's predictor: that of its fit, or else the only one."""
    if (of_fit := folder / "predictor.safetensors").exists():
        return of_fit
    there = {*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")}
    names = sorted(f.relative_to(folder).as_posix() for f in there if f.stem != "checkpoint")
    if len(names) == 1:
        return folder / names[0]
    which = f"holds {', '.join(names)}. Name one of them" if names else "is a folder without one"
    raise StoreError(f"Expected a file, or a run folder with one predictor; {folder} {which}.")


def _load_labelled(path: Path) -> "xr.Dataset | xr.DataTree | xr.DataArray":
    """Read netCDF into memory. Files by other programs are read too; they have no digest."""
    from promptax.formats import netcdf

    thing, note = netcdf.decoded(path)
    _check_note(path, note or {"format": FORMAT, "digest": True})
    return thing


def _from_json(path: Path, data: Any, arrays: Arrays | None = None) -> Any:
    try:
        return from_json(data, arrays)
    except (ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} cannot be read. {error}") from error


def _json(path: Path, text: str) -> dict:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, "JSON", error) from error


def _check_note(path: Path, note: dict) -> None:
    """Complain if this version cannot read that format. Tell if damage could not be noticed."""
    expect(
        note.get("format") == FORMAT,
        f"Expected format {FORMAT}; got format {note.get('format')} in {path}. Read it with the "
        "version of promptax that wrote it, or update promptax.",
    )
    if not note.get("digest"):
        warn(
            f"{path} was written before files had digests: damage to it cannot be noticed. Save "
            "it again."
        )


def _write(path: Path, kind: str, thing: Any, **extra: str) -> None:
    arrays: Arrays = {}
    described = to_json(_exchanged(thing, _is_key, StoredKey.of), arrays)
    note = {"format": FORMAT, "kind": kind, "environment": platforms.environment(), **extra}
    whole = {name: as_stored(name, array) for name, array in arrays.items()}
    looks = {name: _look(content) for name, content in whole.items()}
    note |= {"digest": True, "thing": described, "arrays": looks}
    text = json.dumps(note)
    metadata = {ENTRY: text, DIGEST: digest_of_arrays(text, whole)}
    with replacing(path) as temporary:
        safetensors.numpy.save_file(whole, temporary, metadata)


def _read(path: Path, kind: str) -> tuple[Any, dict]:
    """The thing that was written, and the note."""
    arrays: Arrays = {}
    try:
        with (
            safetensors.safe_open(path, framework="numpy") as file,
            ThreadPoolExecutor(1) as thread,
        ):
            metadata = file.metadata() or {}
            digest, added = begun_digest(metadata.get(ENTRY, "")), []
            for name in sorted(file.keys()):
                arrays[name] = file.get_tensor(name)
                added.append(thread.submit(add_to_digest, digest, name, arrays[name]))
            for future in added:  # in another thread, while others are read
                future.result()
    except safetensors.SafetensorError as error:
        raise _damaged(path, "safetensors", error) from error
    expect(
        ENTRY in metadata,
        f"Expected a file that promptax wrote; got {path}, safetensors without a {ENTRY!r} entry "
        f"in its metadata ({len(arrays)} arrays). It comes from another program, or is an adapter, "
        "which promptax.language.adapters.load_adapter reads.",
    )
    note = _json(path, metadata[ENTRY])
    _check_note(path, note)
    is_as_written = metadata.get(DIGEST) == digest.hexdigest()
    if not is_as_written and (note.get("digest") or DIGEST in metadata):
        raise _damaged(path, "safetensors", "its content differs from its digest")
    expect(
        note.get("kind") == kind,
        f"Expected a {kind}; got {path}, a {note.get('kind')}. Records are read by promptax.load, "
        "a checkpoint by the run that wrote it (--resume).",
    )
    for name, look in note["arrays"].items():
        got = _look(arrays[name]) if name in arrays else "none of that name"
        hint = "The file was edited or is incomplete; write it again."
        expect(got == look, f"Expected array {name!r} in {path}: {look}; got {got}. {hint}")
    with jax.enable_x64(True):  # 64-bit arrays stay what they were
        thing = _from_json(path, note["thing"], arrays)
        return _exchanged(thing, lambda leaf: isinstance(leaf, StoredKey), StoredKey.key), note


def _look(leaf: Any) -> str:
    """The dtype and shape of an array, or the type of another leaf: what two leaves must share for
    one to stand for the other."""
    return f"{leaf.dtype} {list(leaf.shape)}" if eqx.is_array(leaf) else type(leaf).__name__


def _check_dict_keys(thing: Any) -> None:
    """Complain about dict keys that JSON would change or that mean something else there."""
    for path, _ in jax.tree.leaves_with_path(thing, is_leaf=lambda leaf: leaf is None):
        for key in [at.key for at in path if isinstance(at, DictKey)]:
            expect(
                isinstance(key, str) and "/" not in key and key not in ("class", "array"),
                f"Expected dict keys that are words without '/', not 'class' or 'array'; got "
                f"{key!r}. Rename it.",
            )


def _is_key(leaf: Any) -> bool:
    return eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _exchanged(thing: Any, which: Callable[[Any], bool], change: Callable[[Any], Any]) -> Any:
    """The thing with some leaves changed; untouched, the order of its dicts too, if it has none."""
    if not any(map(which, jax.tree.leaves(thing, is_leaf=which))):
        return thing
    return jax.tree.map(lambda leaf: change(leaf) if which(leaf) else leaf, thing, is_leaf=which)


class OtherRun(StoreError):
    """A checkpoint is of another run.

    `there`: the identity of the run that wrote it; `wanted`: that of the run which reads it.
    """

    def __init__(self, message: str, there: str, wanted: str) -> None:
        Exception.__init__(self, message)
        self.there, self.wanted = there, wanted

    @property
    def difference(self) -> str:
        """The first field in which the two runs differ, in words."""
        return difference(self.there, self.wanted)

    @property
    def has_other_weights_alone(self) -> bool:
        """Whether the two differ in their first weights, or in the code of members that are not
        promptax's, and in nothing else."""
        return agree(self.there, self.wanted, but_for=("weights", "functions", "code"))


class OtherArrays(StoreError):
    """A checkpoint is of this run, and other code wrote it: its arrays have other names or shapes,
    such as those of an optimiser's state."""


class Checkpoint:
    """Where a fit keeps its state, to resume from bit for bit.

    `every_seconds`: how long to wait between two saves; 0 saves whenever asked.
    """

    def __init__(self, path: str | os.PathLike, every_seconds: float = 30.0) -> None:
        self.path = path_of(path)
        self.every_seconds = every_seconds
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved >= self.every_seconds

    def save(self, identity: str, state: Any) -> None:
        """Write the leaves of `state`, by their place in the tree, and which run they belong to."""
        remove_temporaries_of(self.path)  # one run writes it; earlier ones may have been killed
        _write(self.path, "checkpoint", _named_leaves(state), identity=identity)
        self._saved = time.monotonic()

    def restore(self, identity: str, like: Any) -> Any | None:
        """The saved state as a tree like `like`, or None if nothing was saved yet.

        Raises:
            OtherRun: the file is of another run.
            OtherArrays: its arrays do not fit.
            StoreError: it is truncated or foreign.
        """
        if not self.path.exists():
            return None
        saved, note = _read(self.path, "checkpoint")
        if not agree(note["identity"], identity):
            raise OtherRun(
                f"Expected a checkpoint of this run at {self.path}; got one of another run: "
                f"{difference(note['identity'], identity)}. Resume with the old settings, or "
                "start anew: in another file (--out), or over it (--overwrite).",
                note["identity"],
                identity,
            )
        ours = _named_leaves(like)
        there, wanted = ({at: _look(leaf) for at, leaf in named.items()} for named in (saved, ours))
        for name in wanted | there:
            ours_is, got = wanted.get(name), there.get(name)
            if got != ours_is:
                raise OtherArrays(
                    f"Expected {name}: {ours_is}; got {got} in {self.path}. The checkpoint was "
                    "written by other code: start anew."
                )
        leaves = [
            np.array(saved[name]) if isinstance(leaf, np.ndarray) else saved[name]
            for name, leaf in ours.items()
        ]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _named_leaves(state: Any) -> dict[str, Any]:
    """The leaves by their place; NumPy scalars as arrays, so that their dtype is kept."""
    return {
        keystr(at): np.asarray(leaf) if isinstance(leaf, np.generic) else leaf
        for at, leaf in jax.tree.leaves_with_path(state)
    }


def write_figure(path: str | os.PathLike, figure: "matplotlib.figure.Figure") -> Path:
    """Write a figure as what the path ends in, .png or .svg; the same figure, the same bytes."""
    from matplotlib import rc_context  # takes long to import

    path = path_of(path)
    kind = path.suffix.lstrip(".").lower()
    expect(kind in ("png", "svg"), f"Expected a path that ends in .png or .svg; got {path}.")
    undated = {"Date": None} if kind == "svg" else None
    with replacing(path) as temporary, rc_context({"svg.hashsalt": ENTRY}):
        figure.savefig(temporary, format=kind, dpi=200, metadata=undated)
    return path


def _damaged(path: Path, kind: str, error: Exception | str) -> StoreError:
    return StoreError(
        f"Expected a whole {kind} file; got {path} with {path.stat().st_size} bytes, which is "
        f"truncated or damaged ({error}). Copy it again or write it again."
    )
