"""Episodes by the batch: one for each key, or one for each sequence that a task holds.

What a task draws is looked at here, since everything that trains or measures draws here.
"""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, Key

from promptax.protocol.outcomes import Episode
from promptax.protocol.own_predictors import own_parts
from promptax.specs import check, traced
from promptax.tasks.base import Task


def sample_batch(task: Task, keys: Key[Array, "*batch"], length: int) -> Episode:
    """One episode for each key; pass `traced(task)` so that other numbers compile nothing.

    Raises:
        ValueError: what the task draws is not what its `outcome` says.
    """
    episodes = _drawn(task, keys, length)
    _look_at_drawn(task, episodes)
    return episodes


@eqx.filter_jit
def _drawn(task: Task, keys: Key[Array, "*batch"], length: int) -> Episode:
    def sample(key: Key[Array, ""]) -> Episode:
        episode = task.sample(key, length)
        _check_shape(task, episode.observations, length)
        return episode

    episodes = jax.vmap(sample)(keys.reshape(-1))  # maps within maps take longer to compile
    return jax.tree.map(lambda leaf: leaf.reshape(*keys.shape, *leaf.shape[1:]), episodes)


def _check_shape(task: Task, drawn: Array, length: int) -> None:
    """Complain about an episode that has not `length` symbols, or rows, of the task's outcome."""
    width, kind = (), jnp.integer
    if task.outcome.alphabet is None:
        width, kind = (task.outcome.input_width(),), jnp.floating
    what = "whole numbers" if kind is jnp.integer else "rows of floats"
    check(
        drawn.shape == (length, *width) and jnp.issubdtype(drawn.dtype, kind),
        f"Expected {type(task).__name__}.sample(key, {length}) to draw {what} of shape "
        f"{(length, *width)}, as its outcome, {task.outcome.words()}, says; got {drawn.dtype} of "
        f"shape {drawn.shape}.",
    )


_LOOKED_AT: set[tuple] = set()
"""Structures of tasks, with their alphabets, that were looked at."""


def _look_at_drawn(task: Task, episodes: Episode) -> None:
    """Look at what a task draws: symbols outside of its alphabet are refused, for a network would
    read them as nothing; and who draws without the key is warned, the first time. Tasks of
    promptax are looked at once, those with a part of the user's own whenever they draw."""
    drawn, alphabet = episodes.observations, task.outcome.alphabet
    seen = (jax.tree.structure(task), alphabet)  # and what it is made of
    is_known = seen in _LOOKED_AT and not own_parts(task)  # ours keep to it; to look takes waiting
    if is_known or drawn.size == 0 or isinstance(drawn, Tracer):
        return
    drawn = np.asarray(drawn)
    least, most = drawn.min(), drawn.max()
    check(
        alphabet is None or (least >= 0 and most < alphabet),
        f"Expected {type(task).__name__}.sample to draw symbols from 0 to {(alphabet or 0) - 1}; "
        f"got {least} to {most}. If yours count from 1, subtract 1 there.",
    )
    if seen in _LOOKED_AT:
        return
    _LOOKED_AT.add(seen)
    rows = drawn.reshape(-1, int(np.prod(episodes.observations.shape[-1:])))
    if task.held is None and len(rows) > 1 and (rows == rows[0]).all() and not _uses_key(task):
        warnings.warn(
            f"{type(task).__name__}.sample does not use its key, so that all of its sequences are "
            "the same. Draw by jax.random from the key: what NumPy draws is drawn once.",
            stacklevel=4,
        )


def _uses_key(task: Task) -> bool:
    """Whether an episode follows from the key at all."""
    program = jax.make_jaxpr(lambda key: task.sample(key, 2))(jax.random.key(0)).jaxpr
    read = [value for step in program.eqns for value in step.invars] + program.outvars
    return any(value is program.invars[0] for value in read)


def held_rows(task: Task, key: Key[Array, ""], count: int) -> np.ndarray | None:
    """Which of the sequences that a task holds are measured: all, in their order, or `count` of
    them at random, none twice. None where it draws new ones."""
    if task.held is None:
        return None
    if task.held <= count:
        return np.arange(task.held)
    return np.asarray(jax.random.choice(key, task.held, (count,), replace=False))


def held_batch(task: Task, rows: Int[Array, " batch"], length: int) -> Episode:
    """One episode for each of these rows of the list that the task holds; raises as `sample_batch`
    does."""
    episodes = _held(task, rows, length)
    _look_at_drawn(task, episodes)
    return episodes


@eqx.filter_jit
def _held(task: Task, rows: Int[Array, " batch"], length: int) -> Episode:
    return jax.vmap(lambda row: task.held_sequence(row, length))(rows)


def batch_to_measure(task: Task, key: Key[Array, ""], count: int, length: int) -> Episode:
    """Episodes by which something is measured: `count` of them, or as many as the task holds."""
    rows = held_rows(task, key, count)
    if rows is None:
        return sample_batch(traced(task), jax.random.split(key, count), length)
    return held_batch(traced(task), jnp.asarray(rows), length)
