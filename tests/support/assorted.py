"""A few small predictors of every kind, with tokens that they find likely enough to read."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import protocol
from promptax.predictors import LSTM, Llama, Transformer
from promptax.protocol import mixture
from promptax.protocol.exchangeable import Exchangeable
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

_build = eqx.filter_jit(
    lambda architecture, symbols: architecture.build(jax.random.key(1), symbols)
)


def _lstm():
    return _build(LSTM(width=8), 3)


def _transformer():
    return _build(Transformer(width=8, heads=2), 2)


MAKERS = {
    "one coin": lambda: Categorical().bayes(),
    "a die without one side": lambda: Categorical((0.0, 0.4, 0.6)).bayes(),
    "coins": lambda: DirichletCategorical().bayes(),
    "two coins": lambda: CategoricalMixture().bayes(),
    "LSTM": _lstm,
    "Transformer": _transformer,
    "Llama, 600 symbols": lambda: _build(Llama(width=8, heads=2, key_heads=1, head_width=4), 600),
    "prompted coins": lambda: protocol.condition(DirichletCategorical().bayes(), [0, 0, 1]),
    "prompted LSTM": lambda: protocol.condition(_lstm(), [0, 2, 1]),
    "mixture of prompts": lambda: mixture.mix(_transformer(), [[0, 1], [1, 1, 1]], (0.3, 0.7)),
}
every_predictor = pytest.mark.parametrize("predictor", MAKERS, indirect=True)  # by `named`


@functools.cache
def named(name):
    return MAKERS[name]()


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
