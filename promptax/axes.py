"""The one table of axis words and units, the type aliases that use them, keys and quartiles.

Every annotation, every labelled dataset and every figure names its axes from this table, so that
an array can be followed through the whole library by its words alone.
"""

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt

if TYPE_CHECKING:
    import xarray as xr

T = TypeVar("T")

AXES = {
    "predictor": "one of the predictors that are compared, by name",
    "algorithm": "one of the predictors that others are held against, by name",
    "pretraining": "which pretraining seed",
    "repetition": "which repetition of a tuning (own data, own initial values)",
    "sequence": "one sampled sequence",
    "time": "one step of a sequence; cumulative results count steps 1..N",
    "symbol": "one letter of the alphabet",
    "prompt": "one row of a prompt",
    "embedding": "one coordinate of an embedding row",
    "state": "one coordinate of an internal state",
    "layer": "one layer of a network; counts from 0, the first",
    "head": "one head of attention in a layer",
    "internal": "one internal state of a predictor, by name",
    "budget": "what a search has spent, in evaluations or tokens",
    "step": "one update of the training loop; counts 1..S",
    "context": "what comes before: last symbols as one number, or what a policy is shown",
    "pool_size": "how many tasks a pool has",
    "node": "one node of a tree of contexts, or of a quadrature",
    "leaf": "one leaf of a tree of contexts",
    "belief": "one of the beliefs that sequences of some length can lead to",
    "candidate": "one hard prompt that was tried",
    "component": "one principal component, or one component of a mixture",
    "sample": "one point of a cloud of states",
    "quantity": "what states are compared with, such as the step",
    "term": "one part of what regret is made of",
    "rank": "place in an order; counts from 1, the nearest or best",
    "prompt_length": "the number of symbols of a prompt",
    "shots": "how many demonstrations are read before an input",
    "draw": "one draw of demonstrations",
    "order": "one order of the demonstrations of a draw; 0 is the order in which they were drawn",
    "answers": "what demonstrations answer: the right answers, or each other's",
    "label": "one class of a classification",
    "policy": "one of the policies that are compared, by name",
    "round": "one decision and what it paid; cumulative results count rounds 1..N",
    "arm": "one of the actions that a policy chooses from",
    "task": "place of a task in a stream of tasks; counts from 0",
    "weight": "the weight of the first of two predictors in a mixture of both, from 0 to 1",
    "calibration": "by which class prior the chances of labels are divided",
}

NATS = "nats"

Tokens = Int[Array, " time"]
"""Symbols, counted from 0: [time]."""
Weights = Float[Array, "time symbol"]
LogProbs = Float[Array, "time symbol"]
Counts = Float[Array, " symbol"]
Mask = Bool[Array, " time"]
Losses = Float[Array, " time"]
Tree = Any
"""Any tree of arrays."""
AnyKey = Key[Array, ""] | UInt[Array, " _numbers"]  # jax.random.key, or the older PRNGKey
"""A random key: of `jax.random.key`, or of the older `jax.random.PRNGKey`."""


def as_key(key: Any) -> jax.Array:
    """One random key, as `jax.random.key` makes it; that of `jax.random.PRNGKey` becomes one, and
    draws the same numbers.

    Raises:
        TypeError: no key, or several.
    """
    given = f"{type(key).__name__} {key!r}" if isinstance(key, int | None) else type(key).__name__
    if isinstance(key, jax.Array | np.ndarray):
        given = f"an array of shape {key.shape}, {key.dtype}"
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            if key.shape == ():
                return key  # pyright: ignore[reportReturnType]
            given = f"{key.size} keys of shape {key.shape}"
        elif key.dtype == np.uint32 and key.shape == jax.random.key_data(jax.random.key(0)).shape:
            return jax.random.wrap_key_data(jnp.asarray(key))
    raise TypeError(f"Expected one random key, such as jax.random.key(0); got {given}.")


def traced(spec: T) -> T:
    """A copy of the spec whose floats, tuples of floats and NumPy arrays are JAX arrays.

    Inside a compiled function these are data: other values of the same shape compile nothing.
    """
    return jax.tree.map(
        lambda leaf: on_device(leaf) if _is_data(leaf) else leaf, spec, is_leaf=_is_data
    )


def on_device(values: Any) -> jax.Array:
    """Numbers of the host as an array of the device, as they are; `jnp.asarray` would compile a
    program for each shape."""
    return jax.device_put(np.asarray(values))


def strongly_typed(tree: T) -> T:
    """The tree with arrays of the same dtypes, none of them weak. An array filled with a number of
    Python, `jnp.full(3, 0.0)`, has a weak one, and what is computed from it has not: a program that
    takes both would be compiled twice."""

    def strong(leaf: Any) -> Any:
        is_weak = getattr(leaf, "weak_type", False)
        return jax.lax.convert_element_type(leaf, leaf.dtype) if is_weak else leaf

    return jax.tree.map(strong, tree)


def _is_data(leaf: Any) -> bool:
    if isinstance(leaf, tuple):
        return len(leaf) > 0 and all(_is_data(part) for part in leaf)
    return isinstance(leaf, float | np.ndarray)


def labelled(
    variables: Mapping[str, Any],
    coords: Mapping[str, Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> "xr.Dataset":
    """A Dataset of these variables, made here so that every axis has its word from the table.

    Where arrays of one Dataset differ in the length of an axis, its word is followed by the length:
    `state_128` beside `state_32`.

    `variables`: by name, (axes, values) or (axes, values, attributes), as xarray takes them.

    Raises:
        ValueError: an axis that `AXES` does not have.

    Example:

        labelled({"regret": ("time", values, {"unit": NATS})}, {"time": range(1, 51)})
    """
    import xarray as xr  # brings pandas, which takes longer to import than all of promptax

    dataset = xr.Dataset(variables, coords, attrs)
    unknown = sorted(str(axis) for axis in dataset.dims if _word_of(str(axis)) not in AXES)
    if unknown:
        raise ValueError(
            f"Expected axes among {', '.join(AXES)}; got {', '.join(unknown)}. Use one of these "
            "words, or add a new one to promptax.axes.AXES with what it means."
        )
    return dataset


def _word_of(axis: str) -> str:
    """The word of an axis, without the length that may follow it."""
    return re.sub(r"_\d+$", "", axis)


_HUGE = 1e300  # stands in for ∞, of which no mean can be taken


def quartiles(
    values: Float[np.ndarray, "predictor repetition time"],
) -> Float[np.ndarray, "quartile=3 predictor time"]:
    """Lower quartile, median and upper quartile over repetitions that are not NaN, in the unit of
    the values; NaN where there is none."""
    finite = np.nan_to_num(np.asarray(values, float), nan=np.nan, posinf=_HUGE, neginf=-_HUGE)
    at_levels = np.stack([_quartiles_of_rows(rows) for rows in finite], axis=1)
    return np.where(np.abs(at_levels) > _HUGE * 1e-10, np.copysign(np.inf, at_levels), at_levels)


def _quartiles_of_rows(
    rows: Float[np.ndarray, "repetition time"],
) -> Float[np.ndarray, "quartile=3 time"]:
    """Of one predictor. Rows that are NaN throughout, which others need, are left out first: what
    skips a NaN takes one column after the other."""
    rows = rows[~np.isnan(rows).all(axis=1)]
    if not len(rows):
        return np.full((3, rows.shape[1]), np.nan)
    over = np.nanquantile if np.isnan(rows).any() else np.quantile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN is NaN
        return over(rows, (0.25, 0.5, 0.75), axis=0)
