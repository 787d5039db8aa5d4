"""What can be learned by heart of classes: prototypes, frequencies, and the noise around them."""

import itertools
import math
from collections import Counter

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from promptax.specs import Record


class Pool(Record):
    """The `prototypes` μ [class, feature] of all classes, their `frequencies` [class], and `noise`,
    the standard deviation ε within a class, where points are (μ + ε η) / √(1 + ε²)."""

    prototypes: Float[Array, "class feature"]
    frequencies: Float[Array, " class"]
    noise: Float[Array, ""]


def log_densities(pool: Pool, x: Float[Array, "*batch feature"]) -> Float[Array, "*batch class"]:
    """log p(x | class) up to what is the same for all classes, nats; 0 for the nearest.

    x given its class is normal with mean μ / √(1 + ε²) and variance ε² / ((1 + ε²) D).
    """
    share = 1 + pool.noise**2
    apart = x[..., None, :] - pool.prototypes / jnp.sqrt(share)
    squares = jnp.sum(apart**2, axis=-1)
    nearest = jnp.min(squares, axis=-1, keepdims=True)
    return -0.5 * x.shape[-1] * share / pool.noise**2 * (squares - nearest)


def sets_of_classes(
    classes: int, kinds: int
) -> tuple[Int[np.ndarray, "set kind"], Float[np.ndarray, " set"]]:
    """All sets of so many classes, some perhaps repeated, and in how many orders each is drawn."""
    sets = list(itertools.combinations_with_replacement(range(classes), kinds))
    orders = [
        math.factorial(kinds) / math.prod(map(math.factorial, Counter(members).values()))
        for members in sets
    ]
    return np.array(sets), np.array(orders)


def paths_of_classes(classes: int, points: int) -> Int[np.ndarray, "path point"]:
    """All ways in which so many points can have classes."""
    return np.array(list(itertools.product(range(classes), repeat=points)))
