"""Single steps of any predictor, in programs that are compiled once.

Sampling and compression meet tokens one at a time, so they start with a fixed `capacity`: a state
whose shape stays the same. Capacities are powers of two, so that a sequence a little longer
compiles nothing. What is known beforehand, such as a prompt, is read in pieces of 512, 64, 8 and 1
tokens, since one piece would be another program for every length: a prompt of n tokens in at most
n / 512 + 21 calls, each of which reads all weights. Where a state can drop what was read last, the
rest below 64 is one piece, padded to 64, 8 or 1: n / 512 + 8 calls; and the first of them reads
what opens every sequence, too (`after`).
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from promptax.protocol.entries import checked, one
from promptax.protocol.outcomes import alphabet_of
from promptax.protocol.predictor import Predictor, State
from promptax.specs import check, traced

PIECES = (512, 64, 8, 1)  # few programs, few calls, and no more than 512 rows at a time in memory
PADDED = 64  # what is left below that is one piece, padded where it does not fit
LEAST_ROOM = 64

Row = Float[Array, " symbol"]
Losses = Float[np.ndarray, " time"]
AnyPredictor = TypeVar("AnyPredictor", bound=Predictor)


def ready(predictor: AnyPredictor) -> AnyPredictor:
    """One predictor over an alphabet, with its numbers as data, so that others like it compile
    nothing."""
    alphabet_of(one(predictor))
    return traced(predictor)


def whole_numbers(predictor: Predictor, tokens: Any) -> Int[np.ndarray, " time"]:
    """Tokens as whole numbers [time] on the host.

    Raises:
        ValueError: not whole numbers [time], or outside the predictor's alphabet.
    """
    tokens = checked(predictor, tokens)
    check(
        isinstance(tokens, jax.Array) and tokens.ndim == 1,
        "Expected tokens: whole numbers [time]; got weights or embedding rows. Let the predictor "
        "read those first: promptax.condition(predictor, prompt).",
    )
    return np.asarray(tokens)


def room_for(rows: int) -> int:
    """The least power of two that holds so many rows, at least LEAST_ROOM."""
    return max(LEAST_ROOM, 1 << max(0, rows - 1).bit_length())


@eqx.filter_jit
def start(predictor: Predictor, capacity: int) -> State:
    """The state before any token, in memory of its own, which steps may write over."""

    def copy(leaf: Array) -> Array:
        return jnp.copy(jax.lax.convert_element_type(leaf, leaf.dtype))

    padding = PADDED if predictor.forgets else 0
    return jax.tree.map(copy, predictor.start(capacity + padding))


def upcoming(predictor: Predictor, state: State) -> Row:
    """Log probabilities [symbol] of the next token, nats. A row never depends on the token that it
    predicts, so any will do; inside a compiled function, reading it costs nothing."""
    return predictor.advance(state, jnp.zeros(1, jnp.int32))[1].log_probs[0]


def step(predictor: Predictor, state: State, token: Int[Array, ""]) -> State:
    """The state after one more token."""
    return predictor.advance(state, token[None])[0]


@eqx.filter_jit(donate="all-except-first")
def _read(predictor_and_tokens: tuple[Predictor, Array], state: State) -> State:
    predictor, tokens = predictor_and_tokens
    return predictor.advance(state, tokens)[0]


@eqx.filter_jit(donate="all-except-first")
def _score(predictor_and_tokens: tuple[Predictor, Array], state: State) -> tuple[State, Array]:
    predictor, tokens = predictor_and_tokens
    state, prediction = predictor.advance(state, tokens)
    return state, prediction.of(tokens)


@eqx.filter_jit
def _open(predictor: Predictor, tokens: Array, count: Array, capacity: int) -> State:
    return predictor.opened(tokens, count, capacity)


@eqx.filter_jit(donate="all-except-first")
def _read_first(given: tuple[Predictor, Array, Array], state: State) -> State:
    predictor, tokens, count = given
    return predictor.advance_first(state, tokens, count)


def after(predictor: Predictor, capacity: int, tokens: Int[np.ndarray, " time"]) -> State:
    """The state after the tokens, with room for `capacity` inputs, these included."""
    if not predictor.forgets or len(tokens) == 0:
        return read(predictor, start(predictor, capacity), tokens)
    first = next(_padded(tokens))
    state = _open(predictor, *first, capacity + PADDED)
    return read(predictor, state, tokens[int(first[1]) :])


def read(predictor: Predictor, state: State, tokens: Int[np.ndarray, " time"]) -> State:
    """The state after the tokens; the given one, made by `start` or `after`, is used up."""
    if predictor.forgets:
        for piece, count in _padded(tokens):
            state = _read_first((predictor, piece, count), state)
        return state
    for piece in _pieces(tokens):
        state = _read((predictor, piece), state)
    return state


def score(
    predictor: Predictor, state: State, tokens: Int[np.ndarray, " time"]
) -> tuple[State, Losses]:
    """The state after the tokens, and the log probability of each [time], nats; the given state
    is used up."""
    scores = []
    for piece in _pieces(tokens):
        state, log_probs = _score((predictor, piece), state)
        scores.append(log_probs)
    return state, np.concatenate([np.zeros(0), *map(np.asarray, scores)])


def padded_sizes(length: int) -> Iterator[tuple[int, int]]:
    """Cut so many tokens into pieces of few sizes. Yields the size of each, and how many tokens it
    holds: as many, but for padding in the last one."""
    while length:
        fits = max((size for size in PIECES if size <= length), default=0)
        size = fits if fits >= PADDED else min(s for s in PIECES if s >= length)
        yield size, min(size, length)
        length -= min(size, length)


def _padded(tokens: Int[np.ndarray, " time"]) -> Iterator[tuple[Array, Array]]:
    """Tokens in pieces of few sizes. Yields each with how many of its tokens count: all, but for
    padding in the last one."""
    for size, count in padded_sizes(len(tokens)):
        yield jnp.asarray(np.pad(tokens[:count], (0, size - count))), jnp.array(count)
        tokens = tokens[count:]


def _pieces(tokens: Int[np.ndarray, " time"]) -> Iterator[Array]:
    """Cut tokens into pieces of the sizes PIECES, the largest first, without padding."""
    at = 0
    for size in PIECES:
        while len(tokens) - at >= size:
            yield jnp.asarray(tokens[at : at + size])
            at += size
