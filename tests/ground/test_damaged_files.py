"""A file that is not whole, or not ours, says so; and what is written is written in one step."""

import ast
import errno
import json
import os
import time
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from support.judges import same
from support.processes import python
from support.stored import small_results

from promptax import files, store
from promptax.formats import weights
from promptax.predictors import LSTM
from promptax.specs import Spec, parse
from promptax.tasks import Categorical, Task


def damaged(path, cut):
    """The file with only its first bytes."""
    raw = path.read_bytes()
    path.write_bytes(raw[: int(cut * len(raw)) if isinstance(cut, float) else cut])


# --- files that are not whole, or not ours ---------------------------------------------------


@pytest.mark.parametrize("cut", [0, 3, 7, 8, 9, 40, 0.5, 0.9, -1])
@pytest.mark.parametrize("kind", ["record", "results", "spec.json"])
def test_a_truncated_file_says_so(tmp_path, kind, cut):
    things = {
        "record": LSTM(width=4).build(jax.random.key(0), 2),
        "results": small_results(),
        "spec.json": LSTM(width=4),
    }
    path = store.save(tmp_path / kind, things[kind])
    if (kind, cut) == ("spec.json", -1):
        cut = -2  # the last byte is a line's end
    damaged(path, cut)
    with pytest.raises(files.StoreError, match=r"truncated") as caught:
        store.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_names_the_near_misses(tmp_path):
    store.save(tmp_path / "network.safetensors", jnp.ones(1))
    with pytest.raises(FileNotFoundError, match=r"Did you mean '.*/network\.safetensors'\?"):
        store.load(tmp_path / "netwrok.safetensors")
    with pytest.raises(FileNotFoundError, match="Check the path"):
        store.load(tmp_path / "no folder" / "it")
    assert store.load(tmp_path) == 1  # what a folder holds is meant, if it is one thing
    store.save(tmp_path / "coin" / "soft.safetensors", jnp.ones(1))
    store.save(tmp_path / "checkpoint.safetensors", jnp.ones(1))
    with pytest.raises(files.StoreError, match=r"holds coin/soft\.safetensors, network\.saf"):
        store.load(tmp_path)
    store.save(tmp_path / "predictor.safetensors", jnp.zeros(1))
    assert store.load(tmp_path) == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(files.StoreError, match="is a folder without one"):
        store.load(tmp_path / "empty")


def rewritten(path, change):
    """The file again, with its note or its arrays changed."""
    with safetensors.safe_open(path, framework="numpy") as file:
        note = json.loads(file.metadata()[store.ENTRY])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(note, arrays)
    text = json.dumps(note)
    metadata = {store.ENTRY: text, store.DIGEST: weights.digest_of_arrays(text, arrays)}
    safetensors.numpy.save_file(arrays, path, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda note, arrays: note.update(format=99), "Expected format 1; got format 99"),
        (lambda note, arrays: note.update(kind="song"), "Expected a record; got .* a song"),
        (lambda note, arrays: arrays.clear(), "Expected array .*; got none of that name"),
        (
            lambda note, arrays: arrays.update({"embedding/bias": np.ones(9, np.float32)}),
            r"'embedding/bias' in .*: float32 \[4\]; got float32 \[9\]",
        ),
        (
            lambda note, arrays: note["thing"].update({"class": "Netwrok"}),
            "Did you mean 'Network'.*--plugin",
        ),
        *(
            (lambda note, arrays, values=values: note["thing"].update(values), message)
            for values, message in (
                ({"row_outcome": 3}, "an instance of Outcome or None as Network.row_outcome"),
                ({"row_outcome": {"class": "LSTM"}}, "as Network.row_outcome; got LSTM"),
                ({"embedding": "word"}, "as Network.embedding; got 'word'"),
                ({"class": ["LSTM"]}, "the name of a class"),
                ({"row_outcome": {"array": ["a"]}}, "cannot be read"),
                ({"row_outcome": {"array": [1], "dtype": "int8"}}, "cannot be read"),
                ({"row_outcome": {"array": "x", "dtype": 3}}, "cannot be read"),
            )
        ),
        (
            lambda note, arrays: note["thing"].pop("embedding"),
            r"Expected the field \['embedding'\] of Network; it is missing",
        ),
    ],
)
def test_an_edited_file_says_so(tmp_path, change, message):
    path = store.save(tmp_path / "it", LSTM(width=4).build(jax.random.key(0), 2))
    rewritten(path, change)
    with pytest.raises(files.StoreError, match=message):
        store.load(path)


