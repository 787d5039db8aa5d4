"""Several texts at once, each behind a prompt of its own, of any lengths.

A large network spends a token's time on fetching its weights, which serve every text of a batch: 8
texts take far less than 8 times as long as one. Prompts are read side by side, too, where a state
can drop what was read last: all are padded to the length of the longest. Other predictors read them
one after the other.

A text that has ended waits until all others have.
"""

from collections.abc import Sequence
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from promptax.axes import AnyKey, Tokens
from promptax.checks import door
from promptax.protocol.predictor import Predictor, State, check_most_inputs
from promptax.specs import as_key, check
from promptax.streaming import sampling, stepping
from promptax.streaming.sampling import TOKENS_AT_ONCE, Filters, Picking

Ends = Bool[Array, " symbol"]
_NUMBERS = (int, float, np.number)


@door
def generate_batch(
    key: AnyKey,
    predictor: Predictor,
    length: int,
    prompts: Sequence[Any],
    **picking: Unpack[Picking],
) -> list[Tokens]:
    """Sample what follows each of several prompts: tokens [time] of each, in their order.

    Text i is `generate(jax.random.fold_in(key, i), predictor, length, prompts[i])`, but for how
    products of more rows are rounded. It takes less time, where reading one token does not keep
    the machine busy.

    Args:
        length: how many tokens each; fewer where one of `stop` comes, which is then the last.
        prompts: tokens [prompt] of each, of any lengths.
        picking: temperature, top_k, top_p, typical_p and stop, as `generate` takes them.

    Raises:
        TypeError, ValueError: no single predictor, or settings out of range; before any compute.
        FloatingPointError: the predictor's log probabilities are not numbers.

    Example: `generate_batch(jax.random.key(0), coins.bayes(), 10, [[1, 1, 1], [0]])`.
    """
    filters = sampling.filters_of(picking)
    predictor, key = stepping.ready(predictor), as_key(key)
    sampling.check_length(length)
    prompts = list(np.asarray(prompts)) if isinstance(prompts, Array) else prompts
    check(
        not isinstance(prompts, str) and not any(isinstance(p, _NUMBERS) for p in prompts),
        "Expected prompts: a list with the tokens of each; for a single one use promptax.generate.",
    )
    prompts = [stepping.whole_numbers(predictor, prompt) for prompt in prompts]
    for prompt in prompts:
        check_most_inputs(predictor, len(prompt) + max(length - 1, 0))
    stops = sampling.stops_of(predictor, picking)
    if not prompts or length == 0:
        return [jnp.zeros(0, jnp.int32) for _ in prompts]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(prompts)))
    sampled = _sample_all((predictor, keys, filters), stops, length, prompts)
    return [_up_to_stop(row, stops, number) for number, row in enumerate(sampled)]


def _sample_all(
    sampler: "Sampler", stops: np.ndarray, length: int, prompts: list[np.ndarray]
) -> Int[np.ndarray, "sequence time"]:
    """Tokens behind each prompt, those of a text that has ended included, until all have."""
    room = stepping.room_for(max(map(len, prompts)) + length)
    state = states_after(sampler[0], room, prompts)
    pieces = [np.asarray(_sample_first(sampler, state))[:, None]]
    over = _is_over(pieces[0][:, -1], stops)
    first, ends = 1, jnp.asarray(stops)
    while first < length and not over.all():
        span = np.array([first, min(TOKENS_AT_ONCE, length - first)])
        given = (*sampler, ends, span, jnp.asarray(pieces[-1][:, -1]), jnp.asarray(over))
        state, tokens, done, ended = _sample_more(given, state)
        pieces.append(np.asarray(tokens)[:, : int(done)])
        over, first = np.asarray(ended), first + int(done)
    return np.concatenate(pieces, axis=1)


def _is_over(tokens: np.ndarray, stops: np.ndarray) -> np.ndarray:
    return (tokens < 0) | stops[tokens]


def _up_to_stop(tokens: np.ndarray, stops: np.ndarray, number: int) -> Tokens:
    """The text up to its first stop, included."""
    (places,) = np.nonzero(_is_over(tokens, stops))
    text = tokens[: places[0] + 1] if len(places) else tokens
    sampling.check_sampled(text[-1], len(text) - 1, f" {number}")
    return jnp.asarray(text)


def states_after(predictor: Predictor, capacity: int, prompts: Sequence[np.ndarray]) -> State:
    """The state after each prompt, as one tree whose leaves have a leading `sequence` axis, with
    room for `capacity` inputs, the prompt's included."""
    longest = max(map(len, prompts))
    if not predictor.forgets or longest == 0:
        states = [stepping.after(predictor, capacity, prompt) for prompt in prompts]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    state, at = None, 0
    padded = np.stack([np.pad(prompt, (0, longest - len(prompt))) for prompt in prompts])
    for size, count in stepping.padded_sizes(longest):
        piece = np.pad(padded[:, at : at + count], ((0, 0), (0, size - count)))
        counts = np.clip([len(prompt) - at for prompt in prompts], 0, count)
        given = jnp.asarray(piece), jnp.asarray(counts)
        if state is None:
            state = _open_each((predictor, *given), capacity + stepping.PADDED)
        else:
            state = _read_each((predictor, *given), state)
        at += count
    return state


@eqx.filter_jit
def _open_each(given: tuple[Predictor, Array, Array], capacity: int) -> State:
    predictor, tokens, counts = given
    return jax.vmap(lambda row, count: predictor.opened(row, count, capacity))(tokens, counts)


@eqx.filter_jit(donate="all-except-first")
def _read_each(given: tuple[Predictor, Array, Array], state: State) -> State:
    predictor, tokens, counts = given
    return jax.vmap(predictor.advance_first)(state, tokens, counts)


Sampler = tuple[Predictor, Key[Array, " sequence"], Filters]


@eqx.filter_jit
def _sample_first(sampler: Sampler, state: State) -> Int[Array, " sequence"]:
    return _sample_each(sampler, state, 0)


def _sample_each(
    sampler: Sampler, state: State, number: Int[Array, ""] | int
) -> Int[Array, " sequence"]:
    """The token of that number of each text."""
    predictor, keys, filters = sampler

    def sample(key: Key[Array, ""], state: State) -> Int[Array, ""]:
        return sampling.sample_one((predictor, key, filters), state, number)

    return jax.vmap(sample)(keys, state)


@eqx.filter_jit(donate="all-except-first")
def _sample_more(
    given: tuple[Predictor, Array, Filters, Ends, sampling.Pair, Array, Array], state: State
) -> tuple[State, Int[Array, "sequence time"], Array, Array]:
    """The states before the last of up to `count` more tokens, these tokens, how many there are,
    and which texts are over; what was sampled last was not read yet."""
    predictor, keys, filters, stops, (first, count), last, over = given

    def goes_on(carry: tuple) -> Array:
        _, _, done, _, over = carry
        return (done == 0) | ((done < count) & ~jnp.all(over))

    def sample_tokens(carry: tuple) -> tuple:
        states, tokens, done, last, over = carry
        states = jax.vmap(lambda state, token: stepping.step(predictor, state, token))(states, last)
        last = _sample_each((predictor, keys, filters), states, first + done)
        over = over | (last < 0) | stops[last]
        return states, tokens.at[:, done].set(last), done + 1, last, over

    tokens = jnp.zeros((len(keys), TOKENS_AT_ONCE), jnp.int32)
    begin = state, tokens, jnp.array(0), last, over
    state, tokens, done, _, over = jax.lax.while_loop(goes_on, sample_tokens, begin)
    return state, tokens, done, over
