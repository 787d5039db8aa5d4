"""How prompts are read: the losses behind many of them, and the slopes at one of them.

What a search is asked for is in `search_problem`, which counts it. Here it is computed, as many
prompts side by side as suit predictor and platform.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from promptax import platforms
from promptax.fit.updates import Program, loss_and_gradient
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Inputs, Predictor, State, check_most_inputs
from promptax.protocol.prompted import GivenPrompt, Prompted

Prompts = Int[Array, "candidate prompt"]
Slopes = Float[Array, "prompt symbol"]


class Sizes(NamedTuple):
    """What a search's program is compiled for."""

    outcome: Any
    prompt_length: int
    micro_batch: int | None
    repetitions_at_once: int
    survivors: Callable[[np.ndarray], np.ndarray] | None = None  # the target's (`Task.survivors`)
    impossible_may_win: bool = True  # prompts to which the predictor gives probability 0
    exact: bool = False  # episodes are all that there are
    budgeted: bool = False
    mesh: Mesh | None = None  # of devices over which candidates are spread


def after_any(
    predictor: Predictor,
    prompts: Prompts,
    rows: Int[Array, " candidate"] | None,
    episodes: Episode,
    sizes: Sizes,
) -> Float[Array, "candidate sequence"]:
    """Losses behind every prompt. Several devices have a share of the prompts each."""
    count, mesh = len(prompts), sizes.mesh
    if mesh is None or count < mesh.size:
        return _after_share(predictor, prompts, rows, episodes, sizes)

    def run_share(predictor: Predictor, given: tuple[Prompts, Any], episodes: Episode) -> Array:
        prompts, rows = given
        return _after_share(predictor, prompts, rows, episodes, sizes)

    whole, by_candidate = PartitionSpec(), PartitionSpec(mesh.axis_names)
    run = platforms.spread(run_share, mesh, (whole, by_candidate, whole), by_candidate)
    padded = jax.tree.map(
        lambda leaf: jnp.concatenate([leaf, leaf[: -count % mesh.size]]), (prompts, rows)
    )
    return run(predictor, padded, episodes)[:count]


def _after_share(
    predictor: Predictor,
    prompts: Prompts,
    rows: Int[Array, " candidate"] | None,
    episodes: Episode,
    sizes: Sizes,
) -> Float[Array, "candidate sequence"]:
    """Losses behind every prompt, as many prompts side by side as suit predictor and platform."""
    count, (batch, length) = len(prompts), episodes.inputs.shape[:2]
    begun = predictor.start() if rows is None else None

    def read(given: tuple[Int[Array, " prompt"], Any]) -> Float[Array, " sequence"]:
        prompt, prompt_rows = given
        if rows is None:
            state = predictor.advance(begun, prompt)[0]
        else:
            state = first_rows(predictor, prompt, prompt_rows, length)
        return after_state(predictor, state, episodes, sizes)

    def read_together(given: tuple[Prompts, Any]) -> Float[Array, "candidate sequence"]:
        loss = None if rows is not None else behind_all(predictor, begun, given[0], episodes, sizes)
        return jax.vmap(read)(given) if loss is None else loss

    most = predictor.prompts_at_once(count, batch * sizes.repetitions_at_once, length)
    at_once = math.ceil(count / math.ceil(count / most))  # 65 of 32 are three pieces of 22
    if at_once == 1:
        return jax.lax.map(read, (prompts, rows))
    missing = -count % at_once
    together = ((count + missing) // at_once, at_once)  # not -1: a prompt of no rows has no size
    pieces = jax.tree.map(
        lambda leaf: jnp.concatenate([leaf, leaf[:missing]]).reshape(*together, *leaf.shape[1:]),
        (prompts, rows),
    )
    return jax.lax.map(read_together, pieces).reshape(-1, batch)[:count]


def after_state(
    predictor: Predictor, state: State, episodes: Episode, sizes: Sizes
) -> Float[Array, " sequence"]:
    """Losses of all sequences from one state, a micro-batch after the other."""
    batch, length = episodes.inputs.shape[:2]
    micro = micro_batch(predictor, sizes, batch, length)
    chunks = jax.tree.map(
        lambda leaf: leaf.reshape(batch // micro, micro, *leaf.shape[1:]), episodes
    )

    def loss(part: Episode) -> Float[Array, " sequence"]:
        _, prediction = predictor.advance_batch(state, part.inputs)
        return jnp.sum(sizes.outcome.log_loss(prediction, part), axis=-1)

    return jax.lax.map(loss, chunks).reshape(batch)


def behind_all(
    predictor: Predictor, state: State, prompts: Inputs, episodes: Episode, sizes: Sizes
) -> Float[Array, "candidate sequence"] | None:
    """Losses behind several prompts in products of all their rows; None where the predictor has no
    way to do that, or the batch does not fit into one micro-batch."""
    batch, length = episodes.inputs.shape[:2]
    if micro_batch(predictor, sizes, batch, length) < batch:
        return None
    prediction = predictor.predict_behind(state, prompts, episodes.inputs)
    if prediction is None:
        return None
    repeated = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (len(prompts), *leaf.shape)), episodes
    )
    return jnp.sum(sizes.outcome.log_loss(prediction, repeated), axis=-1)


