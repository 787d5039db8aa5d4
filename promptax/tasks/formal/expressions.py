"""Rules of expressions with brackets (Delétang et al. 2022, Table 1).

    E  =  d  |  -d  |  (d)  |  (-d)  |  (E + E)  |  (E - E)

All expressions of one length are equally likely. (The public code first draws where an expression
is split, and then both halves; one of its options also multiplies.) The next symbol is as likely as
the share of expressions that go on with it. Behind a prefix with a brackets that wait for their
operator and b that have it, r symbols before the end, and k = r - b - 2a of them for operands, a
complete operand is followed by W_a(k) ways to go on:

    W_a(k)  =  2^a Σ_(k_1 + … + k_a = k) e(k_1) … e(k_a),        e(k) = expressions of length k

An equation is an expression in which one digit is an x. Counts are then pairs: of expressions, and
of those with an x.
"""

import abc
import functools
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from promptax.specs import check
from promptax.tasks.formal.rule import Answer, Rule, Word, check_at_least

PLUS, MINUS, OPEN, CLOSE, UNKNOWN, EQUALS = range(6)  # behind the digits
CHARACTERS = "+-()x="
MOST_EXPRESSION = 48  # symbols: single precision holds the numbers of expressions up to there

Pairs = Float[np.ndarray, "power length 2"]  # numbers of expressions, and of those with an x


@functools.lru_cache(maxsize=32)
def ways(modulus: int, longest: int) -> Pairs:
    """W_a(k) [a, k, without and with an x] for a and k up to the longest expression."""
    single = np.zeros((longest + 1, 2))
    single[1:5] = modulus, 1  # d, -d, (d), (-d); the digit may be the x
    for length in range(5, longest + 1):
        for left in range(1, length - 3):
            single[length] += 2 * _times(single[left], single[length - 3 - left])
    powers = np.zeros((longest + 1, longest + 1, 2))
    powers[0, 0] = 1, 0
    for power in range(1, longest + 1):
        for length in range(longest + 1):
            for last in range(1, length + 1):
                earlier = powers[power - 1, length - last]
                powers[power, length] += 2 * _times(earlier, single[last])
    return powers