def test_foreign_files_say_so(tmp_path):
    safetensors.numpy.save_file({"a": np.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(files.StoreError, match="comes from another program"):
        store.load(tmp_path / "other.safetensors")
    for text, message in {"[1, 2]": "neither", '{"a": 1}': 'with a "class"'}.items():
        (tmp_path / "it").write_text(text)
        with pytest.raises(files.StoreError, match=message):
            store.load(tmp_path / "it")
    results = small_results().assign_attrs({store.ENTRY: '{"format": 99}'})
    results.to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    with pytest.raises(files.StoreError, match="Expected format 1; got format 99"):
        store.load(tmp_path / "it.nc")


def test_what_has_no_form_on_disk_says_so(tmp_path):
    with pytest.raises(TypeError, match=r"got function at /a"):
        store.save(tmp_path / "it", {"a": lambda: 0})
    with pytest.raises(files.StoreError, match=r"Expected a spec .* got dict"):
        store.save(tmp_path / "it.json", {})
    for key in (1, "class", "array", "a/b"):
        with pytest.raises(files.StoreError, match="Expected dict keys"):
            store.save(tmp_path / "it", {"fine": {key: jnp.ones(1)}})
    with pytest.raises(files.StoreError, match="is a folder"):
        store.save(tmp_path, jnp.ones(1))
    assert list(tmp_path.iterdir()) == []


# --- what killed writes leave behind ---------------------------------------------------------


@pytest.mark.parametrize("name", ["it", "odd [a-b]*.name", "x" * 120, ".hidden"])
def test_what_killed_writes_left_behind_goes_when_it_is_old(tmp_path, name):
    """Young files may be of a process that writes them now."""
    path, old = tmp_path / name, time.time() - 2 * files.ABANDONED
    left = {age: files.beside(path, files.TEMPORARY) for age in ("old", "young")}
    others = [tmp_path / ".it.tmp", tmp_path / f".other.{'0' * 12}.tmp", tmp_path / f"{name}.tmp"]
    for file in (*left.values(), *others):
        file.write_text("half")
    for file in (left["old"], *others):
        os.utime(file, (old, old))
    files.write_text(path, "whole")
    assert {file.name for file in tmp_path.iterdir()} == {
        name,
        left["young"].name,
        *(file.name for file in others),
    }


# --- digests --------------------------------------------------------------------------------


def written_by_kind(folder):
    """A file of every kind that promptax writes to read it again, and how it is read."""
    network = LSTM(width=2).build(jax.random.key(0), 2)
    checkpoint = store.Checkpoint(folder / "checkpoint")
    checkpoint.save("run", {"a": jnp.arange(3.0)})
    files.write_json(folder / "spec.json", {"seed": 3, "names": ["τ", "b"], "x": 0.25})
    return {
        store.save(folder / "record", network): store.load,
        store.save(folder / "results.nc", small_results()): store.load,
        store.save(folder / "task.json", Categorical((0.2, 0.8))): store.load,
        folder / "spec.json": files.read_json,
        checkpoint.path: lambda path: checkpoint.restore("run", {"a": jnp.zeros(3)}),
    }


def test_no_flipped_bit_changes_what_is_read(tmp_path):
    """At hundreds of places: an error that names the file, or the same content as before."""
    random = np.random.default_rng(0)
    for path, read in written_by_kind(tmp_path).items():
        raw, whole = path.read_bytes(), read(path)
        ends = [*range(40), *range(len(raw) - 120, len(raw))]
        for at in {*(n for n in ends if 0 <= n < len(raw)), *random.integers(0, len(raw), 60)}:
            flipped = bytearray(raw)
            flipped[at] ^= 1 << int(random.integers(8))
            path.write_bytes(flipped)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # that there is no digest
                    got = read(path)
            except ValueError as error:
                assert path.name in str(error), (path, at)
                continue
            same_labels = getattr(got, "identical", None)
            assert same_labels(whole) if same_labels else eqx.tree_equal(got, whole), (path, at)
        path.write_bytes(raw)


def test_files_without_a_digest_are_read_with_a_note(tmp_path):
    thing = {"a": jnp.ones(2)}
    path = store.save(tmp_path / "it", thing)
    with safetensors.safe_open(path, framework="numpy") as file:
        note = json.loads(file.metadata()[store.ENTRY])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del note["digest"]
    safetensors.numpy.save_file(arrays, path, {store.ENTRY: json.dumps(note)})
    with pytest.warns(UserWarning, match="written before files had digests"):
        same(store.load(path), thing)
    results = small_results().assign_attrs({store.ENTRY: '{"format": 1}'})
    results.to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    with pytest.warns(UserWarning, match="written before files had digests"):
        assert store.load(tmp_path / "it.nc").identical(small_results())
    (tmp_path / "spec.json").write_text('{"class": "Categorical", "probabilities": [0.5, 0.5]}')
    assert store.load(tmp_path / "spec.json") == Categorical((0.5, 0.5))


def test_an_edited_spec_says_how_it_is_taken(tmp_path):
    path = store.save(tmp_path / "it.json", Categorical((0.25, 0.75)))
    path.write_text(path.read_text().replace("0.25", "0.125").replace("0.75", "0.875"))
    for read in (store.load, lambda path: parse(Task)(f"@{path}")):
        with pytest.raises(
            ValueError, match="if you edited it, delete its 'digest' and 'digested'"
        ):
            read(path)
    data = json.loads(path.read_text())
    del data["digest"], data["digested"]
    path.write_text(json.dumps(data))
    assert store.load(path) == Categorical((0.125, 0.875))


# --- one step on disk ------------------------------------------------------------------------


@pytest.mark.parametrize("thing", [jnp.zeros(5), small_results(), LSTM()], ids=["a", "b", "c"])
def test_a_kill_while_writing_leaves_the_old_file(tmp_path, monkeypatch, thing):
    path = store.save(tmp_path / "it.json", Categorical())
    if not isinstance(thing, Spec):
        path = store.save(tmp_path / "it", jnp.ones(3))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def killed(*_):
        raise KeyboardInterrupt

    for place in ("replace", "fsync"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, place, killed)
            store.save(path, thing)
        assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        store.Checkpoint(path).save("run", {"a": jnp.ones(1)})
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_nothing_that_runs_code_is_imported():
    tree = ast.parse(Path(store.__file__).read_text(encoding="utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    called = {getattr(node.func, "id", "") for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"eval", "exec", "compile", "__import__"}


FULL = """
import resource, signal, sys
import jax.numpy as jnp, promptax as px, xarray as xr
from promptax.files import StoreError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit is an error, not a kill
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
things = {"a.safetensors": {"a": jnp.ones(9999)}, "b.nc": xr.Dataset({"x": ("t", [0.5] * 9999)})}
for name, thing in things.items():
    try:
        px.save(name, thing)
    except StoreError as error:
        print(name, error)
"""


@pytest.mark.slow
def test_a_disk_that_takes_no_more_is_named_and_nothing_is_changed(tmp_path):
    (tmp_path / "a.safetensors").write_text("as it was")
    said = python(tmp_path, "-c", FULL, JAX_ENABLE_COMPILATION_CACHE="0").splitlines()
    for name, line in zip(("a.safetensors", "b.nc"), said, strict=True):
        assert f"{name} Expected to write" in line and "Nothing there was changed" in line
        assert "MB are free" in line and "choose another folder" in line
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]
    assert (tmp_path / "a.safetensors").read_text() == "as it was"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def refused(*names):
        raise PermissionError(errno.EROFS, "Read-only file system", str(names[0]))

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(files.StoreError, match=r"Expected to write .*new.json; got: .*Read-only"):
        store.save(tmp_path / "new.json", Categorical((0.2, 0.8)))
    assert not list(tmp_path.iterdir())
