"""Residual networks with a memory of fixed size: each written a second time in NumPy, row by row;
and the network that is one step of gradient descent."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import protocol
from promptax.predictors import (
    DeltaNet,
    LinearAttention,
    MomentumAttention,
    SelfReferential,
    StateSpace,
)
from promptax.predictors.fast_weights import causal
from promptax.predictors.fast_weights.linear_attention import one_gradient_step
from promptax.tasks import LinearRegression


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    raised = np.exp(x - x.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def norm(rows, layer):
    centred = rows - rows.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * layer.scale + layer.bias


def bent(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def by_heads(layer, rows):
    """The outputs of a layer of fast weights, from its heads' outputs [head, time, head_width]."""
    cut = lambda of: np.split(rows @ of.weight, layer.heads, axis=1)  # noqa: E731
    return zip(cut(layer.query), cut(layer.key), cut(layer.value), strict=True)


def linear_attention(layer, rows):
    outputs = []
    for query, key, value in by_heads(layer, rows):
        if layer.mean:
            query, key = (np.where(x > 0, x + 1, np.exp(x)) for x in (query, key))
        weights, total, head = 0.0, 0.0, []
        for q, k, v in zip(query, key, value, strict=True):
            weights, total = weights + np.outer(v, k), total + k
            head.append(weights @ q / (total @ q if layer.mean else 1.0))
        outputs.append(head)
    return np.concatenate(outputs, axis=1) @ layer.output.weight


def momentum_attention(layer, rows):
    outputs = []
    for query, key, value in by_heads(layer, rows):
        weights, moving, head = 0.0, 0.0, []
        for q, k, v in zip(query, key, value, strict=True):
            moving = layer.momentum * moving + np.outer(v, k)
            weights = weights + moving
            head.append((1 - layer.momentum) * weights @ q / np.sqrt(len(q)))
        outputs.append(head)
    return np.concatenate(outputs, axis=1) @ layer.output.weight


def delta_net(layer, rows):
    outputs = []
    rates = sigmoid(rows @ layer.rate.weight + layer.rate.bias)
    for index, (query, key, value) in enumerate(by_heads(layer, rows)):
        query, key = (x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-6) for x in (query, key))
        weights, head = np.zeros((value.shape[1],) * 2), []
        for q, k, v, rate in zip(query, key, value, rates[:, index], strict=True):
            weights = weights + rate * np.outer(v - weights @ k, k)
            head.append(weights @ q)
        outputs.append(head)
    return np.concatenate(outputs, axis=1) @ layer.output.weight


def self_referential(layer, rows):
    outputs = []
    for weights, part in zip(
        np.asarray(layer.first), np.split(rows, len(layer.first), 1), strict=True
    ):
        width, head = part.shape[1], []
        for row in part:
            made = weights @ softmax(row)
            y, q, k, rates = np.split(made, [width, 2 * width, 3 * width])
            key, rates = softmax(k), sigmoid(rates)
            change = weights @ softmax(q) - weights @ key
            steps = np.concatenate([np.full(width, r) for r in rates[:3]] + [np.full(4, rates[3])])
            weights = weights + np.outer(steps * change, key)
            head.append(y)
        outputs.append(head)
    return np.concatenate(outputs, axis=1) @ layer.output.weight


def state_space(layer, rows):
    factor = np.exp(-np.exp(layer.log_decay) + 1j * np.exp(layer.log_angle))
    into = np.asarray(layer.real_in.weight) + 1j * np.asarray(layer.imaginary_in.weight)
    out = np.asarray(layer.real_out.weight) + 1j * np.asarray(layer.imaginary_out.weight)
    state, outputs = 0.0, []
    for row in rows:
        state = factor * state + np.sqrt(1 - np.abs(factor) ** 2) * (row @ into)
        inner = bent((state @ out).real + layer.skip * row)
        outputs.append(inner * sigmoid(inner @ layer.gate.weight))
    return np.stack(outputs)


BY_HAND = {
    LinearAttention: linear_attention,
    MomentumAttention: momentum_attention,
    DeltaNet: delta_net,
    SelfReferential: self_referential,
    StateSpace: state_space,
}