def _times(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of pairs of expressions: none has the x, or one of them."""
    return np.array([first[0] * second[0], first[0] * second[1] + first[1] * second[0]])


class Parser(NamedTuple):
    """What is known behind a prefix of an expression.

    `waits` [depth]: which of the open brackets wait for their operator, of which `depth` count;
    `signs` [depth + 1]: the sign of what stands in each of them, the whole first; `sign`: of the
    next operand; `begins`: an operand comes next; `negated`: a digit does, behind its -; `single`:
    the last operand was a digit; `marked`: the x came; `total`: the sum of the digits, each with
    its sign; `mark`: the sign of the x.
    """

    waits: Bool[Array, " depth"]
    signs: Int[Array, " depth_and_whole"]
    depth: Int[Array, ""]
    sign: Int[Array, ""]
    begins: Bool[Array, ""]
    negated: Bool[Array, ""]
    single: Bool[Array, ""]
    marked: Bool[Array, ""]
    total: Int[Array, ""]
    mark: Int[Array, ""]


def nothing_read(length: int) -> Parser:
    """Before the first symbol."""
    zero, one, no = jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32), jnp.zeros((), bool)
    waits, signs = jnp.zeros(length + 1, bool), jnp.ones(length + 2, jnp.int32)
    return Parser(waits, signs, zero, one, ~no, no, no, no, zero, one)


def parse(parser: Parser, symbol: Int[Array, ""], modulus: int) -> Parser:
    """Read one symbol that can come."""
    kind = symbol - modulus
    is_mark = kind == UNKNOWN
    is_digit, is_open, is_close = (kind < 0) | is_mark, kind == OPEN, kind == CLOSE
    negates = (kind == MINUS) & parser.begins
    operates = ((kind == PLUS) | (kind == MINUS)) & ~parser.begins
    top = jnp.maximum(parser.depth - 1, 0)
    signed = jnp.where(parser.negated, -parser.sign, parser.sign)
    waits = parser.waits.at[top].set(jnp.where(operates, False, parser.waits[top]))
    behind = jnp.where(kind == MINUS, -1, 1) * parser.signs[parser.depth]
    depth = parser.depth + is_open - is_close
    return Parser(
        waits=waits.at[parser.depth].set(jnp.where(is_open, True, waits[parser.depth])),
        signs=parser.signs.at[parser.depth + 1].set(parser.sign),
        depth=depth,
        sign=jnp.where(operates, behind, parser.sign),
        begins=is_open | operates,
        negated=negates,
        single=is_digit,
        marked=parser.marked | is_mark,
        total=parser.total + jnp.where(is_digit & ~is_mark, signed * symbol, 0),
        mark=jnp.where(is_mark, signed, parser.mark),
    )


def ways_on(
    parser: Parser, left: Int[Array, ""], table: Float[Array, "power length 2"], modulus: int
) -> Float[Array, "2"]:
    """How many ways there are to finish a prefix with so many symbols, without an x and with it."""
    depth, top = parser.depth, parser.waits[jnp.maximum(parser.depth - 1, 0)]
    top = top & (depth > 0)
    waiting = jnp.sum(parser.waits & (jnp.arange(len(parser.waits)) < depth))

    def finished(left: Array, waiting: Array, depth: Array, operands: Array | int = 0) -> Array:
        """With complete operands behind the prefix, or that many missing ones."""
        room = left - depth - waiting  # a bracket without its operator needs two symbols
        power = waiting + operands
        fits = (room >= 0) & (waiting >= 0) & (power < len(table))
        ways = table[jnp.clip(power, 0, len(table) - 1), jnp.clip(room, 0, table.shape[1] - 1)]
        return jnp.where(fits, ways / 2.0**operands, 0.0)

    def closed_by(symbols: int) -> Array:
        """With the last bracket around one digit, after so many more symbols."""
        return jnp.where(top, finished(left - symbols, waiting - 1, depth - 1), 0.0)

    digit = jnp.array([modulus, 1.0])

    def with_digit(pair: Array) -> Array:
        return jnp.stack([pair[0] * digit[0], pair[0] * digit[1] + pair[1] * digit[0]])

    begun = finished(left, waiting, depth, 1) + with_digit(closed_by(2) + closed_by(3))
    negated = with_digit(finished(left - 1, waiting, depth) + closed_by(2))
    complete = finished(left, waiting, depth) + jnp.where(parser.single, closed_by(1), 0.0)
    return jnp.where(parser.begins, begun, jnp.where(parser.negated, negated, complete))


def can_come(parser: Parser, modulus: int, marks: bool) -> Bool[Array, " symbol"]:
    """Which symbols the grammar allows next."""
    kind = jnp.arange(modulus + len(CHARACTERS)) - modulus
    ready = parser.begins | parser.negated
    top = parser.waits[jnp.maximum(parser.depth - 1, 0)] & (parser.depth > 0)
    inside = ~ready & (parser.depth > 0)
    digit = (kind < 0) | ((kind == UNKNOWN) & marks & ~parser.marked)
    operator = ((kind == PLUS) | (kind == MINUS)) & inside & top
    close = (kind == CLOSE) & inside & (~top | parser.single)
    begin = ((kind == OPEN) | (kind == MINUS)) & parser.begins
    return (digit & ready) | operator | close | begin


class _Expressions(Rule):
    """What both rules share."""

    modulus: int = 5
    """Digits are below it, 5 in the paper; at most 10."""

    most_places: ClassVar[int] = MOST_EXPRESSION

    def __check_init__(self) -> None:
        check(2 <= self.modulus <= 10, f"Expected a modulus from 2 to 10; got {self.modulus}.")

    @property
    def word_symbols(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.modulus + len(CHARACTERS)

    @property
    def answer_symbols(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.modulus

    def read(self, word: Word, count: Int[Array, ""] | int) -> Parser:
        """The first symbols of a word, as far as they are an expression."""

        def step(parser: Parser, given: tuple[Array, Array]) -> tuple[Parser, None]:
            symbol, place = given
            after = parse(parser, symbol, self.modulus)
            kept = jax.tree.map(lambda new, old: jnp.where(place < count, new, old), after, parser)
            return kept, None

        return jax.lax.scan(step, nothing_read(len(word)), (word, jnp.arange(len(word))))[0]

    def shares(
        self, word: Word, place: Int[Array, ""], length: int, marks: bool
    ) -> Float[Array, " symbol"]:
        """The share of expressions of that length that go on with each symbol, given the prefix."""
        parser = self.read(word, place)
        table = jnp.asarray(ways(self.modulus, length), jnp.zeros(()).dtype)
        symbols = jnp.arange(self.word_symbols)

        def count(symbol: Array) -> Array:
            after = parse(parser, symbol, self.modulus)
            pair = ways_on(after, length - 1 - place, table, self.modulus)
            return jnp.where(after.marked | (not marks), pair[0], pair[1])

        counts = jnp.where(can_come(parser, self.modulus, marks), jax.vmap(count)(symbols), 0.0)
        total = jnp.sum(counts)
        return counts / jnp.where(total > 0, total, 1.0)

    @abc.abstractmethod
    def texts(self, length: int) -> tuple[str, ...]:
        """All words of that length as people write them; all are equally likely."""

    def words(self, length: int) -> Iterable[tuple[int, ...]]:
        characters = "".join(map(str, range(self.modulus))) + CHARACTERS
        return (tuple(map(characters.index, text)) for text in self.texts(length))

    def weigh(self, word: tuple[int, ...]) -> float:
        texts = self.texts(len(word))
        return (self.in_characters(word) in texts) / len(texts)

    def in_characters(self, word: tuple[int, ...]) -> str:
        """A word as people write it, in plain Python."""
        return "".join(
            str(symbol) if symbol < self.modulus else CHARACTERS[symbol - self.modulus]
            for symbol in word
        )


@functools.lru_cache(maxsize=64)
def all_expressions(modulus: int, length: int) -> tuple[str, ...]:
    """Every expression of that length, by the grammar, in plain Python."""
    digits = [str(digit) for digit in range(modulus)]
    if length <= 4:
        signed = digits if length % 2 else [f"-{digit}" for digit in digits]
        return tuple(signed if length <= 2 else [f"({text})" for text in signed])
    return tuple(
        f"({first}{operator}{second})"
        for left in range(1, length - 3)
        for first in all_expressions(modulus, left)
        for operator in "+-"
        for second in all_expressions(modulus, length - 3 - left)
    )


@functools.lru_cache(maxsize=64)
def all_equations(modulus: int, length: int) -> tuple[str, ...]:
    """Every expression with an x in place of a digit, =, and a digit, in plain Python."""
    marked = {
        f"{text[:place]}x{text[place + 1 :]}"
        for text in all_expressions(modulus, length - 2)
        for place, character in enumerate(text)
        if character.isdigit()
    }
    return tuple(f"{text}={digit}" for text in sorted(marked) for digit in range(modulus))


class ModularArithmeticBrackets(_Expressions):
    """The value of an expression modulo `modulus`. Symbols: the digits, then + - ( ) x and =, of
    which the last two never come."""

    def chances(self, word: Word, place: Int[Array, ""]) -> Float[Array, " symbol"]:
        return self.shares(word, place, len(word), marks=False)

    def answer(self, word: Word) -> Answer:
        return self.read(word, len(word)).total[None] % self.modulus

    def texts(self, length: int) -> tuple[str, ...]:
        return all_expressions(self.modulus, length)

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        return (value_of(self.in_characters(word)) % self.modulus,)


class SolveEquation(_Expressions):
    """An expression in which one digit is an x, =, and a digit: which digit must x be, modulo
    `modulus`? All expressions with an x are equally likely, and so are all digits behind the =.
    Symbols: the digits, then + - ( ) x and =."""

    def refuse(self, length: int) -> str:
        return check_at_least(length, 3)

    def chances(self, word: Word, place: Int[Array, ""]) -> Float[Array, " symbol"]:
        symbols, length = jnp.arange(self.word_symbols), len(word) - 2
        shares = self.shares(word, jnp.minimum(place, length - 1), length, marks=True)
        equals = (symbols == self.modulus + EQUALS).astype(shares.dtype)
        digits = jnp.where(symbols < self.modulus, 1 / self.modulus, 0.0)
        return jnp.where(place < length, shares, jnp.where(place == length, equals, digits))

    def answer(self, word: Word) -> Answer:
        parser = self.read(word, len(word) - 2)
        return (parser.mark * (word[-1] - parser.total))[None] % self.modulus

    def texts(self, length: int) -> tuple[str, ...]:
        return all_equations(self.modulus, length)

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        left, right = self.in_characters(word).split("=")
        for digit in range(self.modulus):
            value = value_of(left.replace("x", str(digit)))
            if (value - int(right)) % self.modulus == 0:
                return (digit,)
        raise AssertionError("a sum in which x has the sign 1 or -1 takes every value")


def value_of(text: str) -> int:
    """The value of an expression, in plain Python, by its grammar."""
    value, rest = _value_and_rest(text)
    assert rest == "", rest
    return value


def _value_and_rest(text: str) -> tuple[int, str]:
    if text[0] == "-":
        return -int(text[1]), text[2:]
    if text[0] != "(":
        return int(text[0]), text[1:]
    left, text = _value_and_rest(text[1:])
    if text[0] == ")":
        return left, text[1:]
    operator = text[0]
    right, text = _value_and_rest(text[1:])
    return (left + right if operator == "+" else left - right), text[1:]
