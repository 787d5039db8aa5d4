"""Sampling from any predictor, one token at a time: to read what it believes, or to talk to it.

The filters, in the order in which they apply, each to what the one before left, renormalised:

    temperature   p ∝ p^(1 / temperature); 0 is greedy: the most probable symbol
    top_k         the k most probable symbols
    top_p         the fewest most probable symbols whose mass reaches p: the nucleus (Holtzman et
                  al. 2020)
    typical_p     the fewest symbols, those first whose surprise -log p is closest to the entropy,
                  whose mass reaches p: locally typical sampling (Meister et al. 2023)

Nothing is sorted: with 49,152 symbols a sort takes a CPU as long as reading a token does. The worst
symbol that is kept is found by bisection instead, exactly, in 32 sums over the alphabet.

One compiled program samples the first token, another up to 64 or a single one of those after it, so
that a stream equals the same text made at once, and other lengths, temperatures, stops and keys
compile nothing. A token is read only when another follows it.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypedDict, Unpack

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.axes import AnyKey, Tokens
from promptax.checks import as_numbers
from promptax.doors import door
from promptax.protocol.predictor import Predictor, State, check_most_inputs
from promptax.specs import as_key, check, check_whole_numbers
from promptax.streaming import stepping
from promptax.streaming.stepping import Row

MOST_TOKENS = 2**26  # of one text
TOKENS_AT_ONCE = 64  # tokens in one call

Number = float | int | Float[Array, ""] | Int[Array, ""]
Pair = Int[Array, "two"] | Int[np.ndarray, "two"]
Filters = dict[str, Array]


class Sampler(NamedTuple):
    """What samples a token: `predictor`, the texts' keys, `key` [*text], and the `filters` that are
    on, by name."""

    predictor: Predictor
    key: Key[Array, "*text"]
    filters: Filters


class Wanted(NamedTuple):
    """The tokens that are sampled next.

    `stops` [symbol]: what ends a text. `span`: the first token's number after the prompt, and how
    many at most. `last` [*text]: the token before it, which was not read yet. `ended` [*text]:
    whether a text has had its last token.
    """

    sampler: Sampler
    stops: Bool[Array, " symbol"]
    span: Pair
    last: Int[Array, "*text"]
    ended: Bool[Array, "*text"]


class Picking(TypedDict, total=False):
    """How tokens are picked: `temperature`, `top_k`, `top_p`, `typical_p` and `stop`, the settings
    of `generate`, which says what each means."""

    temperature: float
    top_k: int | None
    top_p: float | None
    typical_p: float | None
    stop: Iterable[int]


@door
def generate(
    key: AnyKey,
    predictor: Predictor,
    length: int,
    prompt: Any = None,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    typical_p: float | None = None,
    stop: Iterable[int] = (),
) -> Tokens:
    """Sample the tokens [time] that follow a prompt.

    Args:
        length: how many tokens; fewer where one of `stop` comes, which is then the last.
        prompt: tokens [prompt] to read first, which are not in the result.
        temperature: divides log probabilities; 0 is greedy.
        top_k: keeps that many most probable symbols.
        top_p: keeps the most probable symbols that hold this much together (the module says how).
        typical_p: keeps the most typical symbols that hold this much together.
        stop: tokens that end the text.

    Raises:
        TypeError, ValueError: no single predictor, or settings out of range; before any compute.
        FloatingPointError: the predictor's log probabilities are not numbers.

    Example: `generate(jax.random.key(0), coins.bayes(), 10, prompt=[1, 1, 1])`.
    """
    picking: Picking = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "typical_p": typical_p,
        "stop": stop,
    }
    pieces = _pieces(key, predictor, length, prompt, TOKENS_AT_ONCE, picking)
    return jnp.asarray(np.concatenate([np.zeros(0, np.int32), *pieces]))


@door
def stream(
    key: AnyKey,
    predictor: Predictor,
    length: int,
    prompt: Any = None,
    **picking: Unpack[Picking],
) -> Iterator[int]:
    """Yield the tokens of `generate`, one by one, as soon as they are known.

    `picking`: temperature, top_k, top_p, typical_p and stop, as `generate` takes them. Everything
    is checked at once, before the first token is asked for.
    """
    pieces = _pieces(key, predictor, length, prompt, 1, picking)
    return (int(token) for piece in pieces for token in piece)


# --- which symbols may come -----------------------------------------------------------------


def filtered(
    log_probs: Row,
    *,
    temperature: Number = 1.0,
    top_k: Number | None = None,
    top_p: Number | None = None,
    typical_p: Number | None = None,
) -> Row:
    """Log probabilities [symbol] after the filters, nats; they sum to 1. None: a filter is off.

    Pure; the numbers may be traced. Of equally good symbols the first are kept.
    """
    left = _at_temperature(log_probs, temperature)
    if top_k is not None:
        left = _only(left, _fewest(left, jnp.ones_like(left), jnp.maximum(top_k, 1)))
    if top_p is not None:
        left = _only(left, _fewest(left, jnp.exp(left), _mass(top_p)))
    if typical_p is not None:
        chances = jnp.exp(left)
        entropy = -jnp.sum(jnp.where(chances > 0, chances * left, 0.0))
        left = _only(left, _fewest(-jnp.abs(left + entropy), chances, _mass(typical_p)))
    return left


def _at_temperature(log_probs: Row, temperature: Number) -> Row:
    """p^(1 / temperature), normalised; the first of the most probable symbols at 0."""
    best = jnp.argmax(log_probs)
    below = log_probs - log_probs[best]
    tempered = jax.nn.log_softmax(below / jnp.where(temperature > 0, temperature, 1.0))
    greedy = jnp.where(jnp.arange(len(log_probs)) == best, 0.0, -jnp.inf)
    return jnp.where(temperature > 0, tempered, greedy)


def _mass(needed: Number) -> Array:
    """All of it is more than any sum: rounding must not cut the last symbols off."""
    return jnp.where(needed < 1, needed, jnp.inf)


def _only(log_probs: Row, kept: Bool[Array, " symbol"]) -> Row:
    return jax.nn.log_softmax(jnp.where(kept, log_probs, -jnp.inf))


def _fewest(goodness: Row, weights: Row, needed: Number | Array) -> Bool[Array, " symbol"]:
    """The fewest symbols, best first, whose weights reach `needed`; all if they never do.

    Floats are in the order of their bits, which are found here from the highest to the lowest:
    the largest threshold above which weights still reach what is needed.
    """
    bits = jax.lax.bitcast_convert_type(goodness.astype(jnp.float32), jnp.uint32)
    top = jnp.uint32(1 << 31)
    ranks = jnp.where(bits < top, bits | top, ~bits)  # whole numbers in the order of the floats

    def bit(index: Array | int, threshold: Array) -> Array:
        higher = threshold | (top >> jnp.asarray(index, jnp.uint32))
        reached = jnp.sum(jnp.where(ranks >= higher, weights, 0.0)) >= needed
        return jnp.where(reached, higher, threshold)

    threshold = jax.lax.fori_loop(0, 32, bit, jnp.uint32(0))
    better, equal = ranks > threshold, ranks == threshold
    reached = jnp.sum(jnp.where(better, weights, 0.0))
    equals = jnp.where(equal, weights, 0.0)
    return better | (equal & (reached + jnp.cumsum(equals) - equals < needed))


# --- one token after the other --------------------------------------------------------------


def _pieces(
    key: AnyKey,
    predictor: Predictor,
    length: int,
    prompt: Any,
    at_once: int,
    picking: Picking,
) -> Iterator[np.ndarray]:
    """Check everything now. What is returned samples `at_once` tokens whenever it is asked."""
    filters = filters_of(picking)
    predictor, key = stepping.ready(predictor), as_key(key)
    check_length(length)
    tokens = stepping.whole_numbers(predictor, [] if prompt is None else prompt)
    check_fits(predictor, len(tokens), length)
    stops = stops_of(predictor, picking)

    def sample_pieces() -> Iterator[np.ndarray]:
        room = stepping.room_for(len(tokens) + length)
        state = stepping.after(predictor, room, tokens)
        first, sampler, ends = 0, Sampler(predictor, key, filters), jnp.asarray(stops)
        while first < length:
            if first == 0:
                piece = np.asarray(sample_one(sampler, state))[None]
            else:
                span = np.array([first, min(at_once, length - first)])
                last = jnp.array(piece[-1])
                wanted = Wanted(sampler, ends, span, last, jnp.array(False))
                state, sampled, count = _sample(wanted, state)
                piece = np.asarray(sampled)[: int(count)]
            check_sampled(piece[-1], first + len(piece) - 1)
            yield piece
            first += len(piece)
            if stops[piece[-1]]:
                return

    return sample_pieces()


@eqx.filter_jit
def sample_one(sampler: Sampler, state: State, number: Int[Array, ""] | int = 0) -> Int[Array, ""]:
    """The token of that number after the prompt; -1: no numbers to sample from."""
    predictor, key, filters = sampler
    log_probs = stepping.upcoming(predictor, state)
    left = filtered(log_probs, **filters)
    chosen = jax.random.categorical(jax.random.fold_in(key, number), left).astype(jnp.int32)
    return jnp.where(jnp.isnan(jnp.max(log_probs)), -1, chosen)


@eqx.filter_jit(donate="all-except-first")
def _sample(wanted: Wanted, state: State) -> tuple[State, Int[Array, " time"], Array]:
    """The state before the last of the wanted tokens, these tokens (-1: no numbers to sample from),
    and how many there are: fewer behind a stop."""
    sampler, stops, (first, most_tokens), last, ended = wanted

    def goes_on(carry: tuple) -> Array:
        _, _, count, _, ended = carry
        return (count < most_tokens) & ~ended

    def sample_token(carry: tuple) -> tuple:
        state, tokens, count, last, _ = carry
        state = stepping.step(sampler.predictor, state, last)
        last = sample_one(sampler, state, first + count)
        return state, tokens.at[count].set(last), count + 1, last, is_last(last, stops)

    begin = state, jnp.zeros(TOKENS_AT_ONCE, jnp.int32), jnp.array(0), last, ended
    return jax.lax.while_loop(goes_on, sample_token, begin)[:3]


def is_last(token: Array, stops: Bool[Array, " symbol"]) -> Array:
    """Whether a text ends with this token: a stop, or no number to sample from."""
    return (token < 0) | stops[token]


def check_fits(predictor: Predictor, prompt: int, length: int, whose: str = "the prompt") -> None:
    """Complain where a prompt of so many tokens and what is sampled are more than the predictor was
    trained to read; the token that is sampled last is not read. `whose`: which prompt it is."""
    check_most_inputs(
        predictor,
        prompt + max(length - 1, 0),
        f": {prompt:,} of {whose} and {max(length - 1, 0):,} of the {length:,} to sample, the last "
        "of which is not read",
        "Ask for a smaller length, or give a shorter prompt.",
    )


def check_length(length: int) -> None:
    """Complain about a number of tokens that nobody can sample."""
    check_whole_numbers(length=length)
    check(length >= 0, f"Expected a length of at least 0 tokens; got {length}.")
    check(
        length <= MOST_TOKENS,
        f"Expected a length of at most {MOST_TOKENS:,} tokens; got {length:,}. Generate what "
        "follows in pieces, each behind the one before.",
    )


def stops_of(predictor: Predictor, picking: Picking) -> Bool[np.ndarray, " symbol"]:
    """Which symbols end a text.

    Raises:
        TypeError: no series of tokens.
        ValueError: what is in it is no token of the alphabet.
    """
    stops = np.zeros(predictor.symbols, bool)
    stops[stepping.whole_numbers(predictor, as_stop(picking))] = True
    return stops


def as_stop(picking: Picking) -> list[Any]:
    """The setting `stop` as a list.

    Raises:
        TypeError: no series of tokens.
    """
    stop = picking.get("stop", ())
    is_series = isinstance(stop, Iterable) and not isinstance(stop, str | bytes | Mapping)
    if not is_series or (isinstance(stop, jax.Array | np.ndarray) and stop.ndim == 0):
        raise TypeError(
            "Expected a list of tokens as stop, each of which ends the text, such as [1]; got "
            f"{stop!r:.60}."
        )
    return [np.asarray(token).tolist() for token in stop]


def check_sampled(token: int | np.integer, number: int, whose: str = "") -> None:
    """Complain where there were no numbers to sample from: a token of -1.

    Args:
        number: the token's, counted from the prompt.
        whose: which prompt's text it is, where there are several.
    """
    if token < 0:
        raise FloatingPointError(
            f"Expected log probabilities of token {number} after the prompt{whose}; got numbers "
            "that are not numbers (NaN). Weights that diverged do this: look at the fit's "
            "`diverged`, or load other weights."
        )


MOST_TEMPERATURE, LEAST_MASS = 2.0**126, 2.0**-126
"""Beyond these float32 holds 0 for one of them, or for its inverse."""


def filters_of(picking: Picking) -> Filters:
    """The filters that are on, as data, after a look at their names and numbers.

    Raises:
        TypeError: a setting that is none of `Picking`, or no number.
        ValueError: a number out of range.
    """
    for name in picking:
        if name not in Picking.__annotations__:
            alike = difflib.get_close_matches(name, Picking.__annotations__, 1)
            meant = f" Did you mean {alike[0]}?" if alike else ""
            raise TypeError(
                f"Expected settings among {', '.join(Picking.__annotations__)}; got {name}.{meant}"
            )
    temperature, top_k = picking.get("temperature", 1.0), picking.get("top_k")
    top_p, typical_p = picking.get("top_p"), picking.get("typical_p")
    numbers = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "typical_p": typical_p}
    for name, number in numbers.items():  # a generator is behind no door, which would name them
        is_one = number is None or as_numbers(name, number).ndim == 0
        is_one = is_one and not isinstance(number, bool | np.bool_)
        check(is_one, f"Expected one number as {name}; got {number!r:.60}.")
    check(
        0 <= temperature <= MOST_TEMPERATURE,
        "Expected a temperature of at least 0 (0: greedy, 1: as predicted), at most "
        f"{MOST_TEMPERATURE:.3g}; got {temperature}.",
    )
    check_whole_numbers(top_k=top_k)
    check(top_k is None or top_k >= 1, f"Expected top_k of at least 1, or None; got {top_k}.")
    for name, mass in (("top_p", top_p), ("typical_p", typical_p)):
        check(
            mass is None or LEAST_MASS <= mass <= 1,  # less is 0 in float32
            f"Expected {name} above 0 and at most 1, or None; got {mass}.",
        )
    return {
        name: jnp.asarray(value, jnp.float32)
        for name, value in numbers.items()
        if value is not None
    }
