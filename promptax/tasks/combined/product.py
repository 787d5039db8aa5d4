"""Two tasks at once, which know nothing of each other: a symbol is a pair of symbols."""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.exchangeable import symbol_weights, uniform_if
from promptax.protocol.mixture import log_likelihood
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import Inputs, Predictor, State
from promptax.specs import argument, check
from promptax.tasks.base import Task
from promptax.tasks.combined.parts import read_by_all
from promptax.tasks.independent.categorical import Categorical
from promptax.tasks.independent.dirichlet_categorical import DirichletCategorical
from promptax.tasks.markov.known_chain import KnownChain


class Pair(NamedTuple):
    """The latent: what was hidden in each of the two."""

    first: Any
    second: Any


class Product(Task):
    """Two independent sequences, read side by side.

    With an alphabet of A symbols in the first task and of B in the second, this one has A · B, and

        symbol  =  first · B + second.

    Both tasks begin with the first step and take one step each time. Losses, regrets and entropies
    are sums of those of the two. More than two: a product of products.
    """

    first: Annotated[Task, argument(Task)] = DirichletCategorical()
    """The task whose symbol is the higher digit."""
    second: Annotated[Task, argument(Task)] = Categorical()
    """The task whose symbol is the lower digit."""

    def __check_init__(self) -> None:
        for part in (self.first, self.second):
            check(
                part.outcome.alphabet is not None,
                f"Expected two tasks over alphabets; got {type(part).__name__} over "
                f"{part.outcome.words()}.",
            )

    @property
    def symbols(self) -> int:
        return self.first.symbols * self.second.symbols

    @property
    def has_oracle(self) -> bool:
        return self.first.has_oracle and self.second.has_oracle

    @property
    def has_bayes(self) -> bool:
        return self.first.has_bayes and self.second.has_bayes

    @property
    def longest(self) -> int | None:
        lengths = self.first.longest, self.second.longest
        return min((length for length in lengths if length is not None), default=None)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        one, other = jax.random.split(key)
        first, second = self.first.sample(one, length), self.second.sample(other, length)
        masks = [episode.scored for episode in (first, second) if episode.scored is not None]
        scored = jnp.all(jnp.stack(masks), axis=0) if masks else None
        tokens = first.tokens * self.second.symbols + second.tokens
        return Episode(tokens, latent=Pair(first.latent, second.latent), scored=scored)

    def oracle(self, latent: Pair, tokens: Tokens) -> LogProbs:
        first, second = split_symbols(tokens, self.first.symbols, self.second.symbols)
        return of_pairs(
            self.first.oracle(latent.first, first), self.second.oracle(latent.second, second)
        )

    def bayes(self) -> "ProductPosterior":
        return ProductPosterior(self.first.bayes(), self.second.bayes())

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return self.first.oracle_entropy(length) + self.second.oracle_entropy(length)

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        first, second = split_symbols(tokens, self.first.symbols, self.second.symbols)
        return self.first.log_evidence(first) + self.second.log_evidence(second)

    @classmethod
    def examples(cls) -> "tuple[Product, ...]":
        order, gaps = KnownChain(((0.9, 0.1), (0.3, 0.7))), Categorical((0.0, 0.4, 0.6))
        return cls(order, Categorical()), cls(DirichletCategorical((1.0, 0.5)), gaps)


class PairBelief(NamedTuple):
    """What each of the two predictors knows, and whether both allow what was read."""

    first: State
    second: State
    possible: Bool[Array, ""]


class ProductPosterior(Predictor):
    """Exact prediction of two independent sequences: the product of what is exact for each.

    Weights over symbols are read by their sums over the symbols of the other task. After a history
    that is impossible for one of them it predicts uniformly.
    """

    first: Predictor
    second: Predictor

    @property
    def symbols(self) -> int:
        return self.first.symbols * self.second.symbols

    @property
    def reads(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return read_by_all((self.first, self.second))

    @property
    def merges(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.first.merges and self.second.merges

    @property
    def learns(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.first.learns or self.second.learns

    def reading_bytes(self, rows: int) -> int:
        return self.first.reading_bytes(rows) + self.second.reading_bytes(rows)

    def start(self, capacity: int | None = None) -> PairBelief:
        possible = jnp.ones((), bool)
        return PairBelief(self.first.start(capacity), self.second.start(capacity), possible)

    def with_room(self, state: PairBelief, rows: int) -> PairBelief:
        first = self.first.with_room(state.first, rows)
        return PairBelief(first, self.second.with_room(state.second, rows), state.possible)

    def advance(self, state: PairBelief, inputs: Inputs) -> tuple[PairBelief, Prediction]:
        one, other = split_symbols(inputs, self.first.symbols, self.second.symbols)
        first, of_first = self.first.advance(state.first, one)
        second, of_second = self.second.advance(state.second, other)
        alive = (log_likelihood(one, [of_first], self.first.outcome) > -jnp.inf) & (
            log_likelihood(other, [of_second], self.second.outcome) > -jnp.inf
        )
        dead = jnp.cumsum(jnp.concatenate([~state.possible[None], ~alive[:, 0]])) > 0
        rows = of_pairs(of_first.log_probs, of_second.log_probs)
        belief = PairBelief(first, second, ~dead[-1])
        return belief, Prediction(uniform_if(dead[:-1, None], rows))


def split_symbols(inputs: Inputs, first: int, second: int) -> tuple[Array, Array]:
    """Tokens [time], or weights over pairs of symbols [time, symbol], as those of each task."""
    if isinstance(inputs, jax.Array | np.ndarray) and jnp.issubdtype(inputs.dtype, jnp.integer):
        tokens = jnp.asarray(inputs)
        return tokens // second, tokens % second
    weights = symbol_weights(inputs, first * second).reshape(-1, first, second)
    return jnp.sum(weights, axis=2), jnp.sum(weights, axis=1)


def of_pairs(first: Float[Array, "time higher"], second: Float[Array, "time lower"]) -> LogProbs:
    """Log probabilities [time, symbol] of pairs, from those of each symbol."""
    symbols = first.shape[1] * second.shape[1]
    return (first[:, :, None] + second[:, None, :]).reshape(len(first), symbols)
