"""Positive numbers, an outcome on a half line: their logarithms are normal."""

import equinox as eqx
import jax
import jax.numpy as jnp

from promptax.protocol import Normal, Outcome
from promptax.protocol.predictions import AnyPrediction

LEAST = 1e-30  # a question of points holds 0, whose logarithm would be infinite


class LogNormal(AnyPrediction):
    """What is said of positive numbers: a normal distribution of their logarithms."""

    logarithm: Normal
    internals: dict = eqx.field(default_factory=dict)

    def of(self, observations):
        """log p(y) = log N(log y; m, s²) - log y, nats."""
        logs = jnp.log(jnp.maximum(observations, LEAST))
        return self.logarithm.of(logs) - logs

    def shown(self):
        return self.logarithm.shown()


class Positive(Outcome):
    def words(self):
        return "positive numbers"

    def input_width(self):
        return 1

    def parameter_width(self):
        return 2

    def encode(self, observations):
        return observations[..., None]

    def decode(self, rows):
        return rows[..., 0]

    def draw(self, key, length):
        return jnp.exp(jax.random.normal(key, (length, 1)))

    def prediction(self, parameters):
        return LogNormal(Normal(parameters[..., 0], parameters[..., 1]))

    def of_outputs(self, rows, layer):
        outputs = layer(rows)
        return LogNormal(Normal(outputs[..., 0], jax.nn.softplus(outputs[..., 1]) - 5.0))
