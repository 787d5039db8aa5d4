"""Derivatives through whole runs of the loop, against finite differences in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judges import same
from support.logits import OneLogit, leaky

import promptax as px
from promptax import platforms
from promptax.evaluation.exact import enumeration
from promptax.fit.replay import replay, replay_bytes, states_kept
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

KEY = jax.random.key(4)
COIN, COINS = Categorical((0.2, 0.8)), DirichletCategorical()
TOKENS = jnp.array([1, 0, 1, 1, 1])
SETTINGS = px.FitSettings(steps=110, batch=3, length=4, learning_rate=0.03, clip=1.5)


def validation(predictor):
    rows = predictor.advance(predictor.start(), TOKENS)[1].log_probs
    return -jnp.sum(jnp.take_along_axis(rows, TOKENS[:, None], 1))


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_metagradients_are_finite_differences(rule):
    """Through 110 steps; for rates, weights of sequences and initial leaves, each by itself."""
    with enumeration.double_precision():
        start = jax.tree.map(lambda leaf: leaf.astype(float), leaky())
        shapes = {"rates": (110,), "weights": (110, 3)}
        knobs = {
            "rates": jnp.full((110,), 0.03),
            "weights": jnp.ones((110, 3)),
            "start": start,
        }
        keys = jax.random.split(KEY, 3)
        directions = {
            name: jax.random.normal(key, shape) * knobs[name]
            for key, (name, shape) in zip(keys, shapes.items(), strict=False)
        }
        directions["start"] = jax.tree.map(jnp.ones_like, start)

        @jax.jit
        def compute(knobs):
            def lose(knobs):
                given = {name: knobs[name] for name in shapes}
                end = replay(KEY, knobs["start"], COIN, SETTINGS, rule=rule, levels=3, **given)
                return validation(end)

            return jax.value_and_grad(lose)(knobs)

        _, slopes = compute(knobs)
        for name, direction in directions.items():

            def moved(by, name=name, direction=direction):
                leaf = jax.tree.map(lambda a, b: a + by * b, knobs[name], direction)
                return float(compute({**knobs, name: leaf})[0])

            products = jax.tree.map(lambda a, b: jnp.sum(a * b), slopes[name], direction)
            slope, by = float(sum(jax.tree.leaves(products))), 1e-5
            assert abs(slope) > 1e-4, name
            np.testing.assert_allclose(slope, (moved(by) - moved(-by)) / (2 * by), rtol=1e-6)


def test_a_replay_is_the_fit():
    settings = px.FitSettings(steps=7, batch=4, length=5, schedule="cosine", learning_rate=0.1)
    fitted = px.pretrain(KEY, OneLogit(), COINS, settings, callbacks=())
    start = OneLogit().build(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), 2)
    end = eqx.filter_jit(replay)(KEY, start, COINS, settings, root_epsilon=0.0)
    same(end, fitted.predictor, rtol=1e-6)


@pytest.mark.slow
def test_a_learned_weight_tells_good_data_from_bad():
    """Two tasks in one pool: sequences of the one that is not judged get less weight."""

    def weigh(weight):
        def weigh(episodes):
            return jnp.where(episodes.latent == 0, 1.0 + weight, 1.0 - weight)

        return weigh

    two = CategoricalMixture(((0.2, 0.8), (0.8, 0.2)), (0.5, 0.5))
    start = OneLogit().build(KEY, 2)
    settings = px.FitSettings(steps=20, batch=8, length=5)

    @jax.jit
    @jax.grad
    def slope(weight):
        return validation(replay(KEY, start, two, settings, weights=weigh(weight), rule="sgd"))

    assert slope(0.0) < 0  # the judge's symbols are mostly 1, as the first component's are


def test_memory_is_said_before_it_is_spent(monkeypatch):
    start = OneLogit().build(KEY, 2)
    assert [states_kept(1000, levels) for levels in (1, 2, 3, 10)] == [1000, 64, 30, 20]
    long = px.FitSettings(steps=1000, batch=2, length=3)
    one, two = (replay_bytes(start, long, levels=levels) for levels in (1, 2))
    assert one - two == (1000 - 64) * 3 * 4  # a float and its two moments
    monkeypatch.setattr(platforms, "free_bytes", lambda: two)
    with pytest.raises(ValueError, match=r"fit into memory; they take .* Choose more levels"):
        replay(KEY, start, COINS, long, levels=1)


def test_what_cannot_be_replayed_is_refused():
    start = OneLogit().build(KEY, 2)

    def by_time(episodes):
        return jnp.ones((len(episodes.observations), 3))

    for settings, given, words in (
        (px.FitSettings(steps=0), {}, "at least 1 step to replay"),
        (px.FitSettings(steps=2, repetitions=2), {}, "one repetition"),
        (px.FitSettings(steps=2), {"rates": jnp.ones(3)}, "a finite rate for each of 2 steps"),
        (
            px.FitSettings(steps=2),
            {"weights": jnp.ones((2, 3))},
            "weight for each step and sequence",
        ),
        (
            px.FitSettings(steps=2),
            {"weights": by_time},
            r"each sequence \(256,\); got shape \(256, 3",
        ),
        (px.FitSettings(steps=2), {"levels": 0}, "at least 1 level"),
        (px.FitSettings(steps=2, precision="bfloat16"), {}, "precision='float32' for a replay"),
        (px.FitSettings(steps=2, budget=9), {}, "no budget, which is for searches"),
        (px.FitSettings(steps=2, exact=True), {}, "no exact, which is for searches"),
        (px.FitSettings(steps=2, impossible_may_win=False), {}, "no impossible_may_win"),
    ):
        with pytest.raises(ValueError, match=words):
            replay(KEY, start, COINS, settings, **given)
    frozen = eqx.tree_at(lambda p: p.keep, jax.tree.map(eqx.is_inexact_array, leaky()), False)
    over_all = px.FitSettings(steps=2, clip_over="all")
    with pytest.raises(ValueError, match="clip_over='tuned' for a replay of a part"):
        replay(KEY, leaky(), COINS, over_all, where=lambda _: frozen)
