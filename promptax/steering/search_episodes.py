"""What the steps of a search read: episodes that are drawn, or all sequences of the target.

Episodes are drawn a block of steps at a time by a program of their own, so that another task
compiles nothing that reads. They follow from the key and the step's number alone.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from promptax.evaluation.exact.all_sequences import all_sequences
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import on_device, traced
from promptax.tasks.base import Task
from promptax.tasks.batches import sample_batch

LAST = 2**32 - 1  # the last numbers that a key can be folded with: no repetition has them


class Keys(NamedTuple):
    """Where a search's random numbers come from."""

    start: Key[Array, ""]
    episodes: Key[Array, ""]
    steps: Key[Array, ""]


def keys_of(key: Key[Array, ""], same_episodes: bool) -> Keys:
    """The keys of starts, episodes and steps. Where all steps read the same episodes, the key
    itself makes them, as it did for results that are already kept; the other two then come from
    numbers that no repetition has."""
    numbers = (LAST, LAST - 1) if same_episodes else (0, 2)
    start, steps = (jax.random.fold_in(key, number) for number in numbers)
    return Keys(start, key if same_episodes else jax.random.fold_in(key, 1), steps)


class Drawn(NamedTuple):
    """Episodes that are drawn; every step has its own, or all have the same."""

    target: Task
    key: Key[Array, ""]
    repetitions: int
    batch: int
    length: int
    same: bool

    @property
    def weights(self) -> None:
        """All count the same."""
        return None

    def block(self, first: int, count: int) -> Episode:
        """Episodes [repetition, step, sequence] of so many steps, of one if all read the same."""
        number = on_device(np.int32(first))  # a plain number would compile each block anew
        sizes = self.repetitions, 1 if self.same else count, self.batch
        keys = _episode_keys(self.key, number, sizes, self.same)
        episodes = sample_batch(traced(self.target), keys, self.length)
        return eqx.tree_at(lambda e: e.latent, episodes, None, is_leaf=lambda leaf: leaf is None)


class Everything(NamedTuple):
    """All sequences of the target, the same in every step: `tokens` [sequence, time] and `weights`
    [sequence], their probabilities times their number, so that a plain mean of weighted losses is
    an expectation."""

    tokens: Array
    weights: Float[Array, " sequence"]
    repetitions: int

    @property
    def batch(self) -> int:
        """How many sequences there are."""
        return len(self.weights)

    @property
    def same(self) -> bool:
        """All steps read the same."""
        return True

    def block(self, first: int, count: int) -> Episode:
        """Episodes [repetition, step, sequence] of one step, which are those of all."""
        del first, count
        return Episode(jnp.broadcast_to(self.tokens, (self.repetitions, 1, *self.tokens.shape)))


def everything_of(target: Task, reader: Predictor, length: int, repetitions: int) -> Everything:
    """All sequences of a target, as a search reads them. In place of those that count nothing
    stands the likeliest one: a predictor may think them impossible, and 0 times the derivative of
    an infinite loss is no number.

    Raises:
        ValueError: there are too many, or nobody knows how likely each of them is.
    """
    tokens, probabilities = all_sequences(target, reader, length)
    weights = (probabilities * len(probabilities)).astype(np.float32)
    tokens = np.where(weights[:, None] > 0, tokens, tokens[np.argmax(weights)])
    return Everything(on_device(tokens), on_device(weights), repetitions)


@eqx.filter_jit
def _episode_keys(key: Array, first: Array, sizes: tuple[int, int, int], same: bool) -> Array:
    """One key for every sequence [repetition, step, sequence]."""
    repetitions, steps, batch = sizes
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    grid = fold(key, jnp.arange(repetitions))
    if same:
        return jax.vmap(lambda key: jax.random.split(key, batch))(grid)[:, None]
    grid = jax.vmap(fold, in_axes=(0, None))(grid, first + jnp.arange(steps))
    return jax.vmap(jax.vmap(lambda key: jax.random.split(key, batch)))(grid)