def first_rows(
    predictor: Predictor, prompt: Int[Array, " prompt"], count: Int[Array, ""], length: int
) -> State:
    """The state after the first `count` rows of a prompt, with room for `length` steps more; one
    program for any count."""
    room = len(prompt) + length
    check_most_inputs(predictor, room)  # a state of fixed shape does not say what it has read
    if predictor.forgets:
        return predictor.opened(prompt, count, room)

    def row(state: State, given: tuple[Array, Array]) -> tuple[State, None]:
        token, number = given
        new = predictor.advance(state, token[None])[0]
        return jax.tree.map(lambda new, old: jnp.where(number < count, new, old), new, state), None

    return jax.lax.scan(row, predictor.start(room), (prompt, jnp.arange(len(prompt))))[0]


def loss_and_slopes(
    predictor: Predictor,
    prompt: Int[Array, " prompt"],
    episodes: Episode,
    sizes: Sizes,
    weights: Float[Array, " sequence"] | None = None,
) -> tuple[Float[Array, ""], Slopes]:
    """Mean loss of the episodes, nats per sequence, and its gradient for the prompt's one-hot rows.
    For a network that is the gradient for the prompt's embedding rows times the embedding table."""
    if weights is not None:
        return _weighted_slopes(predictor, prompt, episodes, sizes, weights)
    if len(episodes.inputs) == 1:
        at_once = _slopes_at_once(predictor, prompt, episodes, sizes)
        if at_once is not None:
            return at_once
    prompted = Prompted(predictor, GivenPrompt(jax.nn.one_hot(prompt, predictor.symbols)))
    nothing = jax.tree.map(lambda _: False, prompted)
    where = eqx.tree_at(lambda steered: steered.context.values, nothing, True)  # pyright: ignore
    tuned, frozen = eqx.partition(prompted, where)
    program = Program(*eqx.partition(frozen, False), jnp.float32(jnp.inf))
    batch, length = episodes.inputs.shape[:2]
    mesh = None if sizes.mesh is None or batch % sizes.mesh.size else sizes.mesh
    micro = micro_batch(predictor, sizes, batch // (1 if mesh is None else mesh.size), length)
    if mesh is None:
        loss, (gradient, _) = loss_and_gradient(tuned, program, episodes, sizes.outcome, micro)
        return loss, gradient.context.values

    def run_share(tuned: Any, program: Program, episodes: Episode) -> Any:
        return loss_and_gradient(tuned, program, episodes, sizes.outcome, micro, "sequence")

    whole = PartitionSpec()
    run = platforms.spread(run_share, mesh, (whole, whole, PartitionSpec("sequence")), whole)
    loss, (gradient, _) = run(tuned, program, episodes)
    return loss, gradient.context.values


def _slopes_at_once(
    predictor: Predictor, prompt: Int[Array, " prompt"], episodes: Episode, sizes: Sizes
) -> tuple[Float[Array, ""], Slopes] | None:
    """The same for one sequence, read and differentiated together with the prompt: a large
    predictor's weights come once, for three quarters of the time. None where it has no way to do
    that."""
    begun = predictor.start()

    def losses_behind(rows: Slopes) -> Float[Array, "one one"] | None:
        return behind_all(predictor, begun, rows[None], episodes, sizes)

    losses, pull = jax.vjp(losses_behind, jax.nn.one_hot(prompt, predictor.symbols))
    return None if losses is None else (losses[0, 0], *pull(jnp.ones_like(losses)))


def _weighted_slopes(
    predictor: Predictor,
    prompt: Int[Array, " prompt"],
    episodes: Episode,
    sizes: Sizes,
    weights: Float[Array, " sequence"],
) -> tuple[Float[Array, ""], Slopes]:
    """The same where episodes have weights. All are differentiated at a time: a list of all
    sequences is short, or could not be made."""

    def mean_loss(rows: Slopes) -> Float[Array, ""]:
        prompted = Prompted(predictor, GivenPrompt(rows))
        _, prediction = prompted.advance_batch(prompted.start(), episodes.inputs)
        losses = jnp.sum(sizes.outcome.log_loss(prediction, episodes), axis=-1)
        return jnp.mean(jnp.where(weights > 0, weights * losses, 0.0))

    return jax.value_and_grad(mean_loss)(jax.nn.one_hot(prompt, predictor.symbols))


def micro_batch(predictor: Predictor, sizes: Sizes, batch: int, length: int) -> int:
    """How many of the sequences to read at a time."""
    return math.gcd(batch, sizes.micro_batch or predictor.micro_batch(batch, length))
