"""Does it matter in which order things are read, or tuned on?

Exact Bayes on an exchangeable source does not care for the order of what it reads. Networks do, and
so does tuning, in which what comes last moves the weights last. Both are measured alike: the same
sequences in several orders, and how far apart the predictions are that come out.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int

from promptax.axes import NATS, AnyKey, labelled
from promptax.doors import door
from promptax.protocol.entries import as_tokens, one
from promptax.protocol.outcomes import Symbols
from promptax.protocol.predictor import Predictor
from promptax.specs import as_key, check, check_whole_numbers, traced

MOST_ORDERS = 10_000


@door
def order_sensitivity(
    predictor: Predictor, tokens: Int[Any, "sequence time"], key: AnyKey, *, orders: int = 8
) -> xr.Dataset:
    """How much the prediction behind a context depends on the order of the context.

    Each sequence is read in so many random orders, the given one first, and the next symbol is
    predicted.

    Returns:
        A Dataset over sequence: `spread`, the Jensen-Shannon divergence of the predictions p_1, …,
        p_K, that is (1/K) Σ KL(p_k || mean), in nats. It is 0 where the order does not matter, and
        at most log K.

    Raises:
        ValueError: fewer than 2 orders, a predictor of something else than symbols, or tokens that
            it cannot read.
    """
    check_whole_numbers(orders=orders)
    check(2 <= orders <= MOST_ORDERS, f"Expected 2 to {MOST_ORDERS:,} orders; got {orders}.")
    contexts = _checked(predictor, np.asarray(tokens))
    generator = _generator(key)
    shuffled = [generator.permuted(contexts, axis=1) for _ in range(orders - 1)]
    rows = np.stack([_next(predictor, read) for read in (contexts, *shuffled)])
    return _spread(rows)


@door
def tuning_order_sensitivity(
    tune: Callable[[Int[np.ndarray, "_example _time"]], Predictor],
    examples: Int[Any, "_example _time"],
    tokens: Int[Any, "sequence time"],
    key: AnyKey,
    *,
    orders: int = 4,
) -> xr.Dataset:
    """How much what a tuned predictor says depends on the order of the examples it was tuned on.

    Args:
        tune: from examples, in the order in which they are to be used, to a tuned predictor. It
            must use them in that order, and draw nothing else anew.
        examples: what is tuned on; in so many random orders, the given one first.
        tokens: contexts behind which the tuned predictors are compared, read as they are.

    Returns:
        As `order_sensitivity`, over the sequences of `tokens`.

    Raises:
        ValueError: fewer than 2 orders, a predictor of something else than symbols, or tokens that
            it cannot read.
    """
    check_whole_numbers(orders=orders)
    check(2 <= orders <= MOST_ORDERS, f"Expected 2 to {MOST_ORDERS:,} orders; got {orders}.")
    given, contexts = np.asarray(examples), np.asarray(tokens)
    check(
        given.ndim >= 1 and len(given) >= 1,
        f"Expected examples in an order; got shape {given.shape}.",
    )
    generator = _generator(key)
    shuffled = [generator.permutation(given, axis=0) for _ in range(orders - 1)]
    rows = np.stack([_next(tune(used), contexts) for used in (given, *shuffled)])
    return _spread(rows)


def _generator(key: AnyKey) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(as_key(key))))


def _next(
    predictor: Predictor, tokens: Int[np.ndarray, "sequence time"]
) -> Float[np.ndarray, "sequence symbol"]:
    """Log probabilities of the symbol behind each context."""
    padded = np.pad(_checked(predictor, tokens), ((0, 0), (0, 1)))
    return np.asarray(_last(traced(predictor), padded))  # the last row is predicted, not read


def _checked(
    predictor: Predictor, tokens: Int[np.ndarray, "sequence time"]
) -> Int[np.ndarray, "sequence time"]:
    """Contexts that the predictor can read; others are refused."""
    check(
        isinstance(one(predictor).outcome, Symbols),
        f"Expected a predictor of symbols; it predicts {predictor.outcome.words()}.",
    )
    check(
        tokens.ndim == 2 and tokens.size > 0,
        f"Expected tokens [sequence, time], at least one; got shape {tokens.shape}.",
    )
    as_tokens(tokens.ravel(), predictor.symbols, "whole numbers as tokens", "predictor")
    return tokens


@eqx.filter_jit
def _last(
    predictor: Predictor, tokens: Int[Any, "sequence time"]
) -> Float[Array, "sequence symbol"]:
    return predictor.advance_batch(predictor.start(), tokens)[1].shown()[:, -1]


def _spread(log_probs: Float[np.ndarray, "draw sequence symbol"]) -> xr.Dataset:
    """The Jensen-Shannon divergence over draws."""
    rows = log_probs.astype(float)
    mean = np.logaddexp.reduce(rows, axis=0) - np.log(len(rows))
    with np.errstate(invalid="ignore"):
        terms = np.where(rows > -np.inf, np.exp(rows) * (rows - mean), 0.0)
    spread = np.maximum(terms.sum(axis=-1).mean(axis=0), 0.0)  # rounding alone makes it negative
    return labelled({"spread": ("sequence", spread, {"unit": NATS})})
