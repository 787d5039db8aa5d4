"""Linear probes: of states that are known, and what they refuse."""

import jax
import numpy as np
import pytest

from promptax.analysis import linear_probes
from promptax.predictors import GRU
from promptax.protocol.predictions import Prediction
from promptax.tasks import DirichletCategorical

TOKENS = np.random.default_rng(0).integers(0, 2, (40, 12))
SHARES = np.cumsum(TOKENS, axis=1) / np.arange(1, 13)


def test_a_probe_finds_what_a_state_holds_linearly_and_its_control_does_not(monkeypatch):
    """A state that holds the share and the step, mixed by an invertible map."""
    bayes = DirichletCategorical().bayes()

    def advance_batch(self, state, tokens):
        read = np.arange(1, tokens.shape[1] + 1)
        share = tokens.cumsum(axis=1) / read
        steps = share * 0 + read
        mixed = jax.numpy.stack([share + 0.1 * steps, 0.2 * share - steps], axis=-1)
        return state, Prediction(jax.numpy.zeros((*tokens.shape, 2)), {"mixed": mixed})

    monkeypatch.setattr(type(bayes), "advance_batch", advance_batch)
    steps = np.broadcast_to(np.arange(12), SHARES.shape)
    noise = np.random.default_rng(1).normal(size=SHARES.shape)
    probes = linear_probes(
        bayes, TOKENS, {"share": SHARES, "step": steps, "noise": noise}, penalty=1e-6
    ).sel(internal="mixed")
    assert probes.explained.sel(quantity="share") > 0.999
    assert probes.control.sel(quantity="share") < 0.1
    assert probes.control.sel(quantity="step") > 0.999  # the step is the same in all sequences
    assert probes.selectivity.sel(quantity="step") < 1e-3
    assert probes.explained.sel(quantity="noise") < 0.05
    at_third = np.where(steps == 2, SHARES, noise)
    alone = linear_probes(bayes, TOKENS, {"share": at_third}, penalty=1e-6, steps=[3])
    assert alone.explained.item() > 0.999


@pytest.mark.usefixtures("as_users_see_it")
def test_what_cannot_be_probed_is_refused():
    network = GRU(width=2).build(jax.random.key(0), 2)
    wrong = {
        "^Expected at least one statistic": {},
        "^Expected finite numbers \\[40, 12\\] as 'share'; got shape \\(40, 3\\)": {
            "share": SHARES[:, :3]
        },
        "^Expected a statistic that varies; 'one' is the same in all of the last 20": {
            "one": np.ones((40, 12))
        },
    }
    for message, statistics in wrong.items():
        with pytest.raises(ValueError, match=message):
            linear_probes(network, TOKENS, statistics)
    with pytest.raises(ValueError, match=r"^Expected a finite penalty of at least 0"):
        linear_probes(network, TOKENS, {"share": SHARES}, penalty=-1.0)
    with pytest.raises(ValueError, match=r"^Expected steps up to 12; got 13\."):
        linear_probes(network, TOKENS, {"share": SHARES}, steps=[3, 13])
