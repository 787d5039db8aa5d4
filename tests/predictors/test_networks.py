"""The paper's networks, written out a second time in NumPy; and what predictors refuse."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from support.judges import build

from promptax import protocol
from promptax.predictors import LSTM, Transformer
from promptax.predictors.parts import attention
from promptax.predictors.parts.layers import Transposed
from promptax.protocol import Embedded
from promptax.tasks import Categorical, DirichletCategorical


def tokens_for(predictor, length=7):
    return jax.random.randint(jax.random.key(0), (length,), 0, predictor.symbols)


def close(one, other, tolerance=1e-5):
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def says(error, message, call):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.usefixtures("as_users_see_it")
def test_repeated_predictors_are_told_apart():
    stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731
    built = [LSTM(width=4).build(jax.random.key(seed), 2) for seed in range(2)]
    halves = [eqx.partition(each, eqx.is_array) for each in built]
    repeated = protocol.Repeated(jax.tree.map(stack, *(h[0] for h in halves)), halves[0][1], 2)
    assert len(repeated) == 2 and repeated.symbols == 2
    for each, expected in zip(repeated, built, strict=True):
        assert eqx.tree_equal(each, expected)
    best = xr.DataArray([2.0, 1.0], dims="repetition").argmin("repetition")
    for index in (-1, np.int64(1), np.array(1), jnp.argmin(jnp.array([2.0, 1.0])), best):
        assert eqx.tree_equal(repeated[index], built[1])
    says(IndexError, "Expected a repetition from 0 to 1; got 2.", lambda: repeated[2])
    says(
        TypeError,
        "Expected one predictor; got 2 repetitions. Pick one: predictor[0].",
        lambda: protocol.predict(repeated, jnp.array([0])),
    )


@functools.cache
def transformer():
    return build(Transformer(width=8, heads=2), 1, 2)


COIN = DirichletCategorical().bayes()
WRONG = {
    "token too large": (
        lambda: protocol.predict(COIN, jnp.array([0, 2])),
        "Expected tokens from 0 to 1; got 0 to 2. The predictor's alphabet has 2 symbols.",
    ),
    "negative token": (
        lambda: protocol.condition(transformer(), [-1, 0]),
        "Expected tokens from 0 to 1; got -1 to 0. The predictor's alphabet has 2 symbols.",
    ),
    "batch": (
        lambda: protocol.predict(COIN, jnp.zeros((3, 4), jnp.int32)),
        "Expected tokens of shape [time] (int) or weights [time, symbol] (float); got shape "
        "(3, 4), int32. For a batch use jax.vmap or promptax.evaluate.",
    ),
    "fractions": (
        lambda: protocol.predict(COIN, jnp.array([0.0, 1.0])),
        "Expected tokens of shape [time] (int) or weights [time, symbol] (float); got shape "
        "(2,), float32. For a batch use jax.vmap or promptax.evaluate.",
    ),
    "rows of another width": (
        lambda: protocol.condition(transformer(), jnp.zeros((3, 5))).start(),
        "Expected weights [time, 2] over the symbols or embedding rows [time, 8]; got shape "
        "(3, 5).",
    ),
    "embedding of another width": (
        lambda: transformer().advance(transformer().start(), Embedded(jnp.zeros((3, 2)))),
        "Expected weights [time, 2] over the symbols or embedding rows [time, 8]; got shape "
        "(3, 2).",
    ),
    "weights over other symbols": (
        lambda: protocol.condition(COIN, jnp.zeros((3, 5))).start(),
        "Expected weights [time, symbol] over 2 symbols; got shape (3, 5).",
    ),
    "heads": (
        lambda: Transformer(width=8, heads=3),
        "Expected heads that divide the width 8: one of [1, 2, 4, 8]; got 3.",
    ),
    "no block": (
        lambda: Transformer(depth=0),
        "Expected width, depth, heads and widening of at least 1; got 128, 0, 4, 4.",
    ),
    "no layer": (
        lambda: LSTM(width=0),
        "Expected width, depth and embedding of at least 1; got width=0, depth=1, embedding=None.",
    ),
    "one symbol": (
        lambda: LSTM(width=4).build(jax.random.key(0), 1),
        "Expected an alphabet of at least 2 symbols; got 1.",
    ),
    "an embedding of nothing": (
        lambda: LSTM(embedding=0),
        "Expected width, depth and embedding of at least 1; got width=128, depth=1, embedding=0.",
    ),
}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_refused_with_the_way_out(call, message):
    says(ValueError, message, call)


@pytest.mark.usefixtures("as_users_see_it")
def test_wrong_kinds_are_refused_with_the_way_out():
    says(
        TypeError,
        "Expected a promptax Predictor; got LSTM. An architecture is built first: "
        "architecture.build(key, symbols), or trained: promptax.pretrain.",
        lambda: protocol.predict(LSTM(), jnp.array([0])),
    )
    says(
        TypeError,
        "Expected tokens or weights over symbols; got embedding rows. An exact predictor has no "
        "embedding: steer it with HardPrompt.",
        lambda: COIN.advance(COIN.start(), Embedded(jnp.zeros((3, 2)))),
    )


# --- the networks of Genewein et al. 2025 ---------------------------------------------------


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_published_transformer():
    assert Transformer() == Transformer.as_published()
    network = Transformer.as_published().build(jax.random.key(0), 2)
    norms = 3 * 2 * 128 + 2 * 128  # before attention, before and after the MLP; queries and keys
    block = 4 * 128 * 128 + 2 * 128 * (4 * 128) + norms
    assert size(network) == (2 * 128 + 128) + block + (128 * 2 + 2) == 198_274
    (only,) = network.torso.blocks
    assert only.mlp_input.weight.shape == (128, 512) and only.mlp_output.weight.shape == (512, 128)
    for name in ("query", "key", "value", "attention_output", "mlp_input", "mlp_output"):
        assert getattr(only, name).bias is None
    for name in ("before_attention", "before_mlp", "after_mlp"):
        assert getattr(only, name).bias.shape == (128,)
    for name in ("query_norm", "key_norm"):
        norm = getattr(only, name)
        assert norm.bias is None and norm.scale.shape == (128,)  # over the full width, not a head's
    assert network.torso.heads == 4


def test_the_published_lstm():
    assert LSTM() == LSTM.as_published()
    network = LSTM.as_published().build(jax.random.key(0), 2)
    layer = 128 * 4 * 128 + 128 * 4 * 128 + 4 * 128  # one bias for both matrices
    assert size(network) == (2 * 128 + 128) + layer + (128 * 2 + 2) == 132_226
    (only,) = network.torso.layers
    assert only.inputs.bias is None and bool(jnp.all(only.recurrent.bias == 0))
    gates = jnp.split(only.recurrent.weight, 4, axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(128), atol=1e-5)
    assert not bool(jnp.allclose(gates[0], gates[1]))


@pytest.mark.slow
def test_the_transformer_equals_its_description_in_numpy():
    """Pre-norm attention with normed queries and keys, MLP, norm after the MLP's residual."""
    spec = Transformer(width=8, heads=2)
    network = spec.build(jax.random.key(3), 2)
    network = jax.tree.map(  # norms and biases away from 1 and 0
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), network
    )
    tokens = np.asarray(tokens_for(network))
    block = network.torso.blocks[0]

    def norm(rows, layer):
        centred = rows - rows.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * layer.scale
        return scaled if layer.bias is None else scaled + layer.bias

    rows = np.concatenate([np.zeros((1, 2)), np.eye(2)[tokens]])  # the begin row, then the tokens
    rows = rows @ network.embedding.weight + network.embedding.bias
    angles = np.arange(len(rows))[:, None] / 10_000 ** (2 * np.arange(4) / 8)
    rows = rows + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    normed = norm(rows, block.before_attention)
    query = norm(normed @ block.query.weight, block.query_norm)
    key = norm(normed @ block.key.weight, block.key_norm)
    value = normed @ block.value.weight
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[:, head] @ key[:, head].T / np.sqrt(4)
        scores = np.where(np.tri(len(rows), dtype=bool), scores, -np.inf)
        heads.append(jax.nn.softmax(scores) @ value[:, head])
    rows = rows + np.concatenate(heads, axis=1) @ block.attention_output.weight
    hidden = jax.nn.gelu(norm(rows, block.before_mlp) @ block.mlp_input.weight)
    rows = norm(rows + hidden @ block.mlp_output.weight, block.after_mlp)
    expected = jax.nn.log_softmax(rows @ network.unembedding.weight + network.unembedding.bias)
    close(protocol.predict(network, jnp.asarray(tokens)), expected[:-1])


