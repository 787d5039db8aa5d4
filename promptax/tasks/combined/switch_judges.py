"""The brute force by which the exact predictors of sources that switch are judged.

It asks the parts for the evidence of whole sequences, never for a prediction.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from promptax.axes import Tokens
from promptax.specs import check
from promptax.tasks.base import Task
from promptax.tasks.combined.switches import Chance, Weights
from promptax.tasks.hidden.forward import log_sum

MOST_PATHS = 2**16


def fresh(
    parts: tuple[Task, ...], weights: Weights, hazard: Chance, moves: Array, tokens: Tokens
) -> Float[Array, ""]:
    """log P(tokens), nats: over where the last segment begins, and then where the one before does.

    C_k(b, t) = B_k(b) P_k(x[b:t]) (1 - hazard)^(t - b - 1): part k speaks from b to t. A segment
    that begins at t follows one that ends there: B_j(t) = hazard Σ_b Σ_k C_k(b, t) moves(k, j).
    """
    length = len(tokens)
    if length == 0:
        return jnp.zeros(())
    segments = jnp.stack([_log_likelihood_segments(part, tokens) for part in parts])
    log_moves, ends = jnp.log(moves), jnp.log(jnp.asarray(hazard))
    begins = [jnp.log(jnp.asarray(weights))]
    for time in range(1, length + 1):
        stays = _times_log(np.arange(time)[::-1], jnp.log1p(-jnp.asarray(hazard)))
        speaks = jnp.stack(begins, axis=1) + segments[:, :time, time] + stays
        of_part = log_sum(speaks, axis=1)
        begins.append(ends + log_sum(of_part[:, None] + log_moves, axis=0))
    return log_sum(of_part, axis=0)


def resumed(
    parts: tuple[Task, ...], weights: Weights, hazard: Chance, moves: Array, tokens: Tokens
) -> Float[Array, ""]:
    """log Σ P(path) Π_k P_k(the symbols of part k on the path), nats: over all paths.

    Raises:
        ValueError: there are too many.
    """
    length, count = len(tokens), len(parts)
    check(
        count**length <= MOST_PATHS,
        f"Expected at most {MOST_PATHS:,} ways in which {count} parts share {length} symbols; got "
        f"{count}^{length}. Take fewer symbols.",
    )
    paths = np.array(list(itertools.product(range(count), repeat=length)), int)
    paths = paths.reshape(count**length, length)
    chances = jnp.asarray(hazard)
    transition = jnp.log((1 - chances) * jnp.eye(count) + chances * moves)
    total = jnp.zeros(len(paths))
    if length:
        total += jnp.log(jnp.asarray(weights))[paths[:, 0]]
        total += jnp.sum(transition[paths[:, :-1], paths[:, 1:]], axis=1)
    for number, part in enumerate(parts):
        steps = (paths == number) @ 2 ** np.arange(length)
        total += _log_likelihood_choices(part, tokens)[steps]
    return log_sum(total, axis=0)


def _log_likelihood_segments(part: Task, tokens: Tokens) -> Float[Array, "begin end"]:
    """log P(tokens[begin:end]) for all begin < end; -inf elsewhere."""
    length = len(tokens)
    table = jnp.full((length + 1, length + 1), -jnp.inf)
    for size in range(1, length + 1):
        begin = np.arange(length - size + 1)
        evidence = jax.vmap(part.log_evidence)(tokens[begin[:, None] + np.arange(size)])
        table = table.at[begin, begin + size].set(evidence)
    return table


def _log_likelihood_choices(part: Task, tokens: Tokens) -> Float[Array, " choice"]:
    """log P(the chosen symbols, in their order) for every choice of steps; step t is bit t of a
    choice's number."""
    length = len(tokens)
    table = jnp.zeros(2**length)
    for size in range(1, length + 1):
        steps = np.array(list(itertools.combinations(range(length), size)))
        evidence = jax.vmap(part.log_evidence)(tokens[steps])
        table = table.at[np.sum(2**steps, axis=1)].set(evidence)
    return table


def _times_log(times: Int[np.ndarray, " time"], log: Float[Array, ""]) -> Float[Array, " time"]:
    """times · log, where 0 · -inf is 0."""
    return jnp.where(times == 0, 0.0, times * jnp.where(times == 0, 0.0, log))
