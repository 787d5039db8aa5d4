"""Losses over many symbols, a few rows at a time, against all log probabilities at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import promptax as px
from promptax.predictors.parts.layers import Dense, Transposed
from promptax.protocol import many_symbols
from promptax.protocol.exchangeable import Uniform

KEY = jax.random.key(0)
SYMBOLS, WIDTH = 600, 5


def given(shape):
    a, b, c, d = jax.random.split(KEY, 4)
    rows = jax.random.normal(a, (*shape, WIDTH))
    layer = Dense(jax.random.normal(b, (WIDTH, SYMBOLS)), jax.random.normal(c, (SYMBOLS,)))
    return rows, layer, jax.random.randint(d, shape, 0, SYMBOLS)


def in_pieces(rows, layer, tokens):
    return many_symbols.Unembedded(rows, layer).log_probs_of(tokens)


def at_once(rows, layer, tokens):
    log_probs = jax.nn.log_softmax(layer(rows))
    return jnp.take_along_axis(log_probs, tokens[..., None], axis=-1)[..., 0]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(7,), (3, 5), (1, 1), (2, 0)])
def test_values_and_derivatives_equal_those_of_all_symbols_at_once(shape, monkeypatch):
    monkeypatch.setattr(many_symbols, "CPU_TILE", (4, 256))  # neither divides what there is
    rows, layer, tokens = given(shape)
    weights = jnp.cos(jnp.arange(tokens.size)).reshape(shape)

    def summed(how):
        return lambda rows, layer: jnp.sum(weights * how(rows, layer, tokens))

    found = in_pieces(rows, layer, tokens)
    np.testing.assert_allclose(found, at_once(rows, layer, tokens), atol=1e-5)
    pieces = jax.grad(summed(in_pieces), argnums=(0, 1))(rows, layer)
    whole = jax.grad(summed(at_once), argnums=(0, 1))(rows, layer)
    for mine, expected in zip(jax.tree.leaves(pieces), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(mine, expected, atol=2e-5)


def test_a_layer_without_a_bias_has_none():
    rows, layer, tokens = given((4,))
    for bare in (Dense(layer.weight), Transposed(layer.weight.T)):
        np.testing.assert_allclose(
            in_pieces(rows, bare, tokens), at_once(rows, bare, tokens), atol=1e-5
        )


@pytest.mark.parametrize("dtypes", [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_rows_and_matrices_may_have_fewer_digits(dtypes):
    rows, layer, tokens = given((4,))
    rows, layer = rows.astype(dtypes[0]), Dense(layer.weight.astype(dtypes[1]))

    def summed(how):
        return jax.value_and_grad(lambda rows: jnp.sum(how(rows, layer, tokens).astype("float32")))

    for mine, expected in zip(summed(in_pieces)(rows), summed(at_once)(rows), strict=True):
        assert mine.dtype == expected.dtype
        np.testing.assert_allclose(
            np.asarray(mine, float), np.asarray(expected, float), rtol=0.02, atol=0.02
        )


def test_a_token_outside_the_alphabet_has_no_log_probability():
    rows, layer, _ = given((3,))
    found = in_pieces(rows, layer, jnp.array([SYMBOLS, -SYMBOLS - 1, -1]))
    assert np.isnan(found).tolist() == [True, True, False]  # -1: the last symbol, as in NumPy


@pytest.mark.parametrize("token", [2**31, 2**32, -(2**32)])
def test_tokens_that_32_bits_cannot_hold_are_named(token):
    with pytest.raises(ValueError, match=rf"Expected tokens from 0 to 1; got {min(token, 1)} to"):
        px.predict(Uniform(2), [1, token])
