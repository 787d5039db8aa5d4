"""Exact expectations over all sequences, by enumeration over counts, in float64.

If the target's exact predictor and the judged predictor are both exchangeable, the expected loss of
a step depends on the counts before it alone: a sum over S^N sequences becomes a sum over the
C(N + S - 1, S - 1) count vectors of each length.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import fft

from promptax.protocol.predictor import Predictor
from promptax.specs import check, on_device, traced
from promptax.tasks.base import Task

MOST_COUNTS = 1_500_000  # count vectors: about a second, about 100 MB
MOST_EVALUATIONS = 500_000_000  # predictions for a search over prompts: about a minute
MOST_CELLS = 20_000_000  # cells of a grid of count vectors: about 1 GB
ROWS_AT_ONCE = 2**18  # predictions that are computed side by side


class CountTable(NamedTuple):
    """Every count vector of 0..N-1 symbols, with the target's probabilities.

    `counts` [row, symbol]; `length` [row]: how many symbols were read; `joint` [row, symbol]:
    P(these counts, then this symbol) under the target; `oracle_loss` [time]: the oracle's expected
    loss at each step, nats.
    """

    counts: Int[np.ndarray, "row symbol"]
    length: Int[np.ndarray, " row"]
    joint: Float[np.ndarray, "row symbol"]
    oracle_loss: Float[np.ndarray, " time"]


@contextmanager
def double_precision() -> Iterator[None]:
    """float64 within, whatever the caller's setting."""
    with jax.enable_x64(True):
        yield


def size(symbols: int, length: int) -> int:
    """How many count vectors of 0..length-1 symbols there are."""
    return math.comb(length - 1 + symbols, symbols)


def is_enumerable(target: Task, length: int) -> bool:
    """Whether exact expectations over the target's sequences are at hand."""
    return (
        target.has_bayes
        and target.has_oracle
        and target.bayes().exchangeable
        and size(target.symbols, length) <= MOST_COUNTS
    )


def count_table(target: Task, length: int) -> CountTable:
    """The count vectors of 0..length-1 symbols under the target."""
    check(
        is_enumerable(target, length),
        f"Expected a task with an exchangeable exact predictor and at most {MOST_COUNTS:,} count "
        f"vectors; got {type(target).__name__} with {target.symbols} symbols at length {length} "
        f"({size(target.symbols, length):,} count vectors). Sample instead: promptax.evaluate.",
    )
    layers = [compositions(total, target.symbols) for total in range(length)]
    counts = np.concatenate(layers)
    with double_precision():
        rows = np.exp(log_probs_after(target.bayes(), counts))
        oracle_loss = np.asarray(target.oracle_entropy(length))
    chances = [np.ones(1)]
    starts = np.cumsum([0] + [len(layer) for layer in layers])
    for total in range(length - 1):
        here = rows[starts[total] : starts[total + 1]] * chances[-1][:, None]
        chances.append(_push(layers[total], here, layers[total + 1], length))
    joint = rows * np.concatenate(chances)[:, None]
    return CountTable(counts, counts.sum(axis=1), joint, oracle_loss)


def compositions(total: int, symbols: int) -> np.ndarray:
    """All count vectors [row, symbol] of `total` symbols, ordered by their keys."""
    if symbols == 2:
        first = np.arange(total + 1)
        return np.stack([first, total - first], axis=1)
    bars = np.array(list(itertools.combinations(range(total + symbols - 1), symbols - 1)))
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, total + symbols - 1)))
    return np.diff(edges, axis=1) - 1


def _push(counts: np.ndarray, mass: np.ndarray, onto: np.ndarray, base: int) -> np.ndarray:
    """Probabilities of the count vectors of the next length."""
    powers = np.array([float(base) ** i for i in range(counts.shape[1])][::-1])
    keys = onto @ powers
    out = np.zeros(len(onto))
    for symbol in range(counts.shape[1]):
        np.add.at(out, np.searchsorted(keys, counts @ powers + powers[symbol]), mass[:, symbol])
    return out


def log_probs_after(predictor: Predictor, counts: Int[np.ndarray, "row symbol"]) -> np.ndarray:
    """Log probabilities [row, symbol] of the next symbol after these counts, float64, nats."""
    check(
        predictor.exchangeable,
        f"Expected a predictor that depends on counts alone; got {type(predictor).__name__}. "
        "Sample instead: promptax.evaluate.",
    )
    out = np.empty((len(counts), predictor.symbols))
    with double_precision():
        for first in range(0, len(counts), ROWS_AT_ONCE):
            rows = counts[first : first + ROWS_AT_ONCE]
            padded = np.zeros((1 << (len(rows) - 1).bit_length(), rows.shape[1]))
            padded[: len(rows)] = rows
            found = _after(traced(predictor), on_device(padded))
            out[first : first + len(rows)] = np.asarray(found)[: len(rows)]
    return out


@eqx.filter_jit
def _after(predictor: Predictor, counts: Float[Array, "row symbol"]) -> Float[Array, "row symbol"]:
    """Compiled once for each kind of predictor and power of two of rows."""

    def after(row: Array) -> Array:
        state, _ = predictor.advance(predictor.start(), row[None])
        return predictor.advance(state, jnp.zeros((1,), int))[1].log_probs[0]

    return jax.vmap(after)(counts)


