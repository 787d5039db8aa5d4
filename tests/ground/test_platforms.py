"""A process that meets ever new shapes does not keep the programs of all of them."""

import os

import jax
import numpy as np
import pytest

import promptax as px
from promptax import platforms
from promptax.tasks import DirichletCategorical


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("no backend 'cuda'")])
def test_a_platform_that_is_not_here_is_named(monkeypatch, error):
    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(ValueError, match="JAX finds here; JAX_PLATFORMS is 'cuda'"):
        platforms.expect_platform()
    monkeypatch.delenv("JAX_PLATFORMS")
    platforms.expect_platform()


def test_cores_that_come_too_late_are_told(monkeypatch):
    count = len(jax.devices())
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(2 * count), raising=False)
    with pytest.warns(
        UserWarning, match=f"already started with {count} device.*the first JAX call"
    ):
        px.use_cores()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(count), raising=False)
    px.use_cores()  # it has them


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="accelerators tune one at a time")
@pytest.mark.parametrize("cores", [1, 2, 16])
def test_one_core_tunes_one_at_a_time(monkeypatch, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(cores), raising=False)
    assert platforms.tunings_at_once() == min(cores, 2)


@pytest.mark.skipif(platforms._mappings() == 0, reason="mappings are not known here")
def test_programs_are_dropped_before_they_are_too_many(monkeypatch):
    dropped = []
    monkeypatch.setattr(platforms, "LOOKS_APART", 0.0)
    monkeypatch.setattr(jax, "clear_caches", lambda: dropped.append(platforms._mappings()))
    bayes = DirichletCategorical().bayes()
    before = np.asarray(px.predict(bayes, [0, 1]))
    assert not dropped
    monkeypatch.setattr(platforms, "MOST_MAPPINGS", 0.0)
    np.testing.assert_array_equal(px.predict(bayes, [0, 1]), before)
    assert dropped

    @jax.jit
    def traced(tokens):
        return px.predict(bayes, tokens)

    dropped.clear()
    np.testing.assert_allclose(traced(np.array([0, 1])), before, rtol=1e-6)
    assert not dropped  # nothing is forgotten in the middle of a trace


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other platforms read batches whole")
@pytest.mark.parametrize(
    ("batch", "pieces"), [(256, 64), (100, 50), (48, 48), (127, 127), (254, 127), (1009, 1009)]
)
def test_a_batch_falls_into_pieces_that_pay(batch, pieces):
    assert platforms.step_batch(batch, 128) == pieces
