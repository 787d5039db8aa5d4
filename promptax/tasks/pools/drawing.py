"""Pools are drawn once, on the host, so that every program sees the same one.

A latent that were drawn inside compiled programs would differ in its last bits between them, and
altogether between float32 and float64, which take other random bits: what draws sequences and what
judges them would speak of two pools. So a pool is drawn on a CPU, in float32, by one program; the
latents are constants of every program that uses them.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_context
from jaxtyping import Array, Float, Key

from promptax.tasks.base import Task


@contextmanager
def _on_the_host(double: bool) -> Iterator[None]:
    """Compute now, on a CPU, compiled, in that precision, also while something else is traced."""
    cpu = jax.local_devices(backend="cpu")[0]
    with (
        eval_context(),
        jax.enable_x64(double),
        jax.disable_jit(False),
        jax.default_device(cpu),
    ):
        yield


@functools.lru_cache(maxsize=32)
def draw_latents(source: Task, size: int, seed: int) -> Any:
    """A tree of host arrays [component, ...]: latent i is the one of the episode that the source
    draws with key i of the seed, so that a smaller pool is the beginning of a larger one."""

    def latent(key: Key[Array, ""]) -> Any:
        return source.sample(key, 0).latent

    with _on_the_host(double=False):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), np.arange(size))
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(latent))(keys))


@functools.lru_cache(maxsize=32)
def tables_of(source: Task, size: int, seed: int) -> Float[np.ndarray, "component context symbol"]:
    """The probability of each symbol after each context, float64, for every latent of the pool.

    A source over an alphabet whose oracle looks back k symbols is a Markov chain of order k, once
    its latent is known. The oracle is asked after every context, numbered as in `markov.contexts`.
    Rows are divided by their sums, which float32 latents miss by 1e-7.
    """
    latents, order, symbols = draw_latents(source, size, seed), source.lookback or 0, source.symbols
    context = np.arange(symbols**order)[:, None]
    digits = context // symbols ** np.arange(order - 1, -1, -1) % symbols
    windows = np.concatenate([digits, np.zeros_like(context)], axis=1).astype(np.int32)

    def rows(latent: Any) -> Float[Array, "context symbol"]:
        return jax.vmap(lambda tokens: source.oracle(latent, tokens)[-1])(windows)

    with _on_the_host(double=True):
        chances = np.exp(np.asarray(jax.jit(jax.vmap(rows))(copy_of(latents))))
    return chances / chances.sum(axis=-1, keepdims=True)


def numbers_in_latent(source: Task) -> int:
    """How many numbers one latent has."""
    shapes = jax.eval_shape(lambda key: source.sample(key, 0).latent, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def copy_of(latents: Any) -> Any:
    """The same latents as new host arrays, whose floats are those that programs compute with now.

    New ones, because JAX 0.10 keeps the device's copy of a host array by its identity: one that a
    float32 program has used comes back as float32 where float64 is on.
    """
    now = jnp.result_type(float)
    return jax.tree.map(
        lambda leaf: np.array(leaf, now if np.issubdtype(leaf.dtype, np.floating) else None),
        latents,
    )


def equal_weights(size: int) -> Float[np.ndarray, " component"]:
    """The prior probability of each task of a pool, in the same floats."""
    return np.full(size, 1 / size, jnp.result_type(float))
