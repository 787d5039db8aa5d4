"""What predictors and oracles that were written elsewhere say of a target's sequences, looked at
before their losses are believed (`promptax.protocol.own_predictors` says why)."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from promptax.axes import traced
from promptax.protocol.outcomes import Episode, Outcome
from promptax.protocol.own_predictors import STEPS, asked, in_pieces, judge, log_probs_of, own_parts
from promptax.tasks.base import Task


def check_own(reader: Any, episodes: Episode, outcome: Outcome) -> None:
    """Complain about a predictor, or an oracle, with a part of the user's own, if what it says of
    the first sequence cannot be right.

    Args:
        reader: a predictor, or the task whose oracle reads.
        episodes: some of the target's [sequence, time].

    Raises:
        TypeError: `advance` returns no state and prediction.
        ValueError: probabilities do not sum to 1, a step is predicted by what comes at it, or what
            was read is forgotten between two readings.
    """
    own = own_parts(reader)
    if outcome.alphabet is None or episodes.inputs.size == 0 or not own:
        return
    first = jax.tree.map(lambda leaf: leaf[0], episodes)
    reader = traced(reader)

    def say(inputs: Array) -> Array:
        if isinstance(reader, Task):
            return _oracle(reader, first.latent, inputs, outcome)
        return log_probs_of(reader, inputs)

    inputs = np.asarray(first.inputs[:STEPS])
    came = np.unique(np.asarray(episodes.inputs))
    others = came[came != inputs[-1]]  # a symbol that never comes may be refused
    other = np.append(inputs[:-1], others[0]) if len(others) else None
    said = asked(say, inputs, other)
    if not isinstance(reader, Task):
        said = in_pieces(reader, said)
    judge(type(own[0]).__name__, said, outcome.alphabet)


@eqx.filter_jit
def _oracle(
    task: Task, latent: Any, inputs: Array, outcome: Outcome
) -> Float[Array, "time symbol"]:
    """What the oracle says of each step."""
    return outcome.prediction(task.oracle(latent, inputs)).log_probs
