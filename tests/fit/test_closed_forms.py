"""Objectives with inner steps against their closed forms on linear regression, in float64.

Loss of the support ½|y - Xw|², so that inner steps of rate a from w are A^K w + …, with
A = I - a XᵀX, and derivatives are products of matrices.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.line import Line
from support.logits import Logits

from promptax import FitSettings, specs
from promptax.evaluation.exact import enumeration
from promptax.fit import MAML, Bootstrapped, FirstOrderMAML, ImplicitMAML, MetaSGD, Reptile
from promptax.protocol import Gaussian
from promptax.protocol.outcomes import Episode

RANDOM = np.random.default_rng(5)
X, Y = RANDOM.normal(size=(7, 3)), RANDOM.normal(size=(7, 1))
START, RATE, STEPS, SUPPORT = RANDOM.normal(size=3), 0.05, 3, 4
XS, YS, XQ, YQ = X[:SUPPORT], Y[:SUPPORT, 0], X[SUPPORT:], Y[SUPPORT:, 0]
COMMON = {"inner_rate": RATE, "inner_loss": "sum", "support": SUPPORT, "in_context": True}


def slope(weights, x, y):
    return x.T @ (x @ weights - y)


def stepped(weights, x, y, steps):
    for _ in range(steps):
        weights = weights - RATE * slope(weights, x, y)
    return weights


END = stepped(START, XS, YS, STEPS)
BEND = np.linalg.matrix_power(np.eye(3) - RATE * XS.T @ XS, STEPS)
QUERY = slope(END, XQ, YQ)
HELD = np.linalg.inv(XS.T @ XS + 2 * np.eye(3))  # proximity 2
ADAPTED = HELD @ (XS.T @ YS + 2 * START)
TARGET = stepped(END, XS, YS, 2)
TARGET = TARGET - 0.02 * slope(TARGET, XQ, YQ)
# Two other sequences of 2 symbols each: both see the first 2 rows of the design, the query's the
# first 3, and an inner step follows the mean of the two losses.
SHARED = X[:2], Y[:4, 0].reshape(2, 2).mean(axis=0)
SHARED_QUERY = slope(stepped(START, *SHARED, STEPS), X[:3], Y[4:, 0])
SHARED_BEND = np.linalg.matrix_power(np.eye(3) - RATE * X[:2].T @ X[:2], STEPS)
TOGETHER = {"inner_steps": STEPS, "inner_rate": RATE, "inner_loss": "sum", "support": 2}
CASES = {
    "MAML, support from other sequences": (
        MAML(support_sequences=2, **TOGETHER),
        SHARED_BEND @ SHARED_QUERY,
    ),
    "first order, support from other sequences": (
        FirstOrderMAML(support_sequences=2, **TOGETHER),
        SHARED_QUERY,
    ),
    "bootstrapped, L = 1, support from other sequences": (
        Bootstrapped(
            support_sequences=2, target_steps=1, target_rate=0.02, distance="squared", **TOGETHER
        ),
        0.02 * SHARED_BEND @ SHARED_QUERY,
    ),
    "MAML": (MAML(inner_steps=STEPS, **COMMON), BEND @ QUERY),
    "first order": (FirstOrderMAML(inner_steps=STEPS, **COMMON), QUERY),
    "Reptile": (
        Reptile(inner_steps=STEPS, inner_rate=RATE, inner_loss="sum"),
        START - stepped(START, X, Y[:, 0], STEPS),
    ),
    "implicit": (
        ImplicitMAML(**COMMON | {"inner_steps": 400}, proximity=2.0),
        2 * HELD @ slope(ADAPTED, XQ, YQ),
    ),
    "bootstrapped, L = 1: the target's rate times MAML": (
        Bootstrapped(
            inner_steps=STEPS, target_steps=1, target_rate=0.02, distance="squared", **COMMON
        ),
        0.02 * BEND @ QUERY,
    ),
    "bootstrapped, L = 3": (
        Bootstrapped(
            inner_steps=STEPS, target_steps=3, target_rate=0.02, distance="squared", **COMMON
        ),
        BEND @ (END - TARGET),
    ),
    "Meta-SGD, first order": (
        MetaSGD(inner_steps=1, first_order=True, **COMMON),
        slope(stepped(START, XS, YS, 1), XQ, YQ),
    ),
    "Meta-SGD": (
        MetaSGD(inner_steps=1, **COMMON),
        (np.eye(3) - RATE * XS.T @ XS) @ slope(stepped(START, XS, YS, 1), XQ, YQ),
    ),
}


def gradient_of(objective):
    """The derivative for the weights, and for factors of rates if there are any."""
    line = Line(jnp.asarray(START), tuple(map(tuple, X.tolist())))
    line = objective.equip(line, FitSettings(length=len(X)))
    leaves, others = eqx.partition(line, eqx.is_inexact_array)

    @jax.jit
    def compute(leaves):
        def lose(leaves):
            predictor, episodes = eqx.combine(leaves, others), Episode(jnp.asarray(Y)[None])
            given = jax.random.key(0), predictor, predictor.start(), episodes, Gaussian()
            return objective.losses(*given)[0]

        return jax.grad(lose)(leaves)

    return [np.asarray(leaf) for leaf in jax.tree.leaves(compute(leaves))]


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_products_of_matrices(name):
    objective, expected = CASES[name]
    with enumeration.double_precision():
        gradient = gradient_of(specs.traced(objective))
    np.testing.assert_allclose(gradient[0], expected, rtol=1e-9, atol=1e-12)
    if name.startswith("Meta-SGD"):
        factors = -RATE * slope(START, XS, YS) * slope(stepped(START, XS, YS, 1), XQ, YQ)
        np.testing.assert_allclose(gradient[1], factors, rtol=1e-9)


TOKENS, VALUES = np.array([0, 2, 1, 1, 2, 2, 0]), np.array([0.3, -0.2, 0.5])


def log_softmax(values):
    return values - np.log(np.sum(np.exp(values)))


def moved(values, tokens, rate):
    """Logits of 3 symbols after one step on the summed log loss of tokens."""
    counts = np.bincount(tokens, minlength=3)
    return values - rate * (len(tokens) * np.exp(log_softmax(values)) - counts)


def inner(values, steps):
    for _ in range(steps):
        values = moved(values, TOKENS[:SUPPORT], RATE)
    return values


@pytest.mark.parametrize("target_steps", [1, 3])
def test_the_divergence_from_a_target_is_differentiated(target_steps):
    """Σ KL(p of x̃ ‖ p of φ_1(θ)) over the query, x̃ held at the θ where it is differentiated."""
    target = moved(inner(VALUES, target_steps), TOKENS[SUPPORT:], 0.7)  # K + L - 1 = L steps

    def divergence(values):
        ahead, rows = log_softmax(target), log_softmax(inner(values, 1))
        return (len(TOKENS) - SUPPORT) * np.sum(np.exp(ahead) * (ahead - rows))

    by = 1e-5 * np.eye(3)
    expected = [(divergence(VALUES + e) - divergence(VALUES - e)) / 2e-5 for e in by]
    given = COMMON | {"in_context": False}
    objective = Bootstrapped(inner_steps=1, target_steps=target_steps, target_rate=0.7, **given)
    with enumeration.double_precision():

        @jax.jit
        @jax.value_and_grad
        def compute(values):
            predictor, episodes = Logits(values), Episode(jnp.asarray(TOKENS)[None])
            given = jax.random.key(0), predictor, predictor.start(), episodes, predictor.outcome
            return objective.losses(*given)[0]

        value, gradient = compute(jnp.asarray(VALUES))
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-10)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(value, -np.sum(log_softmax(inner(VALUES, 1))[TOKENS[SUPPORT:]]))
