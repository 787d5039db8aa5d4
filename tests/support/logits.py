"""The smallest predictors that can learn: logits, and no memory."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from promptax.predictors import Architecture
from promptax.protocol import Prediction, Predictor


class Logits(Predictor):
    """Predicts softmax(values) at every step, whatever was read."""

    values: jax.Array

    @property
    def symbols(self):
        return self.values.shape[-1]

    def start(self, capacity=None):
        del capacity
        return ()

    def advance(self, state, inputs):
        rows = jnp.broadcast_to(jax.nn.log_softmax(self.values), (len(inputs), self.symbols))
        return state, Prediction(rows)


class Coin(Predictor):
    """Predicts symbol 1 with probability sigmoid(logit), whatever was read: one number."""

    learns: ClassVar[bool] = False

    logit: jax.Array

    @property
    def symbols(self):
        return 2

    def start(self, capacity=None):
        del capacity
        return ()

    def advance(self, state, inputs):
        row = jax.nn.log_sigmoid(jnp.stack([-self.logit, self.logit]))
        return state, Prediction(jnp.broadcast_to(row, (len(inputs), 2)))


class Leaky(Predictor):
    """Three numbers and a memory: logit_t = slope · m_t + bias, m_{t+1} = keep · m_t + x_t."""

    keep: jax.Array
    slope: jax.Array
    bias: jax.Array

    @property
    def symbols(self):
        return 2

    def start(self, capacity=None):
        del capacity
        return jnp.zeros(())

    def advance(self, state, inputs):
        def step(memory, token):
            logit = self.slope * memory + self.bias
            row = jax.nn.log_sigmoid(jnp.stack([-logit, logit]))
            return self.keep * memory + token, row

        state, rows = jax.lax.scan(step, state, inputs.astype(jnp.zeros(()).dtype))
        return state, Prediction(rows)


def leaky():
    """With numbers that are no special ones."""
    return Leaky(jnp.array(0.7), jnp.array(0.4), jnp.array(-0.3))


class OneLogit(Architecture):
    """What `Coin` is built from."""

    def embedding_width(self):
        return 0

    def output_width(self):
        return 0

    def torso(self, key):
        raise NotImplementedError

    def build(self, key, outcome):
        del outcome
        return Coin(jax.random.normal(key))

    @classmethod
    def examples(cls):
        return ()
