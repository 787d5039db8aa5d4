"""The compiled part of the loop: updates of all repetitions, on one device or on several.

A step is the gradient of the mean loss for the tuned leaves, clipping, and Adam. On several devices
each has its repetitions and its share of the sequences, and gradients are summed; what comes out is
whole everywhere.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from promptax import platforms
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor

Tree = Any
ADAM = optax.scale_by_adam()  # β 0.9 and 0.999, ε 1e-8


class Program(NamedTuple):
    """What the compiled steps read: the other weights and the numbers of the update."""

    watched: Tree  # frozen leaves that take part in clipping
    frozen: Tree
    clip: Array


@eqx.filter_jit
def steps(
    given: tuple, program: Program, episodes: Episode, outcome: Any, micro: int, mesh: Mesh | None
) -> tuple[tuple[Tree, Tree, Array], Float[Array, "repetition step"]]:
    """`_steps_here` on one device, or each device's part of it and the exchange of gradients."""
    if mesh is None:
        return _steps_here(given, program, episodes, outcome, micro)
    own, data = PartitionSpec("repetition"), PartitionSpec("repetition", None, "sequence")
    everywhere = PartitionSpec()

    def here(given: tuple, program: Program, episodes: Episode) -> tuple:
        return _steps_here(given, program, episodes, outcome, micro, "sequence")

    specs = (own, own, everywhere, everywhere), everywhere, data
    return platforms.spread(here, mesh, specs, own)(given, program, episodes)


def _steps_here(
    given: tuple,
    program: Program,
    episodes: Episode,
    outcome: Any,
    micro: int,
    shared: str | None = None,
) -> tuple[tuple[Tree, Tree, Array], Float[Array, "repetition step"]]:
    """Run steps bounds[0]..bounds[1]-1 of the block for all repetitions."""
    parts, rates, bounds, first = given

    def repetition(given: tuple) -> tuple:
        (tuned, moments, diverged), rates, episodes = given
        losses = jnp.full(rates.shape, jnp.nan)

        def step(i: Array, carry: tuple) -> tuple:
            tuned, moments, diverged, losses = carry
            batch = jax.tree.map(lambda leaf: leaf[i], episodes)
            loss, gradient = loss_and_gradient(tuned, program, batch, outcome, micro, shared)
            norm = optax.tree.norm(gradient)
            gradient = jax.tree.map(
                lambda g: g * jnp.where(norm > program.clip, program.clip / norm, 1.0), gradient[0]
            )
            update, new_moments = ADAM.update(gradient, moments)
            new = jax.tree.map(lambda p, u: p - rates[i] * u, tuned, update)
            fine = jnp.isfinite(loss) & jnp.isfinite(norm)
            moved = fine & (diverged < 0)
            keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(moved, a, b), new, old)  # noqa: E731
            diverged = jnp.where((diverged < 0) & ~fine, first + i, diverged)
            losses = losses.at[i].set(jnp.where(diverged < 0, loss, jnp.nan))
            return keep(new, tuned), keep(new_moments, moments), diverged, losses

        carry = (tuned, moments, diverged, losses)
        *parts, losses = jax.lax.fori_loop(bounds[0], bounds[1], step, carry)
        return tuple(parts), losses

    if platforms.repetitions_at_once(len(parts[2])) == 1:
        return jax.lax.map(repetition, (parts, rates, episodes))
    return jax.vmap(repetition)((parts, rates, episodes))


def loss_and_gradient(
    tuned: Tree,
    program: Program,
    episodes: Episode,
    outcome: Any,
    micro: int,
    shared: str | None = None,
) -> tuple[Float[Array, ""], tuple[Tree, Tree]]:
    """Mean loss of a batch, nats per sequence, and its gradient for tuned and watched leaves.

    The prompt is read, and differentiated, once: the state after it is an argument that all
    micro-batches share, and its gradient is pulled back at the end. `shared`: the axis of the mesh
    over which the batch is spread.
    """
    here = episodes.tokens.shape[0]
    batch = here if shared is None else here * jax.lax.axis_size(shared)
    parts = tuned, program.watched

    def predictor(parts: tuple[Tree, Tree]) -> Predictor:
        return eqx.combine(*parts, program.frozen)

    def start(parts: tuple[Tree, Tree]) -> tuple[Tree, Tree]:
        return eqx.partition(predictor(parts).start(), eqx.is_inexact_array)

    state, pull, counts = jax.vjp(start, parts, has_aux=True)  # counts: what has no gradient

    def micro_loss(parts: tuple[Tree, Tree], state: Tree, some: Episode) -> Array:
        whole = eqx.combine(state, counts)
        _, prediction = predictor(parts).advance_batch(whole, some.inputs)
        return jnp.sum(outcome.log_loss(prediction, some)) / batch

    gradient_of = as_long_as_scored(
        jax.value_and_grad(micro_loss, argnums=(0, 1)), predictor(parts), episodes.tokens.shape[1]
    )
    if micro == here:
        loss, (direct, through) = gradient_of(parts, state, episodes)
    else:
        chunks = jax.tree.map(
            lambda leaf: leaf.reshape(here // micro, micro, *leaf.shape[1:]), by_length(episodes)
        )
        zeros = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), (parts, state)))

        def add(total: Tree, some: Episode) -> tuple[Tree, None]:
            return jax.tree.map(jnp.add, total, gradient_of(parts, state, some)), None

        (loss, (direct, through)), _ = jax.lax.scan(add, zeros, chunks)
    gradient = jax.tree.map(jnp.add, direct, pull(through)[0])
    return (loss, gradient) if shared is None else jax.lax.psum((loss, gradient), shared)


def by_length(episodes: Episode) -> Episode:
    """Episodes in the order of their scored lengths, so that those of one micro-batch are alike."""
    if episodes.scored is None:
        return episodes
    order = jnp.argsort(_lengths(episodes))
    return jax.tree.map(lambda leaf: leaf[order], episodes)


def as_long_as_scored(
    gradient_of: Callable[[Tree, Tree, Episode], Tree], predictor: Predictor, length: int
) -> Callable[[Tree, Tree, Episode], Tree]:
    """The same function, which reads episodes no further than they are scored: up to the first of
    the predictor's `reading_lengths` that reaches the last scored step."""
    lengths = sorted({*predictor.reading_lengths(length), length})

    def read(parts: Tree, state: Tree, some: Episode) -> Tree:
        if some.scored is None or len(lengths) == 1:
            return gradient_of(parts, state, some)
        shown = dataclasses.replace(some, latent=None)  # has no time, and no loss looks at it
        up_to = lambda end: jax.tree.map(lambda leaf: leaf[:, :end], shown)  # noqa: E731
        branches = [lambda end=end: gradient_of(parts, state, up_to(end)) for end in lengths]
        which = jnp.searchsorted(jnp.array(lengths), jnp.max(_lengths(some)))
        return jax.lax.switch(which, branches)

    return read


def _lengths(episodes: Episode) -> Int[Array, " sequence"]:
    """How far each episode has to be read: up to its last scored step."""
    steps = jnp.arange(1, episodes.tokens.shape[1] + 1)
    assert episodes.scored is not None
    return jnp.max(jnp.where(episodes.scored, steps, 0), axis=1)
