"""A predictor as a compressor: lossless, and as short as its log loss (Delétang et al. 2024).

Every token's interval comes from the predictor's probabilities, and an arithmetic coder makes bytes
of the intervals (`arithmetic_coding`). Both directions run one and the same compiled program, from
a state of the same capacity: probabilities computed in another way differ in their last bits, and
one bit is enough to lose the rest of the text. The program looks at given tokens, many in a call,
or looks for the token at a given point, one in a call, since the coder has to move in between.

Probabilities become whole numbers that sum to 2^30:

    width  =  floor(p S / M) + 1 where p > 0,  0 where p = 0,    S = (2^30 - symbols) (1 - 2^-18)
    M  =  Σ (floor(2^29 p) + 1) / 2^29

and what is missing from 2^30 goes to the most probable symbol. M is the mass, which rounding keeps
from 1, from above and summed in whole numbers; with the last factor of S, which outweighs rounding
in float32, something is always missing. However improbable, a possible symbol costs at most 30
bits, and no symbol more than log2(2^30 M / S) above -log2 p: 2e-4 bits with 49,152 symbols.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from promptax.axes import Tokens
from promptax.doors import door
from promptax.progress import as_callbacks
from promptax.protocol.predictor import Predictor, State, check_most_inputs
from promptax.specs import check
from promptax.streaming import stepping
from promptax.streaming.arithmetic_coding import TOTAL, Decoder, Encoder
from promptax.streaming.stepping import Row

MAGIC, VERSION = b"ptax", 1
MOST_CONTEXT = 2**31 - 1
MOST_SYMBOLS = 1 << 22  # so that S is close to 2^30
MOST_TOKENS = 2**31 - 1  # years of decoding
MOST_BYTES_OF_NUMBER = 10  # 64 bits, 7 in a byte
TOKENS_AT_ONCE = 64  # given tokens in one call, and between two reports of progress
GIVEN = -1  # in place of a point
UNUSABLE = -1  # in place of a width

Progress = Callable[[int, int], Any]
"""Is told how many symbols are done, and of how many."""
HostTokens = Int[np.ndarray, " time"]
Given = Int[Array, " time"] | HostTokens
Pair = Int[Array, "two"] | Int[np.ndarray, "two"]
Widths = Int[Array, " symbol"]


@door
def compress(
    predictor: Predictor,
    tokens: Any,
    *,
    context: int | None = None,
    callbacks: Iterable[Progress] = (),
) -> bytes:
    """The tokens as bytes, from which `decompress` makes them again.

    Args:
        tokens: whole numbers [time].
        context: how many tokens to read before the state starts afresh (None: never), for
            predictors of limited length. Memory, and time for attention, follow it.
        callbacks: called as callback(done, total).

    Raises:
        TypeError, ValueError: no single predictor, or tokens outside its alphabet, before any
            compute; a token to which the predictor gives probability zero.
        FloatingPointError: the predictor's probabilities are no distribution.

    The bytes are those of `code_length`, with a header of about 20 bytes. To decompress them takes
    the same predictor, bit for bit, on the same kind of device, with the same versions of JAX and
    of promptax; a checksum tells.

    Example: `compress(coins.bayes(), [1, 1, 1, 0])`.
    """
    predictor, callbacks = _checked(predictor), as_callbacks(callbacks)
    tokens = stepping.whole_numbers(predictor, tokens)
    _check_context(context)
    encoder, done = Encoder(), 0
    for part, state in _parts(predictor, tokens, context):
        for at in range(0, len(part), TOKENS_AT_ONCE):
            piece = part[at : at + TOKENS_AT_ONCE]
            padded = np.pad(piece, (0, TOKENS_AT_ONCE - len(piece)))
            state, rows = _code((predictor, padded, np.array([len(piece), GIVEN])), state)
            for token, low, width in np.asarray(rows)[: len(piece)].tolist():
                _check_width(width, done, token)
                encoder.write(low, width)
                done += 1
            for callback in callbacks:
                callback(done, len(tokens))
    return _packed(Header.of(tokens, predictor.symbols, context), encoder.finish())


@door
def decompress(
    predictor: Predictor,
    data: bytes | bytearray | memoryview,
    *,
    callbacks: Iterable[Progress] = (),
) -> Tokens:
    """The tokens [time] that `compress` made bytes of, with the same predictor. `callbacks` are
    called as callback(done, total).

    Raises:
        TypeError, ValueError: no single predictor; data that are foreign, cut off or damaged, or of
            another alphabet, before any compute; and another predictor.
    """
    predictor, callbacks = _checked(predictor), as_callbacks(callbacks)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(
            f"Expected bytes that promptax.compress made; got {type(data).__name__}. Read files as "
            "bytes: Path(name).read_bytes()."
        )
    header, payload = _unpacked(bytes(data))
    check(
        header.symbols == predictor.symbols,
        f"Expected the predictor that compressed these data, over {header.symbols} symbols; got "
        f"one over {predictor.symbols}.",
    )
    tokens, decoder, done = np.zeros(header.tokens, np.int32), Decoder(payload), 0
    nothing = jnp.zeros(TOKENS_AT_ONCE, jnp.int32)
    for part, state in _parts(predictor, tokens, header.context or None):
        for _ in part:
            point = decoder.point()
            check(point < TOTAL, _ANOTHER)
            state, rows = _code((predictor, nothing, np.array([1, point])), state)
            token, low, width = np.asarray(rows)[0].tolist()
            _check_width(width, done, token)
            decoder.read(low, width)
            tokens[done] = token
            done += 1
            for callback in callbacks:
                callback(done, len(tokens))
    check(zlib.crc32(_as_bytes(tokens)) == header.checksum, _ANOTHER)
    return jnp.asarray(tokens)


@door
def code_length(predictor: Predictor, tokens: Any, *, context: int | None = None) -> float:
    """The predictor's log loss on the tokens [time] in bits, Σ -log2 p: what `compress` needs for
    them, without its header. Infinite if one of them has probability zero.

    Raises:
        TypeError: no single predictor, or one without an alphabet.
        ValueError: one of its numbers is NaN; tokens that are no whole numbers [time] of its
            alphabet; a context below 1; or more tokens at a time than it was trained to read.
    """
    predictor = stepping.ready(predictor)
    tokens = stepping.whole_numbers(predictor, tokens)
    _check_context(context)
    nats = 0.0
    for part, state in _parts(predictor, tokens, context):
        nats -= float(np.sum(stepping.score(predictor, state, part)[1], dtype=np.float64))
    return nats / math.log(2)


def _check_context(context: int | None) -> None:
    """Complain about a context that nobody can read, or that the header could not say."""
    check(
        context is None or 1 <= context <= MOST_CONTEXT,
        f"Expected a context of at least 1; got {context}."
        if context is not None and context < 1
        else f"Expected a context of at most {MOST_CONTEXT:,} tokens; got {context}.",
    )


def _checked(predictor: Predictor) -> Predictor:
    predictor = stepping.ready(predictor)
    check(
        predictor.symbols <= MOST_SYMBOLS,
        f"Expected an alphabet of at most {MOST_SYMBOLS} symbols; got {predictor.symbols}.",
    )
    return predictor


def _parts(
    predictor: Predictor, tokens: HostTokens, context: int | None
) -> Iterator[tuple[HostTokens, State]]:
    """Cut the tokens where the state starts afresh. Yields each part and the state before it.

    Both directions use this, so that they have states of the same capacity.
    """
    size = context or max(1, len(tokens))
    remedy = "Give context=, at most so many, after which the model starts afresh."
    check_most_inputs(predictor, min(size, len(tokens)), remedy=remedy)
    room = stepping.room_for(min(size, len(tokens)))
    for at in range(0, len(tokens), size):
        yield tokens[at : at + size], stepping.start(predictor, room)


# --- from probabilities to intervals --------------------------------------------------------


def widths(log_probs: Row) -> tuple[Widths, Array]:
    """Widths of the intervals [symbol], which sum to TOTAL, and whether the row sums to 1.

    `log_probs`: nats [symbol]. The module gives the formula.
    """
    symbols = len(log_probs)
    chances = jnp.exp(log_probs)
    usable = jnp.abs(jnp.sum(chances) - 1) < 0.01
    half = TOTAL // 2
    mass = jnp.sum(jnp.floor(chances * half).astype(jnp.int32) + 1) / half
    scale = (TOTAL - symbols) * (1 - 2**-18)
    counts = jnp.floor(chances / mass * scale).astype(jnp.int32) + (log_probs > -jnp.inf)
    missing = TOTAL - jnp.sum(counts)
    return counts.at[jnp.argmax(log_probs)].add(missing.astype(counts.dtype)), usable


@eqx.filter_jit(donate="all-except-first")
def _code(
    given: tuple[Predictor, Given, Pair], state: State
) -> tuple[State, Int[Array, "time three"]]:
    """Code `count` tokens: the given ones, or the one whose interval holds the point.

    Returns the state after them, and a row for each: token, lower end and width of its interval.
    """
    predictor, tokens, (count, point) = given

    def code_token(carry: tuple) -> tuple:
        state, rows, done = carry
        intervals, usable = widths(stepping.upcoming(predictor, state))
        ends = jnp.cumsum(intervals)
        symbol = jnp.searchsorted(ends, point, side="right").astype(jnp.int32)
        token = jnp.where(point == GIVEN, tokens[done], jnp.minimum(symbol, len(ends) - 1))
        width = intervals[token]
        row = jnp.stack([token, ends[token] - width, jnp.where(usable, width, UNUSABLE)])
        return (
            stepping.step(predictor, state, token),
            rows.at[done].set(row.astype(rows.dtype)),
            done + 1,
        )

    begin = state, jnp.zeros((TOKENS_AT_ONCE, 3), jnp.int32), jnp.array(0)
    return jax.lax.while_loop(lambda carry: carry[2] < count, code_token, begin)[:2]


def _check_width(width: int, index: int, token: int) -> None:
    if width == UNUSABLE:
        raise FloatingPointError(
            f"Expected probabilities that sum to 1 for token {index} (counted from 0); got others, "
            "or none (NaN). Weights that diverged do this: look at the fit's `diverged`."
        )
    check(
        width > 0,
        f"Expected tokens that the predictor holds possible; token {index} (counted from 0), the "
        f"symbol {token}, has probability zero there. Compress with a predictor that excludes "
        "nothing, such as a network or a mixture with one.",
    )


# --- bytes ----------------------------------------------------------------------------------


class Header(NamedTuple):
    """What a compressed file says before its code begins.

    `context` is 0 where the model never starts afresh; `checksum` is that of the tokens."""

    tokens: int
    symbols: int
    context: int
    checksum: int

    @classmethod
    def of(cls, tokens: HostTokens, symbols: int, context: int | None) -> "Header":
        return cls(len(tokens), symbols, context or 0, zlib.crc32(_as_bytes(tokens)))


_ANOTHER = (
    "Expected the predictor that compressed these data; decoding with the one given does not lead "
    "to their checksum. Use the same weights, prompt and numbers, the same version of JAX and of "
    "promptax, and the same kind of device: the last bit counts."
)


def _as_bytes(tokens: HostTokens) -> bytes:
    return tokens.astype("<u4").tobytes()


def _packed(header: Header, payload: bytes) -> bytes:
    """MAGIC, VERSION, a checksum of the rest, the header as numbers of 7 bits a byte, the code."""
    content = b"".join(map(_number, header)) + payload
    return MAGIC + bytes([VERSION]) + zlib.crc32(content).to_bytes(4, "big") + content


def _number(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low]) if high == 0 else bytes([low | 128]) + _number(high)


def _unpacked(data: bytes) -> tuple[Header, bytes]:
    start, version, checksum, content = data[:4], data[4:5], data[5:9], data[9:]
    check(
        start == MAGIC,
        f"Expected bytes that promptax.compress made, which begin with {MAGIC!r}; got {start!r}.",
    )
    check(
        version == bytes([VERSION]),
        f"Expected data of version {VERSION}; got {version[0] if version else 'none'}. Use the "
        "version of promptax that compressed them.",
    )
    check(
        zlib.crc32(content).to_bytes(4, "big") == checksum,
        "Expected data as promptax.compress made them; got others, cut off or damaged (their "
        "checksum differs). Copy them again, as bytes.",
    )
    numbers, at = [], 0
    for _ in Header._fields:
        places = range(at, min(at + MOST_BYTES_OF_NUMBER, len(content)))
        end = next((place for place in places if content[place] < 128), None)
        if end is None:
            raise ValueError(
                "Expected four numbers before the code; got fewer. Copy the data again."
            )
        bits = ((byte & 127) << 7 * place for place, byte in enumerate(content[at : end + 1]))
        numbers.append(sum(bits))
        at = end + 1
    header = Header(*numbers)
    check(
        header.tokens <= MOST_TOKENS,
        f"Expected at most {MOST_TOKENS:,} tokens; the data say that they hold {header.tokens:,}. "
        "They were not made by promptax.compress.",
    )
    return header, content[at:]
