"""Exact expectations over the sequences of a source that remembers its last few symbols.

What such a source can have shown in t steps is how often each symbol followed each context
(`counts`), and which context is the last. Sequences that agree in both are one *belief*: they have
the same probability and the same future. There are far fewer beliefs than sequences: with two
symbols and order 1, 20,101 after 200 steps instead of 2^200.

The number of sequences of each belief is independent of the source's numbers. So

    E[f(belief)] = Σ over beliefs of (number of sequences) · P(one of them) · f(belief).
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from promptax.protocol.birthdays import DRAWS, least_number, random_words
from promptax.specs import check

MOST_DRAWN = 2**26  # counts of all words that are drawn to foresee the number of beliefs
MOST_BELIEFS = 2**18  # after one step; all steps up to it take some ten seconds


class Beliefs(NamedTuple):
    """All beliefs after some number of steps.

    `counts` [belief, context, symbol]; `contexts` [belief]: the last one; `log_ways` [belief]: log
    of the number of sequences.
    """

    counts: Int[np.ndarray, "belief context symbol"]
    contexts: Int[np.ndarray, " belief"]
    log_ways: Float[np.ndarray, " belief"]


@runtime_checkable
class Counted(Protocol):
    """A task for which a belief is all that matters of a sequence."""

    def weigh(
        self, beliefs: Beliefs
    ) -> tuple[Float[np.ndarray, " belief"], Float[np.ndarray, " belief"]]:
        """Of each belief: log P(one of its sequences), and the oracle's expected loss at the next
        step given the belief, both in nats."""
        ...


def beliefs_by_step(
    symbols: int, order: int, length: int, possible: tuple[int, ...]
) -> Iterator[Beliefs]:
    """The beliefs before step 1, 2, ..., `length`.

    Args:
        possible: the symbols that can come at all.

    Raises:
        ValueError: more than MOST_BELIEFS of them at some step.
    """
    contexts = symbols**order
    _foresee(symbols, order, length, np.asarray(possible))
    beliefs = Beliefs(np.zeros((1, contexts, symbols), np.int32), np.zeros(1, int), np.zeros(1))
    for step in range(length):
        yield beliefs
        if step + 1 == length:
            return
        beliefs = _read_one_more(beliefs, np.asarray(possible), length)
        size = len(beliefs.contexts)
        check(
            size <= MOST_BELIEFS,
            _too_many(f"have {size:,} after {step + 1} steps already", length)
            + f" A length of {step + 1} is short enough.",
        )


def _too_many(number: str, length: int) -> str:
    return (
        f"Expected at most {MOST_BELIEFS:,} beliefs to sum over exactly; sequences of {length} "
        f"symbols {number}. Take a smaller length, or sample: in promptax.evaluate, the mean log "
        'loss of "oracle" estimates the same expectation, with its standard error.'
    )


def _foresee(symbols: int, order: int, length: int, possible: np.ndarray) -> None:
    """Complain at once if random words tell that there are too many beliefs before the last step
    (`promptax.protocol.birthdays`)."""
    numbers = symbols ** (order + 1)
    draws = min(DRAWS, MOST_DRAWN // numbers)
    if len(possible) ** (length - 1) <= MOST_BELIEFS or draws < 2:
        return
    words = possible[random_words(len(possible), length - 1, draws)]
    counts = np.zeros((draws, symbols**order, symbols), np.int32)
    last = np.zeros(draws, int)
    for tokens in words.T:
        counts[np.arange(draws), last, tokens] += 1
        last = (last * symbols + tokens) % symbols**order
    number = least_number(draws, len(np.unique(_keys(counts, last, length))), MOST_BELIEFS)
    check(number is None, _too_many(f"have some {number or 0:,} or more", length))


def _read_one_more(beliefs: Beliefs, possible: np.ndarray, length: int) -> Beliefs:
    """Every belief with every symbol; equal ones become one, and their numbers add up."""
    size, (_, contexts, symbols) = len(beliefs.contexts), beliefs.counts.shape
    counts = np.repeat(beliefs.counts, len(possible), axis=0)
    last = np.repeat(beliefs.contexts, len(possible))
    tokens = np.tile(possible, size)
    counts[np.arange(len(last)), last, tokens] += 1
    last = (last * symbols + tokens) % contexts
    _, first, group = np.unique(_keys(counts, last, length), return_index=True, return_inverse=True)
    log_ways = np.repeat(beliefs.log_ways, len(possible))
    most = log_ways.max()  # the spread is below 724 log 2, where MOST_BELIEFS ends: no underflow
    ways = np.bincount(group.reshape(-1), np.exp(log_ways - most))
    return Beliefs(counts[first], last[first], np.log(ways) + most)


def _keys(counts: np.ndarray, contexts: np.ndarray, length: int) -> np.ndarray:
    """One sortable value for each belief, equal for equal beliefs only [belief]."""
    rows = counts.reshape(len(counts), -1)
    if (length + 1) ** rows.shape[1] * counts.shape[1] < 2**63:  # digits of one number: fast
        digits = (length + 1) ** np.arange(rows.shape[1])
        return rows @ digits * counts.shape[1] + contexts
    whole = np.ascontiguousarray(np.concatenate([rows, contexts[:, None]], axis=1, dtype=np.int32))
    return whole.view(np.dtype((np.void, whole.shape[1] * whole.itemsize)))[:, 0]


def expected_oracle_loss(
    task: Counted, symbols: int, order: int, length: int, possible: tuple[int, ...]
) -> Float[Array, " time"]:
    """E[-log p(x_t | τ, x_<t)] at each step, in nats: exact, in float64, on the host.

    Raises:
        ValueError: more than MOST_BELIEFS beliefs.
    """
    losses = []
    for beliefs in beliefs_by_step(symbols, order, length, possible):
        log_evidence, loss = task.weigh(beliefs)
        losses.append(np.sum(np.exp(beliefs.log_ways + log_evidence) * loss))
    return jnp.asarray(np.array(losses))
