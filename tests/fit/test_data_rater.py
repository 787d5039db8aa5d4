"""A learned rater: its gradient through the models' steps, and what it tells apart."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.logits import Coin, OneLogit

import promptax as px
from promptax import platforms
from promptax.evaluation.exact import enumeration
from promptax.fit.data_rater import DataRater, RaterRun
from promptax.fit.objectives import BestRated, LogLoss
from promptax.fit.rater import Rater
from promptax.predictors import RNN
from promptax.protocol.outcomes import Episode
from promptax.tasks import Categorical, Mixture, Recorded

KEY = jax.random.key(5)
CLEAN, NOISE = Categorical((0.1, 0.9)), Categorical((0.5, 0.5))
DATA = Mixture((CLEAN, NOISE), (0.5, 0.5))
RATING = px.FitSettings(steps=60, batch=32, length=16, learning_rate=0.03)


def sequences(task, seed):
    keys = jax.random.split(jax.random.key(seed), 300)
    return jax.vmap(functools.partial(task.sample, length=16))(keys).tokens


def area(good, bad):
    """How often a good sequence scores above a bad one; ties count half."""
    good, bad = np.asarray(good)[:, None], np.asarray(bad)
    return np.mean(good > bad) + 0.5 * np.mean(good == bad)


@functools.cache
def learned():
    choices = DataRater(inner_rate=0.1, models=3, lifetime=20)
    return choices.learn(KEY, RNN(width=3), OneLogit(), DATA, RATING, held_out=CLEAN)


@pytest.mark.slow
def test_gradients_go_through_the_models_steps():
    """Against finite differences in float64, through two steps of Adam of two models."""
    with enumeration.double_precision():
        choices = DataRater(inner_steps=2, inner_rate=0.1, models=2)
        run = RaterRun(choices, DATA, CLEAN, OneLogit(), 4, 5)
        network = RNN(width=2).build(KEY, 2)
        network = eqx.tree_at(lambda network: network.unembedding, network, None)
        rater = Rater(network, jnp.array([0.3, -0.7]), jnp.zeros(0))
        rater = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), rater)
        models = jax.vmap(run.build)(jax.random.split(KEY, 2))

        @jax.jit
        @jax.value_and_grad
        def compute(rater):
            return run.held_out_loss(rater, models, KEY)[0]

        def moved(by):
            return compute(jax.tree.map(lambda leaf: leaf + by, rater))

        slope = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(moved(0.0)[1]))
        difference = (moved(1e-5)[0] - moved(-1e-5)[0]) / 2e-5
        assert abs(float(slope)) > 1e-4
        np.testing.assert_allclose(float(slope), float(difference), rtol=1e-6)


@pytest.mark.slow
def test_a_rater_tells_sequences_from_noise():
    good, bad = sequences(CLEAN, 1), sequences(NOISE, 2)
    rater = learned().rater
    assert area(rater.scores(good), rater.scores(bad)) >= 0.95
    constant = eqx.tree_at(lambda rater: rater.readout, rater, jnp.zeros(3))
    assert area(constant.scores(good), constant.scores(bad)) == 0.5
    np.testing.assert_allclose(constant.weights(good), 1 / 300, rtol=1e-6)
    kept = rater.scores(sequences(DATA, 3)) >= rater.threshold(0.5)
    assert abs(np.mean(kept) - 0.5) < 4 * np.sqrt(0.25 / 300)
    cost = learned().cost.final()
    assert cost["sequences"] == 60 * 3 * (2 * 2 * 32 + 32)  # rated by two, and held out
    assert cost["tokens_forward"] == 16 * cost["sequences"]


def test_the_loss_of_what_is_kept_is_divided_by_its_share():
    """Also where scores tie, so that less is dropped than was asked for."""
    network = RNN(width=3).build(KEY, 2)
    network = eqx.tree_at(lambda network: network.unembedding, network, None)
    tokens = jnp.array([[0, 0], [0, 1], [1, 1], [1, 1]])
    plain = -2 * np.log(0.5)

    def losses(reference, readout, dropped=0.5):
        objective = BestRated(Rater(network, readout, jnp.asarray(reference)), dropped)
        fair = Coin(jnp.zeros(()))
        return objective.losses(KEY, fair, None, Episode(tokens), DATA.outcome)

    alike = jnp.zeros(3)
    np.testing.assert_allclose(losses([0.0, 0.0, 0.0, 0.0], alike), plain, rtol=1e-6)
    np.testing.assert_allclose(losses([-1.0, 0.0, 0.0, 0.0], alike), plain / 0.75, rtol=1e-6)
    np.testing.assert_allclose(losses([-1.0, -1.0, -1.0, 0.0], alike), plain, rtol=1e-6)
    readout = jnp.ones(3)
    scores = Rater(network, readout, jnp.zeros(0)).scores(tokens)
    kept = np.asarray(scores > jnp.min(scores))
    assert 0 < np.sum(kept) < 4, "the sequences have to differ"
    expected = np.where(kept, plain / np.mean(kept), 0.0)
    np.testing.assert_allclose(losses(np.sort(scores), readout, 0.25), expected, rtol=1e-6)


@pytest.mark.slow
def test_a_rater_that_diverges_is_stopped_and_not_trained_on():
    choices, steps = (
        DataRater(inner_rate=1e30, models=1),
        px.FitSettings(steps=2, batch=2, length=2),
    )
    with pytest.warns(UserWarning, match="Diverged: the rater at step 1 of 2"):
        broken = choices.learn(KEY, RNN(width=2), RNN(width=2), DATA, steps)
    assert np.all(np.isnan(broken.loss)) and np.all(broken.rater.readout == 0)
    rater = learned().rater
    for reference in (jnp.zeros(0), jnp.array([0.0, np.nan])):
        objective = BestRated(dataclasses.replace(rater, reference=reference))
        with pytest.raises(ValueError, match="scores of its own task"):
            objective.verify(OneLogit().build(KEY, 2), RATING)


def test_fewer_steps_reach_the_loss_when_the_lowest_are_dropped():
    settings = px.FitSettings(steps=60, batch=32, length=16, learning_rate=0.1)
    looks = [px.fit.Probe(5, lambda coin: {"logit": float(coin.logit)})]

    def logits(objective):
        fitted = px.pretrain(
            KEY, OneLogit(), DATA, settings, objective=objective, probes=looks, callbacks=()
        )
        return fitted.probes["logit"].values[0]

    plain, best = logits(LogLoss()), logits(BestRated(learned().rater))
    assert plain[-1] < np.log(0.7 / 0.3) + 0.2  # the mixture's coin
    assert np.argmax(best >= plain[-1]) <= 8 and best[-1] > np.log(0.8 / 0.2)


def test_memory_is_refused_for_sequences_as_long_as_they_are(monkeypatch):
    """A file's sequences may be longer than the 100 steps that are read where they go on."""
    model, lines = RNN(width=2), Recorded(sequences=np.arange(4000).reshape(2, 2000) % 2)
    needed = DataRater().kept_bytes(model.build(KEY, 2), RATING.batch, 2000)
    monkeypatch.setattr(platforms, "free_bytes", lambda: needed - 1)
    with pytest.raises(ValueError, match=r"fit into memory; they take .* Choose fewer inner steps"):
        DataRater().learn(KEY, model, model, lines, dataclasses.replace(RATING, length=None))


