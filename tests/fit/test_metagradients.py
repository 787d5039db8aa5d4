"""Descent along metagradients: schedules, and weights of recorded sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.logits import OneLogit

import promptax as px
from promptax.fit import replay
from promptax.fit.metagradients import MetagradientDescent, rates_between
from promptax.tasks import Recorded

KEY = jax.random.key(6)
START = OneLogit().build(KEY, 2)


def clean_loss(coin):
    """Expected nats of a flip of the coin (.2, .8)."""
    return -0.8 * jax.nn.log_sigmoid(coin.logit) - 0.2 * jax.nn.log_sigmoid(-coin.logit)


def test_knots_are_joined_on_a_log_scale():
    rates = rates_between(jnp.log(jnp.array([0.01, 0.1, 0.001])), 5)
    np.testing.assert_allclose(rates, [0.01, 0.1**1.5, 0.1, 0.01, 0.001], rtol=1e-5)
    np.testing.assert_allclose(rates_between(jnp.zeros(1), 3), 1.0)


@pytest.mark.parametrize("move", ["sign", "adam", "slope"])
def test_descent_finds_a_minimum_and_survives_what_is_not_finite(move):
    def loss(point):
        return jnp.where(point["a"] > 3.2, jnp.nan, (point["a"] - 3) ** 2) + point["b"] ** 2

    found = MetagradientDescent(runs=40, step=0.7, move=move, least=0.0).descend(
        loss, {"a": 1.0, "b": 1.0}
    )
    assert np.isnan(found.loss).any() or move == "slope"  # which comes to a rest before
    assert np.nanmin(found.loss) < 0.01
    assert abs(found.point["a"] - 3) < 0.1 and 0 <= found.point["b"] < 0.1
    assert len(found.points) == len(found.loss) == 40


def test_sequences_of_a_file_that_harm_lose_their_weight():
    """Half of the recorded sequences are of the wrong coin; each has a weight of its own."""
    rows = np.concatenate([np.ones((4, 5), int), np.zeros((4, 5), int)])
    data, settings = Recorded(sequences=rows), px.FitSettings(steps=20, batch=8, length=5)

    def final_loss(weights):
        def weigh(episodes):
            return weights[episodes.latent]

        return clean_loss(replay(KEY, START, data, settings, weights=weigh, rule="sgd"))

    descent = MetagradientDescent(runs=6, step=0.5, least=0.0)
    found = descent.descend(final_loss, jnp.ones(8))
    assert found.loss.min() < found.loss[0]
    assert np.all(found.point[:4] > found.point[4:])


def test_what_cannot_descend_is_refused():
    with pytest.raises(ValueError, match="at least 1 run"):
        MetagradientDescent(runs=0)
    with pytest.raises(ValueError, match="arrays of floats to start from"):
        MetagradientDescent().descend(jnp.sum, jnp.ones(2, int))
    with pytest.raises(ValueError, match="a start whose loss and metagradient are finite"):
        MetagradientDescent().descend(lambda x: jnp.sum(x) * jnp.nan, jnp.ones(2))
