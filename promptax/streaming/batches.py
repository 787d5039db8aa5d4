"""Several texts at once, each behind a prompt of its own, of any lengths.

A large network spends a token's time on fetching its weights, which serve every text of a batch: 8
texts take far less than 8 times as long as one. Prompts are read side by side, too, where a state
can drop what was read last: in pieces, with padding where one has ended within a piece. Other
predictors read them one after the other.

A text that has ended waits until all others have. Batches have one of few sizes, so that another
number of texts rarely compiles anything: rows that fill a batch up have ended from the start.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from promptax.axes import AnyKey, Tokens
from promptax.doors import door
from promptax.protocol.predictor import Predictor, State
from promptax.specs import as_key, check
from promptax.streaming import sampling, stepping
from promptax.streaming.sampling import TOKENS_AT_ONCE, Picking, Sampler, Wanted

_NUMBERS = int | float | np.number


@door
def generate_batch(
    key: AnyKey,
    predictor: Predictor,
    length: int,
    prompts: Iterable[Any],
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
        TypeError, ValueError: no single predictor, a setting of another name, settings out of
            range, or a prompt that leaves no room for `length` tokens in the trained context;
            before any compute.
        FloatingPointError: the predictor's log probabilities are not numbers.

    Example: `generate_batch(jax.random.key(0), coins.bayes(), 10, [[1, 1, 1], [0]])`.
    """
    filters = sampling.filters_of(picking)
    predictor, key = stepping.ready(predictor), as_key(key)
    sampling.check_length(length)
    prompts = [() if prompt is None else prompt for prompt in prompts]
    check(
        not any(isinstance(prompt, str | _NUMBERS) or _is_scalar(prompt) for prompt in prompts),
        "Expected prompts: a list with the tokens of each; for a single one use promptax.generate.",
    )
    prompts = [stepping.whole_numbers(predictor, prompt) for prompt in prompts]
    for number, prompt in enumerate(prompts):
        sampling.check_fits(predictor, len(prompt), length, f"prompt {number} (counted from 0)")
    stops = sampling.stops_of(predictor, picking)
    if not prompts or length == 0:
        return [jnp.zeros(0, jnp.int32) for _ in prompts]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(_rows_for(len(prompts))))
    sampled = _sample_all(Sampler(predictor, keys, filters), stops, length, prompts)
    return [_up_to_stop(text, stops, number) for number, text in enumerate(sampled)]


def _is_scalar(prompt: Any) -> bool:
    """Whether it is an array of one number, as they come from an array of several."""
    return isinstance(prompt, Array | np.ndarray) and prompt.ndim == 0


def _rows_for(texts: int) -> int:
    """How many texts are sampled side by side: the next of 1, 2, 3, 4, 6, 8, 12, 16, …, so that few
    batch sizes are compiled.

    Powers of two alone would cost a quarter: 16 texts where 9 are asked for, not 12.
    """
    power = 1 << (texts - 1).bit_length()
    three_quarters = max(1, 3 * power // 4)
    return three_quarters if texts <= three_quarters else power


def _sample_all(
    sampler: Sampler, stops: np.ndarray, length: int, prompts: list[np.ndarray]
) -> Int[np.ndarray, "sequence time"]:
    """Tokens behind each prompt, those of a text that has ended included, until all have."""
    room = stepping.room_for(max(map(len, prompts)) + length)
    state = _padded(states_after(sampler.predictor, room, prompts), len(prompts))
    pieces = [np.asarray(_sample_first(sampler, state))[:, None]]
    is_padding = np.arange(len(sampler.key)) >= len(prompts)  # rows that nobody asked for
    ended = is_padding | _is_last(pieces[0][:, -1], stops)
    first, ends = 1, jnp.asarray(stops)
    while first < length and not ended.all():
        span = np.array([first, min(TOKENS_AT_ONCE, length - first)])
        wanted = Wanted(sampler, ends, span, jnp.asarray(pieces[-1][:, -1]), jnp.asarray(ended))
        state, tokens, count, after = _sample_until_ended(wanted, state)
        pieces.append(np.asarray(tokens)[:, : int(count)])
        ended, first = np.asarray(after), first + int(count)
    return np.concatenate(pieces, axis=1)[: len(prompts)]


def _is_last(tokens: np.ndarray, stops: np.ndarray) -> np.ndarray:
    return (tokens < 0) | stops[tokens]


def _up_to_stop(tokens: np.ndarray, stops: np.ndarray, number: int) -> Tokens:
    """The text up to its first stop, included."""
    (places,) = np.nonzero(_is_last(tokens, stops))
    text = tokens[: places[0] + 1] if len(places) else tokens
    sampling.check_sampled(text[-1], len(text) - 1, f" {number}")
    return jnp.asarray(text)


def states_after(predictor: Predictor, capacity: int, prompts: Sequence[np.ndarray]) -> State:
    """The state after each prompt, as one tree whose leaves have a leading `sequence` axis, with
    room for `capacity` inputs, the prompt's included.

    Where prompts are read side by side, so many at a time as are a power of two: any number of them
    is read by the same few programs, and none is padded by whole prompts, which would cost as much
    as reading them.
    """
    if not predictor.forgets:
        return _joined([stepping.after(predictor, capacity, prompt) for prompt in prompts], "stack")
    states, begin = [], 0
    while begin < len(prompts):
        count = 1 << ((len(prompts) - begin).bit_length() - 1)
        states.append(_side_by_side(predictor, capacity, prompts[begin : begin + count]))
        begin += count
    return _joined(states, "concatenate")


def _joined(states: list[State], how: str) -> State:
    """States as one, behind each other along a new axis ("stack") or along their first one."""
    if how == "concatenate" and len(states) == 1:
        return states[0]
    return jax.tree.map(lambda *leaves: getattr(jnp, how)(leaves), *states)


def _padded(state: State, texts: int) -> State:
    """States for as many texts as `_rows_for`: copies of the first ones, which nobody asks for."""
    missing = _rows_for(texts) - texts
    if missing == 0:
        return state
    return jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf[:missing]]), state)


