"""Exact expectations over all sequences, by enumeration over counts, in float64.

If the target's exact predictor and the judged predictor are both exchangeable, the expected loss of
a step depends on the counts before it alone: a sum over S^N sequences becomes a sum over the
C(N + S - 1, S - 1) count vectors of each length.
"""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy  # loads its parts when they are first used
from jaxtyping import Array, Float, Int

from promptax.protocol.predictor import Predictor
from promptax.specs import check, on_device, traced

MOST_COUNTS = 1_500_000  # count vectors: about a second, about 100 MB
MOST_EVALUATIONS = 500_000_000  # predictions for a search over prompts: about a minute
MOST_CELLS = 20_000_000  # cells of a grid of count vectors: about 1 GB
ROWS_AT_ONCE = 2**18  # predictions that are computed side by side


class CountTable(NamedTuple):
    """Every count vector of 0..N-1 symbols, with the target's probabilities.

    `counts` [row, symbol]; `length` [row]: how many symbols were read; `joint` [row, symbol]:
    P(these counts, then this symbol) under the target.
    """

    counts: Int[np.ndarray, "row symbol"]
    length: Int[np.ndarray, " row"]
    joint: Float[np.ndarray, "row symbol"]


@contextmanager
def double_precision() -> Iterator[None]:
    """float64 within, whatever the caller's setting."""
    with jax.enable_x64(True):
        yield


def size(symbols: int, length: int) -> int:
    """How many count vectors of 0..length-1 symbols there are."""
    return math.comb(length - 1 + symbols, symbols)


def counts_suffice(length: int, *predictors: Predictor) -> bool:
    """Whether order matters to none of them, and there are few enough counts of that length."""
    exchangeable = all(predictor.exchangeable for predictor in predictors)
    return exchangeable and size(predictors[0].symbols, length) <= MOST_COUNTS


def count_table(bayes: Predictor, length: int) -> CountTable:
    """The count vectors of 0..length-1 symbols under a target, given by its exact predictor."""
    check(
        counts_suffice(length, bayes),
        f"Expected an exact predictor that depends on counts alone and at most {MOST_COUNTS:,} "
        f"count vectors; got {type(bayes).__name__} with {bayes.symbols} symbols at length "
        f"{length} ({size(bayes.symbols, length):,} count vectors). Sample instead: "
        "promptax.evaluate.",
    )
    layers = [compositions(total, bayes.symbols) for total in range(length)]
    counts = np.concatenate(layers)
    rows = np.exp(log_probs_after(bayes, counts))
    chances = [np.ones(1)]
    starts = np.cumsum([0] + [len(layer) for layer in layers])
    for total in range(length - 1):
        joint = rows[starts[total] : starts[total + 1]] * chances[-1][:, None]
        chances.append(_push(layers[total], joint, layers[total + 1], length))
    joint = rows * np.concatenate(chances)[:, None]
    return CountTable(counts, counts.sum(axis=1), joint)


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
            log_probs = _after(traced(predictor), on_device(padded))
            out[first : first + len(rows)] = np.asarray(log_probs)[: len(rows)]
    return out


@eqx.filter_jit
def _after(predictor: Predictor, counts: Float[Array, "row symbol"]) -> Float[Array, "row symbol"]:
    """Compiled once for each kind of predictor and power of two of rows."""

    def after(row: Array) -> Array:
        state, _ = predictor.advance(predictor.start(), row[None])
        return predictor.advance(state, jnp.zeros((1,), int))[1].log_probs[0]

    return jax.vmap(after)(counts)


def losses(predictor: Predictor, table: CountTable) -> Float[np.ndarray, " time"]:
    """Expected log loss of each step [time], nats."""
    terms = expected_terms(table.joint, log_probs_after(predictor, table.counts)).sum(axis=1)
    return np.bincount(table.length, weights=terms)


def prompt_losses(
    prior: Predictor, prompts: Int[np.ndarray, "candidate symbol"], table: CountTable
) -> Float[np.ndarray, " candidate"]:
    """Expected cumulative log loss [candidate] in nats after each prompt, given by its counts.

    A prompt adds its counts to those of the sequence: loss(o) = -Σ_c,s P(c, s) log p(s | c + o).
    With few prompts each is evaluated by itself. With many of a short alphabet, most of the c + o
    coincide: p is evaluated once for each count vector, and the sum over c, a correlation, is taken
    for all o at once by fast Fourier transform.

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
        return np.array([_loss_after(prior, prompt, table) for prompt in prompts])
    return _losses_together(prior, prompts, table, base)


def _loss_after(prior: Predictor, prompt: np.ndarray, table: CountTable) -> float:
    """Expected cumulative log loss after one prompt, nats."""
    return float(expected_terms(table.joint, log_probs_after(prior, table.counts + prompt)).sum())


def expected_terms(
    joint: Float[np.ndarray, "row symbol"], log_probs: Float[np.ndarray, "row symbol"]
) -> Float[np.ndarray, "row symbol"]:
    """-P log p [row, symbol], nats, where 0 log 0 = 0."""
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
    width = int(scipy.fft.next_fast_len(base**symbols, real=True))  # pyright: ignore[reportArgumentType]

    def correlated(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        total = np.zeros(width // 2 + 1, complex)
        for symbol in range(symbols):
            grid, mass = np.zeros((2, width))
            grid[cells], mass[rows] = values[:, symbol], weights[:, symbol]
            total += np.fft.rfft(grid) * np.conj(np.fft.rfft(mass))
        return np.fft.irfft(total, width)[prompts @ powers]

    never = np.isneginf(log_probs)
    finite = correlated(-np.where(never, 0.0, log_probs), table.joint)
    if not never.any():
        return finite
    return np.where(correlated(never.astype(float), table.joint > 0) > 0.5, np.inf, finite)
