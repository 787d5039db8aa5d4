"""Streams of tasks against products of different matrices, in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.line import Line
from support.logits import Coin

import promptax as px
from promptax.analysis import forgetting
from promptax.evaluation.exact import enumeration
from promptax.fit.objectives import OML
from promptax.predictors import RNN
from promptax.protocol import Gaussian
from promptax.protocol.outcomes import Episode
from promptax.report.figures import forgetting_curves
from promptax.tasks import Categorical, DirichletCategorical

RANDOM = np.random.default_rng(8)
X, Y, START = RANDOM.normal(size=(5, 2)), RANDOM.normal(size=(3, 5)), RANDOM.normal(size=2)
RATE, SUPPORT = 0.1, 3
KEY = jax.random.key(0)
COMMON = {"inner_rate": RATE, "inner_loss": "sum", "support": SUPPORT, "in_context": True}


def test_a_stream_is_a_product_of_matrices():
    """Loss ½|y - Xw|² and one inner step: w_i = A w_{i-1} + a Xᵀ y_i, with A = I - a XᵀX. The same
    design and other answers: sequences differ in what they add, so their order matters."""
    xs, xq = X[:SUPPORT], X[SUPPORT:]
    step = np.eye(2) - RATE * xs.T @ xs
    end = START
    for answers in Y:
        end = step @ end + RATE * xs.T @ answers[:SUPPORT]
    apart = [xq @ end - answers[SUPPORT:] for answers in Y]
    bend = np.linalg.matrix_power(step, 3)
    slope = sum(bend.T @ xq.T @ part for part in apart)
    with enumeration.double_precision():
        line = Line(jnp.asarray(START), tuple(map(tuple, X.tolist())))

        @eqx.filter_jit
        @eqx.filter_value_and_grad
        def compute(line, answers, objective):
            episodes = Episode(answers[..., None])
            return jnp.sum(objective.losses(KEY, line, None, episodes, Gaussian()))

        def losses(answers, **choices):
            objective = OML(stream=3, adapts=(), **choices, **COMMON)
            value, gradient = compute(line, jnp.asarray(answers), objective)
            return float(value), np.asarray(gradient.weights)

        ours, backwards = losses(Y), losses(Y[::-1])
        constant, frozen = losses(Y, first_order=True), losses(Y, frozen_start=True)
    noise = 6 * 0.5 * np.log(2 * np.pi)  # of six answers
    expected = sum(0.5 * np.sum(part**2) for part in apart) + noise
    np.testing.assert_allclose(ours[0], expected, rtol=1e-9)
    np.testing.assert_allclose(ours[1], slope, rtol=1e-9)
    assert abs(ours[0] - backwards[0]) > 1e-3, "the order of a stream matters"
    np.testing.assert_allclose(constant[1], sum(xq.T @ part for part in apart), rtol=1e-9)
    np.testing.assert_allclose(frozen[1], 0.0, atol=1e-12)


def test_what_is_forgotten_is_that_of_steps_by_hand():
    """One logit that follows each coin in turn: all of what it knew of the one before goes."""
    coins, objective = DirichletCategorical(), OML(stream=2, adapts=(), support=4, inner_rate=2.0)
    table = forgetting(KEY, Coin(jnp.zeros(())), objective, coins, length=10, streams=5)
    keys = jax.random.split(KEY, (5, 2))
    tokens = np.asarray(objective.draw(coins, keys, 10).tokens)
    logit, rows, errors = np.zeros(5), [], []
    for learned in range(3):
        chance = 1 / (1 + np.exp(-logit))[:, None, None]
        query = np.where(tokens[:, :, 4:] == 1, chance, 1 - chance)
        losses = -np.log(query).sum(-1)
        rows.append(losses.mean(0))
        errors.append(np.std(losses, axis=0, ddof=1) / np.sqrt(5))
        if learned < 2:
            logit = logit - 2.0 * (chance[:, 0, 0] - tokens[:, learned, :4].mean(-1))
    np.testing.assert_allclose(table.loss, rows, rtol=1e-5)
    np.testing.assert_allclose(
        table.forgotten, [rows[2][0] - rows[1][0], 0.0], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(table.learned, rows[0] - [rows[1][0], rows[2][1]], rtol=1e-4)
    # five streams that begin alike: their losses before anything was learned differ by nothing
    np.testing.assert_allclose(table.loss_error[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(table.loss_error[1:], errors[1:], rtol=1e-4)
    one = forgetting(KEY, Coin(jnp.zeros(())), objective, coins, length=10, streams=1)
    assert np.isnan(one.loss_error).all() and np.isfinite(one.loss).all()
    (panel,) = forgetting_curves(table).axes
    after = [line.get_ydata() for line in panel.lines[1:6:3]]  # from where a task was learned on
    for curve, column in zip(after, (table.loss[1:, 0], table.loss[2:, 1]), strict=True):
        np.testing.assert_array_equal(curve, column)
    assert panel.texts[0].get_text().startswith("task ") and forgetting_curves(one).axes
    with pytest.raises(ValueError, match=r"Expected at most .* numbers in the sequences of all"):
        forgetting(KEY, Coin(jnp.zeros(())), objective, coins, streams=10**8)


def test_half_a_stream_is_refused():
    key, settings = KEY, px.FitSettings(steps=1, batch=6, length=6)
    for stream, support, words in (
        (4, 3, "whole streams of 4 sequences"),
        (3, 6, "support shorter than the sequence"),
    ):
        with pytest.raises(ValueError, match=words):
            objective = OML(stream=stream, support=support)
            px.pretrain(key, RNN(width=2), Categorical(), settings, objective=objective)
    with pytest.raises(ValueError, match=r"name fields of Network, .*; got 'head'"):
        objective = OML(stream=3, support=3, adapts=("head",))
        px.pretrain(key, RNN(width=2), Categorical(), settings, objective=objective)
