"""Probes look along a fit, change nothing, and are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judges import same

from promptax import Checkpoint, FitSettings, Probe, load, predict, pretrain, save
from promptax.predictors import LSTM
from promptax.steering import SoftPrompt
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(11)
COINS = DirichletCategorical()
SETTINGS = FitSettings(steps=11, batch=2, length=4, repetitions=2)


def first_row(predictor):
    return {"first": float(predict(predictor, jnp.array([0]))[0, 0])}


def last_row(predictor):
    return {"last": float(predict(predictor, jnp.array([1, 0]))[1, 0])}


def run(probes=(), settings=SETTINGS, **more):
    given = {"callbacks": ()} | more
    return pretrain(KEY, LSTM(width=3), COINS, settings, probes=probes, **given)


@pytest.mark.slow
def test_probes_look_and_change_nothing(tmp_path):
    plain, probed = run(), run((Probe(4, first_row), Probe(5, last_row)))
    same(plain.predictor, probed.predictor)
    same(plain.loss, probed.loss)
    assert plain.probes.sizes["step"] == 0 and not plain.probes.data_vars
    curve = probed.probes
    assert curve["first"].dims == ("repetition", "step")
    np.testing.assert_array_equal(curve.step, [0, 4, 5, 8, 10, 11])
    np.testing.assert_array_equal(np.isnan(curve["first"])[0], [0, 0, 1, 0, 1, 0])
    np.testing.assert_array_equal(np.isnan(curve["last"])[0], [0, 1, 0, 1, 0, 0])
    for repetition, predictor in enumerate(probed.predictor):
        assert curve["first"].values[repetition, -1] == first_row(predictor)["first"]
    start = run(settings=FitSettings(steps=0, batch=2, length=4, repetitions=2)).predictor
    assert curve["first"].values[1, 0] == first_row(start[1])["first"]
    assert load(save(tmp_path / "fitted.safetensors", probed)).probes.identical(curve)


@pytest.mark.slow
def test_what_probes_saw_resumes_with_the_fit(tmp_path):
    probes = (Probe(3, first_row),)
    stop = lambda done, total, note: done >= 5  # noqa: E731
    part = run(probes, checkpoint=Checkpoint(tmp_path / "here"), callbacks=[stop])
    assert part.probes.step[-1] in (3, 6, 9) and part.loss.shape[1] < 11
    resumed = run(probes, checkpoint=Checkpoint(tmp_path / "here"))
    assert resumed.probes.identical(run(probes).probes)


def test_tuners_take_probes_too():
    network = LSTM(width=3).build(KEY, 2)
    settings = FitSettings(steps=2, batch=2, length=4)
    fitted = SoftPrompt(length=1).tune(
        KEY, network, Categorical(), settings, probes=(Probe(1, first_row),), callbacks=()
    )
    np.testing.assert_array_equal(fitted.probes.step, [0, 1, 2])
    assert len(np.unique(fitted.probes["first"])) == 3


def test_probes_that_say_nothing_clear_are_refused():
    with pytest.raises(ValueError, match="Expected a probe every 1 or more updates; got 0"):
        Probe(0, first_row)
    with pytest.raises(ValueError, match="Two probes measure 'first'"):
        run((Probe(1, first_row), Probe(2, first_row)))
    with pytest.raises(ValueError, match="by words without '/'"):
        run((Probe(1, lambda predictor: {"a/b": 1.0}),))
