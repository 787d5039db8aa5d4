"""Recurrent networks: gradients of gradients, for every member."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import specs
from promptax.evaluation.exact import enumeration
from promptax.predictors import LSTM
from promptax.predictors.recurrent import Recurrent
from promptax.steering.weights.low_rank import LowRank

RATE = 0.5  # of the inner step: large, so that its derivative counts


def network_of(architecture):
    return architecture.build(jax.random.key(4), 2)


@pytest.mark.parametrize("member", specs.members(Recurrent).values())
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


def test_low_rank_finds_both_matrices_of_every_layer():
    steered = LowRank(rank=2).steer(jax.random.key(0), network_of(LSTM(width=6, depth=3)))
    for layer in steered.torso.layers:
        assert layer.inputs.down.shape == (6, 2) and layer.recurrent.up.shape == (2, 24)
