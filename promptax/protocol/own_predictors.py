"""What predictors that were written elsewhere say, looked at before it is believed.

The contract tests judge a member on every short sequence, but few people run them before their
first table. A number that is no log probability, or a prediction that knows what it predicts, would
make a table in which the mistake wins.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from promptax.checks import ARRAYS, check, kind_of, with_article
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Prompt

STEPS = 8  # of one sequence, that are looked at
MOST_OFF = 1e-3  # of log sums; float32 over many symbols rounds less
OUR_ROOMS = ("promptax.", "equinox.", "jax.", "jaxtyping.")
_SEEN: set[Any] = set()
"""Structures of predictors that were looked at, with what is no array in them."""


def look_at(predictor: Predictor) -> None:
    """Complain about a predictor with a part of the user's own if what it says cannot be right;
    raises as `check_rows` does. A second look, at one that differs in its arrays alone, costs
    nothing."""
    alphabet = predictor.outcome.alphabet
    if alphabet is None or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(predictor)):
        return
    own = own_parts(predictor)
    if not own:
        return
    plain = jax.tree.leaves(eqx.filter(predictor, eqx.is_array, inverse=True))
    kind = jax.tree.structure(predictor), repr(plain)
    if kind not in _SEEN:
        tokens = np.arange(STEPS, dtype=np.int32) % alphabet
        with warnings.catch_warnings():  # what asks for float64 is given it where sums are exact
            warnings.simplefilter("ignore")
            say = functools.partial(log_probs_of, predictor)
            check_rows(own[0], say, jnp.asarray(tokens), alphabet)
        _SEEN.add(kind)


def check_rows(
    name: str,
    say: Callable[[Array], Float[Array, "time symbol"]],
    inputs: Int[Array, " time"],
    alphabet: int,
) -> None:
    """Complain if what is said of some inputs cannot be right.

    Args:
        name: of the class that says it.
        say: gives log probabilities of inputs.

    Raises:
        ValueError: there are not as many rows as inputs, probabilities do not sum to 1, or a step
            is predicted by what comes at it.
    """
    said = np.asarray(say(inputs))
    check(
        said.shape == (len(inputs), alphabet),
        f"Expected a row of {name} for each of {len(inputs)} inputs, with log probabilities of "
        f"{alphabet} symbols; got shape {said.shape}.",
    )
    sums = np.asarray(jax.nn.logsumexp(said, axis=-1))
    off = np.flatnonzero(np.isfinite(sums) & (np.abs(sums) > MOST_OFF))
    check(
        len(off) == 0,
        f"Expected log probabilities of {name}, whose exponentials sum to 1; those of step "
        f"{off[0] + 1 if len(off) else 0} sum to {np.exp(sums[off[0]]) if len(off) else 0:.3g}. "
        "Where it returns probabilities, take jnp.log; where scores, jax.nn.log_softmax.",
    )
    other = inputs.at[-1].set((inputs[-1] + 1) % alphabet)
    again = np.asarray(say(other))
    moved = np.flatnonzero(~np.isclose(said, again, atol=MOST_OFF, equal_nan=True).all(axis=-1))
    check(
        len(moved) == 0,
        f"Expected row t of {name} to predict inputs[t] from inputs[:t]; row "
        f"{moved[0] if len(moved) else 0} changes with inputs[{len(inputs) - 1}]. Let it be said "
        "before that symbol is read.",
    )


def own_parts(reader: Any) -> list[str]:
    """The names of the classes in a reader that are none of promptax."""

    def is_own(node: Any) -> bool:
        if not isinstance(node, eqx.Module) or isinstance(node, Prompt):  # prompts are inputs
            return False
        return not type(node).__module__.startswith(OUR_ROOMS)

    leaves = jax.tree.leaves(reader, is_leaf=is_own)
    return [type(leaf).__name__ for leaf in leaves if is_own(leaf)]


@eqx.filter_jit
def log_probs_of(predictor: Predictor, inputs: Array) -> Array:
    """What a predictor says of each step, from the start.

    Raises:
        TypeError: `advance` returns no state and prediction.
    """
    read = predictor.advance(predictor.start(), inputs)
    if not (isinstance(read, tuple) and len(read) == 2 and isinstance(read[1], AnyPrediction)):
        got = "an array" if isinstance(read, ARRAYS) else with_article(kind_of(read))
        raise TypeError(
            f"Expected {type(predictor).__name__}.advance to return its state and a prediction, "
            f"such as promptax.Prediction(log_probs); got {got}."
        )
    return jnp.asarray(read[1].log_probs)
