"""A few small predictors of every kind, with tokens that they find likely enough to read."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import protocol
from promptax.predictors import LSTM, Llama, Transformer
from promptax.protocol import mixture
from promptax.protocol.exchangeable import Exchangeable, Uniform
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

_build = eqx.filter_jit(
    lambda architecture, symbols: architecture.build(jax.random.key(1), symbols)
)


def _predictors():
    coins = DirichletCategorical().bayes()
    lstm, transformer = _build(LSTM(width=8), 3), _build(Transformer(width=8, heads=2), 2)
    yield "one coin", Categorical().bayes()
    yield "a die without one side", Categorical((0.0, 0.4, 0.6)).bayes()
    yield "coins", coins
    yield "two coins", CategoricalMixture().bayes()
    yield "LSTM", lstm
    yield "Transformer", transformer
    yield "Llama, 600 symbols", _build(Llama(width=8, heads=2, key_heads=1, head_width=4), 600)
    yield "prompted coins", protocol.condition(coins, [0, 0, 1])
    yield "prompted LSTM", protocol.condition(lstm, [0, 2, 1])
    yield "mixture of prompts", mixture.mix(transformer, [[0, 1], [1, 1, 1]], (0.3, 0.7))


PREDICTORS = dict(_predictors())
every_predictor = pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)


def tokens_for(predictor, length, seed=0):
    """Tokens [time] that no predictor here excludes."""
    low = 1 if float(protocol.predict(predictor, [0])[0, 0]) == -np.inf else 0
    return jax.random.randint(jax.random.key(seed), (length,), low, predictor.symbols)


class Counted(Exchangeable):
    """The rows that it was given, whatever it reads; counts how often JAX traces it."""

    row: jax.Array
    traces: list = eqx.field(static=True)

    @property
    def symbols(self):
        return self.row.shape[0]

    def advance(self, state, inputs):
        self.traces.append(inputs.shape)
        return super().advance(state, inputs)

    def after(self, counts):
        return self.row + jnp.zeros_like(counts)


__all__ = ["PREDICTORS", "Counted", "Uniform", "every_predictor", "tokens_for"]
