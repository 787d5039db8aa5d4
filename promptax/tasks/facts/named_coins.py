"""Facts about several coins, each told by its name: what is asked of one coin is known exactly.

Facts that are read or learned before a question are relevant if they name the coin that is asked
for, and distractors if they name another one.
"""

import itertools
import math
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.exchangeable import uniform_if
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.specs import check, check_concentration, floats
from promptax.tasks.base import Task
from promptax.tasks.independent.dirichlet_categorical import DirichletCategorical
from promptax.tasks.markov.contexts import only_tokens

SIDES = 2
MOST_COINS = 1000


class NamedCoins(Task):
    """Names of coins and flips in turn: a name, a flip of that coin, a name, a flip, …

    *Alphabet*: 0 and 1 are flips, 2 + k is the name of coin k. A sequence begins with a name.
    *Conventions*: each coin of each sequence has a bias of its own from the beta prior; each name
    is drawn uniformly, so that it costs log(coins) nats, for Bayes and oracle alike.

    The latent are the chances of the sides [coin, side].
    """

    coins: int = 3
    """How many coins a sequence speaks of."""
    concentration: tuple[float, ...] = eqx.field(default=(1.0, 1.0), converter=floats)
    """Concentration of the beta prior: for flip 0, for flip 1."""

    def __check_init__(self) -> None:
        check(
            1 <= self.coins <= MOST_COINS,
            f"Expected from 1 to {MOST_COINS:,} coins; got {self.coins}.",
        )
        check(
            len(self.concentration) == SIDES and min(self.concentration) > 0,
            f"Expected two concentrations above 0; got {self.concentration}. (1.0, 1.0) is the "
            "uniform prior.",
        )
        check_concentration("concentrations", self.concentration)

    @property
    def symbols(self) -> int:
        return SIDES + self.coins

    @property
    def _prior(self) -> DirichletCategorical:
        return DirichletCategorical(self.concentration)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        hidden, key = jax.random.split(key)
        first, second = jnp.asarray(self.concentration)
        chance = jax.random.beta(hidden, first, second, (self.coins,))
        return self.sample_given(key, jnp.stack([chance, 1 - chance], axis=-1), length)

    def sample_given(
        self, key: Key[Array, ""], latent: Float[Array, "coin side"], length: int
    ) -> Episode:
        which, flips = jax.random.split(key)
        count = (length + 1) // 2
        coins = jax.random.randint(which, (count,), 0, self.coins)
        flip = jax.random.uniform(flips, (count,)) >= latent[coins, 0]
        tokens = jnp.stack([SIDES + coins, flip.astype(coins.dtype)], axis=-1)
        return Episode(tokens.reshape(-1)[:length].astype(jnp.int32), latent=latent)

    def oracle(self, latent: Float[Array, "coin side"], tokens: Tokens) -> LogProbs:
        before = jnp.concatenate([jnp.zeros(1, tokens.dtype), tokens])[:-1]
        chosen = jnp.log(latent)[jnp.maximum(before - SIDES, 0)]
        return jnp.where(before[:, None] >= SIDES, self._flips(chosen), self._names())

    @property
    def lookback(self) -> int:
        return 1

    def bayes(self) -> "NamedCoinsPosterior":
        return NamedCoinsPosterior(self.coins, self.concentration)

    def latent_quadrature(self, degree: int) -> tuple[Array, Array]:
        """The nodes of one coin, for all coins together: exact for polynomials."""
        nodes, weights = self._prior.latent_quadrature(degree)
        chosen = np.array(list(itertools.product(range(len(nodes)), repeat=self.coins)))
        return nodes[chosen], jnp.prod(weights[chosen], axis=-1)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """log(coins) at names, and the expected entropy of a coin at flips."""
        coin = self._prior.oracle_entropy(1)[0]
        return jnp.where(jnp.arange(length) % 2 == 0, math.log(self.coins), coin)

    def _names(self) -> Float[Array, " symbol"]:
        return names_row(self.coins)

    def _flips(self, rows: Float[Array, "time side"]) -> LogProbs:
        return jnp.pad(rows, ((0, 0), (0, self.coins)), constant_values=-jnp.inf)

    @classmethod
    def examples(cls) -> "tuple[NamedCoins, ...]":
        return (cls(2, (1.0, 2.0)),)


def names_row(coins: int) -> Float[Array, " symbol"]:
    """Log probabilities of a name, nats: uniform over the names, no flips."""
    none, all_alike = jnp.full(SIDES, -jnp.inf), jnp.full(coins, -math.log(coins))
    return jnp.concatenate([none, all_alike])


class Facts(NamedTuple):
    """The belief: how often each coin showed each side [coin, side], which coin is to be flipped
    (-1: a name comes next), and whether what was read has probability zero."""

    counts: Float[Array, "coin side"]
    coin: Int[Array, ""]
    impossible: Bool[Array, ""]


class NamedCoinsPosterior(Predictor):
    """Exact prediction of `NamedCoins`: (counts + concentration) / their sum of the coin that was
    named, whatever the others did. Reads tokens only. After a history of probability zero it
    predicts uniformly.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    coins: int
    concentration: tuple[float, ...] | Float[Array, " side"]

    @property
    def symbols(self) -> int:
        return SIDES + self.coins

    def start(self, capacity: int | None = None) -> Facts:
        del capacity  # counts, however much is read
        return Facts(jnp.zeros((self.coins, SIDES)), jnp.int32(-1), jnp.array(False))

    def advance(self, state: Facts, inputs: Inputs) -> tuple[Facts, Prediction]:
        def step(state: Facts, token: Int[Array, ""]) -> tuple[Facts, Float[Array, " symbol"]]:
            return self._step(state, token)

        state, log_probs = jax.lax.scan(step, state, only_tokens(inputs))
        return state, Prediction(log_probs)

    def _step(self, state: Facts, token: Int[Array, ""]) -> tuple[Facts, Float[Array, " symbol"]]:
        mass = state.counts[state.coin] + jnp.asarray(self.concentration)
        flips = jnp.pad(
            jnp.log(mass) - jnp.log(jnp.sum(mass)), (0, self.coins), constant_values=-jnp.inf
        )
        names_next, is_name = state.coin < 0, token >= SIDES
        row = uniform_if(state.impossible, jnp.where(names_next, names_row(self.coins), flips))
        flipped = jax.nn.one_hot(token, SIDES) * ~names_next  # all zero for a name
        counts = state.counts.at[state.coin].add(flipped)
        coin = jnp.where(is_name, token - SIDES, -1).astype(state.coin.dtype)
        return Facts(counts, coin, state.impossible | (is_name != names_next)), row
