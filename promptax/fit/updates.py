"""The compiled part of the loop: updates of all repetitions, on one device or on several.

An update is the gradient of the objective for the tuned leaves, clipping, and Adam. On several
devices each has its repetitions and its share of the sequences, and gradients are summed; what
comes out is whole everywhere.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.axes import Tree
from promptax.fit.masters import rounded
from promptax.fit.objectives import LogLoss, Objective
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor

if TYPE_CHECKING:
    import optax  # takes long to import; a fit needs it, a list of members does not


def adam() -> "optax.GradientTransformation":
    """Adam without its learning rate: β 0.9 and 0.999, ε 1e-8 (Kingma and Ba 2015)."""
    import optax

    return optax.scale_by_adam()


class Program(NamedTuple):
    """What the compiled updates read: the other weights, the numbers of the update, the loss."""

    watched: Tree  # frozen leaves that take part in clipping
    frozen: Tree
    clip: Array
    objective: Objective = LogLoss()  # traced: its floats are data
    dtypes: Tree = None  # of the tuned leaves that are copied (`masters.low_precision`)


class Moving(NamedTuple):
    """What an update moves; every leaf has a leading `repetition` axis, or belongs to one."""

    tuned: Tree
    moments: Tree
    diverged: Int[Array, "*repetition"]  # the step that was not finite, -1 if none was


class Block(NamedTuple):
    """What a block of updates is given [repetition, step, ...], or [step, ...] for a repetition."""

    rates: Float[Array, "*repetition step"]
    keys: Key[Array, "*repetition step"] | Array  # the objective's
    episodes: Episode  # [..., sequence, time]


class Span(NamedTuple):
    """Which updates of the block to run: bounds[0] up to bounds[1] - 1; `first` is its first."""

    bounds: Int[Array, "2"]
    first: Int[Array, ""]


Losses = Float[Array, "*repetition step"]  # nats per sequence; 0 where there was no update


@eqx.filter_jit
def run_updates(
    moving: Moving,
    block: Block,
    span: Span,
    program: Program,
    outcome: Any,
    micro: int,
    mesh: Mesh | None,
) -> tuple[Moving, Losses]:
    """A span of updates of all repetitions: what they moved, and the losses before each of them.

    Without a mesh on one device. With one, every device runs its repetitions on its share of the
    sequences, and the gradients are summed.
    """
    if mesh is None:
        return _run_on_device(moving, block, span, program, outcome, micro)

    def run_share(moving: Moving, block: Block, span: Span, program: Program) -> tuple:
        return _run_on_device(moving, block, span, program, outcome, micro, "sequence")

    whole, by_repetition = PartitionSpec(), PartitionSpec("repetition")
    shares = Block(by_repetition, by_repetition, PartitionSpec("repetition", None, "sequence"))  # pyright: ignore
    given = by_repetition, shares, whole, whole
    run = platforms.spread(run_share, mesh, given, by_repetition)
    return run(moving, block, span, program)


def _run_on_device(
    moving: Moving,
    block: Block,
    span: Span,
    program: Program,
    outcome: Any,
    micro: int,
    shared: str | None = None,
) -> tuple[Moving, Losses]:
    """The updates of this device's repetitions; `shared`: the axis of the mesh over which the
    sequences are spread."""

    def run_repetition(given: tuple[Moving, Block]) -> tuple[Moving, Losses]:
        moving, block = given

        def update(i: Array | int, carry: tuple[Moving, Losses]) -> tuple[Moving, Losses]:
            moving, losses = carry
            key, batch = block.keys[i], jax.tree.map(lambda leaf: leaf[i], block.episodes)
            loss, gradient = loss_and_gradient(
                moving.tuned, program, batch, outcome, micro, shared, key
            )
            number = span.first + i
            moving = _moved(moving, loss, gradient, program.clip, block.rates[i], number)
            fine = moving.diverged < 0
            return moving, losses.at[i].set(jnp.where(fine, loss, jnp.nan).astype(losses.dtype))

        carry = moving, jnp.zeros(block.rates.shape)
        return jax.lax.fori_loop(span.bounds[0], span.bounds[1], update, carry)

    if platforms.repetitions_at_once(len(moving.diverged)) == 1:
        return jax.lax.map(run_repetition, (moving, block))
    return jax.vmap(run_repetition)((moving, block))


def _moved(
    moving: Moving,
    loss: Float[Array, ""],
    gradient: tuple[Tree, Tree],
    clip: Float[Array, ""],
    rate: Float[Array, ""],
    number: Int[Array, ""],
) -> Moving:
    """One repetition after clipping and Adam; as it was from the first update on whose loss or
    gradient is not finite."""
    import optax

    tuned, moments, diverged = moving
    norm = optax.tree.norm(gradient)
    clipped = jax.tree.map(lambda g: g * jnp.where(norm > clip, clip / norm, 1.0), gradient[0])
    change, new_moments = adam().update(clipped, moments)
    new = jax.tree.map(lambda p, u: p - rate * u, tuned, change)
    fine = jnp.isfinite(loss) & jnp.isfinite(norm)
    moves = fine & (diverged < 0)

    def keep(new: Tree, old: Tree) -> Tree:
        return jax.tree.map(lambda a, b: jnp.where(moves, a.astype(b.dtype), b), new, old)

    diverged = jnp.where((diverged < 0) & ~fine, number.astype(diverged.dtype), diverged)
    return Moving(keep(new, tuned), keep(new_moments, moments), diverged)


def loss_and_gradient(
    tuned: Tree,
    program: Program,
    episodes: Episode,
    outcome: Any,
    micro: int,
    shared: str | None = None,
    key: Any = None,
) -> tuple[Float[Array, ""], tuple[Tree, Tree]]:
    """The objective of a batch, nats per sequence, and its gradient for tuned and watched leaves.

    The prompt is read, and differentiated, once: the state after it is an argument that all
    micro-batches share, and its gradient is pulled back at the end.

    Args:
        micro: sequences to differentiate at a time.
        shared: the axis of the mesh over which the batch is spread.
        key: the objective's; None where it draws nothing.
    """
    objective, share = program.objective, episodes.inputs.shape[0]
    devices = 1 if shared is None else jax.lax.axis_size(shared)
    batch, parts = share * devices, (tuned, program.watched)
    key = jax.random.key(0) if key is None else key
    noise_key, loss_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
    if shared is not None:
        loss_key = jax.random.fold_in(loss_key, jax.lax.axis_index(shared))

    def whole(parts: tuple[Tree, Tree]) -> Predictor:
        tuned, watched = parts
        return eqx.combine(rounded(tuned, program.dtypes), watched, program.frozen)

    def prepare(parts: tuple[Tree, Tree]) -> tuple[Predictor, Array]:
        return objective.prepare(noise_key, whole(parts))

    def start(parts: tuple[Tree, Tree]) -> tuple[tuple[Tree, Array], Tree]:
        predictor, penalty = prepare(parts)
        state, counts = eqx.partition(predictor.start(), eqx.is_inexact_array)
        return (state, penalty / devices), counts  # counts: what has no gradient

    (state, penalty), pull, counts = jax.vjp(start, parts, has_aux=True)

    def micro_loss(parts: tuple[Tree, Tree], state: Tree, piece: Episode, index: Array) -> Array:
        state, key = eqx.combine(state, counts), jax.random.fold_in(loss_key, index)
        losses = objective.losses(key, prepare(parts)[0], state, piece, outcome)
        return (jnp.sum(losses) / batch).astype(jnp.zeros(()).dtype)

    gradient_of = as_long_as_scored(
        jax.value_and_grad(micro_loss, argnums=(0, 1)),
        whole(parts),
        episodes.inputs.shape[1],
    )
    if micro == share:
        loss, (direct, through) = gradient_of(parts, state, episodes, jnp.int32(0))
    else:
        chunks = jax.tree.map(
            lambda leaf: leaf.reshape(share // micro, micro, *leaf.shape[1:]), by_length(episodes)
        )
        zeros = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), (parts, state)))

        def add(total: Tree, given: tuple[Episode, Array]) -> tuple[Tree, None]:
            return jax.tree.map(jnp.add, total, gradient_of(parts, state, *given)), None

        indices = jnp.arange(share // micro)
        (loss, (direct, through)), _ = jax.lax.scan(add, zeros, (chunks, indices))
    (back,) = pull((through, jnp.ones_like(penalty)))
    loss, gradient = loss + penalty.astype(loss.dtype), jax.tree.map(jnp.add, direct, back)
    return (loss, gradient) if shared is None else jax.lax.psum((loss, gradient), shared)


def by_length(episodes: Episode) -> Episode:
    """Episodes in the order of their scored lengths, so that those of one micro-batch are alike."""
    if episodes.scored is None:
        return episodes
    order = jnp.argsort(_lengths(episodes))
    return jax.tree.map(lambda leaf: leaf[order], episodes)


def as_long_as_scored(
    gradient_of: Callable[[Tree, Tree, Episode, Array], Tree], predictor: Predictor, length: int
) -> Callable[[Tree, Tree, Episode, Array], Tree]:
    """The same function, which reads episodes no further than they are scored: up to the first of
    the predictor's `reading_lengths` that reaches the last scored step."""
    lengths = sorted({*predictor.reading_lengths(length), length})

    def read(parts: Tree, state: Tree, piece: Episode, index: Array) -> Tree:
        if piece.scored is None or len(lengths) == 1:
            return gradient_of(parts, state, piece, index)
        shown = dataclasses.replace(piece, latent=None)  # has no time, and no loss looks at it

        def read_up_to(end: int) -> Tree:
            cut = jax.tree.map(lambda leaf: leaf[:, :end], shown)
            return gradient_of(parts, state, cut, index)

        branches = [functools.partial(read_up_to, end) for end in lengths]
        which = jnp.searchsorted(jnp.array(lengths), jnp.max(_lengths(piece)))
        return jax.lax.switch(which, branches)

    return read


def _lengths(episodes: Episode) -> Int[Array, " sequence"]:
    """How far each episode has to be read: up to its last scored step."""
    steps = jnp.arange(1, episodes.inputs.shape[1] + 1)
    assert episodes.scored is not None
    return jnp.max(jnp.where(episodes.scored, steps, 0), axis=1)
