"""In-context classification, a small task of points whose answers are symbols."""

import jax
import jax.numpy as jnp

from promptax.tasks import Episode, Points, Symbols, Task


class LinearClassification(Task):
    """On which side of a line through the origin does a point lie? Each sequence draws a line."""

    dimensions: int = 2

    @property
    def outcome(self):
        return Points(self.dimensions, Symbols(2))

    def sample(self, key, length):
        hidden, features = jax.random.split(key)
        w = jax.random.normal(hidden, (self.dimensions,))
        x = jax.random.normal(features, (-(-length // 2), self.dimensions))
        return Episode(self.outcome.rows(x, (x @ w > 0).astype(jnp.int32), length), latent=w)

    @classmethod
    def examples(cls):
        return (cls(),)
