"""One known Markov chain: nothing to learn, and a target to steer to."""

from typing import Annotated, ClassVar, NamedTuple

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
from promptax.specs import JSON_ARGUMENT, check, check_distribution, floats
from promptax.tasks.base import Task
from promptax.tasks.independent.categorical import entropy
from promptax.tasks.markov import contexts as histories


class KnownChain(Task):
    """A Markov chain of known transitions, of any order, over any alphabet.

    Row c of the table is P(next symbol | context c). A context is the last k symbols as a number
    in base S, the size of the alphabet, and the most recent symbol is its last digit: with two
    symbols and order 2 the rows follow 00, 01, 10, 11, each read in the order of time. The number
    of rows tells the order: S rows are order 1, S² rows order 2. Every sequence follows k symbols
    0, which are context and are not scored. A chain of order 1 with another start is a
    `HiddenMarkov`, whose `initial` says it, with the identity as `emission`.
    """

    transition: Annotated[tuple[tuple[float, ...], ...], JSON_ARGUMENT] = eqx.field(
        default=((0.9, 0.1), (0.3, 0.7)), converter=floats
    )
    """Probability of each symbol after each context [context, symbol]; zeros are legal."""

    def __check_init__(self) -> None:
        widths = {len(row) for row in self.transition}
        check(
            len(widths) == 1 and min(widths) >= 2,
            "Expected every row to give the probabilities of the same symbols, at least 2; got "
            f"rows of {[len(row) for row in self.transition]}.",
        )
        rows, symbols = len(self.transition), min(widths)
        check(
            rows > 1 and rows == symbols ** round(np.log(rows) / np.log(symbols)),
            f"Expected a row for each context of an order k ≥ 1: {symbols}^k rows of {symbols} "
            f"symbols, such as {symbols} or {symbols**2}; got {rows} rows.",
        )
        for index, row in enumerate(self.transition):
            check_distribution(f"probabilities after context {index}", row)

    @property
    def symbols(self) -> int:
        return np.shape(self.transition)[1]

    @property
    def order(self) -> int:
        """How many of the last symbols matter."""
        return histories.order_of(*np.shape(self.transition))

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        transition = jnp.asarray(self.transition)
        return Episode(histories.draw_chain(key, transition, length), latent=transition)

    def oracle(self, latent: Float[Array, "context symbol"], tokens: Tokens) -> LogProbs:
        return histories.log_rows(latent, tokens)

    @property
    def lookback(self) -> int:
        return self.order

    def bayes(self) -> "KnownTransitions":
        return KnownTransitions(self.transition)

    def latent_quadrature(self, degree: int) -> tuple[Array, Array]:
        del degree
        return jnp.asarray(self.transition)[None], jnp.ones(1)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return expected_entropies(jnp.asarray(self.transition), length)

    @classmethod
    def examples(cls) -> "tuple[KnownChain, ...]":
        # Three symbols of which some never follow some; order 2.
        gaps = ((0.5, 0.5, 0.0), (0.0, 0.2, 0.8), (1.0, 0.0, 0.0))
        return cls(gaps), cls(((0.5, 0.5), (0.1, 0.9), (0.0, 1.0), (0.8, 0.2)))


def expected_entropies(
    transition: Float[Array, "context symbol"], length: int
) -> Float[Array, " time"]:
    """H_t = Σ_c P(context c before step t) H(row c), in nats: exact, for every step.

    The distribution of contexts starts at that of k symbols 0, and each step moves it on.
    """
    contexts, symbols = transition.shape
    losses = entropy(transition)

    def step(chances: Float[Array, " context"], _: None) -> tuple[Array, Array]:
        joint = chances[:, None] * transition  # a context's new number drops its oldest digit
        moved = jnp.sum(joint.reshape(symbols, contexts // symbols, symbols), axis=0)
        return moved.reshape(contexts), chances @ losses

    first = jnp.zeros(contexts, losses.dtype).at[0].set(1.0)
    return jax.lax.scan(step, first, length=length)[1]


class Place(NamedTuple):
    """The belief: the last context, and whether what was read is possible at all."""

    context: Int[Array, ""]
    possible: Bool[Array, ""]


class KnownTransitions(Predictor):
    """Predicts the row of the last context; uniformly once a symbol came that could not."""

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    transition: tuple[tuple[float, ...], ...] | Float[Array, "context symbol"]

    @property
    def symbols(self) -> int:
        return np.shape(self.transition)[1]

    def start(self, capacity: int | None = None) -> Place:
        del capacity  # the state never grows
        return Place(jnp.zeros((), jnp.int32), jnp.ones((), bool))

    def advance(self, state: Place, inputs: Inputs) -> tuple[Place, Prediction]:
        tokens, transition = histories.only_tokens(inputs), jnp.asarray(self.transition)
        order = histories.order_of(*transition.shape)
        contexts = histories.contexts_of(tokens, self.symbols, order, state.context)
        came = transition[contexts[:-1], tokens] > 0
        possible = state.possible & jnp.cumprod(came, dtype=jnp.int32).astype(bool)
        before = jnp.concatenate([state.possible[None], possible])
        log_probs = jnp.log(transition)[contexts[:-1]]
        state = Place(contexts[-1].astype(jnp.int32), before[-1])
        return state, Prediction(uniform_if(~before[:-1, None], log_probs))
