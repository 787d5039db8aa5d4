"""What a predictor forgets while it learns one task after the other."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from promptax import platforms
from promptax.axes import NATS, AnyKey, labelled
from promptax.doors import door
from promptax.fit.objectives.oml import OML
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import as_key, check, check_kind, check_whole_numbers, traced
from promptax.steering.base import check_one
from promptax.tasks.base import Task


@door
def forgetting(
    key: AnyKey,
    predictor: Predictor,
    objective: OML,
    task: Task,
    *,
    length: int = 50,
    streams: int = 64,
) -> xr.Dataset:
    """The loss of every task of a stream after each of them was learned.

    Args:
        objective: how long a stream is, and how its sequences are learned; it may be another one
            than trained the predictor.
        task: draws a task for each sequence, of `length` steps; the first `support` are learned.
        streams: how many streams the means are taken over.

    Returns:
        A Dataset over step (how many sequences were learned, 0 first) and task (the place of a
        sequence in its stream): `loss` of its query, nats, a mean over streams, and `loss_error`,
        its standard error (NaN for one stream). Over task: `learned`, how much lower the loss was
        right after the sequence was learned than before the first one; `forgotten`, how much higher
        it is at the stream's end than right after.

    Raises:
        TypeError: no single predictor, no `OML`, or no task.
        ValueError: one of the predictor's numbers is NaN; a task over other symbols; no streams; a
            `support` that leaves nothing of `length` to predict; leaves to adapt that the predictor
            does not have; or streams that do not fit into memory.

    Example: `forgetting(key, network, OML(stream=5, support=10), task).forgotten`
    """
    key = as_key(key)
    check_one(predictor)
    check_kind(objective, OML, "OML()")
    check_kind(task, Task, "DirichletCategorical()")
    check_whole_numbers(length=length, streams=streams)
    check(
        predictor.outcome == task.outcome,
        f"Expected a task over the predictor's {predictor.outcome.words()}; got "
        f"{type(task).__name__} over {task.outcome.words()}.",
    )
    count = streams * objective.stream
    settings = FitSettings(batch=count, micro_batch=count, length=length, learning_rate=1.0)
    objective.verify(predictor, settings)
    numbers = count * max(length, objective.stream + 1)
    platforms.expect_numbers(numbers, "the sequences of all streams", "Take fewer streams.")
    keys = jax.random.split(key, (streams, objective.stream))
    drawn = objective.draw(traced(task), keys, length)
    tables = np.asarray(_tables(traced(objective), predictor, drawn, task.outcome))
    loss, error = tables.mean(axis=0), np.full(tables.shape[1:], np.nan)
    if streams > 1:
        error = tables.std(axis=0, ddof=1) / np.sqrt(streams)
    after = np.diagonal(loss[1:])
    return labelled(
        {
            "loss": (("step", "task"), loss, {"unit": NATS}),
            "loss_error": (("step", "task"), error, {"unit": NATS}),
            "learned": ("task", loss[0] - after, {"unit": NATS}),
            "forgotten": ("task", loss[-1] - after, {"unit": NATS}),
        },
        {"step": range(len(loss)), "task": range(objective.stream)},
    )


@eqx.filter_jit
def _tables(
    objective: OML, predictor: Predictor, drawn: Episode, outcome: object
) -> Float[Array, "stream learned sequence"]:
    def table(stream: Episode) -> Float[Array, "learned sequence"]:
        return objective.losses_of_stream(predictor, stream, outcome, every=True)

    return jax.lax.map(table, dataclasses.replace(drawn, latent=None))
