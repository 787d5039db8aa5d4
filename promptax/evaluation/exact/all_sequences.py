"""All sequences of a target, each with its probability: what is read of them has no noise.

The expectation of a loss over the target's sequences x is the sum Σ_x P(x) loss(x). Where order
matters neither to the target nor to the reader, one sequence stands for all that have its counts c:
of these there are N! / Π c_s!, each as likely as the other, and all lose the same.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy  # loads its parts when they are first used
from jaxtyping import Array, Float, Int

from promptax.evaluation.exact import enumeration
from promptax.protocol.predictor import Predictor
from promptax.specs import check, on_device, traced
from promptax.tasks.base import Task

MOST_SEQUENCES = 2**16  # read behind every prompt


class AllSequences(NamedTuple):
    """`tokens` [sequence, time], and their probabilities [sequence], which sum to 1, float64. A
    probability of 0 means that the sequence is not to be looked at."""

    tokens: Int[np.ndarray, "sequence time"]
    probabilities: Float[np.ndarray, " sequence"]


def all_sequences(target: Task, reader: Predictor, length: int) -> AllSequences:
    """All sequences of that length, or one of each kind that the reader cannot tell apart.

    How many there are depends on alphabet, length and classes alone, so that other numbers compile
    nothing.

    Raises:
        ValueError: there are too many, or the target has no exact predictor, which says how likely
            each one is.

    Example: `all_sequences(Categorical((0.2, 0.8)), DirichletCategorical().bayes(), 50).tokens` has
    51 rows.
    """
    check(
        target.has_bayes and target.outcome.alphabet is not None,
        "Expected a target over symbols with an exact predictor, to read all of its sequences; "
        f"got {type(target).__name__}. Read drawn ones: exact=False.",
    )
    check(
        target.scores_every_step,
        f"Expected a target of which every step is scored; got {type(target).__name__}, whose "
        "episodes say which steps count. Read drawn ones: exact=False.",
    )
    with enumeration.double_precision():
        bayes = traced(target).bayes()
    merged = enumeration.counts_suffice(length, reader, bayes)
    symbols = bayes.symbols
    digits = length * math.log10(symbols)  # Python writes numbers of up to 4,300 digits
    if merged:
        number = enumeration.size(symbols - 1, length + 1)
    else:
        number = symbols**length if digits < 100 else math.inf
    words = f"{number:,}" if number < 10**100 else f"10^{digits:,.0f}"
    check(
        number <= MOST_SEQUENCES,
        f"Expected at most {MOST_SEQUENCES:,} sequences to read behind every prompt; {symbols} "
        f"symbols at length {length} make {words}. Choose a shorter length, or read drawn ones: "
        "exact=False.",
    )
    if merged:
        counts = enumeration.compositions(length, symbols)
        tokens = np.stack([np.repeat(np.arange(symbols), row) for row in counts])
        log_factorial = scipy.special.gammaln(counts + 1).sum(axis=1)
        ways = scipy.special.gammaln(length + 1) - log_factorial
    else:
        places = symbols ** np.arange(length - 1, -1, -1)
        tokens, ways = np.arange(int(number))[:, None] // places % symbols, 0.0
    with enumeration.double_precision():
        log_probs = np.asarray(_log_probs(bayes, on_device(tokens)))
    return AllSequences(tokens.astype(np.int32), np.exp(ways + log_probs))


@eqx.filter_jit
def _log_probs(
    predictor: Predictor, tokens: Int[Array, "sequence time"]
) -> Float[Array, " sequence"]:
    """The log probability of each sequence, nats."""

    def log_prob(word: Int[Array, " time"]) -> Float[Array, ""]:
        return jnp.sum(predictor.advance(predictor.start(), word)[1].of(word))

    return jax.vmap(log_prob)(tokens)