@pytest.mark.slow
def test_the_lstm_equals_its_description_in_numpy():
    network = LSTM(width=5).build(jax.random.key(3), 2)
    network = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), network
    )
    layer, tokens = network.torso.layers[0], np.asarray(tokens_for(network))
    cell = hidden = np.zeros(5)
    expected = []
    for row in np.concatenate([np.zeros((1, 2)), np.eye(2)[tokens]]):
        row = row @ network.embedding.weight + network.embedding.bias
        gates = row @ layer.inputs.weight + hidden @ layer.recurrent.weight + layer.recurrent.bias
        into, forget, candidate, out = np.split(np.asarray(gates), 4)
        sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
        cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(candidate)
        hidden = sigmoid(out) * np.tanh(cell)
        expected.append(hidden @ network.unembedding.weight + network.unembedding.bias)
    close(
        protocol.predict(network, jnp.asarray(tokens)), jax.nn.log_softmax(jnp.stack(expected))[:-1]
    )


def test_the_known_distribution_is_the_coin():
    rows = protocol.predict(Categorical().bayes(), jnp.array([0, 1]))
    np.testing.assert_allclose(np.exp(rows), [[0.2, 0.8]] * 2, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("filled", [0, 3, 8, 14, 15])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_long_past_is_attended_to_block_by_block_with_the_same_result(filled, batch, monkeypatch):
    """Two heads, two groups of queries of three rows; blocks of 4 do not divide a past of 15, which
    may lie in a stack of layers."""
    shapes = (*batch, 2, 6, 4), (*batch, 2, 3, 4), (*batch, 2, 3, 4), (2, 15, 4), (2, 15, 4)
    arrays = [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]

    def attended(arrays, layer=None):
        query, key, value, *past = arrays
        if layer is not None:
            past = [jnp.stack([rows + 1, rows]) for rows in past]
        past = attention.Past(*past, jnp.array(filled), layer)
        out = attention.attention(query, key, value, past, groups=2)
        return jnp.sum(jnp.sin(out)), out

    both = jax.value_and_grad(attended, has_aux=True)
    expected = both(arrays)
    stacked = both(arrays, 1)
    monkeypatch.setattr(attention, "BLOCK", 4)
    for found in (stacked, both(arrays), both(arrays, 1)):
        for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [5, 40, 96])  # twice: a whole matrix, one block, two blocks
