"""Random Markov chains: each sequence draws a row of transitions for every context."""

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
from promptax.tasks.markov import contexts as histories
from promptax.tasks.markov.counted import Beliefs, expected_oracle_loss
from promptax.tasks.markov.rows import expected_entropy, log_evidence_of


class MarkovChain(Task):
    """Each sequence comes from a Markov chain of its own, which has to be learned in context.

    A context is the last `order` symbols. For each of the symbols^order contexts, independently, a
    row of probabilities is drawn from one Dirichlet distribution. Every sequence follows `order`
    symbols 0, which are context and are not scored. The latent is the table of transitions
    [context, symbol]; contexts are numbered as in `KnownChain`.

    Example: `MarkovChain(order=2, concentration=(0.5, 0.5))` are chains of order 2 over two
    symbols; the exact predictor of a context is the Krichevsky-Trofimov estimator.
    """

    order: int = 1
    """How many of the last symbols matter, at least 1."""
    symbols: int = 0
    """Size of the alphabet; 0: as many as there are concentrations, or 2."""
    concentration: tuple[float, ...] = eqx.field(default=(), converter=floats)
    """Concentration of every row's Dirichlet prior, one for each symbol; a zero means the symbol
    never comes. None given: 1 for each, the uniform prior."""

    def __post_init__(self) -> None:
        whole = isinstance(self.symbols, int)  # what is not is refused when the fields are checked
        if np.size(self.concentration) == 0 and whole:
            self.concentration = (1.0,) * (self.symbols or 2)
        if whole and self.symbols == 0:
            self.symbols = np.size(self.concentration)

    def __check_init__(self) -> None:
        histories.check_whole(
            "an order", self.order, 1, "DirichletCategorical is a source without memory."
        )
        histories.check_whole("symbols", self.symbols, 2, "2 are the least that can differ.")
        values = self.concentration
        check(
            len(values) == self.symbols,
            f"Expected a concentration for each of the {self.symbols} symbols; got {len(values)}: "
            f"{values}. They are the same for every context.",
        )
        check(
            all(value >= 0 for value in values) and 0 < sum(values) < float("inf"),
            "Expected concentrations that are not negative, at least one of them positive; got "
            f"{values}. (1.0, 1.0) is the uniform prior over rows of two symbols.",
        )
        check_concentration("concentrations", values)
        numbers = self.symbols ** (min(self.order, 64) + 1)
        histories.check_room("an order", self.order, self.symbols, numbers)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        hidden, tokens = jax.random.split(key)
        concentration = jnp.asarray(self.concentration)
        positive, shape = concentration > 0, (self.symbols**self.order, self.symbols)
        log_gamma = jax.random.loggamma(hidden, jnp.where(positive, concentration, 1.0), shape)
        transition = jax.nn.softmax(jnp.where(positive, log_gamma, -jnp.inf))
        return Episode(histories.draw_chain(tokens, transition, length), latent=transition)

    def oracle(self, latent: Float[Array, "context symbol"], tokens: Tokens) -> LogProbs:
        return histories.log_rows(latent, tokens)

    @property
    def lookback(self) -> int:
        return self.order

    def bayes(self) -> "TransitionPosterior":
        return TransitionPosterior(self.order, self.concentration)

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """Closed form: a Dirichlet-multinomial for each context, of the counts of the whole.

        log P(x) = Σ_c log [Γ(A) / Γ(A + N_c)] Π_s [Γ(a_s + n_cs) / Γ(a_s)], A = Σ a, N_c = Σ n_c.
        """
        counts = histories.transition_counts(tokens, self.symbols, self.order)
        return jnp.sum(log_evidence_of(counts, jnp.asarray(self.concentration), len(tokens)))

    def weigh(self, beliefs: Beliefs) -> tuple[np.ndarray, np.ndarray]:
        """Of each belief: log P(one of its sequences), and E[entropy of the next row], nats."""
        counts, concentration = beliefs.counts, np.asarray(self.concentration, float)
        most = int(counts[0].sum())
        following = counts[np.arange(len(counts)), beliefs.contexts]
        log_evidence = log_evidence_of(counts, concentration, most).sum(axis=-1)
        return log_evidence, expected_entropy(following, concentration, most)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """Exact: a sum over how often each symbol may have followed each context.

        Given those counts n the next row is Dirichlet(a + n), whose expected entropy is known.

        Raises:
            ValueError: too many different counts (`counted.MOST_BELIEFS`).
        """
        possible = tuple(i for i, value in enumerate(self.concentration) if value > 0)
        return expected_oracle_loss(self, self.symbols, self.order, length, possible)

    @classmethod
    def examples(cls) -> "tuple[MarkovChain, ...]":
        return cls(concentration=(0.3, 1.5)), cls(2), cls(concentration=(1.0, 0.0, 2.0))


class Seen(NamedTuple):
    """The belief: how often each symbol followed each context, the last context, and whether what
    was read is possible at all. Counts are whole: float32 ones stop growing at 2^24."""

    counts: Int[Array, "context symbol"]
    context: Int[Array, ""]
    possible: Bool[Array, ""]


class TransitionPosterior(Predictor):
    """Exact prediction: (counts after the last context + concentration) / their sum.

    Reads tokens only. Each costs one look at one row, whatever the order.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    order: int
    concentration: tuple[float, ...] | Float[Array, " symbol"]

    @property
    def symbols(self) -> int:
        return len(self.concentration)

    def start(self, capacity: int | None = None) -> Seen:
        del capacity  # the state never grows
        counts = jnp.zeros((self.symbols**self.order, self.symbols), jnp.int32)
        return Seen(counts, jnp.zeros((), jnp.int32), jnp.ones((), bool))

    def advance(self, state: Seen, inputs: Inputs) -> tuple[Seen, Prediction]:
        tokens, concentration = histories.only_tokens(inputs), jnp.asarray(self.concentration)
        contexts = histories.contexts_of(tokens, self.symbols, self.order, state.context)

        def step(counts: Int[Array, "context symbol"], place: tuple[Array, Array]):
            return counts.at[place].add(1), counts[place[0]]

        counts, rows = jax.lax.scan(step, state.counts, (contexts[:-1], tokens))
        came = jnp.cumprod(concentration[tokens] > 0, dtype=jnp.int32).astype(bool)
        possible = jnp.concatenate([state.possible[None], state.possible & came])
        mass = rows + concentration
        log_probs = jnp.log(mass / jnp.sum(mass, axis=-1, keepdims=True))
        state = Seen(counts, contexts[-1].astype(jnp.int32), possible[-1])
        return state, Prediction(uniform_if(~possible[:-1, None], log_probs))
