"""Regression families and references against linear algebra: NumPy, float64, every hypothesis."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

import promptax as px
from promptax.tasks import (
    FinitePool,
    FourierRegression,
    LinearRegression,
    SignRegression,
    SineRegression,
    SparseRegression,
)
from promptax.tasks.pools.drawing import draw_latents
from promptax.tasks.regression import references

SIGMA = 0.4


def log_normal(y, mean, covariance):
    """log N(y; mean, covariance)."""
    apart = y - mean
    squares = apart @ np.linalg.solve(covariance, apart)
    return -0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1])


def conditioned(features, y, hypotheses, noise_scale):
    """Mean, log standard deviation and log density [point, 3] of each answer given those before.

    Each hypothesis is a mean and a covariance of the weights; all are equally likely. It says that
    the answers are one normal vector, so that a sum over hypotheses is all that there is.
    """
    predicted = []
    for t in range(len(y)):
        logs, means, variances, after = [], [], [], []
        for mean, covariance in hypotheses:
            joint = features[: t + 1] @ covariance @ features[: t + 1].T
            joint = joint + noise_scale**2 * np.eye(t + 1)
            center = features[: t + 1] @ mean
            gain = np.linalg.solve(joint[:t, :t], joint[:t, t])
            means.append(center[t] + gain @ (y[:t] - center[:t]))
            variances.append(joint[t, t] - gain @ joint[:t, t])
            logs.append(log_normal(y[:t], center[:t], joint[:t, :t]))
            after.append(log_normal(y[: t + 1], center, joint))
        weights = np.exp(np.array(logs) - np.logaddexp.reduce(logs))
        mean = weights @ means
        variance = weights @ (np.array(variances) + (np.array(means) - mean) ** 2)
        density = np.logaddexp.reduce(after) - np.logaddexp.reduce(logs)
        predicted.append((mean, 0.5 * np.log(variance), density))
    return np.array(predicted)


def of_pool():
    task = FinitePool(LinearRegression(3, 1.0, SIGMA), 5, seed=2)
    latents = draw_latents(task.source, task.size, task.seed).astype(float)
    return task, 3, [(w, np.zeros((3, 3))) for w in latents]


def of_signs():
    signs = itertools.product((-0.7, 0.7), repeat=3)
    hypotheses = [(np.array(w), np.zeros((3, 3))) for w in signs]
    return SignRegression(3, 0.7, SIGMA), 3, hypotheses


def of_supports():
    supports = itertools.combinations(range(4), 2)
    masks = [np.isin(np.arange(4), support) for support in supports]
    hypotheses = [(np.zeros(4), 1.5**2 * np.diag(mask.astype(float))) for mask in masks]
    return SparseRegression(4, 2, 1.5, SIGMA), 4, hypotheses


def of_waves():
    return FourierRegression(2, 1.3, SIGMA), 1, [(np.zeros(5), 1.3**2 * np.eye(5))]


def of_sines():
    """Weights a (cos φ, sin φ) of sin x and cos x, with a ~ N(1.1, 0.8²) and three phases φ."""
    angles = np.pi * np.arange(3) / 3
    units = [np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
    hypotheses = [(1.1 * unit, 0.8**2 * np.outer(unit, unit)) for unit in units]
    return SineRegression(3, 1.1, 0.8, SIGMA), 1, hypotheses


FAMILIES = {
    "pool": of_pool,
    "signs": of_signs,
    "supports": of_supports,
    "waves": of_waves,
    "sines": of_sines,
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_families_are_sums_over_all_hypotheses(family):
    task, dimensions, hypotheses = family()
    random = np.random.default_rng(1)
    x = random.uniform(-1, 1, (9, dimensions)).astype(np.float32).astype(float)
    y = random.normal(size=9).astype(np.float32).astype(float)
    features = x
    if isinstance(task, FourierRegression):
        angles = np.pi * x * [1, 2]
        features = np.concatenate([np.ones_like(x), np.cos(angles), np.sin(angles)], axis=1)
    elif isinstance(task, SineRegression):
        features = np.concatenate([np.sin(x), np.cos(x)], axis=1)
    expected = conditioned(features, y, hypotheses, SIGMA)
    for double, tolerance in ((True, 1e-9), (False, 1e-5)):
        with jax.enable_x64(double):
            rows = task.outcome.rows(jnp.asarray(x), jnp.asarray(y))
            said = laws.predictions(task.bayes(), rows[None])
            numbers = np.asarray(said.shown())[0, 1::2], np.asarray(said.of(rows[None]))[0, 1::2]
        np.testing.assert_allclose(numbers[0], expected[:, :2], atol=tolerance)
        np.testing.assert_allclose(numbers[1], expected[:, 2], atol=tolerance * 10)


@pytest.mark.slow
def test_weights_have_the_signs_and_supports_that_are_asked_for():
    keys = jax.random.split(jax.random.key(0), 4000)
    signs = jax.jit(jax.vmap(SignRegression(2, 0.5).draw_weights))(keys)
    np.testing.assert_array_equal(np.abs(signs), 0.5)
    laws.assert_zero(np.asarray(signs).mean(axis=1), "mean of random signs")
    laws.assert_zero(np.asarray(signs).prod(axis=1), "product of two random signs")
    sparse = np.asarray(jax.jit(jax.vmap(SparseRegression(3, 2).draw_weights))(keys))
    assert ((sparse != 0).sum(axis=1) == 2).all()
    for absent in range(3):
        laws.assert_zero((sparse[:, absent] == 0) - 1 / 3, f"share without weight {absent}")
    laws.assert_zero((sparse**2).sum(axis=1) - 2, "square of two normal weights minus 2")


# --- references -----------------------------------------------------------------------------


def judged_ridge(x, y, penalty):
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)


def judged_descent(x, y, steps, rate):
    w = np.zeros(x.shape[1])
    for _ in range(steps):
        w = w - rate * x.T @ (x @ w - y)
    return w


LINEAR = {
    "MinimumNorm": (references.MinimumNorm(4), lambda x, y: np.linalg.pinv(x, 1e-9) @ y),
    "Ridge": (references.Ridge(4, 0.3), lambda x, y: judged_ridge(x, y, 0.3)),
    "GradientDescent": (
        references.GradientDescent(4, 3, 0.02),
        lambda x, y: judged_descent(x, y, 3, 0.02),
    ),
    "Averaging": (references.Averaging(4), lambda x, y: (y[:, None] * x).mean(axis=0)),
}


def answers_of(predictor, x, y):
    """Mean and log standard deviation [point, 2] of what it says to each question."""
    rows = predictor.outcome.rows(jnp.asarray(x), jnp.asarray(y))
    return np.asarray(px.predict(predictor, rows))[1::2]


@pytest.mark.parametrize(
    ("predictor", "rule"),
    [
        pytest.param(*case, id=name, marks=() if name == "MinimumNorm" else laws.SLOW)
        for name, case in LINEAR.items()
    ],
)
def test_references_are_what_linear_algebra_says(predictor, rule):
    random = np.random.default_rng(3)
    x, y = np.round(8 * random.normal(size=(12, 4))) / 8, np.round(8 * random.normal(size=12)) / 8
    x[2] = x[0] - 0.5 * x[1]  # exactly: a third point that shows no new direction
    weights = [np.zeros(4), *(rule(x[:t], y[:t]) for t in range(1, 12))]
    expected = np.einsum("ti,ti->t", x, weights)
    for double, tolerance in ((True, 1e-6), (False, 1e-4)):
        with jax.enable_x64(double):
            said = answers_of(predictor, x, y)
        np.testing.assert_allclose(said[:, 0], expected, atol=tolerance)
        np.testing.assert_allclose(said[:, 1], np.log(0.3), atol=1e-6)


def test_the_lasso_meets_its_optimality_conditions():
    """Each coordinate: |x_i · (y - X w)| / n ≤ penalty, with equality and the sign of w_i ≠ 0."""
    random, penalty, n = np.random.default_rng(4), 0.1, 10
    x = random.normal(size=(n, 4))
    y = x @ [1.0, 0.0, -0.5, 0.0] + 0.1 * random.normal(size=n)
    with jax.enable_x64(True):
        predictor = references.Lasso(4, penalty)
        rows = predictor.outcome.rows(jnp.asarray(x), jnp.asarray(y))
        internals = laws.predictions(predictor, rows[None]).internals
        w = np.asarray(internals["weights"])[0, -1]
    slopes = x.T @ (y - x @ w) / n
    assert (w != 0).tolist() == [True, False, True, False]
    np.testing.assert_allclose(slopes[w != 0], penalty * np.sign(w[w != 0]), atol=1e-9)
    assert (np.abs(slopes[w == 0]) < penalty).all()
    np.testing.assert_allclose(answers_of(predictor, x, y)[0, 0], 0.0)


@pytest.mark.slow
def test_neighbours_are_those_that_are_nearest():
    random = np.random.default_rng(5)
    x, y = random.normal(size=(8, 2)), random.normal(size=8)
    said = answers_of(references.NearestNeighbours(2, 3), x, y)
    expected = [0.0]
    for t in range(1, 8):
        order = np.argsort(((x[:t] - x[t]) ** 2).sum(axis=1))[:3]
        expected.append(y[order].mean())
    np.testing.assert_allclose(said[:, 0], expected, atol=1e-6)


@pytest.mark.slow
def test_ridge_with_the_penalty_of_bayes_says_its_means():
    task = LinearRegression(3, 2.0, 0.1)
    rows = task.sample(jax.random.key(0), 20).inputs
    ridge = references.Ridge(3, (0.1 / 2.0) ** 2)
    bayes = px.predict(task.bayes(), rows)
    np.testing.assert_allclose(px.predict(ridge, rows)[:, 0], bayes[:, 0], atol=1e-4)


READERS = {
    "MinimumNorm": references.MinimumNorm(4),
    "Lasso": references.Lasso(4, sweeps=5),
    "NearestNeighbours": references.NearestNeighbours(4),
    "supports": SparseRegression(4).bayes(),
    "pool": FinitePool(LinearRegression(4), 3).bayes(),
    "hierarchical": FinitePool(LinearRegression(4), 3).hierarchical(),
}


@pytest.mark.slow
@pytest.mark.parametrize("predictor", READERS.values(), ids=READERS)
def test_single_steps_equal_one_reading(predictor):
    rows = LinearRegression(4).sample(jax.random.key(1), 11).inputs

    def step(state, row):
        state, prediction = predictor.advance(state, row[None])
        return state, prediction.of(row[None])[0]

    single = jax.jit(lambda: jax.lax.scan(step, predictor.start(11), rows)[1])()
    whole = laws.predictions(predictor, rows[None]).of(rows[None])[0]
    np.testing.assert_allclose(single, whole, atol=1e-4)


@pytest.mark.slow
def test_more_neighbours_than_the_capacity_are_never_a_silent_wrong_number():
    """Rows either equal the right ones or are NaN: from the first one on that lacks a neighbour."""
    predictor, room = references.NearestNeighbours(4), 4
    rows = LinearRegression(4).sample(jax.random.key(1), 8).inputs
    whole = predictor.advance(predictor.start(), rows)[1].shown()
    for pieces in ([3, 1, 4], [3, 5], [8]):
        state, said = predictor.start(room), []
        for piece in jnp.split(rows, np.cumsum(pieces)[:-1]):
            state, prediction = predictor.advance(state, piece)
            said.append(prediction.shown())
        said = np.concatenate(said)
        np.testing.assert_allclose(said[: room + 1], whole[: room + 1], rtol=1e-5, atol=1e-6)
        assert np.isnan(said[room + 1 :]).any(axis=1).all()
    late = predictor.advance(predictor.with_room(state, 9), rows)[1].shown()
    assert np.isnan(late).any(axis=1).all()


@pytest.mark.slow
def test_neighbours_are_remembered_from_one_reading_to_the_next():
    predictor = references.NearestNeighbours(4)
    rows = LinearRegression(4).sample(jax.random.key(1), 11).inputs
    whole = laws.predictions(predictor, rows[None]).of(rows[None])[0]
    state, first = predictor.advance(predictor.start(), rows[:4])
    _, second = predictor.advance(state, rows[4:])
    pieces = np.concatenate([first.of(rows[:4]), second.of(rows[4:])])
    np.testing.assert_allclose(pieces, whole, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SignRegression(15), "from 1 to 14 dimensions; got 15"),
        (lambda: SparseRegression(4, 5), "from 1 to 4 numbers that are not 0, the dimensions"),
        (lambda: SparseRegression(40, 8), "few enough supports for beliefs of at most 4,194,304"),
        (lambda: FourierRegression(0), "from 1 to 512 frequencies; got 0"),
        (lambda: SineRegression(0), "from 1 to 4096 phases; got 0"),
        (lambda: SparseRegression(noise_scale=0.0), "noise_scale above 0 and finite, a standard"),
        (lambda: references.Ridge(2, 0.0), "penalty above 0 and finite; got 0.0. The limit at 0"),
        (lambda: references.MinimumNorm(0), "at least 1 dimension; got 0"),
        (lambda: references.GradientDescent(2, 0), "at least 1 step; got 0"),
        (lambda: references.GradientDescent(2, rate=-1.0), "rate above 0 and finite; got -1.0"),
        (lambda: references.Lasso(2, sweeps=0), "at least 1 sweep; got 0"),
        (lambda: references.NearestNeighbours(2, 0), "at least 1 neighbour; got 0"),
        (lambda: references.Averaging(2, 0.0), "noise_scale above 0 and finite, the standard"),
    ],
)
def test_wrong_fields(build, message, as_users_see_it):
    with pytest.raises(ValueError, match=message):
        build()


def test_rows_of_another_width_are_refused_by_name(as_users_see_it):
    rows = LinearRegression(3).sample(jax.random.key(0), 4).inputs
    for predictor in (references.MinimumNorm(2), SignRegression(2).bayes()):
        with pytest.raises(ValueError, match=r"Expected rows \[time, 4\] of points of 2 features"):
            px.predict(predictor, rows)
    with pytest.raises(ValueError, match="predictor over points of 3 features"):
        px.evaluate(jax.random.key(0), {"a": references.Ridge(2)}, LinearRegression(3), 2, 4)
