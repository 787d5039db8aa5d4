"""Tasks with exact predictors that tests of diagnoses share."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from promptax.evaluation.exact import enumeration
from promptax.protocol import Prediction, Predictor
from promptax.protocol.entries import condition, predict
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical
from promptax.tasks.base import Task

COINS, COIN, TWO = DirichletCategorical(), Categorical(), CategoricalMixture()
DICE = DirichletCategorical((1.0, 1.0, 1.0))
THIRDS = CategoricalMixture(((1 / 3, 2 / 3), (2 / 3, 1 / 3)))


def gap(nodes):
    """Uniform on [0, 1/3] and [2/3, 1], nothing between: Gauss-Legendre nodes, exact for sequences
    of fewer than twice as many symbols."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    low = (points + 1) / 6
    biases, weights = np.concatenate([low, 1 - low]), np.tile(weights / weights.sum() / 2, 2)
    return CategoricalMixture([(bias, 1 - bias) for bias in biases], weights)


# --- an exact predictor for which order matters ---------------------------------------------


class Sticky(Task):
    """Repeats the last symbol with probability `stay`, which is drawn from two values; the first
    symbol is a fair coin's after a silent 0."""

    stays: tuple[float, float] = (0.9, 0.3)

    @property
    def symbols(self):
        return 2

    def sample(self, key, length):
        raise NotImplementedError

    def oracle(self, latent, tokens):
        raise NotImplementedError

    def bayes(self):
        return StickyPosterior(self.stays)

    def oracle_entropy(self, length):
        each = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in self.stays]
        return jnp.full(length, sum(each) / 2)

    @classmethod
    def examples(cls):
        return ()


class StickyPosterior(Predictor):
    stays: tuple[float, float]
    symbols = 2

    def start(self, capacity=None):
        return jnp.zeros(2), jnp.zeros((), int)  # log likelihoods, last symbol

    def advance(self, state, inputs):
        stays = jnp.asarray(self.stays)

        def one(state, token):
            log_likelihood, last = state
            same = jnp.sum(jax.nn.softmax(log_likelihood) * stays)
            row = jnp.log(jnp.where(jnp.arange(2) == last, same, 1 - same))
            step = jnp.log(jnp.where(token == last, stays, 1 - stays))
            return (log_likelihood + step, token), row

        state, rows = jax.lax.scan(one, state, inputs.astype(int))
        return state, Prediction(rows)


def plain_regret(prior, target, word, steps):
    """Regret after one word, by reading every sequence of the target with NumPy's float64."""
    total = 0.0
    with enumeration.double_precision():
        judged = condition(prior.bayes(), word) if len(word) else prior.bayes()
        for sequence in itertools.product(range(target.symbols), repeat=steps):
            rows = np.asarray(predict(judged, sequence))
            own = np.asarray(predict(target.bayes(), sequence))
            picked = np.arange(steps), list(sequence)
            total -= math.exp(own[picked].sum()) * rows[picked].sum()
        return total - float(target.oracle_entropy(steps).sum())
