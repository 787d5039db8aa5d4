"""An experiment over points: what needs an alphabet is left out, or refused before it begins."""

import numpy as np
import pytest

from promptax import FitSettings
from promptax.experiments import experiment_folder
from promptax.experiments.experiment import Experiment
from promptax.predictors import LSTM
from promptax.steering import FullWeights, SoftPrompt
from promptax.tasks import LinearRegression

PRIOR, NARROW = LinearRegression(), LinearRegression(prior_scale=0.1)
QUICK = FitSettings(steps=2, batch=4, length=6)


@pytest.mark.slow
def test_an_experiment_over_points_runs_and_is_reported(tmp_path):
    experiment = Experiment(
        network=LSTM(width=4),
        prior=PRIOR,
        targets={"narrow": NARROW},
        methods={"soft prompt": SoftPrompt(length=2), "full weights": FullWeights()},
        pretraining=QUICK,
        tuning=FitSettings(steps=2, batch=4, length=6, repetitions=2),
        sequences=16,
        length=8,
    )

    def announce(what):
        del what
        return ()

    run = experiment_folder.run(experiment, 0, tmp_path, "", announce, lambda text: None)
    (results,) = run
    assert results.attrs["reference"] == "oracle" and "pseudo_counts" not in results
    for name in ("soft prompt", "full weights", "untuned", "prior bayes", "bayes"):
        assert np.isfinite(results["regret"].sel(predictor=name, repetition=0)).all()
    assert experiment_folder.write_page(tmp_path).exists()


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({}, TypeError, "HardPrompt makes prompts; got LinearRegression over points"),
        ({"methods": {}, "prior_sequences": 3}, ValueError, "Expected prior_sequences=0"),
        (
            {"methods": {}, "targets": {"wide": LinearRegression(3)}},
            ValueError,
            "over points of 2 features.*'wide' is over points of 3 features",
        ),
    ],
)
def test_what_cannot_be_is_named_before_it_begins(fields, error, text):
    with pytest.raises(error, match=text):
        Experiment(**{"prior": PRIOR, "targets": {"narrow": NARROW}, **fields})
