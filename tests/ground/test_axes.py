"""The table of axis words is a contract: datasets have no other axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.axes import AXES, labelled, strongly_typed


def test_axes_of_the_table_are_taken():
    data = labelled({"regret": (("predictor", "time"), np.zeros((1, 2)), {"unit": "nats"})})
    assert set(data.dims) <= AXES.keys() and data.regret.attrs == {"unit": "nats"}
    assert labelled({}, {"step": [1, 2]}, {"window": 3}).attrs == {"window": 3}


def test_an_unknown_axis_is_named():
    with pytest.raises(ValueError, match=r"Expected axes among predictor, .*; got epoch\. Use one"):
        labelled({"loss": (("repetition", "epoch"), np.zeros((1, 2)))})


def test_every_word_says_what_it_is():
    assert all(meaning and meaning[-1] != "." for meaning in AXES.values())


def test_an_array_of_a_number_of_python_is_no_longer_weak():
    weak = {"a": jnp.full(3, 0.0), "b": None, "c": jax.random.key(0), "d": np.zeros(2)}
    assert weak["a"].weak_type
    strong = strongly_typed(weak)
    assert not strong["a"].weak_type and strong["a"].dtype == weak["a"].dtype
    assert all(strong[name] is weak[name] for name in "bcd")
