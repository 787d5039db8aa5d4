"""The figure of regret over rounds: every policy with its name and its last value."""

import jax
import numpy as np
import pytest

from promptax.decisions import BernoulliBandit, EpsilonGreedy, UniformChoice, play
from promptax.report import figures


@pytest.mark.slow
@pytest.mark.parametrize("repetitions", [1, 30])
def test_curves_are_means_and_carry_names_and_last_values(repetitions):
    policies = {"any arm": UniformChoice(), "ε-greedy": EpsilonGreedy()}
    played = play(jax.random.key(0), policies, BernoulliBandit(), 5, repetitions)
    (panel,) = figures.regret_over_rounds(played).axes
    means = played.regret.mean("repetition")
    written = [text.get_text() for text in panel.texts]
    curves = [line.get_ydata() for line in panel.lines if len(line.get_xdata()) == 5]
    for name, curve in zip(policies, curves, strict=True):
        np.testing.assert_allclose(curve, means.sel(policy=name))
        assert f"{name} {float(means.sel(policy=name)[-1]):.2f}" in written
