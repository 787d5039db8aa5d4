"""Demonstrations, of which a prompt is what pruning leaves.

A prompt on the way is `symbols` [context] and `kept` [context]: which of them it still has. It is
read as its kept symbols alone, one after another, so that what follows moves up: no place is filled
with a neutral symbol. Its loss is asked with `rows`, the number of symbols that are kept.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from promptax.fit.settings import FitSettings
from promptax.specs import check
from promptax.steering.search_problem import SearchProblem


def drawn(key: Key[Array, ""], problem: SearchProblem, context: int) -> Int[Array, " context"]:
    """The first symbols of this step's sequences, one sequence after another. Where a step reads
    all sequences there are, they are first drawn as often as they come, each in an order that is
    as likely as any other where one stands for all its orders."""
    episodes = problem.episodes
    assert episodes is not None
    if episodes.scored is not None:
        raise TypeError(
            "Expected sequences that fill their array, from which demonstrations are taken; those "
            "of the target are of unequal lengths, or scored in part. SegmentRewriting works there."
        )
    sequences = episodes.inputs
    if problem.weights is not None:
        count = -(-context // sequences.shape[1])
        sequences = sequences[jax.random.categorical(key, jnp.log(problem.weights), shape=(count,))]
        sequences = in_any_order(jax.random.fold_in(key, 1), sequences, problem)
    return sequences.reshape(-1)[:context]


def in_any_order(
    key: Key[Array, ""], sequences: Int[Array, "*sequence time"], problem: SearchProblem
) -> Int[Array, "*sequence time"]:
    """The sequences, each in a random order of its own where it stands for all of them: sorted as
    they come, their first symbols would be the first of the alphabet."""
    if not problem.orders_are_merged:
        return sequences
    return jax.random.permutation(key, sequences, axis=-1, independent=True)


def shortened(
    symbols: Int[Array, " context"], kept: Bool[Array, "candidate context"]
) -> tuple[Int[Array, "candidate context"], Int[Array, " candidate"]]:
    """Prompts whose kept symbols come first, in their order, and how many these are."""
    order = jnp.argsort(~kept, axis=-1, stable=True)
    return symbols[order], jnp.sum(kept, axis=-1, dtype=jnp.int32)


def first_kept(
    symbols: Int[Array, " context"], kept: Bool[Array, " context"], length: int
) -> Int[Array, " prompt"]:
    """The first `length` symbols that are kept."""
    return shortened(symbols, kept[None])[0][0, :length]


def check_context(context: int, length: int) -> None:
    """Complain about demonstrations that are shorter than what shall be left of them."""
    check(
        context >= max(length, 1),
        f"Expected a context of at least {max(length, 1)} symbols, of which {length} are kept; got "
        f"{context}.",
    )


def check_drawable(context: int, settings: FitSettings) -> None:
    """Complain about a batch that has fewer symbols than the demonstrations."""
    assert settings.length is not None
    symbols = settings.batch * settings.length
    check(
        context <= symbols or (settings.exact and settings.length > 0),
        f"Expected a batch with the {context} symbols of the demonstrations; got {settings.batch} "
        f"sequences of {settings.length}, {symbols} symbols. Choose a larger batch or a smaller "
        "context.",
    )
