"""Whatever is saved comes back equal, and a file that is not whole, or not ours, says so."""

import ast
import errno
import json
import os
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import safetensors.numpy
import xarray as xr
from matplotlib.figure import Figure
from support import judges as laws
from support.judges import same
from support.processes import python

from promptax import files, platforms, store
from promptax.fit.fitted import Fitted
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Architecture
from promptax.protocol.entries import condition
from promptax.protocol.repeated import Repeated
from promptax.specs import Record, Spec, parse
from promptax.tasks import Categorical, Task

specs_of = pytest.mark.parametrize("spec", laws.examples(Spec, quick=99))
architectures = pytest.mark.parametrize("architecture", laws.examples(Architecture))
ARRAYS = {
    "bool": jnp.array([True, False]),
    "int": jnp.arange(-3, 3).reshape(2, 3),
    "uint32": jnp.array([0, 2**32 - 1], jnp.uint32),
    "half": jnp.array([0.1, jnp.nan], jnp.float16),
    "brain": jnp.array([0.1, jnp.inf], jnp.bfloat16),
    "empty": jnp.zeros((0, 3)),
    "point": jnp.array(2.5),
    "negative zero": jnp.array([-0.0]),
    "strided": np.arange(12.0, dtype=np.float32).reshape(3, 4).T[:, ::2],
    "double": np.array([0.1, 1e300]),
    "long": np.array([2**60]),
}


def again(path, thing):
    store.save(path, thing)
    return store.load(path)


def damaged(path, cut):
    """The file with only its first bytes."""
    raw = path.read_bytes()
    path.write_bytes(raw[: int(cut * len(raw)) if isinstance(cut, float) else cut])


# --- round trips ----------------------------------------------------------------------------


@specs_of
@pytest.mark.parametrize("name", ["spec.json", "spec.safetensors", "no_suffix"])
def test_every_spec_comes_back(tmp_path, spec, name):
    got = again(tmp_path / "new" / "folder" / name, spec)
    assert type(got) is type(spec) and eqx.tree_equal(got, spec)
    assert [each.name for each in (tmp_path / "new" / "folder").iterdir()] == [name]


@pytest.mark.slow
@architectures
def test_every_network_comes_back_bit_by_bit(tmp_path, architecture):
    network = architecture.build(jax.random.key(0), 3)
    prompted = condition(network, jnp.array([0, 2, 1]))
    for thing in (network, prompted, condition(prompted, jnp.ones((2, 3)) / 3)):
        same(again(tmp_path / "it", thing), thing)


@pytest.mark.parametrize("task", [c for c in laws.examples(Task) if c.values[0].has_bayes])
def test_every_exact_predictor_comes_back(tmp_path, task):
    same(again(tmp_path / "it", task.bayes()), task.bayes())


def test_repetitions_and_fitted_results_come_back(tmp_path):
    network = LSTM(width=4).build(jax.random.key(0), 2)
    halves = eqx.partition(network, lambda leaf: leaf.shape == (2,))
    repeated = Repeated(jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), halves[0]), halves[1], 3)
    fitted = Fitted(repeated, np.ones((3, 5), np.float32), np.array([-1, 2, -1], np.int32))
    got = again(tmp_path / "it", {"fitted": fitted, "settings": [FitSettings()]})
    same(got["fitted"], fitted)
    assert got["settings"] == (FitSettings(),)
    same(got["fitted"].predictor[1], network)


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_keep_every_bit(tmp_path, name):
    array = ARRAYS[name]
    for thing in (array, {"deep": ({"er": array}, array)}):
        got = again(tmp_path / "it", thing)
        same(got, thing)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(got))


@pytest.mark.parametrize("algorithm", ["threefry2x32", "rbg"])
def test_keys_come_back_as_keys(tmp_path, algorithm):
    key = jax.random.split(jax.random.key(3, impl=algorithm), 4)
    got = again(tmp_path / "it", {"key": key, "other": jnp.ones(2)})
    assert got["key"].dtype == key.dtype
    np.testing.assert_array_equal(jax.random.normal(got["key"][2]), jax.random.normal(key[2]))