def _side_by_side(predictor: Predictor, capacity: int, prompts: Sequence[np.ndarray]) -> State:
    """`states_after` of a predictor that forgets: piece by piece, for the prompts that go on, which
    are padded to the longest of them."""
    longest, read = max(map(len, prompts)), 0
    if longest == 0:
        starts = [stepping.start(predictor, capacity) for _ in prompts]
        return _joined(starts, "stack")
    state = None
    padded = np.stack([np.pad(prompt, (0, longest - len(prompt))) for prompt in prompts])
    for size, count in stepping.padded_sizes(longest):
        going_on = _going_on(prompts, read)
        numbers = list(range(len(prompts))) if going_on is None else going_on
        piece = np.pad(padded[numbers, read : read + count], ((0, 0), (0, size - count)))
        counts = np.clip([len(prompts[number]) - read for number in numbers], 0, count)
        rows = jnp.asarray(piece), jnp.asarray(counts)
        if state is None:
            state = _open_all((predictor, *rows), capacity + stepping.PADDED)
        elif going_on is None:
            state = _read_all((predictor, *rows), state)
        else:
            state = _read_some((predictor, *rows, jnp.asarray(numbers)), state)
        read += count
    return state


def _going_on(prompts: Sequence[np.ndarray], read: int) -> list[int] | None:
    """The numbers of the prompts that have more tokens than were read; None: as many as all.

    Their number is a power of two, so that few programs are compiled: where some are missing, the
    first of them is read several times, with one and the same result.
    """
    longer = [number for number, prompt in enumerate(prompts) if len(prompt) > read]
    needed = 1 << (len(longer) - 1).bit_length()
    if read == 0 or needed >= len(prompts):
        return None
    return longer + longer[:1] * (needed - len(longer))


@eqx.filter_jit
def _open_all(given: tuple[Predictor, Array, Array], capacity: int) -> State:
    predictor, tokens, counts = given
    return jax.vmap(lambda row, count: predictor.opened(row, count, capacity))(tokens, counts)


@eqx.filter_jit(donate="all-except-first")
def _read_all(given: tuple[Predictor, Array, Array], state: State) -> State:
    predictor, tokens, counts = given
    return jax.vmap(predictor.advance_first)(state, tokens, counts)


@eqx.filter_jit(donate="all-except-first")
def _read_some(given: tuple[Predictor, Array, Array, Array], state: State) -> State:
    """`_read_all` for the texts of these numbers alone."""
    predictor, tokens, counts, numbers = given
    part = jax.tree.map(lambda leaf: leaf[numbers], state)
    part = jax.vmap(predictor.advance_first)(part, tokens, counts)
    return jax.tree.map(lambda leaf, new: leaf.at[numbers].set(new), state, part)


@eqx.filter_jit
def _sample_first(sampler: Sampler, state: State) -> Int[Array, " sequence"]:
    return _sample_tokens(sampler, state, 0)


def _sample_tokens(
    sampler: Sampler, state: State, number: Int[Array, ""] | int
) -> Int[Array, " sequence"]:
    """The token of that number of each text."""

    def sample(key: Key[Array, ""], state: State) -> Int[Array, ""]:
        return sampling.sample_one(sampler._replace(key=key), state, number)

    return jax.vmap(sample)(sampler.key, state)


@eqx.filter_jit(donate="all-except-first")
def _sample_until_ended(
    wanted: Wanted, state: State
) -> tuple[State, Int[Array, "sequence time"], Int[Array, ""], Bool[Array, " sequence"]]:
    """The states before the last of the wanted tokens, these tokens, how many there are (fewer
    where all texts have ended), and which texts have ended."""
    sampler, stops, (first, most_tokens), last, ended = wanted
    step = jax.vmap(lambda state, token: stepping.step(sampler.predictor, state, token))

    def goes_on(carry: tuple) -> Array:
        _, _, count, _, ended = carry
        return (count < most_tokens) & ~jnp.all(ended)

    def sample_tokens(carry: tuple) -> tuple:
        states, tokens, count, last, ended = carry
        states = step(states, last)
        last = _sample_tokens(sampler, states, first + count)
        ended = ended | sampling.is_last(last, stops)
        return states, tokens.at[:, count].set(last), count + 1, last, ended

    tokens = jnp.zeros((len(sampler.key), TOKENS_AT_ONCE), jnp.int32)
    begin = state, tokens, jnp.array(0), last, ended
    state, tokens, count, _, ended = jax.lax.while_loop(goes_on, sample_tokens, begin)
    return state, tokens, count, ended
