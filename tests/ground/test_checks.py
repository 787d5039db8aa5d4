"""What comes in is looked at as it was given, and refused by the name of what is wrong."""

import os
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import promptax as px
from promptax.decisions import UCB1, BernoulliBandit, play
from promptax.evaluation import expected_losses
from promptax.evaluation.exact.expectations import Expectations
from promptax.predictors import LSTM, Embedded, Llama
from promptax.protocol import Prediction, Predictor, Prompted, cut
from promptax.protocol.exchangeable import Uniform
from promptax.specs import as_key, traced
from promptax.steering import HardPrompt, SoftPrompt
from promptax.tasks import Categorical, DirichletCategorical

COINS, NAN, INF = DirichletCategorical(), float("nan"), float("inf")
KEY = jax.random.key(0)


def network():
    return LSTM(width=2).build(jax.random.key(0), 2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: px.condition(network(), np.array([[NAN, 1.0]])), "Expected weights of finite"),
        (lambda: px.predict(network(), np.array([[INF, 1.0]])), "Expected weights of finite"),
        (lambda: px.condition(COINS.bayes(), np.array([[1e50, 1.0]])), "Expected weights of fin"),
        (lambda: px.condition(COINS.bayes(), np.array([[-1.0, 2.0]])), "Expected weights of at"),
        (lambda: px.condition(network(), Embedded(jnp.full((1, 2), NAN))), "Expected rows of"),
        (lambda: px.predict(network(), [0, -1, 1]), "Expected tokens from 0 to 1; got -1 to 1"),
        (lambda: px.predict(network(), [2**33]), "Expected tokens from 0 to 1; got 8589934592"),
    ],
)
def test_prompts_are_finite(make, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        make()


def broken(tree, number=NAN):
    """A tree whose first array has one number in place of another."""
    first = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))[0]
    worse = first.at[(0,) * first.ndim].set(number)
    return jax.tree.map(lambda leaf: worse if leaf is first else leaf, tree)


def soft(number=NAN):
    return broken(SoftPrompt(length=2).steer(KEY, network()).context, number)


LOST = {  # predictors with NaN among their numbers, and where the message says it is
    "weights": (lambda: broken(network()), "NaN in .embedding.weight"),
    "bfloat16": (
        lambda: broken(
            Llama(width=4, heads=1, key_heads=1, head_width=4, hidden=4, dtype="bfloat16").build(
                KEY, 2
            )
        ),
        "NaN in .embedding.weight",
    ),
    "a soft prompt": (lambda: Prompted(network(), soft()), "NaN in .context.values"),
    "weights behind a prompt": (
        lambda: Prompted(broken(network()), soft(0.0)),
        "NaN in .predictor.embedding.weight",
    ),
    "an exact predictor": (
        lambda: broken(traced(COINS.bayes())),
        "NaN in .concentration",
    ),
}
DOORS = {
    "predict": lambda lost: px.predict(lost, [0]),
    "condition": lambda lost: px.condition(lost, [0]),
    "evaluate": lambda lost: px.evaluate(KEY, {"lost": lost}, COINS, 2, 2),
    "expected losses": lambda lost: expected_losses(lost, COINS, 2),
    "expectations": lambda lost: Expectations(COINS, 2).loss(lost),
    "generate": lambda lost: px.generate(KEY, lost, 2),
    "compress": lambda lost: px.compress(lost, [0]),
    "tune": lambda lost: HardPrompt(1).tune(KEY, lost, COINS),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("make", "place"), LOST.values(), ids=LOST)
def test_what_is_not_a_number_comes_through_no_door(make, place, door):
    with pytest.raises(ValueError, match=rf"^Expected numbers in the predictor.*{place}"):
        DOORS[door](make())


def test_numbers_that_grow_too_large_are_named():
    large = Opaque(jnp.nan)
    with pytest.raises(FloatingPointError, match="got NaN from row 0"):
        px.predict(large, [0, 1])
    with pytest.raises(FloatingPointError, match="got NaN at step 1"):
        expected_losses(large, COINS, 2)
    with pytest.warns(UserWarning, match=r"got NaN of 'large': what diverged") as said:
        results = px.evaluate(KEY, {"large": large, "uniform": Uniform(2)}, COINS, 2, 2)
    with pytest.warns(UserWarning, match=r"got NaN of 'large'") as said_again:
        px.regret(results, reference="bayes")
    lines = {warning.filename for warning in (*said, *said_again)}  # of whoever called promptax
    assert not any(line.startswith(os.path.dirname(px.__file__) + os.sep) for line in lines)
    assert np.isfinite(results["log_loss"].sel(predictor="uniform")).all()


def test_a_repetition_that_is_lost_spares_the_others():
    predictors = [network(), broken(network())]
    both = cut(predictors, jax.tree.map(eqx.is_inexact_array, predictors[0]))
    with pytest.warns(UserWarning, match=r"'both' \(repetitions 1\)"):
        results = px.evaluate(KEY, {"both": both}, COINS, 2, 2)
    assert np.isfinite(results["log_loss"].sel(predictor="both", repetition=0)).all()


def test_minus_infinity_is_a_log_probability():
    sure = Categorical((1.0, 0.0)).bayes()
    assert np.isneginf(px.predict(sure, [0, 0])).any()
    assert np.isinf(expected_losses(sure, COINS, 2)).all()


class Opaque(Predictor):
    """Says a number that it computes."""

    number: float
    symbols: int = 2

    def start(self, capacity=None):
        del capacity
        return jnp.zeros(())

    def advance(self, state, inputs):
        return state, Prediction(jnp.full((len(inputs), 2), self.number))


@pytest.mark.parametrize("power", [-36, -20, 10, 30, 38])
def test_any_concentration_that_is_held_is_computed_with(power):
    """Symbols are of the alphabet, and no loss is NaN."""
    for concentration in ((10.0**power, 10.0**power), (10.0**power, 1.0)):
        results = px.evaluate(jax.random.key(0), {}, DirichletCategorical(concentration), 8, 5)
        losses = results["log_loss"].sel(predictor=["oracle", "bayes"]).values
        assert not np.isnan(losses).any(), (concentration, losses)
        assert (losses > -1e-6).all()


@pytest.mark.slow
def test_keys_of_the_older_kind_draw_the_same_numbers():
    old, new = jax.random.PRNGKey(3), jax.random.key(3)
    assert (jax.random.key_data(as_key(old)) == jax.random.key_data(new)).all()
    for draw in (
        lambda key: px.evaluate(key, {}, COINS, 4, 3)["log_loss"].values,
        lambda key: np.asarray(px.generate(key, COINS.bayes(), 4)),
        lambda key: play(key, {"ucb": UCB1()}, BernoulliBandit(), 3, 2)["reward"].values,
    ):
        np.testing.assert_array_equal(draw(old), draw(new))


@pytest.mark.parametrize("key", [0, None, "key", np.zeros(3), jax.random.split(jax.random.key(0))])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(TypeError, match=r"^Expected one random key, such as jax\.random\.key"):
        as_key(key)
