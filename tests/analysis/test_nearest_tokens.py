"""Which tokens the rows of a prompt are close to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import condition, mix
from promptax.analysis import nearest_tokens
from promptax.predictors import LSTM, Llama
from promptax.protocol.prompted import Prompted
from promptax.steering import KeyValuePrompt, RealPrompt, SimplexPrompt, SoftPrompt
from promptax.steering.prompts.soft_prompt import SoftRows
from promptax.tasks import DirichletCategorical

KEY = jax.random.key(2)
SYMBOLS = 70
ARCHITECTURES = {
    "LSTM": LSTM(width=6),
    "Llama": Llama(width=6, heads=2, key_heads=1, head_width=2, hidden=8),
}


@functools.cache
def build(name):
    return ARCHITECTURES[name].build(KEY, SYMBOLS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_are_compared_with_every_embedding(name):
    network, count = build(name), 4
    rows = jax.random.normal(KEY, (3, 6))
    found = nearest_tokens(Prompted(network, SoftRows(rows)), count)
    table, rows = np.asarray(network.embed(jnp.arange(SYMBOLS)), float), np.asarray(rows, float)
    norms = np.linalg.norm(rows, axis=1)
    cosines = rows @ table.T / norms[:, None] / np.linalg.norm(table, axis=1)
    expected = np.argsort(-cosines, axis=1)[:, :count]
    np.testing.assert_array_equal(found.token, expected)
    np.testing.assert_allclose(found.cosine, np.take_along_axis(cosines, expected, 1), atol=1e-5)
    away = np.linalg.norm(rows[:, None] - table[expected], axis=-1)
    np.testing.assert_allclose(found.distance, away, atol=1e-5)
    np.testing.assert_allclose(found.norm, norms, rtol=1e-5)
    assert found.token.dims == ("prompt", "rank") and found["rank"].values.tolist() == [1, 2, 3, 4]


def test_tokens_are_their_own_nearest():
    network, tokens = build("Llama"), (7, 0, 69)
    soft = SoftPrompt(length=3, initial="tokens", initial_tokens=tokens).steer(KEY, network)
    hard = condition(network, jnp.array(tokens))
    weights = condition(network, jax.nn.one_hot(jnp.array(tokens), SYMBOLS))
    for prompted in (soft, hard, weights):
        found = nearest_tokens(prompted, count=2)
        assert found.token.values[:, 0].tolist() == list(tokens)
        np.testing.assert_allclose(found.cosine[:, 0], 1.0, atol=1e-5)
        np.testing.assert_allclose(found.distance[:, 0], 0.0, atol=1e-5)


@pytest.mark.parametrize("tuner", [RealPrompt(length=2), SimplexPrompt(length=2)], ids=type)
def test_weights_over_symbols_are_looked_at_behind_the_embedding(tuner):
    prompted = tuner.steer(KEY, build("LSTM"))
    rows = SoftRows(build("LSTM").embed(prompted.prompt))
    assert nearest_tokens(prompted).equals(nearest_tokens(Prompted(build("LSTM"), rows)))


def test_a_row_of_zeros_points_nowhere():
    found = nearest_tokens(Prompted(build("LSTM"), SoftRows(jnp.zeros((1, 6)))), count=999)
    assert found.sizes == {"prompt": 1, "rank": SYMBOLS} and not found.cosine.values.any()


def test_what_has_no_rows_is_refused():
    network = build("Llama")
    with pytest.raises(TypeError, match=r"that has read a prompt; got Network. Of repetitions"):
        nearest_tokens(network)
    with pytest.raises(TypeError, match=r"that has read a prompt; got PromptedMixture"):
        nearest_tokens(mix(network, [[0], [1]]))
    with pytest.raises(TypeError, match=r"of rows in front of a neural network; got keys and"):
        nearest_tokens(KeyValuePrompt().steer(KEY, network))
    exact = condition(DirichletCategorical().bayes(), jnp.array([1]))
    with pytest.raises(TypeError, match=r"in front of a neural network; got DirichletPosterior"):
        nearest_tokens(exact)
    with pytest.raises(ValueError, match=r"Expected at least 1 token for each row; got 0"):
        nearest_tokens(condition(network, jnp.array([1])), count=0)
