"""Prompts before anything is tuned: their first rows, and how much memory they ask for."""

import functools
import itertools

import jax
import numpy as np
import pytest
from support import judges as laws

from promptax import FitSettings, platforms
from promptax.predictors import Architecture
from promptax.steering import KeyValuePrompt, RealPrompt, SimplexPrompt, SoftPrompt
from promptax.tasks import Categorical

KEY = jax.random.key(7)
SHORT = FitSettings(steps=3, batch=4, length=5, repetitions=3)


@functools.cache
def network(architecture):
    return laws.build(laws.members(Architecture)[architecture].examples()[0], 1, 2)


@pytest.mark.parametrize("cls", [SoftPrompt, RealPrompt, SimplexPrompt])
def test_initial_rows_are_as_named(cls):
    rows = {
        how: cls(length=50, initial=how).prompt(KEY, network("Transformer")).values
        for how in ("one_hot", "uniform", "zeros")
    }
    assert set(np.unique(rows["one_hot"])) == {0.0, 1.0}
    assert (rows["one_hot"].sum(-1) == 1).all() and len(np.unique(rows["one_hot"], axis=0)) > 1
    assert ((rows["uniform"] >= 0) & (rows["uniform"] < 1)).all()
    assert len(np.unique(rows["uniform"])) > 50
    assert not rows["zeros"].any()


@pytest.mark.parametrize(
    ("cls", "architecture"),
    [
        *itertools.product((SoftPrompt, RealPrompt, SimplexPrompt), ("LSTM", "Transformer")),
        (KeyValuePrompt, "Transformer"),
    ],
)
def test_a_prompt_larger_than_memory_is_refused_before_any_compute(cls, architecture, monkeypatch):
    monkeypatch.setattr(cls, "prompt", lambda *_: pytest.fail("the prompt was made"))
    monkeypatch.setattr(platforms, "free_bytes", lambda: 2**20)
    text = r"a prompt of length 1,000,000 needs at least [\d,.]+ GiB. Choose a shorter"
    with pytest.raises(MemoryError, match=text):
        cls(length=10**6).tune(KEY, network(architecture), Categorical(), SHORT)