def built(spec, symbols=2):
    """A network whose norms and biases are away from 1 and 0."""
    network = spec.build(jax.random.key(3), symbols)
    return jax.tree.map(
        lambda leaf: leaf + 0.1 * np.random.default_rng(leaf.size).normal(size=leaf.shape), network
    )


def recomputed(network, tokens, read_layer):
    rows = np.concatenate([np.zeros((1, 2)), np.eye(2)[tokens]])  # the begin row, then the tokens
    rows = rows @ network.embedding.weight + network.embedding.bias
    if network.torso.positions:
        width = rows.shape[1]
        angles = np.arange(len(rows))[:, None] / 10_000 ** (2 * np.arange((width + 1) // 2) / width)
        rows = rows + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width]
    for block in network.torso.blocks:
        normed = norm(rows, block.before) if block.before else rows
        rows = rows + read_layer(block.layer, normed)
        if block.perceptron:
            hidden = bent(norm(rows, block.perceptron.before) @ block.perceptron.mlp_input.weight)
            rows = rows + hidden @ block.perceptron.mlp_output.weight
    scores = rows @ network.unembedding.weight + network.unembedding.bias
    return np.log(softmax(np.asarray(scores)))[:-1]


CASES = [(spec, by_hand) for member, by_hand in BY_HAND.items() for spec in member.examples()]


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "by_hand"), CASES, ids=[str(spec) for spec, _ in CASES])
def test_a_network_equals_its_description_in_numpy(spec, by_hand):
    network = jax.tree.map(np.asarray, built(spec))
    tokens = np.array([0, 1, 1, 0, 1, 0, 0])
    got = protocol.predict(jax.tree.map(jnp.asarray, network), tokens)
    np.testing.assert_allclose(got, recomputed(network, tokens, by_hand), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [LinearAttention.examples()[0], MomentumAttention.examples()[0]])
def test_long_sequences_are_read_in_blocks_with_the_same_result(spec, monkeypatch):
    network, tokens = built(spec), np.random.default_rng(0).integers(0, 2, 11)
    whole = protocol.predict(network, tokens)
    monkeypatch.setattr(causal, "BLOCK", 4)
    jax.clear_caches()
    np.testing.assert_allclose(protocol.predict(network, tokens), whole, rtol=1e-5, atol=1e-6)


def test_one_layer_of_linear_attention_is_one_step_of_gradient_descent():
    task, rate = LinearRegression(dimensions=3, noise_scale=0.5), 0.2
    rows = np.asarray(task.sample(jax.random.key(1), 12).observations)
    network = one_gradient_step(3, rate, noise_scale=0.5)
    said = protocol.predict(network, rows)  # mean and log scale
    x, y = rows[1::2, :3], rows[1::2, 3]
    means = [rate * (y[:n] @ x[:n]) @ x[n] for n in range(len(y))]
    np.testing.assert_allclose(said[1::2, 0], means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(said[:, 1], np.log(0.5), rtol=1e-5)


WRONG = {
    "Expected a width and a depth of at least 1 and a widening of at least 0; got 128, 0, 4.": (
        lambda: DeltaNet(depth=0)
    ),
    "Expected heads that divide the width 6: one of [1, 2, 3, 6]; got 4.": (
        lambda: LinearAttention(width=6)
    ),
    "Expected heads of at least 1; got 0.": lambda: SelfReferential(heads=0),
    "Expected a momentum from 0 to below 1; got 1.0.": lambda: MomentumAttention(momentum=1.0),
    "Expected states of at least 1; got 0.": lambda: StateSpace(states=0),
    "Expected 0 <= least < most < 1, factors for each step; got least=0.9, most=0.5.": (
        lambda: StateSpace(least=0.9, most=0.5)
    ),
    "Expected an angle above 0, up to 2π; got 7.0.": lambda: StateSpace(angle=7.0),
    "Expected at least 1 feature; got 0.": lambda: one_gradient_step(0, 0.1, 0.1),
    "Expected a noise_scale above 0.0001, the least that a network predicts; got 1e-05.": (
        lambda: one_gradient_step(2, 0.1, 1e-5)
    ),
}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(("message", "call"), WRONG.items())
def test_wrong_values_are_refused_with_the_way_out(message, call):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
