"""What predictors that were written elsewhere say, looked at before their losses are believed.

The contract tests judge a member on every short sequence, but few people run them before their
first table. A number that is no log probability, or a prediction that knows what it predicts, would
make a table in which the mistake wins.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from promptax.checks import ARRAYS, kind_of, with_article
from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.prompted import Prompt
from promptax.specs import check
from promptax.tasks.base import Task

STEPS = 8  # of one sequence, that are looked at
MOST_OFF = 1e-3  # of log sums; float32 over many symbols rounds less
OUR_ROOMS = ("promptax.", "equinox.", "jax.", "jaxtyping.")


def check_own(reader: Any, episodes: Episode, outcome: Outcome) -> None:
    """Complain about a predictor, or an oracle, with a part of the user's own, if what it says of
    the first sequence cannot be right.

    Args:
        reader: a predictor, or the task whose oracle reads.
        episodes: some of the target's [sequence, time].

    Raises:
        TypeError: `advance` returns no state and prediction.
        ValueError: probabilities do not sum to 1, or a step is predicted by what comes at it.
    """
    own = _own_parts(reader)
    if outcome.alphabet is None or episodes.inputs.size == 0 or not own:
        return
    first = jax.tree.map(lambda leaf: leaf[0], episodes)
    latent, inputs = first.latent if isinstance(reader, Task) else None, first.inputs[:STEPS]
    said = _log_probs(reader, latent, inputs, outcome)
    name = own[0]
    sums = np.asarray(jax.nn.logsumexp(said, axis=-1))
    off = np.flatnonzero(np.isfinite(sums) & (np.abs(sums) > MOST_OFF))
    check(
        len(off) == 0,
        f"Expected log probabilities of {name}, whose exponentials sum to 1; those of step "
        f"{off[0] + 1 if len(off) else 0} sum to {np.exp(sums[off[0]]) if len(off) else 0:.3g}. "
        "Where it returns probabilities, take jnp.log; where scores, jax.nn.log_softmax.",
    )
    other = inputs.at[-1].set((inputs[-1] + 1) % outcome.alphabet)
    again = _log_probs(reader, latent, other, outcome)
    moved = np.flatnonzero(~np.isclose(said, again, atol=MOST_OFF, equal_nan=True).all(axis=-1))
    check(
        len(moved) == 0,
        f"Expected row t of {name} to predict inputs[t] from inputs[:t]; row "
        f"{moved[0] if len(moved) else 0} changes with inputs[{len(inputs) - 1}]. Let it be said "
        "before that symbol is read.",
    )


def _own_parts(reader: Any) -> list[str]:
    """The names of the classes in a reader that are none of promptax."""

    def is_own(node: Any) -> bool:
        if not isinstance(node, eqx.Module) or isinstance(node, Prompt):  # prompts are inputs
            return False
        return not type(node).__module__.startswith(OUR_ROOMS)

    leaves = jax.tree.leaves(reader, is_leaf=is_own)
    return [type(leaf).__name__ for leaf in leaves if is_own(leaf)]


@eqx.filter_jit
def _log_probs(
    reader: Any, latent: Any, inputs: Array, outcome: Outcome
) -> Float[Array, "time symbol"]:
    """What the reader says of each step."""
    if isinstance(reader, Task):
        return outcome.prediction(reader.oracle(latent, inputs)).log_probs
    read = reader.advance(reader.start(), inputs)
    if not (isinstance(read, tuple) and len(read) == 2 and isinstance(read[1], AnyPrediction)):
        got = "an array" if isinstance(read, ARRAYS) else with_article(kind_of(read))
        raise TypeError(
            f"Expected {type(reader).__name__}.advance to return its state and a prediction, such "
            f"as promptax.Prediction(log_probs); got {got}."
        )
    return jnp.asarray(read[1].log_probs)
