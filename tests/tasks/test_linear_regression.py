"""Linear regression against direct Gaussian conditioning, QR in float64, and its information."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

import promptax as px
from promptax.protocol import Episode
from promptax.tasks import LinearRegression


def points(seed, count, dimensions, prior_scale, noise_scale):
    """Features [point, feature] and answers [point], float64."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, dimensions))
    noise = noise_scale * random.normal(size=count)
    return x, x @ (prior_scale * random.normal(size=dimensions)) + noise


def conditioned(x, y, prior_scale, noise_scale):
    """Mean and log scale [point, 2] of each answer given those before, by conditioning of the joint
    normal distribution of all answers."""
    covariance = prior_scale**2 * x @ x.T + noise_scale**2 * np.eye(len(y))
    predicted = []
    for t in range(len(y)):
        gain = np.linalg.solve(covariance[:t, :t], covariance[:t, t])
        variance = covariance[t, t] - gain @ covariance[:t, t]
        predicted.append((gain @ y[:t], 0.5 * np.log(variance)))
    return np.array(predicted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "dimensions", "prior_scale", "noise_scale"),
    [(12, 3, 0.8, 0.3), (4, 8, 1.7, 0.05), (5, 8, 1.0, 1e-4)],  # fewer points than dimensions
)
def test_bayes_is_direct_gaussian_conditioning(count, dimensions, prior_scale, noise_scale):
    x, y = points(0, count, dimensions, prior_scale, noise_scale)
    expected = conditioned(x, y, prior_scale, noise_scale)
    task = LinearRegression(dimensions, prior_scale, noise_scale)
    for double, tolerance in ((True, 1e-9), (False, 1e-4)):
        with jax.enable_x64(double):
            rows = task.outcome.rows(jnp.asarray(x), jnp.asarray(y))
            predicted = np.asarray(px.predict(task.bayes(), rows))[1::2]
        np.testing.assert_allclose(predicted, expected, atol=tolerance)


def test_float32_holds_over_a_thousand_points_with_little_noise():
    """d = 20, σ = 1e-4. The judge solves each least-squares problem anew, by QR in float64: for the
    first points, where few decide, and for the last, where roundings have added up."""
    count, d, noise_scale = 1000, 20, 1e-4
    x, y = (values.astype(np.float32) for values in points(2, count, d, 1.0, noise_scale))
    task = LinearRegression(d, 1.0, noise_scale)
    rows = task.outcome.rows(jnp.asarray(x), jnp.asarray(y))[None]
    losses = -np.asarray(laws.predictions(task.bayes(), rows).of(rows))[0, 1::2]
    x, y = x.astype(float), y.astype(float)
    judged = [*range(2 * d), *range(count // 2, count, 10)]
    expected = np.empty(len(judged))
    for index, t in enumerate(judged):
        above = np.concatenate([np.eye(d), x[:t] / noise_scale])
        basis, root = np.linalg.qr(above)
        mean = x[t] @ np.linalg.solve(root, basis[d:].T @ (y[:t] / noise_scale))
        variance = np.sum(np.linalg.solve(root.T, x[t]) ** 2) + noise_scale**2
        squares = (y[t] - mean) ** 2 / variance
        expected[index] = 0.5 * (squares + np.log(2 * np.pi * variance))
    worst = np.abs(losses[judged] - expected).max()
    assert worst <= 0.1, f"expected rows within 0.1 nats; the worst is off by {worst:.3f}"


@pytest.mark.slow
@pytest.mark.parametrize("task", [LinearRegression(), LinearRegression(5, 2.0, 0.05)])
def test_expected_bayes_regret_is_the_information_about_the_weights(task):
    """E regret = ½ E log det(I + (τ/σ)² XᵀX), in standard errors."""
    sequences, length = 2000, 20
    results = px.evaluate(jax.random.key(3), {}, task, sequences, length)["log_loss"][:, 0]
    totals = results.sum("time")
    regret = (totals.sel(predictor="bayes") - totals.sel(predictor="oracle")).values
    x = np.random.default_rng(5).normal(size=(sequences, length // 2, task.dimensions))
    squares = (task.prior_scale / task.noise_scale) ** 2 * np.swapaxes(x, 1, 2) @ x
    information = 0.5 * np.linalg.slogdet(np.eye(task.dimensions) + squares)[1]
    laws.assert_zero(regret - information, "regret of Bayes minus the information about w")


def test_two_halves_of_an_answer_are_the_answer():
    task = LinearRegression()
    answer = jnp.array([[1.0, 0.5, 1.3, 1.0]])
    halves = jnp.tile(answer.at[0, -1].set(0.5), (2, 1))
    once, twice = (px.condition(task.bayes(), rows).start() for rows in (answer, halves))
    np.testing.assert_allclose(once.mean, twice.mean, atol=1e-6)
    np.testing.assert_allclose(once.root @ once.root.T, twice.root @ twice.root.T, atol=1e-6)


def test_questions_teach_nothing_and_an_odd_length_ends_with_one():
    task = LinearRegression(3)
    rows = task.sample(jax.random.key(0), 7).inputs
    np.testing.assert_array_equal(rows[-1, 3:], [0, 0])
    np.testing.assert_array_equal(rows[:6:2, :3], rows[1::2, :3])
    np.testing.assert_array_equal(rows[:, -1], [0, 1, 0, 1, 0, 1, 0])
    bayes = task.bayes()
    before, _ = bayes.advance(bayes.start(), rows[:6])
    after, prediction = bayes.advance(before, rows[6:])
    np.testing.assert_array_equal(after.root, before.root)
    np.testing.assert_array_equal(after.mean, before.mean)
    assert task.outcome.log_loss(prediction, Episode(rows[6:])) == 0
    np.testing.assert_allclose(task.oracle_entropy(3)[::2], 0.0)
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.3**2)
    np.testing.assert_allclose(task.oracle_entropy(3)[1], entropy, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"dimensions": 0}, "at least 1 dimension, and at most 4,096; got 0"),
        ({"dimensions": 1.5}, "a whole number as LinearRegression.dimensions; got 1.5"),
        ({"noise_scale": 1e-7}, "noise_scale of at least 6e-06 beside a prior_scale of 1, since"),
        ({"prior_scale": 0.0}, "prior_scale above 0 and finite, a standard deviation; got 0.0"),
        ({"noise_scale": -1.0}, "noise_scale above 0 and finite, a standard deviation; got -1.0"),
        ({"noise_scale": float("nan")}, "a number as LinearRegression.noise_scale; got nan"),
        (
            {"prior_scale": float("inf")},
            "finite and held by float32 as LinearRegression.prior_scale",
        ),
    ],
)
def test_wrong_fields(fields, text, as_users_see_it):
    with pytest.raises(ValueError, match=text):
        LinearRegression(**fields)
