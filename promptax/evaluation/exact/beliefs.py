"""Exact expected losses by merging equal beliefs, of predictors about which nothing else is known.

A predictor's state is all that it remembers. Two histories that leave the judged predictor in equal
states, and the target's exact predictor too, go on alike: they are one *belief*, as probable as
both together. A sum over S^N sequences becomes a sum over distinct pairs of states, step by step:

    E[-log q(x_t)]  =  Σ_b P_t(b) Σ_s p(s | b) (-log q(s | b))
    P_t+1(b')       =  Σ_(b, s → b') P_t(b) p(s | b)

Nobody looks into a state. After t tokens, coins have t + 1 beliefs; a binary Markov chain of order
1 with unknown rows has some t²/2; a network has S^t, since it never forgets in which order it read.

**When states are equal.** Whole numbers and booleans: bit for bit. Floats: on a grid of 2^-36 of
their size, or of 2^-36 where they are smaller than 1, because sums of logarithms that are taken in
another order differ in their last bits. A state that stands for others differs from them by at most
1.5e-11 of its size. Where a float is the posterior weight of a hypothesis, weights below the grid
are confused; but the target comes to a belief that misjudges the truth so much with no more than
that probability (Markov's inequality), so that the expectation hardly moves.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import sparse

from promptax.evaluation.exact.enumeration import double_precision, expected_terms
from promptax.protocol.birthdays import DRAWS, least_number, random_words
from promptax.protocol.predictor import Predictor, State, check_most_inputs
from promptax.specs import check, traced

MOST_BELIEFS = 200_000  # after any one step: some seconds for a sequence of 50 tokens
MOST_WORK = 2**25  # beliefs of all steps together: about a minute
MOST_STEPS = 2**14  # each is a small program: a minute, too
MOST_BYTES = 2**31  # of all states that may follow after one step
MOST_DRAWN = 2**25  # symbols of all random words: 128 MB
PIECE = 256  # steps of them that are read at once, or 16,384 words would take more than 1 GB
MANY = 1_000  # with more, it is worth a second to foresee whether there will be too many
SIDE_BY_SIDE = (64, 1024)  # states that advance together: two programs for a kind of predictor
BYTES_AT_ONCE = 2**28  # of the states that follow those
WAY_OUT = "Choose fewer steps or shorter prompts, or sample: promptax.evaluate."
GRID = 2.0**36  # steps of the grid between 0 and 1


class TooManyBeliefs(ValueError):
    """An exact expectation would need more beliefs than allowed."""


class Layer(NamedTuple):
    """All distinct beliefs after some number of tokens.

    `pools`: the distinct states of each predictor, trees of host arrays [row, ...]; `rows` [belief,
    predictor]: which of them make a belief; `chances` [start, belief]: how probable it is after
    each start, sparse.
    """

    pools: tuple[Any, ...]
    rows: Int[np.ndarray, "belief predictor"]
    chances: Any


class Words(NamedTuple):
    """Prompts of one length that leave a predictor in distinct states.

    `tokens` [word, prompt]: the first word, in order, that leads to its state; `states`: a tree of
    host arrays [word, ...].
    """

    tokens: Int[np.ndarray, "word prompt"]
    states: Any


def merged_losses(
    judged: Predictor,
    target: Predictor,
    length: int,
    starts: Any = None,
    most: int = MOST_BELIEFS,
) -> Float[np.ndarray, "start time"]:
    """Expected log loss at each step, in nats, from each of several states of the judged predictor.

    Args:
        judged: the predictor whose losses are meant.
        target: the exact predictor of what makes the sequences; it begins with `start()`.
        length: steps of a sequence.
        starts: states of the judged predictor before the sequence, a tree of host arrays
            [start, ...] with room for it. None: its `start()` alone.
        most: how many beliefs there may be after any step, of all starts together.

    Raises:
        TooManyBeliefs: there are more; the message says how many, and after how many steps.
        ValueError: there are too many steps to follow beliefs through all of them.
    """
    check(
        length <= MOST_STEPS,
        f"Expected at most {MOST_STEPS:,} steps where order matters, or where sequences are too "
        f"long to count symbols instead; got {length:,}. {WAY_OUT}",
    )
    check_most_inputs(judged, length)
    with double_precision():
        same = judged is target and starts is None
        predictors = (traced(target),) if same else (traced(judged), traced(target))
        layer = _first_layer(predictors, length, starts)
        losses = np.empty((layer.chances.shape[0], length))
        foreseen = False
        for step in range(length):
            _check_number(layer.pools, len(layer.rows), most, predictors, step, length)
            if len(layer.rows) >= MANY and not foreseen:
                foreseen = True
                _foresee(predictors, layer, length, most)
            advanced = [advance_all(*pair) for pair in zip(predictors, layer.pools, strict=True)]
            log_probs = advanced[0].log_probs[layer.rows[:, 0]]
            chances = np.exp(advanced[-1].log_probs[layer.rows[:, -1]])
            losses[:, step] = layer.chances @ expected_terms(chances, log_probs).sum(axis=1)
            if step + 1 < length:
                layer = _next_layer(layer, chances, [states for _, states in advanced])
    return losses


def _first_layer(predictors: tuple[Predictor, ...], length: int, starts: Any) -> Layer:
    pools = tuple(stacked([predictor.start(length)]) for predictor in predictors)
    if starts is not None:
        pools = starts, pools[1]
    count = len(jax.tree.leaves(pools[0])[0])
    rows = np.zeros((count, len(predictors)), int)
    rows[:, 0] = np.arange(count)
    return Layer(pools, rows, sparse.eye_array(count, format="csr"))


def _next_layer(
    layer: Layer, chances: Float[np.ndarray, "belief symbol"], following: Sequence[Any]
) -> Layer:
    """The beliefs one token later; those that never come are left out."""
    belief, symbol = np.nonzero(chances > 0)
    pools, columns = [], []
    for states, rows in zip(following, layer.rows.T, strict=True):
        came = rows[belief] * chances.shape[1] + symbol
        kept, came = np.unique(came, return_inverse=True)
        states = take(states, kept)
        first, group = distinct(states)
        pools.append(take(states, first))
        columns.append(group[came])
    pair = columns[0] * (columns[-1].max() + 1) + columns[-1]
    _, first, group = np.unique(pair, return_index=True, return_inverse=True)
    shape = len(chances), len(first)
    moves = sparse.csr_array((chances[belief, symbol], (belief, group)), shape=shape)
    rows = np.stack([column[first] for column in columns], axis=1)
    return Layer(tuple(pools), rows, layer.chances @ moves)


def distinct_words(
    predictor: Predictor, longest: int, length: int, most: int = MOST_BELIEFS
) -> list[Words]:
    """The words of each length from 0 to the longest that leave the predictor in distinct states.

    Every other word leaves it in the state of one of these, an earlier one of the same length. The
    states have room for `length` more tokens.

    Raises:
        TooManyBeliefs: a length has more than `most` of them, or all lengths together leave the
            predictor in more states.
    """
    symbols = predictor.symbols
    check_most_inputs(predictor, longest + length)
    with double_precision():
        predictor = traced(predictor)
        start = stacked([predictor.start(longest + length)])
        words = [Words(np.zeros((1, 0), np.int32), start)]
        checked = most  # words of all lengths together
        for done in range(longest):
            tokens, states = words[-1]
            _check_number((states,), len(tokens), most, (predictor,), done, longest)
            if sum(len(layer.tokens) for layer in words) > checked:
                checked *= 2
                pool = joined([layer.states for layer in words])
                together = len(distinct(pool)[0])
                _check_number((pool,), together, most, (predictor,), done, longest)
            _, states = advance_all(predictor, states)
            first, _ = distinct(states)
            last = np.tile(np.arange(symbols, dtype=np.int32), len(tokens))
            tokens = np.column_stack([np.repeat(tokens, symbols, axis=0), last])
            words.append(Words(tokens[first], take(states, first)))
    return words


def states_after(predictor: Predictor, words: Int[np.ndarray, "word prompt"], length: int) -> Any:
    """The states after each of these words, a tree of host arrays [word, ...], with room for
    `length` more tokens."""
    check_most_inputs(predictor, words.shape[1] + length)
    with double_precision():
        states = _read_words(traced(predictor), jnp.asarray(words), words.shape[1] + length)
        return jax.tree.map(np.asarray, states)


@eqx.filter_jit
def _read_words(predictor: Predictor, words: Int[Array, "word prompt"], capacity: int) -> Any:
    start = predictor.start(capacity)
    return jax.vmap(lambda word: predictor.advance(start, word)[0])(words)


def stacked(states: Sequence[State]) -> Any:
    """States as one tree of host arrays [row, ...]."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *states)


