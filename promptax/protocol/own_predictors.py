"""What predictors that were written elsewhere say, looked at before it is believed.

The contract tests judge a member on every short sequence, but few people run them before their
first table. A number that is no log probability, or a prediction that knows what it predicts, would
make a table in which the mistake wins.
"""

import functools
import warnings
import weakref
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
from promptax.protocol.predictor import TOKENS, Predictor
from promptax.protocol.prompted import Prompt

STEPS = 8  # of one of a target's sequences, that are looked at
FEW = 2  # of a sequence that nobody gave: the fewest that show what is looked for
MOST_OFF = 1e-3  # of log sums; float32 over many symbols rounds less
MOST_OFF_OF_16_BITS = 0.02  # bfloat16 rounds a log probability of -4 by so much
OUR_ROOMS = ("promptax.", "equinox.", "jax.", "jaxtyping.")
_BELIEVED: weakref.WeakValueDictionary[int, eqx.Module] = weakref.WeakValueDictionary()
"""Parts of the user's own that were looked at, by their identity: they never change."""


def look_at(predictor: Predictor) -> None:
    """Complain about a predictor with a part of the user's own if what it says of two symbols
    cannot be right; raises as `check_rows` does. A second look at the same parts costs nothing.

    One that reads no symbols, or fails at these two, is left to what is made of it."""
    own = [part for part in own_parts(predictor) if _BELIEVED.get(id(part)) is not part]
    if not own or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(predictor)):
        return
    alphabet, most = predictor.outcome.alphabet, predictor.most_inputs()
    if alphabet is None or TOKENS not in predictor.reads or (most is not None and most < FEW):
        return
    tokens = np.arange(FEW, dtype=np.int32) % alphabet
    with warnings.catch_warnings(), jax.ensure_compile_time_eval():  # numbers, in a trace as well
        warnings.simplefilter("ignore")  # who asks for float64 is given it where sums are exact
        say = functools.partial(log_probs_of, predictor)
        try:
            say(jnp.asarray(tokens))
        except NoPrediction:
            raise
        except Exception:  # of code that is not ours, at inputs that are not the user's
            return
        check_rows(type(own[0]).__name__, say, jnp.asarray(tokens), alphabet)
    _BELIEVED.update({id(part): part for part in own})


class NoPrediction(TypeError):
    """`advance` returned something else than a state and a prediction."""


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
    said = say(inputs)
    most_off = MOST_OFF if said.dtype.itemsize >= 4 else MOST_OFF_OF_16_BITS
    said = np.asarray(said, np.float32)
    check(
        said.shape == (len(inputs), alphabet),
        f"Expected a row of {name} for each of {len(inputs)} inputs, with log probabilities of "
        f"{alphabet} symbols; got shape {said.shape}.",
    )
    sums = np.asarray(jax.nn.logsumexp(said, axis=-1))
    off = np.flatnonzero(np.isfinite(sums) & (np.abs(sums) > most_off))
    check(
        len(off) == 0,
        f"Expected log probabilities of {name}, whose exponentials sum to 1; those of step "
        f"{off[0] + 1 if len(off) else 0} sum to {np.exp(sums[off[0]]) if len(off) else 0:.3g}. "
        "Where it returns probabilities, take jnp.log; where scores, jax.nn.log_softmax.",
    )
    other = inputs.at[-1].set((inputs[-1] + 1) % alphabet)
    again = np.asarray(say(other), np.float32)
    moved = np.flatnonzero(~np.isclose(said, again, atol=most_off, equal_nan=True).all(axis=-1))
    check(
        len(moved) == 0,
        f"Expected row t of {name} to predict inputs[t] from inputs[:t]; row "
        f"{moved[0] if len(moved) else 0} changes with inputs[{len(inputs) - 1}]. Let it be said "
        "before that symbol is read.",
    )


def own_parts(reader: Any) -> list[eqx.Module]:
    """The parts of a reader whose classes are none of promptax."""

    def is_own(node: Any) -> bool:
        if not isinstance(node, eqx.Module) or isinstance(node, Prompt):  # prompts are inputs
            return False
        return not type(node).__module__.startswith(OUR_ROOMS)

    leaves = jax.tree.leaves(reader, is_leaf=is_own)
    return [leaf for leaf in leaves if is_own(leaf)]


@eqx.filter_jit
def log_probs_of(predictor: Predictor, inputs: Array) -> Array:
    """What a predictor says of each step, from the start.

    Raises:
        TypeError: `advance` returns no state and prediction.
    """
    read = predictor.advance(predictor.start(), inputs)
    if not (isinstance(read, tuple) and len(read) == 2 and isinstance(read[1], AnyPrediction)):
        got = "an array" if isinstance(read, ARRAYS) else with_article(kind_of(read))
        raise NoPrediction(
            f"Expected {type(predictor).__name__}.advance to return its state and a prediction, "
            f"such as promptax.Prediction(log_probs); got {got}."
        )
    return jnp.asarray(read[1].log_probs)
