"""Whatever is saved comes back equal: specs, predictors, arrays, labelled results, figures."""

import json
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from support import judges as laws
from support.judges import same
from support.stored import again, small_results

from promptax import files, platforms, store
from promptax.fit.fitted import Fitted
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Architecture
from promptax.protocol.entries import condition
from promptax.protocol.repeated import Repeated
from promptax.specs import Record, Spec, parse
from promptax.tasks import Categorical, Task

specs_of = pytest.mark.parametrize("spec", laws.examples(Spec))
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
    network = laws.fill(architecture, 3)
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


def test_bytes_in_another_order_come_back_as_numbers(tmp_path):
    numbers = np.arange(3, dtype=">i4")  # as FITS and netCDF have them
    store.save(tmp_path / "it", {"a": numbers})
    np.testing.assert_array_equal(store.load(tmp_path / "it")["a"], [0, 1, 2])


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


def test_labelled_results_come_back(tmp_path):
    results = small_results()
    got = again(tmp_path / "odd.name", results)
    assert isinstance(got, xr.Dataset) and got.identical(results)
    assert {k: v.dtype for k, v in got.items()} == {k: v.dtype for k, v in results.items()}
    assert store.ENTRY not in results.attrs
    for tree in ({"/": results, "/deep/er": results}, {"/": results}):
        tree = xr.DataTree.from_dict(tree)
        got = again(tmp_path / "tree", tree)
        assert isinstance(got, xr.DataTree) and got.identical(tree)


def test_netcdf_of_others_is_read_too(tmp_path):
    small_results().to_netcdf(tmp_path / "it.nc", engine="h5netcdf")
    assert store.load(tmp_path / "it.nc").identical(small_results())


def test_a_json_spec_is_what_the_command_line_reads(tmp_path):
    store.save(tmp_path / "spec.json", Categorical())
    data = json.loads((tmp_path / "spec.json").read_text())
    assert len(data.pop("digest")) == 16 and data.pop("digested")
    assert parse(Task)(f"@{tmp_path / 'spec.json'}") == Categorical((0.2, 0.8))
    assert data == {"class": "Categorical", "probabilities": [0.2, 0.8]}


# --- what netCDF does not have ---------------------------------------------------------------

ATTRIBUTES = {
    "none": None, "true": True, "false": False, "numpy": np.True_, "empty": [], "one": [1],
    "word": ["a"], "words": ["a", "b"], "mixed": [1, "a", None], "nested": {"a": [1, {"b": None}]},
    "long": 2**70, "empty word": "", "zero": "a\0b", "surrogate": "\udcff",
    "rows": [[1, 2], [3, 4]],
    "τ": "naïve",
}  # fmt: skip


def test_attributes_of_any_kind_come_back(tmp_path):
    results = small_results().assign_attrs(ATTRIBUTES)
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


UNNAMED = {  # what no netCDF holds
    "a slash": xr.Dataset({"a/b": ("x", [1.0])}),
    "an empty name": xr.Dataset({"": ("x", [1.0])}),
    "a pair as name": xr.Dataset({("a", 1): ("x", [1.0])}),
    "a number as name": xr.DataTree.from_dict({"/deep": xr.Dataset({1: ("x", [1.0])})}),
    "a number as key": xr.Dataset(attrs={1: 2}),
    "bfloat16": xr.Dataset({"v": ("x", np.ones(2, jnp.bfloat16))}),
    "objects": xr.Dataset({"v": ("x", np.array([object()]))}),
}


@pytest.mark.parametrize("thing", UNNAMED.values(), ids=UNNAMED)
def test_what_netcdf_cannot_hold_is_said_and_nothing_written(tmp_path, thing):
    with pytest.raises(files.StoreError, match="Expected results that netCDF can hold"):
        store.save(tmp_path / "it.nc", thing)
    assert not list(tmp_path.iterdir())


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_device_or_a_pipe_is_never_replaced(tmp_path):
    """As root a file would take the place of /dev/null, for every program of the machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(
            files.StoreError, match=r"pipe is a device or a pipe, which a file would"
        ):
            files.write_text(path, "text")
    assert pipe.is_fifo()


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
