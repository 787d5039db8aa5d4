"""What predictors that were written elsewhere say, looked at before it is believed.

The contract tests judge a member on every short sequence, but few people run them before their
first table. A number that is no log probability, or a prediction that knows what it predicts, would
make a table in which the mistake wins.
"""

import functools
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

from promptax.axes import traced
from promptax.checks import ARRAYS, check, kind_of, warn, with_article
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import TOKENS, Predictor
from promptax.protocol.prompted import Prompt

STEPS = 8  # of one sequence, that are looked at
FEW = 2  # where so many cannot be read: the fewest that show what is looked for
MOST_OFF = 1e-3  # of log sums; float32 over many symbols rounds less
FEWER_BITS, MOST_APART = 0.005, 0.05  # total variation of a row that is read in two ways
OUR_ROOMS = ("promptax.", "equinox.", "jax.", "jaxtyping.")
_SILENCE = threading.RLock()  # warnings are silenced for all threads at once


class _Memory:
    """What is known of things, by their identity, for as long as they live."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def holds(self, thing: Any, known: Any) -> bool:
        """Whether this, and nothing else, is known of it."""
        then = self._known.get(id(thing))
        return then is not None and then[0]() is thing and then[1] == known

    def add(self, thing: Any, known: Any) -> None:
        place = id(thing)
        gone = functools.partial(self._known.pop, place, None)
        self._known[place] = weakref.ref(thing, lambda _: gone()), known


_JUDGED = _Memory()
"""Parts of the user's own, with the places of their leaves: a dict among them may be written to."""
_UNREADABLE = _Memory()
"""Those that said nothing of a few symbols; with the room that there was for these, too."""


class Said(NamedTuple):
    """What is said of some `inputs`; of the same ones but for the last; and of the same ones, read
    in two pieces. None: that is not known."""

    inputs: Int[np.ndarray, " row"]
    rows: Float[np.ndarray, "row symbol"]
    again: Float[np.ndarray, "row symbol"] | None
    in_pieces: Float[np.ndarray, "row symbol"] | None = None
    dtype: Any = np.float32


def look_at(predictor: Predictor) -> None:
    """Complain about a predictor with a part of the user's own if what it says of a few symbols
    cannot be right; raises as `judge` does. A second look at the same parts costs nothing.

    One that reads no symbols, or fails at these few, is left to what is made of it."""
    own = [(part, _leaves(part)) for part in own_parts(predictor)]
    alphabet = predictor.outcome.alphabet if own else None
    own = [(part, leaves) for part, leaves in own if not _JUDGED.holds(part, leaves)]
    if not own or alphabet is None or TOKENS not in predictor.reads:
        return
    most = predictor.most_inputs()
    if all(_UNREADABLE.holds(part, (leaves, most)) for part, leaves in own):
        return
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(predictor)):
        return
    for steps in (STEPS, FEW):
        count = steps if most is None else min(steps, most)
        said = _try(predictor, count, alphabet) if count >= FEW else None
        is_last = steps == FEW  # a table of so many rows has no row for more
        if said is not None and (is_last or len(said.rows) == count):
            judge(type(own[0][0]).__name__, said, alphabet)
            for part, leaves in own:
                _JUDGED.add(part, leaves)
            return
    for part, leaves in own:
        _UNREADABLE.add(part, (leaves, most))


def _leaves(part: eqx.Module) -> tuple[int, ...]:
    """Where the leaves of a part are; nothing of one that makes them anew whenever it is asked."""
    leaves, again = jax.tree.leaves(part), jax.tree.leaves(part)
    are_kept = all(one is other for one, other in zip(leaves, again, strict=True))
    return tuple(map(id, leaves)) if are_kept else ()


def _try(predictor: Predictor, count: int, alphabet: int) -> Said | None:
    """What a predictor says of so many symbols, also in a trace; None where it cannot say it."""
    tokens = np.arange(count, dtype=np.int32) % alphabet
    other = np.append(tokens[:-1], (tokens[-1] + 1) % alphabet)
    with _SILENCE, warnings.catch_warnings(), eval_context():
        warnings.simplefilter("ignore")  # who asks for float64 is given it where sums are exact
        predictor = traced(predictor)
        try:
            said = asked(lambda inputs: log_probs_of(predictor, inputs), tokens, other)
        except NoPrediction:
            raise
        except Exception:  # of code that is not ours, at symbols that are not the user's
            return None
    return in_pieces(predictor, said)


def in_pieces(predictor: Predictor, said: Said) -> Said:
    """With what is said of the same inputs, read in two pieces."""
    cut = len(said.inputs) // 2
    if cut == 0:
        return said
    with _SILENCE, warnings.catch_warnings(), eval_context():
        warnings.simplefilter("ignore")
        try:
            pieces = _log_probs_in_pieces(predictor, jnp.asarray(said.inputs), cut)
        except Exception:  # one may read its inputs at once, and say so to who reads them otherwise
            return said
    return said._replace(in_pieces=np.asarray(pieces, np.float32))


class NoPrediction(TypeError):
    """`advance` returned something else than a state and a prediction."""


