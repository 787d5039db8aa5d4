"""Pools of sources over an alphabet: each is a Markov chain, once its latent is known.

How far its oracle looks back is the order of the chain; order 0 are independent symbols. The
posterior over the pool is then that over several tables of transitions.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.exchangeable import uniform_if
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.tasks.base import draw
from promptax.tasks.hidden.forward import log_sum
from promptax.tasks.independent.categorical import entropy
from promptax.tasks.independent.categorical_mixture import MixturePosterior
from promptax.tasks.markov import contexts as histories
from promptax.tasks.markov.known_chain import expected_entropies
from promptax.tasks.pools.drawing import equal_weights
from promptax.tasks.pools.odds import Odds, log_posterior, prior_odds, weigh

Tables = Float[np.ndarray, "component context symbol"] | Float[Array, "component context symbol"]


class Chains(NamedTuple):
    """What a pool of `tables` of transitions [component, context, symbol] draws and knows; order 0
    has one context."""

    tables: Tables

    def sample(self, key: Key[Array, ""], component: Int[Array, ""], length: int) -> Episode:
        """Symbols from one of the tables; those of probability zero are never drawn."""
        table = jnp.asarray(self.tables)[component]
        if len(table) == 1:
            return Episode(draw(key, table[0], length), latent=component)
        return Episode(histories.draw_chain(key, table, length), latent=component)

    def oracle(self, component: Int[Array, ""], tokens: Tokens) -> LogProbs:
        """What the table of that number predicts, nats."""
        return histories.log_rows(jnp.asarray(self.tables)[component], tokens)

    def oracle_entropy(self, length: int) -> Float[Array, "component time"]:
        """What the oracle loses at each step, for each table, nats."""
        tables = jnp.asarray(self.tables)
        if tables.shape[1] == 1:
            return jnp.broadcast_to(entropy(tables), (len(tables), length))
        return jax.vmap(lambda table: expected_entropies(table, length))(tables)

    def bayes(self) -> Predictor:
        """The exact posterior over tables of equal prior weight."""
        weights = equal_weights(len(self.tables))
        if (
            self.tables.shape[1] == 1
        ):  # what counts alone decide can be told of prompts of any length
            return MixturePosterior(self.tables[:, 0], weights)
        return ChainsPosterior(self.tables, weights)


class Reading(NamedTuple):
    """The belief: the odds of the tables, and the last context."""

    odds: Odds
    context: Int[Array, ""]


class ChainsPosterior(Predictor):
    """Exact prediction from one of several known tables of transitions:

        p(x_n | x_<n)  =  Σ_k w_k(n) T_k(context, x_n),    w_k(n + 1)  ∝  w_k(n) T_k(context, x_n).

    Reads tokens only; each costs O(components · symbols), whatever the order. A table that gives
    probability zero to what came has weight zero from then on. Once all have, it says uniform.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    tables: Tables
    weights: Float[np.ndarray, " component"] | Float[Array, " component"]

    @property
    def symbols(self) -> int:
        return self.tables.shape[2]

    def start(self, capacity: int | None = None) -> Reading:
        del capacity  # the state never grows
        return Reading(prior_odds(jnp.asarray(self.weights)), jnp.zeros((), jnp.int32))

    def advance(self, state: Reading, inputs: Inputs) -> tuple[Reading, Prediction]:
        tokens = histories.only_tokens(inputs)
        log_tables = jnp.log(jnp.asarray(self.tables)).swapaxes(0, 1)
        order = histories.order_of(*log_tables.shape[::2])
        contexts = histories.contexts_of(tokens, self.symbols, order, state.context)

        def step(odds: Odds, place: tuple[Int[Array, ""], Int[Array, ""]]) -> tuple[Odds, Array]:
            context, token = place
            rows = log_tables[context]
            row = log_sum(log_posterior(odds)[:, None] + rows, axis=0)
            return weigh(odds, rows[:, token]), uniform_if(~odds.possible, row)

        odds, rows = jax.lax.scan(step, state.odds, (contexts[:-1], tokens))
        return Reading(odds, contexts[-1].astype(jnp.int32)), Prediction(rows)