def test_plain_nests_come_back_in_order(tmp_path):
    thing = {"z": None, "a": (True, 3, 0.1, "word", ()), "m": {}, "last": jnp.ones(1)}
    got = again(tmp_path / "it", thing)
    assert list(got) == list(thing)
    assert {**got, "last": 0} == {**thing, "last": 0}


def some_results():
    return xr.Dataset(
        {
            "regret": (("predictor", "time"), np.array([[1.0, np.nan]]), {"unit": "nats"}),
            "nothing": (("predictor", "prompt"), np.zeros((1, 0))),
            "seconds": ((), 3.0, {"units": "seconds"}),
            "solved": ("predictor", np.array([True])),
            "count": ("time", np.array([1, 2], np.int32)),
        },
        coords={"predictor": ["τ prompt"], "time": [1, 2]},
        attrs={"unit": "nats", "shares": [0.1, 0.2]},
    )


def test_labelled_results_come_back(tmp_path):
    results = some_results()
    got = again(tmp_path / "odd.name", results)
    assert isinstance(got, xr.Dataset) and got.identical(results)
    assert {k: v.dtype for k, v in got.items()} == {k: v.dtype for k, v in results.items()}
    assert store.ENTRY not in results.attrs
    for tree in ({"/": results, "/deep/er": results}, {"/": results}):
        tree = xr.DataTree.from_dict(tree)
        got = again(tmp_path / "tree", tree)
        assert isinstance(got, xr.DataTree) and got.identical(tree)


def test_netcdf_of_others_is_read_too(tmp_path):
    some_results().to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    assert store.load(tmp_path / "it.nc").identical(some_results())


def test_a_json_spec_is_what_the_command_line_reads(tmp_path):
    store.save(tmp_path / "spec.json", Categorical())
    data = json.loads((tmp_path / "spec.json").read_text())
    assert len(data.pop("digest")) == 16 and data.pop("digested")
    assert parse(Task)(f"@{tmp_path / 'spec.json'}") == Categorical((0.2, 0.8))
    assert data == {"class": "Categorical", "probabilities": [0.2, 0.8]}


# --- files that are not whole, or not ours ---------------------------------------------------


