"""What searches with many prompts share: each generation is read on the same fresh episodes.

Parents and children are read together, and the best stay, so a parent's loss is never older than
the step: who won by luck is read again at once. A prompt that is there twice is read once; its
copies lose +inf, are free, and are the first to go.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.steering.search_problem import Prompts, SearchProblem
from promptax.steering.searches.duplicates import first_of_equals
from promptax.steering.searches.moves import draw_prompts


class Population(NamedTuple):
    """`prompts` [candidate, prompt], the best first, as the last step's episodes had it."""

    prompts: Any


def draw_population(
    key: Key[Array, ""], size: int, length: int, problem: SearchProblem
) -> Population:
    """Random prompts, in no order."""
    return Population(draw_prompts(key, size, length, problem.symbols))


def keep_best(
    parents: Population, children: Prompts, problem: SearchProblem
) -> tuple[Population, Float[Array, ""]]:
    """The best of parents and children on this step's episodes, as many as there were parents; and
    the loss there of the one that was first, nats per sequence."""
    everyone = jnp.concatenate([parents.prompts, children])
    is_new = first_of_equals(everyone) == jnp.arange(len(everyone))
    losses = problem.means(everyone, wanted=is_new)
    order = jnp.argsort(losses)[: len(parents.prompts)]  # stable: of equals the older one
    return Population(everyone[order]), losses[0]


def pick_parents(
    key: Key[Array, ""], count: int, population: Population, tournament: int
) -> Int[Array, " candidate"]:
    """The places of so many parents: each the best of `tournament` that are drawn at random, with
    replacement."""
    drawn = jax.random.randint(key, (count, tournament), 0, len(population.prompts))
    return jnp.min(drawn, axis=1)  # the best stands first
