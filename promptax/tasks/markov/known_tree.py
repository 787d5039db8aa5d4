"""One known context tree: nothing to learn, and a target to steer to."""

import numbers
from typing import Annotated, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from promptax.axes import LogProbs, Tokens
from promptax.checks import as_tuple
from promptax.protocol.outcomes import Episode
from promptax.specs import JSON_ARGUMENT, check, check_distribution, floats
from promptax.tasks.base import Task
from promptax.tasks.markov import contexts as histories
from promptax.tasks.markov.known_chain import KnownTransitions, expected_entropies


def suffixes_of(values: Any) -> Any:
    """Sequences of whole numbers as tuples of tuples; other things stay, and are refused."""
    suffixes = as_tuple(values)
    if not isinstance(suffixes, tuple):
        return values
    return tuple(
        tuple(map(_whole, symbols)) if isinstance(symbols, tuple) else symbols
        for symbols in map(as_tuple, suffixes)
    )


def _whole(symbol: Any) -> Any:
    return int(symbol) if isinstance(symbol, numbers.Integral) else symbol


class KnownTree(Task):
    """A tree source: how much of the past matters depends on what the past was.

    Each leaf of the tree is an ending of the history, written in the order of time, the most recent
    symbol last. The next symbol has the probabilities of the one leaf with which the history ends.
    Every sequence follows as many symbols 0 as the longest ending has, which are context and are
    not scored.

    Example: `KnownTree(((1,), (0, 0), (1, 0)), ((0.5, 0.5), (0.9, 0.1), (0.2, 0.8)))`: a fair coin
    after a 1; after a 0, what came before it matters.
    """

    suffixes: Annotated[tuple[tuple[int, ...], ...], JSON_ARGUMENT] = eqx.field(
        default=((1,), (0, 0), (1, 0)), converter=suffixes_of
    )
    """The endings: every history has exactly one of them. `((),)`: one leaf, no memory."""
    probabilities: Annotated[tuple[tuple[float, ...], ...], JSON_ARGUMENT] = eqx.field(
        default=((0.5, 0.5), (0.9, 0.1), (0.2, 0.8)), converter=floats
    )
    """Probability of each symbol at each leaf [leaf, symbol]; zeros are legal."""

    def __check_init__(self) -> None:
        widths = [len(row) for row in self.probabilities]
        check(
            len(set(widths)) == 1 and min(widths) >= 2,
            "Expected every leaf to give the probabilities of the same symbols, at least 2; got "
            f"rows of {widths}.",
        )
        check(
            len(self.suffixes) == len(widths),
            f"Expected a row of probabilities for each of the {len(self.suffixes)} endings; got "
            f"{len(widths)}.",
        )
        for suffix, row in zip(self.suffixes, self.probabilities, strict=True):
            check_distribution(f"probabilities after {suffix}", row)
        longest = max(len(suffix) for suffix in self.suffixes)
        numbers = widths[0] ** (min(longest, 64) + 1)
        histories.check_room("endings", longest, widths[0], numbers)
        check_endings(self.suffixes, widths[0])

    @property
    def symbols(self) -> int:
        return np.shape(self.probabilities)[1]

    @property
    def order(self) -> int:
        """The length of the longest ending; 1 for a tree of one leaf."""
        return max(1, *(len(suffix) for suffix in self.suffixes))

    def transition(self) -> Float[Array, "context symbol"]:
        """The same source as a table of transitions: the row of its leaf for each context."""
        leaf = np.empty(self.symbols**self.order, int)
        for index, suffix in enumerate(self.suffixes):
            number = sum(s * self.symbols**place for place, s in enumerate(reversed(suffix)))
            leaf[number :: self.symbols ** len(suffix)] = index
        return jnp.asarray(self.probabilities)[leaf]

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        transition = self.transition()
        return Episode(histories.draw_chain(key, transition, length), latent=transition)

    def oracle(self, latent: Float[Array, "context symbol"], tokens: Tokens) -> LogProbs:
        return histories.log_rows(latent, tokens)

    @property
    def lookback(self) -> int:
        return self.order

    def bayes(self) -> KnownTransitions:
        return KnownTransitions(self.transition())

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """The probability of every token at the leaf found by comparing endings, one by one."""
        past = jnp.concatenate([jnp.zeros(self.order, tokens.dtype), tokens])
        total = jnp.zeros(())
        for suffix, row in zip(self.suffixes, jnp.asarray(self.probabilities), strict=True):
            ends = jnp.ones(len(tokens), bool)
            for back, symbol in enumerate(reversed(suffix), start=1):
                ends &= past[self.order - back : len(past) - back] == symbol
            total += jnp.sum(jnp.where(ends, jnp.log(row)[tokens], 0.0))
        return total

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return expected_entropies(self.transition(), length)

    @classmethod
    def examples(cls) -> "tuple[KnownTree, ...]":
        # Two symbols; three symbols of which one cannot follow another.
        suffixes = ((0,), (1,), (0, 2), (1, 2), (2, 2))
        rows = ((0.5, 0.3, 0.2), (0.0, 0.1, 0.9), (0.2, 0.2, 0.6), (1.0, 0.0, 0.0), (0.1, 0.9, 0.0))
        return cls(), cls(suffixes, rows)


def check_endings(suffixes: tuple[tuple[int, ...], ...], symbols: int) -> None:
    """Complain unless every history ends with exactly one of the suffixes."""
    for suffix in suffixes:
        check(
            all(0 <= symbol < symbols for symbol in suffix),
            f"Expected endings of symbols from 0 to {symbols - 1}; got {suffix}.",
        )
        for start in range(len(suffix) + 1):
            short = suffix[start:]
            count = suffixes.count(short) - (start == 0)
            check(
                count == 0,
                f"Expected every history to have one of the endings; one that ends with {suffix} "
                f"also ends with {short}. Take one of them out.",
            )
    longest = max(len(suffix) for suffix in suffixes)
    covered = sum(symbols ** (longest - len(suffix)) for suffix in suffixes)
    check(
        covered == symbols**longest,
        f"Expected every history to have one of the endings; of {symbols**longest} contexts of "
        f"length {longest}, {symbols**longest - covered} end with none of {suffixes}. Add what is "
        "missing.",
    )