def joined(trees: Sequence[Any]) -> Any:
    """The rows of several trees of host arrays [row, ...], one after the other."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)


def take(states: Any, rows: Int[np.ndarray, " row"]) -> Any:
    """These rows of a tree of host arrays [row, ...]."""
    return jax.tree.map(lambda leaf: leaf[rows], states)


def distinct(states: Any) -> tuple[Int[np.ndarray, " group"], Int[np.ndarray, " row"]]:
    """Which rows of a tree of arrays [row, ...] are equal (see the module's docstring).

    Returns the first row of each group, in order, and the group of each row.
    """
    keys = np.concatenate([_as_bytes(leaf) for leaf in jax.tree.leaves(states)], axis=1)
    whole = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1])))[:, 0]
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[group.reshape(-1)]


def _as_bytes(leaf: np.ndarray) -> np.ndarray:
    """Bytes [row, byte] that are the same for values that count as equal."""
    rows = leaf.reshape(len(leaf), -1)
    if jnp.issubdtype(rows.dtype, jnp.floating):
        rows = rows.astype(np.float64)
        _, exponent = np.frexp(rows)
        size = np.ldexp(1.0, np.maximum(exponent, 0))
        rows = np.rint(rows / size * GRID) / GRID * size + 0.0  # no minus zero
    return np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)


def _following_bytes(predictor: Predictor, states: Any) -> int:
    """How much memory all states one token later need, before equal ones are merged."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(states)) * predictor.symbols


class Advanced(NamedTuple):
    """`log_probs` [row, symbol]: what a predictor says in each state, nats; `states`: those that
    follow, a tree of host arrays [row * symbols + symbol, ...]."""

    log_probs: Float[np.ndarray, "row symbol"]
    states: Any


def advance_all(predictor: Predictor, states: Any) -> Advanced:
    """Read every symbol in every state, given as a tree of host arrays [row, ...]."""
    count = len(jax.tree.leaves(states)[0])
    size = next((size for size in SIDE_BY_SIDE if count <= size), SIDE_BY_SIDE[-1])
    size = min(size, max(1, BYTES_AT_ONCE * count // _following_bytes(predictor, states)))
    pieces = []
    for first in range(0, count, size):
        rows = np.minimum(np.arange(first, first + size), count - 1)  # the last one fills up
        piece = _advance(predictor, take(states, rows))
        pieces.append(jax.tree.map(np.asarray, piece))

    log_probs, following = take(joined(pieces), np.arange(count))
    return Advanced(
        log_probs, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), following)
    )


@eqx.filter_jit
def _advance(predictor: Predictor, states: Any) -> tuple[Array, Any]:
    """Log probabilities [row, symbol] and states [row, symbol, ...]; compiled once for each kind
    of predictor and each size of `SIDE_BY_SIDE`."""
    symbols = jnp.arange(predictor.symbols)

    def read(state: State, symbol: Int[Array, ""]) -> tuple[Float[Array, " symbol"], State]:
        following, prediction = predictor.advance(state, symbol[None])
        return prediction.log_probs[0], following

    def read_all(state: State) -> tuple[Float[Array, " symbol"], State]:
        log_probs, following = jax.vmap(read, in_axes=(None, 0))(state, symbols)
        return log_probs[0], following  # what is predicted does not depend on what comes

    return jax.vmap(read_all)(states)


def _foresee(predictors: tuple[Predictor, ...], layer: Layer, length: int, most: int) -> None:
    """Complain now if there will surely be too many beliefs before the last step.

    Random words are read by all predictors. If too few of them end in equal beliefs, there are too
    many beliefs (`promptax.protocol.birthdays`). Words that the target excludes are left out, and
    words are no longer than memory allows: too many beliefs at an earlier step are too many.
    """
    size = sum(
        _following_bytes(*pair) // len(jax.tree.leaves(pair[1])[0])
        for pair in zip(predictors, layer.pools, strict=True)
    )
    draws = min(DRAWS, BYTES_AT_ONCE // size)
    ahead = max(1, min(length - 1, MOST_DRAWN // max(1, draws)))
    ahead -= ahead % PIECE if ahead > PIECE else 0
    words = random_words(predictors[0].symbols, ahead, draws)
    states, chances = zip(
        *(_read(predictor, length, words) for predictor in predictors), strict=True
    )
    possible = np.flatnonzero(np.asarray(chances[-1]) > -np.inf)
    first, _ = distinct(take(jax.tree.map(np.asarray, states), possible))
    number = least_number(len(possible), len(first), most)
    if number is not None:
        raise TooManyBeliefs(
            f"Expected at most {most:,} different beliefs of {_names(predictors)}; got some "
            f"{number:,} or more after {ahead} of {length} steps. {WAY_OUT}"
        )


def _read(
    predictor: Predictor, length: int, words: Int[np.ndarray, "draw time"]
) -> tuple[State, Float[Array, " draw"]]:
    """The states behind words, and the words' log probabilities; read piece by piece."""
    states, chances = _read_first(predictor, length, jnp.asarray(words[:, :PIECE]))
    for begin in range(PIECE, words.shape[1], PIECE):
        piece = jnp.asarray(words[:, begin : begin + PIECE])
        states, more = _read_on(predictor, states, piece)
        chances = chances + more
    return states, chances


@eqx.filter_jit
def _read_first(
    predictor: Predictor, length: int, words: Int[Array, "draw time"]
) -> tuple[State, Float[Array, " draw"]]:
    states, prediction = predictor.advance_batch(predictor.start(length), words)
    return states, jnp.sum(prediction.of(words), axis=1)


@eqx.filter_jit
def _read_on(
    predictor: Predictor, states: State, words: Int[Array, "draw time"]
) -> tuple[State, Float[Array, " draw"]]:
    states, prediction = jax.vmap(predictor.advance)(states, words)
    return states, jnp.sum(prediction.of(words), axis=1)


def _names(predictors: tuple[Predictor, ...]) -> str:
    return " and ".join(dict.fromkeys(type(predictor).__name__ for predictor in predictors))


def _check_number(
    pools: tuple[Any, ...],
    count: int,
    most: int,
    predictors: tuple[Predictor, ...],
    done: int,
    steps: int,
) -> None:
    """Complain if the next step would take too long or too much memory, or all steps that are left
    too long, even if the beliefs grew no more."""
    work = count * (steps - done)
    if work > MOST_WORK * max(1.0, most / MOST_BELIEFS):
        raise TooManyBeliefs(
            f"Expected at most {MOST_WORK:,} beliefs of {_names(predictors)} in all steps "
            f"together; got {count:,} after {done:,} of {steps:,} steps, which makes {work:,}. "
            f"{WAY_OUT}"
        )
    pairs = zip(predictors, pools, strict=True)
    size = sum(_following_bytes(predictor, states) for predictor, states in pairs)
    if count <= most and size <= MOST_BYTES:
        return
    raise TooManyBeliefs(
        f"Expected at most {most:,} different beliefs of {_names(predictors)}, whose states need "
        f"at most {MOST_BYTES / 2**30:g} GiB; got {count:,} after {done} of {steps} steps, and "
        f"{size / 2**30:.2g} GiB. Up to {done} steps there are few enough. {WAY_OUT}"
    )
