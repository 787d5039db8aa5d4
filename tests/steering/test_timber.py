"""Taking back a part of what tuning changed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.predictors import LSTM, RNN
from promptax.predictors.parts.layers import Dense, Layer, Transposed
from promptax.protocol.exchangeable import Uniform
from promptax.steering import FullWeights, LowRank, timber
from promptax.steering.weights.timber import _take_back, effective_rank, effective_ranks

NETWORK = RNN(width=4).build(jax.random.key(0), 3)


def test_the_effective_rank_of_known_matrices():
    values = [[4.0, 2.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 0.0, 0.0], [0.0] * 4]
    # H(1/2, 1/4, 1/8, 1/8) = 7/4 ln 2
    np.testing.assert_allclose(effective_rank(values), [2**1.75, 4, 1, 1])


@pytest.mark.parametrize("kind", [Dense, Transposed])
def test_directions_beyond_the_effective_rank_are_taken_back(kind):
    before = kind(jax.random.normal(jax.random.key(1), (2, 5, 5)))
    # effective ranks 2^1.75 = 3.36, of which 4 directions stay, and exactly 2
    changes = np.stack([np.diag([4.0, 2.0, 1.0, 1.0, 0.0]), np.diag([0.0, 2.0, 0.0, 2.0, 0.0])])
    changes[0, 4, 4] = 1e-3
    after = kind(before.weight + changes.astype(np.float32))
    changes[0, 4, 4] = 0.25e-3
    reverted = _take_back(before, after, 0.25)
    np.testing.assert_allclose(reverted.matrix() - before.matrix(), changes, atol=2e-6)
    assert type(reverted) is kind


def moved(predictor, mask):
    """A tuned predictor: the marked leaves moved at random."""
    leaves, others = eqx.partition(predictor, mask)
    rng = np.random.default_rng(0)
    leaves = jax.tree.map(lambda leaf: leaf + rng.normal(size=leaf.shape).astype("f"), leaves)
    return eqx.combine(leaves, others)


def matrices(predictor):
    layers = jax.tree.leaves(predictor, is_leaf=lambda node: isinstance(node, Layer))
    return [np.asarray(layer.matrix()) for layer in layers if isinstance(layer, Layer)]


@pytest.mark.parametrize("tuner", [FullWeights(), LowRank(rank=3)])
def test_a_tuned_network_is_taken_back_towards_its_base(tuner):
    steered = tuner.steer(jax.random.key(2), NETWORK)
    tuned = moved(steered, tuner.where(steered))
    whole, cut = (timber(NETWORK, tuned, rest=rest) for rest in (1.0, 0.0))
    assert jax.tree.structure(cut) == jax.tree.structure(tuned)
    networks = NETWORK, tuned, whole, cut
    for base, full, same, part in zip(*map(matrices, networks), strict=True):
        np.testing.assert_allclose(same, full, atol=1e-5)
        left, values, right = np.linalg.svd(full - base, full_matrices=False)
        stays = np.arange(len(values)) < np.ceil(effective_rank(values) - 1e-4)
        np.testing.assert_allclose(part - base, (left * values * stays) @ right, atol=1e-5)
    ranks = effective_ranks(NETWORK, tuned)
    assert any(
        np.ceil(rank) < min(layer.shape)
        for rank, layer in zip(ranks.values(), matrices(NETWORK), strict=True)
    )
    np.testing.assert_array_equal(cut.unembedding.bias, tuned.unembedding.bias)


def test_what_was_not_tuned_from_the_base_is_refused():
    with pytest.raises(ValueError, match=r"rest, a number between 0 and 1; got 2"):
        timber(NETWORK, NETWORK, rest=2.0)
    with pytest.raises(TypeError, match=r"matrices differ, such as"):
        timber(LSTM(width=4).build(jax.random.key(0), 3), NETWORK)
    with pytest.raises(TypeError, match=r"Expected a neural network.* got Uniform"):
        timber(Uniform(3), NETWORK)
    assert jnp.array_equal(timber(NETWORK, NETWORK).unembedding.weight, NETWORK.unembedding.weight)
