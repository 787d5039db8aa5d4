"""What predictors that were written elsewhere say, looked at before it is believed.

The contract tests judge a member on every short sequence, but few people run them before their
first table. A number that is no log probability, or a prediction that knows what it predicts, would
make a table in which the mistake wins.
"""

import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer, eval_context
from jaxtyping import Array, Float, Int

from promptax.checks import ARRAYS, check, kind_of, warn, with_article
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import TOKENS, Predictor
from promptax.protocol.prompted import Prompt

STEPS = 8  # of one sequence, that are looked at
FEW = 2  # where so many cannot be read: the fewest that show what is looked for
MOST_OFF = 1e-3  # of log sums; float32 over many symbols rounds less
OUR_ROOMS = ("promptax.", "equinox.", "jax.", "jaxtyping.")
_BELIEVED: weakref.WeakValueDictionary[int, eqx.Module] = weakref.WeakValueDictionary()
"""Parts of the user's own that were looked at, by their identity: they never change."""
_SILENCE = threading.RLock()  # warnings are silenced for all threads at once


class Said(NamedTuple):
    """What is said of some symbols, and of the same ones but for the last."""

    rows: Float[np.ndarray, "row symbol"]
    again: Float[np.ndarray, "row symbol"]


def look_at(predictor: Predictor) -> None:
    """Complain about a predictor with a part of the user's own if what it says of a few symbols
    cannot be right; raises as `judge` does. A second look at the same parts costs nothing.

    One that reads no symbols, or fails at these few, is left to what is made of it."""
    own = [part for part in own_parts(predictor) if _BELIEVED.get(id(part)) is not part]
    if not own or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(predictor)):
        return
    alphabet, most = predictor.outcome.alphabet, predictor.most_inputs()
    if alphabet is not None and TOKENS in predictor.reads:
        for steps in (STEPS, FEW):
            count = steps if most is None else min(steps, most)
            said = _try(predictor, count, alphabet) if count >= FEW else None
            is_last = steps == FEW  # a table of so many rows has no row for more
            if said is not None and (is_last or len(said.rows) == len(said.again) == count):
                judge(type(own[0]).__name__, said, count, alphabet)
                break
    _BELIEVED.update({id(part): part for part in own})


def _try(predictor: Predictor, count: int, alphabet: int) -> Said | None:
    """What a predictor says of so many symbols, also in a trace; None where it cannot say it."""
    tokens = np.arange(count, dtype=np.int32) % alphabet
    with _SILENCE, warnings.catch_warnings(), eval_context():
        warnings.simplefilter("ignore")  # who asks for float64 is given it where sums are exact
        try:
            return asked(lambda inputs: log_probs_of(predictor, inputs), tokens, alphabet)
        except NoPrediction:
            raise
        except Exception:  # of code that is not ours, at symbols that are not the user's
            return None


class NoPrediction(TypeError):
    """`advance` returned something else than a state and a prediction."""


def asked(
    say: Callable[[Array], Float[Array, "row symbol"]], inputs: Int[Any, " time"], alphabet: int
) -> Said:
    """What is said of some inputs, and once more with another last one.

    Args:
        say: gives log probabilities of inputs.
    """
    other = np.array(inputs)
    other[-1] = (other[-1] + 1) % alphabet
    return Said(*(np.asarray(say(jnp.asarray(read)), np.float32) for read in (inputs, other)))


def judge(name: str, said: Said, inputs: int, alphabet: int) -> None:
    """Complain if what was said of so many inputs cannot be right; sums that are off as much as
    numbers of 16 bits make them are warned of.

    Args:
        name: of the class that said it.

    Raises:
        ValueError: there are not as many rows as inputs, probabilities do not sum to 1, or a step
            is predicted by what comes at it.
    """
    check(
        said.rows.shape == said.again.shape == (inputs, alphabet),
        f"Expected a row of {name} for each of {inputs} inputs, with log probabilities of "
        f"{alphabet} symbols; got shape {said.rows.shape}.",
    )
    with np.errstate(all="ignore"):
        sums = np.logaddexp.reduce(said.rows, axis=-1, dtype=np.float64)
        sums[np.isnan(sums) | np.isneginf(sums)] = 0.0  # behind what never comes, say anything
        step = int(np.argmax(np.abs(sums)))
        total, off = np.exp(sums[step]), abs(sums[step])
    rounded = 2.0**-7 * max(1.0, np.log(alphabet))
    advice = (
        f"those of step {step + 1} sum to {total:.4g}. Where it returns probabilities, take "
        "jnp.log; where scores, jax.nn.log_softmax"
    )
    check(
        off <= rounded,
        f"Expected log probabilities of {name}, whose exponentials sum to 1; {advice}.",
    )
    if off > MOST_OFF:
        warn(
            f"The log probabilities of {name} are off, as numbers of 16 bits are, and so is what "
            f"is measured of them: {advice} of numbers of 32 bits."
        )
    same = np.isclose(said.rows, said.again, atol=max(MOST_OFF, off), equal_nan=True)
    moved = np.flatnonzero(~same.all(axis=-1))
    check(
        len(moved) == 0,
        f"Expected row t of {name} to predict inputs[t] from inputs[:t]; row "
        f"{moved[0] if len(moved) else 0} changes with inputs[{inputs - 1}]. Let it be said "
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