def expected_regret(
    predictor: Predictor, target: Task, length: int, table: CountTable | None = None
) -> Float[np.ndarray, " time"]:
    """Expected regret to the oracle of each step [time], not cumulative, nats.

    Genewein et al. 2025, Eq. 10, with the expectation taken exactly.
    """
    table = table or count_table(target, length)
    terms = _terms(table.joint, log_probs_after(predictor, table.counts)).sum(axis=1)
    losses = np.bincount(table.length, weights=terms, minlength=length)
    return losses - table.oracle_loss


class PromptScore(NamedTuple):
    """A multiset of prompt symbols and its expected cumulative regret in nats."""

    counts: tuple[int, ...]
    regret: float

    def tokens(self) -> tuple[int, ...]:
        """The prompt in order of its symbols; every other order is as good."""
        return tuple(symbol for symbol, count in enumerate(self.counts) for _ in range(count))


def best_hard_prompts(
    prior: Predictor, target: Task, lengths: Sequence[int], steps: int
) -> list[PromptScore]:
    """The best prompt of exactly each of these lengths for an exchangeable predictor, exactly.

    Of prompts that are equally good to 1e-9 nats, the one with the fewest symbols 0.
    """
    layers = [compositions(length, target.symbols) for length in lengths]
    regrets = prompt_regrets(prior, np.concatenate(layers), count_table(target, steps))
    scores = np.split(regrets, np.cumsum([len(layer) for layer in layers])[:-1])
    best = [int(np.argmin(np.round(each, 9))) for each in scores]
    return [
        PromptScore(tuple(layer[index].tolist()), float(each[index]))
        for layer, each, index in zip(layers, scores, best, strict=True)
    ]


def best_hard_prompt(prior: Predictor, target: Task, length: int, steps: int) -> PromptScore:
    """The best prompt of exactly that length: see `best_hard_prompts`."""
    return best_hard_prompts(prior, target, [length], steps)[0]


def prompt_regrets(
    prior: Predictor, prompts: Int[np.ndarray, "candidate symbol"], table: CountTable
) -> Float[np.ndarray, " candidate"]:
    """Expected cumulative regret [candidate] in nats after each prompt, given by its counts.

    A prompt adds its counts to those of the sequence:
    regret(o) = -Σ_c,s P(c, s) log p(s | c + o) - Σ_t H_t. With few prompts each is evaluated by
    itself. With many short-alphabet ones, most c + o coincide: p is evaluated once for each count
    vector, and the sum over c, a correlation, is taken for all o at once by fast Fourier transform.

    Raises:
        ValueError: both ways are too long, or the alphabets differ.
    """
    check(
        prompts.shape[1] == table.counts.shape[1] == prior.symbols,
        f"Expected a prior, prompts and a target over one alphabet; got {prior.symbols}, "
        f"{prompts.shape[1]} and {table.counts.shape[1]} symbols.",
    )
    base = int(table.length.max()) + int(prompts.sum(axis=1).max(initial=0)) + 1
    one_by_one = len(prompts) * len(table.counts)
    together = base**prior.symbols
    check(
        min(one_by_one, together) <= MOST_EVALUATIONS,
        f"Expected at most {MOST_EVALUATIONS:,} evaluations; got {len(prompts):,} prompts on "
        f"{len(table.counts):,} count vectors. Choose fewer steps or shorter prompts.",
    )
    if one_by_one <= 4 * together or together > MOST_CELLS:
        losses = np.array([_loss_after(prior, prompt, table) for prompt in prompts])
    else:
        losses = _losses_together(prior, prompts, table, base)
    return losses - math.fsum(table.oracle_loss)


def _loss_after(prior: Predictor, prompt: np.ndarray, table: CountTable) -> float:
    """Expected cumulative log loss after one prompt, nats."""
    return float(_terms(table.joint, log_probs_after(prior, table.counts + prompt)).sum())


def _terms(joint: np.ndarray, log_probs: np.ndarray) -> np.ndarray:
    """-P log p, where 0 log 0 = 0."""
    return -np.multiply(joint, log_probs, out=np.zeros_like(joint), where=joint > 0)


def _losses_together(
    prior: Predictor, prompts: np.ndarray, table: CountTable, base: int
) -> np.ndarray:
    """Expected cumulative log losses [candidate] by one correlation over flattened counts.

    A count vector's cell is the number that its entries are the digits of; no total reaches the
    base, so cells add as the vectors do. Prompts that leave a needed probability at zero lose inf.
    """
    symbols = prompts.shape[1]
    powers = base ** np.arange(symbols)[::-1]
    every = np.concatenate([compositions(total, symbols) for total in range(base)])
    log_probs = log_probs_after(prior, every)
    cells, rows = every @ powers, table.counts @ powers
    width = int(fft.next_fast_len(base**symbols, real=True))  # pyright: ignore[reportArgumentType]

    def correlated(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        total = np.zeros(width // 2 + 1, complex)
        for symbol in range(symbols):
            grid, mass = np.zeros((2, width))
            grid[cells], mass[rows] = values[:, symbol], weights[:, symbol]
            total += np.fft.rfft(grid) * np.conj(np.fft.rfft(mass))
        return np.fft.irfft(total, width)[prompts @ powers]

    never = np.isneginf(log_probs)
    losses = correlated(-np.where(never, 0.0, log_probs), table.joint)
    if not never.any():
        return losses
    return np.where(correlated(never.astype(float), table.joint > 0) > 0.5, np.inf, losses)