def asked(
    say: Callable[[Array], Float[Array, "row symbol"]],
    inputs: Int[Any, " time"],
    other: Int[Any, " time"] | None,
) -> Said:
    """What is said of some inputs, and of `other` ones, the same but for the last.

    Args:
        say: gives log probabilities of inputs.
    """
    rows = say(jnp.asarray(inputs))
    again = None if other is None else np.asarray(say(jnp.asarray(other)), np.float32)
    return Said(np.asarray(inputs), np.asarray(rows, np.float32), again, dtype=rows.dtype)


def judge(name: str, said: Said, alphabet: int) -> None:
    """Complain if what was said cannot be right; what is off as much as numbers of 16 bits make it
    is warned of.

    Args:
        name: of the class that said it.

    Raises:
        ValueError: there are not as many rows as inputs, probabilities do not sum to 1, a step is
            predicted by what comes at it, or what was read is forgotten between two readings.
    """
    inputs = len(said.inputs)
    check(
        said.rows.shape == (inputs, alphabet),
        f"Expected a row of {name} for each of {inputs} inputs, with log probabilities of "
        f"{alphabet} symbols; got shape {said.rows.shape}.",
    )
    off = _judge_sums(name, said)
    if said.again is not None:
        same = np.isclose(said.rows, said.again, atol=max(MOST_OFF, off), equal_nan=True)
        moved = np.flatnonzero(~same.all(axis=-1))
        check(
            len(moved) == 0,
            f"Expected row t of {name} to predict inputs[t] from inputs[:t]; row "
            f"{moved[0] if len(moved) else 0} changes with inputs[{inputs - 1}]. Let it be said "
            "before that symbol is read.",
        )
    if said.in_pieces is not None:
        _judge_pieces(name, said, said.in_pieces)


def _judge_sums(name: str, said: Said) -> float:
    """Complain unless probabilities sum to 1; how far the logarithm of a sum is from 0."""
    with np.errstate(all="ignore"):
        sums = np.logaddexp.reduce(said.rows, axis=-1, dtype=np.float64)
        of_inputs = np.take_along_axis(said.rows, said.inputs[:, None].astype(int), axis=1)[:, 0]
        comes = np.append(0.0, np.cumsum(of_inputs, dtype=np.float64)[:-1]) > -np.inf
        # behind what never comes, say anything; a NaN is seen in whatever is made of it
        sums[np.isnan(sums) | (np.isneginf(sums) & ~comes)] = 0.0
        step = int(np.argmax(np.abs(sums)))
        total, off = np.exp(sums[step]), float(abs(sums[step]))
    advice = (
        f"those of step {step + 1} sum to {total:.4g}. Where it returns probabilities, take "
        "jnp.log; where scores, jax.nn.log_softmax"
    )
    check(
        off <= 2.0**-7 * max(1.0, np.log(said.rows.shape[1])),
        f"Expected log probabilities of {name}, whose exponentials sum to 1; {advice}.",
    )
    if off > MOST_OFF:
        is_short = np.dtype(said.dtype).itemsize < 4
        how = "numbers of 16 bits" if is_short else "as if they had 16 bits or were not scaled"
        warn(
            f"The log probabilities of {name} are off, {how}, and so is what is measured of them: "
            f"{advice} of numbers of 32 bits."
        )
    return off


def _judge_pieces(name: str, said: Said, pieces: Float[np.ndarray, "row symbol"]) -> None:
    """Complain unless what is read in two pieces is predicted as what is read at once."""
    if pieces.shape != said.rows.shape:
        return
    with np.errstate(all="ignore"):
        apart = 0.5 * np.abs(np.exp(said.rows) - np.exp(pieces)).sum(axis=-1, dtype=np.float64)
    apart[np.isnan(apart)] = 0.0
    row = int(np.argmax(apart))
    cut = len(said.inputs) // 2
    expected = (
        f"{name} to predict the same whether {len(said.inputs)} inputs are read at once or in two "
        f"pieces, of which the second begins with the state of the first; the probabilities of row "
        f"{row} differ by {apart[row]:.3g} (total variation) if the second begins at row {cut}"
    )
    check(
        apart[row] <= MOST_APART,
        f"Expected {expected}. Let `advance` return a state that holds what it has read, and begin "
        "from the state that it is given: prompts are read before sequences. Where it draws random "
        "numbers, let them go by the symbol and not by the reading: jax.random.fold_in(key, step).",
    )
    if apart[row] > FEWER_BITS and np.dtype(said.dtype).itemsize >= 4:
        warn(
            f"Expected {expected}. Numbers of 16 bits do this; or its state does not hold all that "
            "was read; or it draws random numbers by the reading."
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
def _log_probs_in_pieces(predictor: Predictor, inputs: Array, cut: int) -> Array:
    """What a predictor says of each step, where the first `cut` are read before the others."""
    state, first = predictor.advance(predictor.start(), inputs[:cut])
    _, second = predictor.advance(state, inputs[cut:])
    return jnp.concatenate([first.log_probs, second.log_probs])


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
