"""Contexts: the last few symbols of a history, as one number.

A source of order k chooses its next symbol by the last k symbols. These are its *context*, written
as a number with k digits in base S, the size of the alphabet: the most recent symbol is the last
digit. Over two symbols, context 0·2 + 1 = 1 of order 2 means "0, then 1".

Every sequence follows k symbols 0. They are context, no part of the sequence, and are not scored.

A table of transitions [context, symbol] has row c for context c. Its size tells its order.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.predictor import Inputs
from promptax.specs import check

MOST_NUMBERS = 2**24  # in a table or a state: 64 MiB for each sequence, and indices fit in 32 bits


def contexts_of(
    tokens: Tokens, symbols: int, order: int, before: Int[Array, ""] | int = 0
) -> Int[Array, " time_and_end"]:
    """The context in front of each token, and the one behind the last [time + 1].

    Args:
        before: the context in front of the first token; 0 is that of a sequence's beginning.
    """
    places = symbols ** np.arange(order - 1, -1, -1)
    digits = (before // jnp.asarray(places, tokens.dtype)) % symbols  # the oldest first
    history = jnp.concatenate([digits, tokens])
    contexts = jnp.zeros(len(tokens) + 1, tokens.dtype)
    for back in range(1, order + 1):
        start = order - back
        contexts += history[start : start + len(tokens) + 1] * symbols ** (back - 1)
    return contexts


def transition_counts(tokens: Tokens, symbols: int, order: int) -> Int[Array, "context symbol"]:
    """How often each symbol followed each context in a whole sequence."""
    contexts = contexts_of(tokens, symbols, order)[:-1]
    return jnp.zeros((symbols**order, symbols), jnp.int32).at[contexts, tokens].add(1)


def order_of(contexts: int, symbols: int) -> int:
    """The order of a table of transitions of that size."""
    order = 0
    while symbols**order < contexts:
        order += 1
    return order


def log_rows(transition: Float[Array, "context symbol"], tokens: Tokens) -> LogProbs:
    """Log probabilities [time, symbol] of a source with known transitions, nats."""
    contexts = contexts_of(tokens, transition.shape[1], order_of(*transition.shape))
    return jnp.log(transition)[contexts[:-1]]


def draw_chain(
    key: Key[Array, ""], transition: Float[Array, "context symbol"], length: int
) -> Tokens:
    """One sequence [time] by inversion. Symbols of probability zero are never drawn."""
    contexts, symbols = transition.shape
    heights = jnp.cumsum(transition, axis=1)

    def step(context: Int[Array, ""], point: Float[Array, ""]) -> tuple[Array, Array]:
        row = heights[context]
        token = jnp.sum(point * row[-1] >= row, dtype=jnp.int32)
        return (context * symbols + token) % contexts, token

    points = jax.random.uniform(key, (length,))
    return jax.lax.scan(step, jnp.zeros((), jnp.int32), points)[1]


def only_tokens(inputs: Inputs) -> Tokens:
    """The inputs, if they are tokens.

    Raises:
        TypeError: weights over symbols or embedding rows. A context of fractions of symbols would
            be none of those that the source knows.
    """
    if not (
        isinstance(inputs, jax.Array | np.ndarray) and jnp.issubdtype(inputs.dtype, jnp.integer)
    ):
        kind = "weights over symbols" if isinstance(inputs, jax.Array) else type(inputs).__name__
        raise TypeError(
            f"Expected tokens; got {kind}. What this exact predictor expects depends on which "
            "symbols came last, and there are no fractions of a symbol among them. Steer it with "
            "HardPrompt."
        )
    return jnp.asarray(inputs)


def check_whole(name: str, value: int, least: int, instead: str) -> None:
    """Complain unless a field is a whole number of at least `least`; `instead` says what to do."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    check(
        whole and value >= least,
        f"Expected {name}, a whole number of at least {least}; got {value!r}. {instead}",
    )


def check_room(name: str, value: int, symbols: int, numbers: int) -> None:
    """Complain about an order or a depth whose table would not fit into memory."""
    check(
        numbers <= MOST_NUMBERS,
        f"Expected {name} of which a table has at most {MOST_NUMBERS:,} numbers; got {value} over "
        f"{symbols} symbols, which needs {numbers:,}. Take a smaller one, or fewer symbols.",
    )
