"""Recurrent networks: written a second time in NumPy, and gradients of gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import protocol
from promptax.evaluation.exact import enumeration
from promptax.predictors import GRU, LSTM, RNN
from promptax.predictors.recurrent import Recurrent
from promptax.steering.weights.low_rank import LowRank

RATE = 0.5  # of the inner step: large, so that its derivative counts


def network_of(architecture):
    return architecture.build(jax.random.key(4), 2)


@pytest.mark.slow
@pytest.mark.parametrize("member", laws.members(Recurrent).values())
def test_a_gradient_step_has_a_derivative(member):
    """d/dw loss(w - RATE ∇loss(w)) along a direction, against central differences in float64."""
    seen, later = jnp.asarray(np.random.default_rng(0).integers(0, 2, (2, 2, 4)))

    def loss(network, tokens):
        prediction = network.advance_batch(network.start(), tokens)[1]
        return -jnp.mean(prediction.of(tokens))

    def adapted_loss(network):
        slopes = jax.grad(loss)(network, seen)
        return loss(jax.tree.map(lambda leaf, slope: leaf - RATE * slope, network, slopes), later)

    with enumeration.double_precision():
        network = jax.tree.map(
            lambda leaf: np.asarray(leaf, "float64"), network_of(member.examples()[-1])
        )
        random = np.random.default_rng(1)
        along = jax.tree.map(lambda leaf: random.normal(size=leaf.shape), network)

        @jax.jit
        def compared(network, size):
            """The slope along the direction, and the difference quotient."""
            slopes = jax.tree.leaves(jax.grad(adapted_loss)(network))
            directions = jax.tree.leaves(along)
            slope = sum(jnp.vdot(s, d) for s, d in zip(slopes, directions, strict=True))

            def shifted_loss(size):
                return adapted_loss(jax.tree.map(lambda leaf, d: leaf + size * d, network, along))

            low, high = jax.lax.map(shifted_loss, jnp.stack([-size, size]))
            return slope, (high - low) / (2 * size)

        np.testing.assert_allclose(*compared(network, jnp.asarray(1e-5)), rtol=1e-7)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn(layer, width, rows):
    hidden = np.zeros(width)
    w, u, b = layer.inputs.weight, layer.recurrent.weight, layer.recurrent.bias
    for row in rows:
        hidden = np.tanh(row @ w + hidden @ u + b)
        yield hidden


def gru(layer, width, rows):
    """The reset gate r multiplies what the candidate gets from the hidden state, without bias."""
    hidden = np.zeros(width)
    reset, update, candidate = (slice(start, start + width) for start in (0, width, 2 * width))
    w, u, b = layer.inputs.weight, layer.recurrent.weight, layer.recurrent.bias
    for row in rows:
        r = sigmoid(row @ w[:, reset] + hidden @ u[:, reset] + b[reset])
        z = sigmoid(row @ w[:, update] + hidden @ u[:, update] + b[update])
        n = np.tanh(row @ w[:, candidate] + r * (hidden @ u[:, candidate]) + b[candidate])
        hidden = z * hidden + (1 - z) * n
        yield hidden


@pytest.mark.parametrize(("architecture", "recursion"), [(RNN, rnn), (GRU, gru)])
def test_two_layers_equal_their_description_in_numpy(architecture, recursion):
    random = np.random.default_rng(2)
    tokens = random.integers(0, 2, 9)
    with enumeration.double_precision():
        network = jax.tree.map(  # biases away from 0
            lambda leaf: jnp.asarray(leaf + 0.3 * random.normal(size=leaf.shape), "float64"),
            network_of(architecture(width=5, depth=2, embedding=3)),
        )
        predicted = np.asarray(jax.jit(protocol.predict)(network, tokens))
    network = jax.tree.map(np.asarray, network)
    opened = np.concatenate([np.zeros((1, 2)), np.eye(2)[tokens]])  # the begin row, the tokens
    rows = opened @ network.embedding.weight + network.embedding.bias
    for layer in network.torso.layers:
        rows = np.stack(list(recursion(layer, 5, rows)))
    logits = rows @ network.unembedding.weight + network.unembedding.bias
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(predicted, expected[:-1], rtol=1e-12, atol=1e-12)


def test_low_rank_finds_both_matrices_of_every_layer():
    steered = LowRank(rank=2).steer(jax.random.key(0), network_of(LSTM(width=6, depth=3)))
    for layer in steered.torso.layers:
        assert layer.inputs.down.shape == (6, 2) and layer.recurrent.up.shape == (2, 24)
