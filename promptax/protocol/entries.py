"""Functions for users: predict, condition, and what checks their inputs.

What is not a number (NaN) is looked for where a predictor comes in, before anything is computed: in
its leaves, each of them once; and in what `predict` gives back. The compiled loops never look.
-inf is a log probability like any other.
"""

import dataclasses
import weakref
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from promptax import platforms
from promptax.checks import kind_of as class_of
from promptax.checks import unmasked
from promptax.doors import door
from promptax.protocol import own_predictors
from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictor import (
    ROWS,
    WEIGHTS,
    Embedded,
    Inputs,
    KeyValues,
    Predictor,
    check_readable,
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


@door
def predict(predictor: Predictor, tokens: Any) -> Float[Array, "time parameter"]:
    """Log probabilities [time, symbol] in nats; row t predicts tokens[t] from tokens[:t].

    `tokens`: an array or a list of whole numbers [time]. Where the predictor's outcome has no
    alphabet, rows [time, input]; what comes back are then the numbers that make its predictions
    [time, parameter], such as mean and log standard deviation.

    Raises:
        TypeError, ValueError: no single predictor, one whose numbers are NaN, or what it cannot
            read.
        FloatingPointError: what comes out is NaN.

    Example: `promptax.predict(coins.bayes(), jnp.array([1, 1, 1]))[2]` is log (1/4, 3/4).
    """
    ready, inputs = traced(one(predictor)), checked(predictor, tokens)
    check_readable(predictor, inputs)
    shown = _read(ready, inputs)
    if not isinstance(shown, Tracer) and has_nan(shown):
        row = int(np.argmax(np.isnan(np.asarray(shown)).any(axis=-1)))
        raise FloatingPointError(
            f"Expected predictions that are numbers of {type(predictor).__name__}; got NaN from "
            f"row {row} (counted from 0) on. Its numbers grow beyond float32, or its own code "
            "makes NaN: look there, or load other weights."
        )
    return shown


@door
def condition(predictor: Predictor, prompt: Any) -> Prompted:
    """The predictor after reading `prompt`: tokens [prompt], weights [prompt, symbol], rows
    [prompt, input] of an outcome without an alphabet, or lists.

    Raises:
        TypeError: no single predictor, or inputs of a kind that it does not read.
        ValueError: one of its numbers is NaN; tokens outside of its alphabet; weights or rows that
            are not finite, or of unequal lengths.
    """
    predictor, inputs = one(predictor), checked(predictor, prompt)
    check_readable(predictor, inputs)
    return Prompted(predictor, GivenPrompt(inputs))


def one(predictor: Any) -> Predictor:
    """The predictor, after a look at what it is.

    Raises:
        TypeError: several repetitions, or no predictor at all.
        ValueError: one of its numbers is NaN; or it is of the user's own, and what it says cannot
            be right.
    """
    platforms.drop_programs()
    if isinstance(predictor, Repeated):
        raise TypeError(
            f"Expected one predictor; got {len(predictor)} repetitions. Pick one: predictor[0]."
        )
    if not isinstance(predictor, Predictor):
        raise TypeError(
            f"Expected a promptax Predictor; got {class_of(predictor)}. An architecture is "
            "built first: architecture.build(key, symbols), or trained: promptax.pretrain."
        )
    check_sound(predictor)
    return predictor


def check_sound(predictor: Predictor, name: str = "") -> None:
    """Complain about a predictor of which a number is NaN, or that is of the user's own and says
    what cannot be right. A second look costs nothing.

    Args:
        name: what the user calls the predictor, for the message.
    """
    check_no_nan(predictor, name)
    own_predictors.look_at(predictor)


_WITHOUT_NAN: weakref.WeakValueDictionary[int, Array] = weakref.WeakValueDictionary()
"""Leaves that were looked at, by their identity: they never change."""


def check_no_nan(predictor: Predictor, name: str = "") -> None:
    """Complain about a predictor of which a number is NaN, as `check_sound` does."""
    for place, leaf in jax.tree.leaves_with_path(predictor):
        is_array = isinstance(leaf, Array | np.ndarray) and not isinstance(leaf, Tracer)
        if not is_array or not jnp.issubdtype(leaf.dtype, jnp.inexact):
            continue
        if _WITHOUT_NAN.get(id(leaf)) is leaf:
            continue
        called = f" {name!r}" if name else ""
        check(
            not has_nan(leaf),
            f"Expected numbers in the predictor{called}, {type(predictor).__name__}; got NaN in "
            f"{jax.tree_util.keystr(place)}. Training that diverged does this (look at the fit's "
            "`diverged`), or a damaged file: load other weights, or another prompt.",
        )
        if isinstance(leaf, Array):
            _WITHOUT_NAN[id(leaf)] = leaf


@jax.jit
def _any_nan(array: Array) -> Array:
    return jnp.any(jnp.isnan(array))


def has_nan(array: Any) -> bool:
    """Whether one of the numbers of an array is NaN. On a CPU nothing is copied or compiled."""
    if isinstance(array, Array):
        if not array.is_fully_addressable:  # other processes hold parts of it
            return False
        if any(device.platform != "cpu" for device in array.devices()):
            return bool(_any_nan(array))
    flat = np.asarray(array).reshape(-1)
    if flat.dtype.name == "bfloat16":  # slow to add up
        return bool(((flat.view(np.uint16) & 0x7FFF) > 0x7F80).any())
    with np.errstate(all="ignore"):  # a sum shows it in a third of the time
        return bool(np.isnan(flat.sum())) and bool(np.isnan(flat).any())


def checked(predictor: Predictor | Repeated, inputs: Any) -> Any:
    """The inputs as arrays, after a look at their shape and, where values are known, at them."""
    if isinstance(inputs, Embedded | KeyValues):
        check_reads(predictor, kind_of(inputs, predictor.outcome), " " + WHO_READS_ROWS)
        arrays = [_numbers(getattr(inputs, field.name)) for field in dataclasses.fields(inputs)]
        shapes = [array.shape for array in arrays]
        if isinstance(inputs, Embedded):
            wanted, axes = "embedding rows of one sequence [time, embedding]", 2
        else:
            wanted, axes = "keys and values [layer, head, time, head_width] alike", 4
        if len(shapes[0]) != axes or shapes.count(shapes[0]) != len(shapes):
            got = " and ".join(map(str, shapes))
            raise ValueError(f"Expected {wanted}; got {got}. For a batch use jax.vmap.")
        return type(inputs)(*arrays)
    if isinstance(inputs, Tracer):
        return inputs
    inputs = _as_array(inputs)
    outcome = predictor.outcome
    if outcome.alphabet is None:
        return _checked_rows(outcome, inputs)
    if jnp.issubdtype(inputs.dtype, jnp.floating) and inputs.ndim == 2:
        if len(inputs) == 0 and WEIGHTS not in predictor.reads:
            return on_device(np.zeros(0, np.int32))  # no weights are no tokens
        check_reads(predictor, WEIGHTS, " Give it tokens.")
        _check_weights(predictor, inputs)
        return inputs if isinstance(inputs, Array) else on_device(inputs)
    expected = "tokens of shape [time] (int) or weights [time, symbol] (float)"
    return as_tokens(inputs, predictor.symbols, expected, "predictor")


def as_tokens(inputs: Any, symbols: int, expected: str, whose: str) -> Array:
    """Tokens [time] on the device, after a look at them as they were given.

    Args:
        symbols: size of the alphabet.
        expected, whose: for messages, what may come, and whose alphabet it is.
    """
    if isinstance(inputs, Tracer):
        return inputs
    inputs = _as_array(inputs)
    if inputs.ndim != 1 or not (jnp.issubdtype(inputs.dtype, jnp.integer) or inputs.size == 0):
        raise ValueError(
            f"Expected {expected}; got shape {inputs.shape}, {inputs.dtype}. For a batch use "
            "jax.vmap or promptax.evaluate."
        )
    tokens = np.asarray(inputs)  # whatever their width: what 32 bits cannot hold is named too
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < symbols):
        raise ValueError(
            f"Expected tokens from 0 to {symbols - 1}; got {tokens.min()} to {tokens.max()}. The "
            f"{whose}'s alphabet has {symbols} symbols."
        )
    ready = isinstance(inputs, Array) and inputs.dtype == jnp.int32
    return inputs if ready else on_device(tokens.astype(np.int32))


def as_observations(outcome: Outcome, inputs: Any) -> Array:
    """What came of an outcome, as oracles take it: tokens [time], or rows [time, input]."""
    if isinstance(inputs, Tracer):
        return inputs
    if outcome.alphabet is None:
        return _checked_rows(outcome, _as_array(inputs))
    return as_tokens(inputs, outcome.alphabet, "tokens of shape [time] (int)", "task")


def _as_array(inputs: Any) -> Any:
    """What was given as an array, if it has a shape."""
    if isinstance(inputs, Array):
        return inputs
    inputs = unmasked(inputs)
    try:
        return np.asarray(inputs)
    except ValueError as error:  # rows of different lengths
        raise ValueError(
            f"Expected one array, or lists of equal lengths; got {type(inputs).__name__}: {error}"
        ) from error


def _numbers(rows: Any) -> Array:
    """Rows of finite numbers, on the device."""
    rows = rows if isinstance(rows, Tracer) else _as_array(rows)
    if not jnp.issubdtype(rows.dtype, jnp.number):
        raise TypeError(f"Expected rows of numbers; got {rows.dtype}.")
    _check_finite(rows, "rows")
    return rows if isinstance(rows, Array | Tracer) else on_device(np.asarray(rows, np.float32))


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
