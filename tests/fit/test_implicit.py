"""Derivatives of minima: ridge, logistic regression, and a converged prompt, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.evaluation.exact import enumeration
from promptax.fit.implicit import attach, hypergradient, minimise
from promptax.tasks import DirichletCategorical

RANDOM, TRUTH = np.random.default_rng(7), np.array([0.5, -0.3, 0.2])
X, Y = RANDOM.normal(size=(12, 3)), RANDOM.normal(size=12)
NEW_X, NEW_Y = RANDOM.normal(size=(9, 3)), RANDOM.normal(size=9)
Y, NEW_Y = Y + X @ TRUTH, NEW_Y + NEW_X @ TRUTH
SIGNS = np.where(RANDOM.normal(size=12) + X[:, 0] > 0, 1.0, -1.0)
PROMPT, DATA = jnp.array([0.5, 0.5]), np.array([1.0, 3.0])
LAPLACE = DirichletCategorical((1.0, 1.0)).bayes()


def ridge(weights, log_strength):
    return 0.5 * jnp.sum((X @ weights - Y) ** 2) + 0.5 * jnp.exp(log_strength) * weights @ weights


def logistic(weights, log_strength):
    margins = SIGNS * (X @ weights)
    return jnp.sum(jax.nn.softplus(-margins)) + 0.5 * jnp.exp(log_strength) * weights @ weights


def prompted(log_counts, log_strength):
    """The loss of data behind a prompt of so many counts, which are pulled towards one of each."""
    counts = jnp.exp(log_counts)
    state, _ = LAPLACE.advance(LAPLACE.start(), counts[None])
    row = LAPLACE.advance(state, jnp.zeros(1, int))[1].log_probs[0]
    return -jnp.asarray(DATA) @ row + 0.5 * jnp.exp(log_strength) * jnp.sum(log_counts**2)


def validation(weights, log_strength):
    del log_strength
    return 0.5 * jnp.sum((NEW_X @ weights - NEW_Y) ** 2)


def later(log_counts, log_strength):
    return prompted(log_counts, -100.0) + jnp.sum(log_counts) * 0.1 + 0.0 * log_strength


CASES = {
    "ridge": (ridge, validation, jnp.zeros(3)),
    "logistic": (logistic, validation, jnp.zeros(3)),
    "prompt": (prompted, later, PROMPT),
}


@pytest.mark.parametrize("name", CASES)
def test_hypergradients_are_finite_differences(name):
    loss, outer, start = CASES[name]
    with enumeration.double_precision():
        begin = jnp.asarray(np.asarray(start, float))

        @jax.jit
        def compute(log_strength):
            return hypergradient(outer, loss, begin, log_strength, tolerance=1e-11)

        middle, above, below = (compute(jnp.asarray(-0.7 + by)) for by in (0, 1e-5, -1e-5))
        difference = float((above.value - below.value) / 2e-5)
        assert float(middle.minimum.residual) < 1e-9 and float(middle.solve_residual) < 1e-9
        np.testing.assert_allclose(float(middle.gradient), difference, rtol=1e-6)


def test_ridge_is_its_closed_form_and_its_strength_is_learned():
    """d/dλ of the validation loss; and descent on log λ ends at the best of a fine grid."""
    with enumeration.double_precision():

        @jax.jit
        @jax.value_and_grad
        def lose(log_strength):
            point = minimise(ridge, jnp.zeros(3), log_strength, tolerance=1e-11).point
            return validation(point, log_strength)

        inverse = np.linalg.inv(X.T @ X + np.exp(0.3) * np.eye(3))
        weights = inverse @ X.T @ Y
        slope = -np.exp(0.3) * weights @ inverse @ NEW_X.T @ (NEW_X @ weights - NEW_Y)
        np.testing.assert_allclose(lose(jnp.asarray(0.3))[1], slope, rtol=1e-9)
        log_strength = jnp.zeros(())
        for _ in range(60):
            log_strength = log_strength - lose(log_strength)[1]
        grid = np.linspace(-3, 8, 500)

        def exact(value):
            fitted = np.linalg.solve(X.T @ X + np.exp(value) * np.eye(3), X.T @ Y)
            return float(np.sum((NEW_X @ fitted - NEW_Y) ** 2) / 2)

        assert float(lose(log_strength)[0]) < min(map(exact, grid)) + 1e-6


def test_damping_and_distance_from_the_minimum_are_told():
    """A flat direction: damped, its derivative is 0; undamped, the solve says that it failed."""

    def flat(point, target):
        return 0.5 * (point[0] - target) ** 2

    def total(target, damping):
        point = attach(flat, jnp.array([target, 0.0]), target, damping=damping)
        return jnp.sum(point)

    slope = jax.grad(total)(jnp.float32(2.0), 0.25)
    np.testing.assert_allclose(slope, 1 / 1.25, rtol=1e-6)

    def outer(point, target):
        return jnp.sum(point) + 0.0 * target

    @jax.jit
    def solved(target):
        given = {"damping": 0.25, "solver_steps": 2}, {"solver_steps": 1}
        return [
            hypergradient(outer, flat, jnp.zeros(2), target, **options).solve_residual
            for options in given
        ]

    damped, undamped = solved(jnp.float32(2.0))
    assert damped < 1e-5 and undamped > 0.5  # nothing is bent into the flat direction
    few = minimise(flat, jnp.zeros(2), jnp.float32(3.0), steps=1)
    np.testing.assert_allclose(few.point[0], 3.0, rtol=1e-5)
    assert few.residual < 1e-5
    begun = jax.jit(lambda strength: minimise(logistic, jnp.zeros(3), strength, steps=1).residual)
    assert begun(jnp.float32(-0.7)) > 1e-3


def test_a_python_float_is_differentiated():
    def near(point, target):
        return 0.5 * (point - target) ** 2

    learned = jax.jit(lambda: hypergradient(near, lambda x, y: near(x, 3 * y), jnp.zeros(()), 2.0))
    np.testing.assert_allclose(learned().gradient, (6 - 2) * (3 - 1), rtol=1e-6)


def test_what_cannot_be_minimised_is_refused():
    with pytest.raises(ValueError, match="Expected a start of float arrays; got"):
        minimise(ridge, jnp.zeros(3, int), jnp.zeros(()))
    with pytest.raises(ValueError, match="tolerance and a damping of at least 0"):
        minimise(ridge, jnp.zeros(3), jnp.zeros(()), damping=-1.0)
