"""Probabilities of whole sequences by their final counts, exactly.

Where order does not matter, all sequences with the same final counts are equally likely: an
expectation over S^N sequences is a sum over C(N + S - 1, S - 1) count vectors, and mixtures of
predictors, whose regret is not a sum of their own regrets, come within reach.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy  # loads its parts when they are first used
from jaxtyping import Float, Int

from promptax.evaluation.exact import enumeration
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.tasks.base import Task

PREDICTIONS_AT_ONCE = 2**20
SAME = 1e-6  # nats: the log probability of a sequence, read in two orders


class Finals(NamedTuple):
    """Every count vector of N symbols under a target.

    `counts` [final, symbol]; `chance` [final]: the probability of these counts; `oracle_loss`: the
    oracle's expected loss over the N steps, nats.
    """

    counts: Int[np.ndarray, "final symbol"]
    chance: Float[np.ndarray, " final"]
    oracle_loss: float

    @property
    def length(self) -> int:
        """N."""
        return int(self.counts[0].sum())


def finals(target: Task, length: int) -> Finals:
    """The final counts of the target's sequences.

    Raises:
        ValueError: order matters to the target, or there are too many count vectors of that length.
    """
    check(
        length >= 1
        and target.has_oracle
        and target.has_bayes
        and enumeration.counts_suffice(length, target.bayes()),
        "Expected a target with an oracle, an exact predictor that depends on counts alone and at "
        f"most {enumeration.MOST_COUNTS:,} count vectors; got {type(target).__name__} with "
        f"{target.symbols} symbols and {length} steps. Choose fewer steps.",
    )
    none = np.zeros((1, target.symbols), int)
    log_one = log_chances(target.bayes(), none, length)[0]
    counts = enumeration.compositions(length, target.symbols)
    orders = scipy.special.gammaln(length + 1) - scipy.special.gammaln(counts + 1).sum(axis=1)
    with enumeration.double_precision():
        oracle_loss = math.fsum(np.asarray(target.oracle_entropy(length)))
    return Finals(counts, np.exp(log_one + orders), oracle_loss)


def log_chances(
    predictor: Predictor, prompts: Int[np.ndarray, "candidate symbol"], length: int
) -> Float[np.ndarray, "candidate final"]:
    """Log probability, nats, of *one* sequence with each final counts, after each prompt's counts.

    By recursion over the grid of counts, one symbol at a time; the columns are in the order of
    `enumeration.compositions(length, symbols)`.

    Raises:
        ValueError: the probability of a sequence depends on its order.
    """
    layers = [enumeration.compositions(total, predictor.symbols) for total in range(length + 1)]
    rows, ends = np.concatenate(layers[:-1]), np.cumsum([len(layer) for layer in layers[:-1]])
    last, first = _parents(layers, last=True), _parents(layers, last=False)
    out = np.empty((len(prompts), len(layers[-1])))
    at_once = max(1, PREDICTIONS_AT_ONCE // len(rows))
    for start in range(0, len(prompts), at_once):
        piece = prompts[start : start + at_once]
        after = (piece[:, None] + rows[None]).reshape(-1, predictor.symbols)
        log_probs = enumeration.log_probs_after(predictor, after)
        by_length = np.split(log_probs.reshape(len(piece), len(rows), -1), ends[:-1], axis=1)
        forward, backward = _chain(by_length, last), _chain(by_length, first)
        same = np.isclose(forward, backward, rtol=0, atol=SAME) | (forward == backward)
        check(
            bool(same.all()),
            "Expected a predictor that gives a sequence the same probability in every order, as "
            f"exact predictors of exchangeable tasks do; {type(predictor).__name__} does not.",
        )
        out[start : start + len(piece)] = forward
    return out


def _parents(layers: Sequence[np.ndarray], last: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each layer of counts from 1 on: the row in the layer before that lacks one symbol, and
    that symbol: the last one that the counts have, or the first."""
    symbols = layers[0].shape[1]
    powers = float(len(layers)) ** np.arange(symbols)[::-1]
    parents = []
    for before, after in itertools.pairwise(layers):
        if last:
            symbol = symbols - 1 - np.argmax(after[:, ::-1] > 0, axis=1)
        else:
            symbol = np.argmax(after > 0, axis=1)
        parents.append((np.searchsorted(before @ powers, after @ powers - powers[symbol]), symbol))
    return parents


def _chain(
    log_probs: Sequence[np.ndarray], parents: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Float[np.ndarray, "candidate final"]:
    """Log probabilities [candidate, final] of sequences, symbol after symbol."""
    total = np.zeros((len(log_probs[0]), 1))
    for rows, (parent, symbol) in zip(log_probs, parents, strict=True):
        total = total[:, parent] + rows[:, parent, symbol]
    return total


def mixed_regret(
    chances: Float[np.ndarray, "*batch component final"], final: Finals
) -> Float[np.ndarray, "*batch"]:
    """Expected cumulative regret [...], nats, of the Bayes mixture with equal initial weights."""
    mixed = np.asarray(scipy.special.logsumexp(chances, axis=-2)) - math.log(chances.shape[-2])
    return np.asarray(expected_loss(mixed, final) - final.oracle_loss)


def expected_loss(log_one: np.ndarray, final: Finals) -> np.ndarray:
    """-Σ P log p, where 0 log 0 = 0."""
    comes = final.chance > 0
    return np.asarray(-(log_one[..., comes] @ final.chance[comes]))