def test_a_layer_of_a_stack_equals_the_layer_alone_in_every_transformation(outputs):
    keys = jax.random.split(jax.random.key(0), 4)
    weight = jax.random.normal(keys[0], (3, 2 * outputs, 7))
    bias, rows = jax.random.normal(keys[1], (3, 2 * outputs)), jax.random.normal(keys[2], (4, 1, 7))

    def product(weight, rows, stacked):
        of = Transposed(weight, bias)
        layer = of.in_stack(jnp.array(1)) if stacked else Transposed(weight[1], bias[1])
        return layer(rows)

    several = jax.vmap(product, (None, 0, None))
    models = jax.vmap(product, (0, 0, None))
    ways = {
        "one row": lambda stacked: product(weight, rows[0], stacked),
        "rows": lambda stacked: product(weight, rows[:, 0], stacked),
        "a batch": lambda stacked: several(weight, rows, stacked),
        "models": lambda stacked: models(jnp.stack([weight, 2 * weight]), rows[:2], stacked),
        "forward": lambda stacked: jax.jvp(
            lambda *given: several(*given, stacked), (weight, rows), (weight + 1, rows + 1)
        ),
        "reverse": lambda stacked: jax.grad(
            lambda given: jnp.sum(jnp.sin(several(*given, stacked)))
        )((weight, rows)),
    }
    for way, of in ways.items():
        found, expected = jax.tree.leaves(of(True)), jax.tree.leaves(of(False))
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5, err_msg=way)
