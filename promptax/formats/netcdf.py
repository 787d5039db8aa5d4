"""Labelled results as netCDF: what they hold beyond it, and a digest at the end of the file.

netCDF has no attributes that are None, true, empty or nested. Those travel as JSON in one attribute
of ours, `promptax`, and come back as they were. A digest of all bytes stands behind the netCDF,
where other programs do not look: damage to any bit of the file is found.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from promptax import files
from promptax.files import StoreError

ENTRY = "promptax"  # the attribute that is ours
MARK = b"\npromptax sha256 "
TAIL = len(MARK) + 64 + 1  # mark, hexadecimal digits, line feed
ONLY = "values"  # what a DataArray without a name is called in its file

Labelled = xr.Dataset | xr.DataTree | xr.DataArray


def encoded(thing: Labelled, note: dict[str, Any]) -> bytes:
    """The bytes of a file that holds the thing, and a note for whoever reads it.

    Raises:
        StoreError: it has something that neither netCDF nor JSON has.
    """
    note |= {"kind": type(thing).__name__, "digest": True}
    if isinstance(thing, xr.DataArray):
        note |= {"name": thing.name}
        name = ONLY if thing.name is None or thing.name in thing.coords else str(thing.name)
        thing = thing.to_dataset(name=name)
    with _explain_names():
        whole = xr.DataTree(thing) if isinstance(thing, xr.Dataset) else thing.copy()
    note["attributes"] = _take_out(whole)
    with _explain_names():
        whole.attrs[ENTRY] = json.dumps(note)
        raw = bytes(whole.to_netcdf(engine="h5netcdf"))
    return raw + MARK + hashlib.sha256(raw).hexdigest().encode() + b"\n"


@contextlib.contextmanager
def _explain_names() -> Iterator[None]:
    """Say of an error of xarray that netCDF does not have this, mostly a name. It may be of any
    kind, so that no code of ours belongs inside."""
    try:
        yield
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise StoreError(f"Expected results that netCDF can hold; got: {error}.") from error


def _take_out(whole: xr.DataTree) -> list[list[Any]]:
    """Take out the attributes that netCDF does not have; say where they were, and what."""
    kept = []
    for node in whole.subtree:
        data = node.to_dataset(inherit=False).copy()
        for name, attributes in _attributes(data).items():
            for key in [key for key, value in attributes.items() if not _fits(value)]:
                kept.append([node.path, name, key, _plain(attributes.pop(key), key)])
        node.dataset = data
    return kept


def decoded(path: Path) -> tuple[Labelled, dict[str, Any]]:
    """The thing in a file, and its note. Of a file by another program the note is empty.

    Raises:
        StoreError: the file is truncated or damaged.
    """
    units_stay_words = xr.coders.CFTimedeltaCoder(decode_via_units=False)
    has_digest = _is_as_written(path)
    try:
        with xr.open_datatree(path, engine="h5netcdf", decode_timedelta=units_stay_words) as file:
            tree = file.load()
        note = json.loads(tree.attrs.pop(ENTRY, "{}"))
    except Exception as error:  # h5py has no exception of its own for a damaged file
        raise _damaged(path, str(error)) from error
    if note.get("digest") and not has_digest:
        raise _damaged(path, "its end is missing")
    for place, name, key, value in note.get("attributes", ()):
        data = tree[place].dataset if name is None else tree[place].dataset[name]
        data.attrs[key] = value
    if tree.children or note.get("kind") == "DataTree":
        return tree, note
    if note.get("kind") != "DataArray":
        return tree.to_dataset(), note
    (variable,) = tree.data_vars
    return tree.to_dataset()[variable].rename(note["name"]), note


def _attributes(data: xr.Dataset) -> dict[Any, dict[Any, Any]]:
    """The attributes of a dataset (None) and of its variables, by name."""
    return {None: data.attrs} | {name: data[name].attrs for name in data.variables}


def _fits(value: Any) -> bool:
    """Whether netCDF gives the attribute back as it was."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, list | tuple):
        is_of_words = all(isinstance(part, str) for part in value)
        return len(value) > 1 and (is_of_words or all(_is_number(part) for part in value))
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.size > 1 and value.dtype.kind in "iuf"
    return _is_number(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return False
    is_whole = isinstance(value, int | np.integer) and -(2**63) <= value < 2**63
    return bool(is_whole) or isinstance(value, float | np.floating)


def _plain(value: Any, key: str) -> Any:
    """The attribute as JSON holds it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"Expected attributes of numbers, words, None, lists and dicts; {key!r} is "
            f"{type(value).__name__}. Leave it out, or write it as text."
        ) from error
    return value


def _is_as_written(path: Path) -> bool:
    """Whether the file has a digest; if so, its content has been compared with it.

    Raises:
        StoreError: the content is another.
    """
    raw = memoryview(files.read_bytes(path))
    tail = bytes(raw[-TAIL:])
    if not tail.startswith(MARK):
        return False
    if tail[len(MARK) : -1] != hashlib.sha256(raw[:-TAIL]).hexdigest().encode():
        raise _damaged(path, "its content differs from its digest")
    return True


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(
        f"Expected a whole netCDF file; got {path} with {path.stat().st_size} bytes, which is "
        f"truncated or damaged ({why}). Copy it again or write it again."
    )