def test_what_cannot_be_rated_is_refused():
    with pytest.raises(ValueError, match="lifetime of at least the 3 inner steps"):
        DataRater(inner_steps=3, lifetime=2)
    with pytest.raises(TypeError, match="network that rates; got Coin"):
        DataRater().learn(KEY, OneLogit(), OneLogit(), DATA, RATING)
    with pytest.raises(ValueError, match="held-out sequences of 2 symbols"):
        DataRater().learn(
            KEY, RNN(width=2), OneLogit(), DATA, RATING, held_out=Categorical((0.2, 0.3, 0.5))
        )
    for settings, words in (
        (px.FitSettings(batch=1), "batch of at least 2"),
        (px.FitSettings(precision="bfloat16"), "precision='float32'"),
        (px.FitSettings(batch=4, micro_batch=2), "no micro_batch"),
        (px.FitSettings(clip_over="all"), "clip_over='tuned'"),
    ):
        with pytest.raises(ValueError, match=words):
            DataRater().learn(KEY, RNN(width=2), OneLogit(), DATA, settings)
    with pytest.raises(TypeError, match="Expected a rater for BestRated"):
        px.pretrain(KEY, OneLogit(), DATA, RATING, objective=BestRated())
    with pytest.raises(ValueError, match="dropped share"):
        BestRated(dropped=1.0)