@pytest.mark.parametrize("cut", [0, 3, 7, 8, 9, 40, 0.5, 0.9, -1])
@pytest.mark.parametrize("kind", ["record", "results", "spec.json"])
def test_a_truncated_file_says_so(tmp_path, kind, cut):
    things = {
        "record": LSTM(width=4).build(jax.random.key(0), 2),
        "results": some_results(),
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
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'network\.safetensors'\?"):
        store.load(tmp_path / "netwrok.safetensors")
    with pytest.raises(FileNotFoundError, match="Check the path"):
        store.load(tmp_path / "no folder" / "it")
    with pytest.raises(files.StoreError, match="is a folder"):
        store.load(tmp_path)


def rewritten(path, change):
    """The file again, with its note or its arrays changed."""
    with safetensors.safe_open(path, framework="numpy") as file:
        note = json.loads(file.metadata()[store.ENTRY])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(note, arrays)
    text = json.dumps(note)
    metadata = {store.ENTRY: text, store.DIGEST: store._digest(text, arrays)}
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
    results = some_results().assign_attrs({store.ENTRY: '{"format": 99}'})
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


# --- digests --------------------------------------------------------------------------------


def written_by_kind(folder):
    """A file of every kind that promptax writes to read it again, and how it is read."""
    network = LSTM(width=2).build(jax.random.key(0), 2)
    checkpoint = store.Checkpoint(folder / "checkpoint")
    checkpoint.save("run", {"a": jnp.arange(3.0)})
    files.write_json(folder / "spec.json", {"seed": 3, "names": ["τ", "b"], "x": 0.25})
    return {
        store.save(folder / "record", network): store.load,
        store.save(folder / "results.nc", some_results()): store.load,
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
    results = some_results().assign_attrs({store.ENTRY: '{"format": 1}'})
    results.to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    with pytest.warns(UserWarning, match="written before files had digests"):
        assert store.load(tmp_path / "it.nc").identical(some_results())
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


# --- what netCDF does not have ---------------------------------------------------------------

ATTRIBUTES = {
    "none": None, "true": True, "false": False, "numpy": np.True_, "empty": [], "one": [1],
    "word": ["a"], "words": ["a", "b"], "mixed": [1, "a", None], "nested": {"a": [1, {"b": None}]},
    "long": 2**70, "empty word": "", "zero": "a\0b", "surrogate": "\udcff",
    "rows": [[1, 2], [3, 4]],
    "τ": "naïve",
}  # fmt: skip


def test_attributes_of_any_kind_come_back(tmp_path):
    results = some_results().assign_attrs(ATTRIBUTES)
    results["regret"].attrs |= ATTRIBUTES
    results["time"].attrs |= ATTRIBUTES
    for thing in (results, xr.DataTree.from_dict({"/": results, "/deep": results})):
        got = again(tmp_path / "it", thing)
        for place in (got, got["regret"], got["time"]):
            there = {name: place.attrs[name] for name in ATTRIBUTES}
            assert repr(there) == repr(ATTRIBUTES | {"numpy": True})
    assert results.attrs["nested"] is ATTRIBUTES["nested"]  # untouched
    with pytest.raises(files.StoreError, match="Expected attributes of numbers, words"):
        store.save(tmp_path / "it", results.assign_attrs(a=object()))


@pytest.mark.parametrize("name", [None, "loss", "step"])
def test_data_arrays_come_back(tmp_path, name):
    array = xr.DataArray(
        np.ones((2, 3)), {"step": [1, 2, 3]}, ("repetition", "step"), name, {"unit": None}
    )
    got = again(tmp_path / "it", array)
    assert isinstance(got, xr.DataArray) and got.identical(array) and got.name == name


def test_losses_of_a_fit_can_be_saved(tmp_path):
    network = LSTM(width=2).build(jax.random.key(0), 2)
    fitted = Fitted(network, np.ones((3, 5), np.float32), np.array([-1, 2, -1], np.int32))
    for thing in (fitted.losses, fitted.probes, fitted.history):
        assert again(tmp_path / "it", thing).identical(thing)


# --- one step on disk ------------------------------------------------------------------------


@pytest.mark.parametrize("thing", [jnp.zeros(5), some_results(), LSTM()], ids=["a", "b", "c"])
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


# --- text, figures, folders ------------------------------------------------------------------


def test_text_and_figures(tmp_path):
    assert files.write_text(tmp_path / "a" / "t.md", "τ\n").read_bytes() == b"\xcf\x84\n"
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    for kind, start in {"png": b"\x89PNG", "svg": b"<?xml"}.items():
        first = store.write_figure(tmp_path / f"1.{kind}", figure).read_bytes()
        assert first.startswith(start)
        assert first == store.write_figure(tmp_path / f"2.{kind}", figure).read_bytes()
    with pytest.raises(files.StoreError, match=r"ends in \.png or \.svg"):
        store.write_figure(tmp_path / "it.docx", figure)
    assert matplotlib.rcParams["svg.hashsalt"] is None


def test_the_environment_is_named():
    found = platforms.environment()
    names = {"python", "promptax", "jax", "jaxlib", "equinox", "optax", "numpy"}
    assert names | {"platform", "device", "devices", "cpus"} == set(found)
    json.dumps(found)


def test_records_of_any_class_come_back(tmp_path):
    class Mine(Record):
        rows: jax.Array
        word: str = "here"

    same(again(tmp_path / "it", Mine(jnp.ones(2))), Mine(jnp.ones(2)))
