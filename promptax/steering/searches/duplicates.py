"""Prompts that predict alike, of which one need be read."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from promptax.steering.search_problem import Prompts


def first_of_equals(prompts: Prompts, exchangeable: bool = False) -> Int[Array, " candidate"]:
    """For every prompt, the number of the first one that equals it: itself, if it is new.

    `exchangeable`: whether the predictor ignores the order of what it read, so that permutations
    are equal.
    """
    compared = jnp.sort(prompts, axis=1) if exchangeable else prompts
    same = jnp.all(compared[:, None] == compared[None], axis=-1)
    return jnp.argmax(same, axis=1)  # the first true one of a row
