"""Laws of JAX's settings: what users may switch on changes no member's right to work.

Under jax_enable_x64 numbers have 64 bits; under jax_debug_nans a NaN in a compiled program's output
is an error, so that a healthy fit may have none; under disable_jit nothing is compiled; strict
promotion refuses what NumPy would make fit.
"""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

import promptax as px
from promptax.predictors import LSTM, Architecture, Llama, Transformer
from promptax.steering import (
    FullWeights,
    GradientSearch,
    LowRank,
    Search,
    SoftPrompt,
    Tuner,
)
from promptax.tasks import Categorical, DirichletCategorical

COINS, TARGET = DirichletCategorical(), Categorical()
SMALL = px.FitSettings(steps=2, batch=2, length=4)
MODES = {
    "x64": lambda: jax.enable_x64(True),
    "debug_nans": lambda: jax.debug_nans(True),
    "disable_jit": jax.disable_jit,
    "x64 and debug_nans": lambda: _both(jax.enable_x64(True), jax.debug_nans(True)),
    "strict promotion": lambda: _both(
        jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict")
    ),
}


@contextlib.contextmanager
def _both(first, second):
    with first, second:
        yield


NARROW = Llama(width=8, heads=2, key_heads=1, head_width=4, hidden=12, dtype="bfloat16")

KINDS = laws.members(Architecture).values()
NETWORKS = [*(spec for cls in KINDS for spec in cls.examples()[:1]), NARROW]


def is_one_of_each(spec):
    """One network of each dtype, and one with attention."""
    return isinstance(spec, LSTM | Transformer) or spec is NARROW


def networks():
    """Every network in both modes at once; one in each."""
    for spec in NETWORKS:
        one = ("x64", "debug_nans") if isinstance(spec, LSTM) else ()
        for mode in (*one, "x64 and debug_nans"):
            name = type(spec).__name__ + ("-narrow" if spec is NARROW else "")
            yield pytest.param(mode, spec, id=f"{name}-{mode}")


def pretrained(architecture, settings=SMALL):
    fitted = px.pretrain(jax.random.key(0), architecture, COINS, settings, callbacks=())
    assert np.isfinite(fitted.loss).all() and np.all(fitted.diverged == -1)
    return fitted.predictor


def tuned(tuner, network, settings=SMALL):
    fitted = tuner.tune(jax.random.key(1), network, TARGET, settings, callbacks=())
    assert np.isfinite(fitted.loss).all() and np.all(fitted.diverged == -1)
    return fitted.predictor


# Without compilation every operation is a program: one way behind the front door, from a network
# that is there, is what can be afforded. Pretraining is the same loop.
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["x64 and debug_nans", "strict promotion", "disable_jit"])
def test_the_way_through_the_front_door(mode):
    network = LSTM(width=2).build(jax.random.key(0), 2)
    settings = px.FitSettings(steps=1, batch=1, length=2)
    with MODES[mode]():
        steered = tuned(SoftPrompt(length=1), network, settings)
        results = px.evaluate(jax.random.key(2), {"soft": steered}, TARGET, 4, 3)
        assert np.isfinite(px.regret(results)["regret"].values).all()


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "architecture"), list(networks()))
def test_every_network_trains_and_speaks(mode, architecture):
    with MODES[mode]():
        network = pretrained(architecture)
        if is_one_of_each(architecture):
            px.generate(jax.random.key(2), network, 3, prompt=[1])  # steps inside a scan
            tokens = jnp.array([0, 1, 1])
            assert px.decompress(network, px.compress(network, tokens)).tolist() == [0, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "tuner", [cls.examples()[0] for cls in laws.members(Tuner).values()], ids=laws.members(Tuner)
)
def test_every_tuner_tunes(tuner):
    """A search on an exact predictor, which compiles in less time, one on a network."""
    with MODES["x64 and debug_nans"]():
        if isinstance(tuner, Search) and not isinstance(tuner, GradientSearch):
            tuned(tuner, COINS.bayes())
            return
        tuned(tuner, next(filter(functools.partial(suits, tuner), built())))


def built():
    """Networks of small ones that compile in little time, then of every architecture."""
    for spec in (LSTM(width=2), Transformer(width=4, heads=2), *NETWORKS):
        yield spec.build(jax.random.key(0), 2)


def suits(tuner, network):
    try:
        tuner.suits(network)
    except TypeError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("tuner", [FullWeights(), LowRank(rank=1)], ids=["FullWeights", "LowRank"])
def test_a_bfloat16_network_is_tuned_in_its_own_dtype(tuner):
    network = laws.build(NARROW, 0, 2)
    steered = tuned(tuner, network)
    assert px.predict(steered, [0, 1]).dtype == jnp.float32
    layer = steered.torso.layers.query
    added = isinstance(tuner, LowRank)
    assert (layer.base if added else layer).weight.dtype == jnp.bfloat16
    assert not added or layer.up.dtype == jnp.float32  # small steps need its digits


@pytest.mark.slow
def test_small_steps_add_up_in_bfloat16():
    """A step is less than a sixth of the distance between two bfloat16 numbers; 40 are not."""
    network = laws.build(NARROW, 0, 2)
    settings = px.FitSettings(steps=40, batch=2, length=4, learning_rate=1e-5)
    steered = tuned(FullWeights(), network, settings)
    before = np.asarray(network.torso.layers.query.weight, np.float32)
    after = np.asarray(steered.torso.layers.query.weight, np.float32)
    seen = (np.abs(before) > 2.0**-6) & (np.abs(before) < 2.0**-5)  # neighbours are 2^-13.. apart
    assert seen.sum() > 20
    assert np.mean(before[seen] != after[seen]) > 0.5
