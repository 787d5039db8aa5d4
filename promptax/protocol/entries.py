"""Functions for users: predict, condition, and what checks their inputs."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from promptax import platforms
from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictor import (
    ROWS,
    WEIGHTS,
    Embedded,
    Inputs,
    KeyValues,
    Predictor,
    check_reads,
    kind_of,
    real_rows,
)
from promptax.protocol.prompted import GivenPrompt, Prompted
from promptax.protocol.repeated import Repeated
from promptax.specs import check, on_device, traced

WHO_READS_ROWS = (
    "Networks read rows behind an embedding; those with attention read keys and values."
)


@eqx.filter_jit
def _read(predictor: Predictor, inputs: Inputs) -> Float[Array, "time parameter"]:
    return predictor.advance(predictor.start(), inputs)[1].shown()


def predict(predictor: Predictor, tokens: Any) -> Float[Array, "time parameter"]:
    """Log probabilities [time, symbol] in nats; row t predicts tokens[t] from tokens[:t].

    `tokens`: an array or a list of whole numbers [time]. Where the predictor's outcome has no
    alphabet, rows [time, input]; what comes back are then the numbers that make its predictions
    [time, parameter], such as mean and log standard deviation.

    Example: `promptax.predict(coins.bayes(), jnp.array([1, 1, 1]))[2]` is log (1/4, 3/4).
    """
    return _read(traced(one(predictor)), checked(predictor, tokens))


def condition(predictor: Predictor, prompt: Any) -> Prompted:
    """The predictor after reading `prompt`: tokens [prompt], weights [prompt, symbol], rows
    [prompt, input] of an outcome without an alphabet, or lists."""
    return Prompted(one(predictor), GivenPrompt(checked(predictor, prompt)))


def one(predictor: Any) -> Predictor:
    """The predictor, after a look at what it is.

    Raises:
        TypeError: several repetitions, or no predictor at all.
    """
    platforms.drop_programs()
    if isinstance(predictor, Repeated):
        raise TypeError(
            f"Expected one predictor; got {len(predictor)} repetitions. Pick one: predictor[0]."
        )
    if not isinstance(predictor, Predictor):
        raise TypeError(
            f"Expected a promptax Predictor; got {type(predictor).__name__}. An architecture is "
            "built first: architecture.build(key, symbols), or trained: promptax.pretrain."
        )
    return predictor


def checked(predictor: Predictor | Repeated, inputs: Any) -> Any:
    """The inputs as arrays, after a look at their shape and, where values are known, at them."""
    if isinstance(inputs, Embedded | KeyValues):
        check_reads(predictor, kind_of(inputs, predictor.outcome), " " + WHO_READS_ROWS)
        for array in jax.tree.leaves(inputs):
            _check_finite(array, "rows")
        return inputs
    if isinstance(inputs, Tracer):
        return inputs
    if not isinstance(inputs, Array):
        inputs = np.asarray(inputs)
    outcome = predictor.outcome
    if outcome.alphabet is None:
        return _checked_rows(outcome, inputs)
    if jnp.issubdtype(inputs.dtype, jnp.floating) and inputs.ndim == 2:
        if len(inputs) == 0 and WEIGHTS not in predictor.reads:
            return on_device(np.zeros(0, np.int32))  # no weights are no tokens
        check_reads(predictor, WEIGHTS, " Give it tokens.")
        _check_weights(predictor, inputs)
        return inputs if isinstance(inputs, Array) else on_device(inputs)
    if inputs.ndim != 1 or not (jnp.issubdtype(inputs.dtype, jnp.integer) or inputs.size == 0):
        raise ValueError(
            f"Expected tokens of shape [time] (int) or weights [time, symbol] (float); got shape "
            f"{inputs.shape}, {inputs.dtype}. For a batch use jax.vmap or promptax.evaluate."
        )
    tokens = np.asarray(inputs)  # whatever their width: what 32 bits cannot hold is named too
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < predictor.symbols):
        raise ValueError(
            f"Expected tokens from 0 to {predictor.symbols - 1}; got {tokens.min()} to "
            f"{tokens.max()}. The predictor's alphabet has {predictor.symbols} symbols."
        )
    ready = isinstance(inputs, Array) and inputs.dtype == jnp.int32
    return inputs if ready else on_device(tokens.astype(np.int32))


def _check_finite(numbers: Any, what: str) -> None:
    """Complain about numbers that are none, or infinite, where they are known."""
    if isinstance(numbers, Tracer):
        return
    with np.errstate(over="ignore"):
        bad = int(np.sum(~np.isfinite(np.asarray(numbers).astype(np.float32))))
    check(
        bad == 0,
        f"Expected {what} of finite numbers that float32 can hold; got {bad} that are not. What "
        "was tuned may have diverged: a lower learning_rate usually helps.",
    )


def _check_weights(predictor: Predictor | Repeated, weights: Any) -> None:
    """Complain about weights over symbols that mean nothing to the predictor."""
    _check_finite(weights, "weights")
    embeds = ROWS in predictor.reads  # a network reads any rows of numbers
    if not embeds and np.any(np.asarray(weights) < 0):
        raise ValueError(
            f"Expected weights of at least 0, which {type(predictor).__name__} can count; got "
            f"{float(np.min(np.asarray(weights))):g}."
        )


def _checked_rows(outcome: Outcome, rows: Any) -> Any:
    """Rows of an outcome without an alphabet, after a look at their shape and their numbers."""
    if rows.size == 0:
        rows = np.zeros((0, outcome.input_width()))
    if rows.ndim == 3:
        raise ValueError(
            f"Expected rows of one sequence [time, input]; got shape {rows.shape}. For a batch use "
            "jax.vmap or promptax.evaluate."
        )
    rows = rows if isinstance(rows, Array) or rows.ndim == 1 else on_device(np.asarray(rows, float))
    rows = real_rows(rows, outcome)
    _check_finite(rows, "rows")
    return rows
