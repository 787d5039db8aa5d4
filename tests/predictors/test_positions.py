"""How a Transformer knows the order of rows: each way written a second time in NumPy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import promptax as px
from promptax import protocol
from promptax.predictors import Transformer
from promptax.predictors.parts import attention

TOKENS = np.array([0, 1, 1, 0, 1, 0, 0])
CASES = {
    "learned": Transformer(width=4, heads=2, positions="learned", longest=12),
    "rotary": Transformer(width=8, heads=2, depth=2, positions="rotary"),
    "alibi": Transformer(width=4, heads=2, positions="alibi"),
    "none": Transformer(width=4, heads=2, positions="none"),
    "window": Transformer(width=4, heads=2, window=3),
    "rotary window": Transformer(width=4, heads=2, positions="rotary", window=2),
}


def built(spec):
    """A network whose norms and biases are away from 1 and 0."""
    network = spec.build(jax.random.key(3), 2)
    return jax.tree.map(
        lambda leaf: leaf + 0.3 * np.random.default_rng(leaf.size).normal(size=leaf.shape), network
    )


def norm(rows, layer):
    centred = rows - rows.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * layer.scale
    return scaled if layer.bias is None else scaled + layer.bias


def turned(head):
    """Numbers j and j + half of row t are a complex number, turned by t · 10000^(-j / half)."""
    half = head.shape[1] // 2
    rates = 10_000.0 ** (-np.arange(half) / half)
    turn = np.exp(1j * np.arange(len(head))[:, None] * rates)
    pairs = (head[:, :half] + 1j * head[:, half:]) * turn
    return np.concatenate([pairs.real, pairs.imag], axis=1)


def recomputed(spec, network, tokens):
    rows = np.concatenate([np.zeros((1, 2)), np.eye(2)[tokens]])
    rows = rows @ network.embedding.weight + network.embedding.bias
    time = np.arange(len(rows))
    if spec.positions == "learned":
        rows = rows + network.torso.table[: len(rows)]
    if spec.positions == "sine":
        angles = time[:, None] / 10_000 ** (2 * np.arange(spec.width // 2) / spec.width)
        rows = rows + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    distance = time[:, None] - time
    for block in network.torso.blocks:
        normed = norm(rows, block.before_attention)
        query = norm(normed @ block.query.weight, block.query_norm)
        key = norm(normed @ block.key.weight, block.key_norm)
        heads = []
        for head in range(spec.heads):
            first, width = head * spec.width // spec.heads, spec.width // spec.heads
            part = np.s_[:, first : first + width]
            q, k, v = query[part], key[part], (normed @ block.value.weight)[part]
            if spec.positions == "rotary":
                q, k = turned(q), turned(k)
            scores = q @ k.T / np.sqrt(q.shape[1])
            if spec.positions == "alibi":
                scores = scores - 2 ** (-8 * (head + 1) / spec.heads) * distance
            seen = (distance >= 0) & (distance < (spec.window or np.inf))
            weights = np.where(seen, np.exp(scores), 0.0)
            heads.append(weights / weights.sum(1, keepdims=True) @ v)
        rows = rows + np.concatenate(heads, axis=1) @ block.attention_output.weight
        hidden = norm(rows, block.before_mlp) @ block.mlp_input.weight
        hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
        rows = norm(rows + hidden @ block.mlp_output.weight, block.after_mlp)
    scores = rows @ network.unembedding.weight + network.unembedding.bias
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True)))[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_transformer_equals_its_description_in_numpy(name):
    spec = CASES[name]
    network = built(spec)
    expected = recomputed(spec, jax.tree.map(np.asarray, network), TOKENS)
    np.testing.assert_allclose(protocol.predict(network, TOKENS), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_pieces_and_fixed_shapes_and_blocks_and_batches_read_the_same(name, monkeypatch):
    """Read in pieces, also by a state of fixed shape longer than a block, and beside another
    sequence, equals one reading."""
    network = built(CASES[name])
    expected = protocol.predict(network, TOKENS)
    monkeypatch.setattr(attention, "BLOCK", 4)
    for state in (network.start(), network.start(10)):
        rows = []
        for piece in (TOKENS[:2], TOKENS[2:3], TOKENS[3:]):
            both = jnp.stack([1 - piece, piece])
            _, beside = network.advance_batch(state, both)
            _, other = network.advance(state, both[0])
            state, prediction = network.advance(state, both[1])
            for index, alone in enumerate((other, prediction)):
                np.testing.assert_allclose(
                    beside.log_probs[index], alone.log_probs, rtol=1e-4, atol=1e-5
                )
            rows.append(prediction.log_probs)
        np.testing.assert_allclose(np.concatenate(rows), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_learned_positions_give_out_where_they_end_and_not_before():
    """A state with more room than positions: the row without a place is NaN, those before are as
    ever. So what reads in padded pieces reads all that fits."""
    network = built(CASES["learned"])
    tokens = np.resize(TOKENS, 11)  # and the begin row: 12 places
    _, prediction = network.advance(network.start(40), jnp.array([*tokens, 0, 1]))
    np.testing.assert_allclose(
        prediction.log_probs[:11], protocol.predict(network, tokens), rtol=1e-4, atol=1e-5
    )
    assert (
        np.isnan(prediction.log_probs[12:]).all() and np.isfinite(prediction.log_probs[:12]).all()
    )
    assert len(px.generate(jax.random.key(0), network, 5)) == 5
    assert px.decompress(network, px.compress(network, tokens)).tolist() == tokens.tolist()


WRONG = {
    "Expected positions to be one of sine, learned, rotary, alibi, none; got 'rope'.": (
        lambda: Transformer(positions="rope")
    ),
    "Expected a window of at least 1 row, the row itself, or None; got 0.": (
        lambda: Transformer(window=0)
    ),
    "Expected longest of at least 1 row; got 0.": lambda: Transformer(longest=0),
    "Expected heads of an even width, whose halves rotary positions turn; got 6 / 2. Take fewer "
    "heads or another width.": lambda: Transformer(width=6, heads=2, positions="rotary"),
    "Expected at most 4 rows, since there is a learned position for so many; got 8, prompt and "
    "begin row included. Set Transformer.longest, or take other positions.": lambda: (
        protocol.predict(
            Transformer(width=4, heads=2, positions="learned", longest=4).build(
                jax.random.key(0), 2
            ),
            TOKENS,
        )
    ),
}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(("message", "call"), WRONG.items())
def test_wrong_values_are_refused_with_the_way_out(message, call):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()
