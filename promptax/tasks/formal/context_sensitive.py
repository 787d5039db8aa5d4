"""Rules that need a memory to go back and forth in (Delétang et al. 2022, Table 1)."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from promptax.specs import check
from promptax.tasks.formal.rule import (
    Answer,
    Rule,
    TerminatedRule,
    Word,
    check_at_least,
    terminated,
)

MOST_KINDS = 1024
HOLE, PADDING = 2, 3  # of MissingDuplicate
OPERATOR = 2  # of two binary numbers


class DuplicateString(Rule):
    """The word twice. Words are binary."""

    def answer_length(self, length: int) -> int:
        return 2 * length

    def answer(self, word: Word) -> Answer:
        return jnp.tile(word, 2)

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        return word + word


class OddsFirst(Rule):
    """The symbols at places 1, 3, 5, … , counted from 0, then those at 0, 2, 4, …: as the public
    code has it. Words are binary."""

    def answer_length(self, length: int) -> int:
        return length

    def answer(self, word: Word) -> Answer:
        return jnp.concatenate([word[1::2], word[::2]])

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        odd = [symbol for place, symbol in enumerate(word) if place % 2]
        return (*odd, *[symbol for place, symbol in enumerate(word) if place % 2 == 0])


class BucketSort(Rule):
    """The symbols in their order."""

    kinds: int = 5
    """How many symbols there are, 5 in the paper."""

    def __check_init__(self) -> None:
        check(
            2 <= self.kinds <= MOST_KINDS,
            f"Expected from 2 to {MOST_KINDS:,} kinds; got {self.kinds}.",
        )

    @property
    def word_symbols(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.kinds

    @property
    def answer_symbols(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.kinds

    def answer_length(self, length: int) -> int:
        return length

    def answer(self, word: Word) -> Answer:
        return jnp.sort(word)

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(kind for kind in range(self.kinds) for _ in range(word.count(kind)))


class MissingDuplicate(Rule):
    """A binary word comes twice, with one symbol of the two copies hidden behind a 2: which? All
    places are equally likely to be hidden. A word of odd length ends with a 3, which means nothing.
    """

    word_symbols: ClassVar[int] = 4

    def refuse(self, length: int) -> str:
        return check_at_least(length, 2)

    def chances(self, word: Word, place: Int[Array, ""]) -> Float[Array, " symbol"]:
        half = len(word) // 2
        before = jnp.arange(len(word)) < place
        hidden = jnp.any(before & (word == HOLE))
        hides = jnp.where(hidden, 0.0, 1 / jnp.maximum(2 * half - place, 1))
        twin = word[jnp.maximum(place - half, 0)]
        is_free = (place < half) | (twin == HOLE)
        shown = jnp.where(is_free, 0.5, jnp.arange(2) == twin) * (1 - hides)
        chances = jnp.concatenate([shown, hides[None], jnp.zeros(1)])
        return jnp.where(place < 2 * half, chances, jnp.arange(4) == PADDING)

    def answer(self, word: Word) -> Answer:
        half = len(word) // 2
        hole = jnp.argmax(word[: 2 * half] == HOLE)
        return word[(hole + half) % (2 * half)][None]

    def weigh(self, word: tuple[int, ...]) -> float:
        half = len(word) // 2
        first, second, end = word[:half], word[half : 2 * half], word[2 * half :]
        pairs = list(zip(first, second, strict=True))
        holes = sum(pair.count(HOLE) for pair in pairs)
        equal = all(a == b or HOLE in (a, b) for a, b in pairs)
        fits = holes == 1 and equal and PADDING not in first + second
        return fits * (end == (PADDING,) * (len(word) % 2)) * 0.5**half / (2 * half)

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        half = len(word) // 2
        pair = next(pair for pair in zip(word, word[half:], strict=False) if HOLE in pair)
        return (min(pair),)


class TwoNumbers(TerminatedRule):
    """What rules of two binary numbers share. A word is a number, the symbol 2 and another number,
    the least digit first; the 2 stands at any place but the first and the last, all equally likely,
    and digits are independent. (In the public code no number is 0.)"""

    word_symbols: ClassVar[int] = 3

    def refuse(self, length: int) -> str:
        return check_at_least(length, 3)

    def chances(self, word: Word, place: Int[Array, ""]) -> Float[Array, " symbol"]:
        came = jnp.any((jnp.arange(len(word)) < place) & (word == OPERATOR))
        left = len(word) - 1 - place  # places that the operator may still have
        comes = jnp.where(came | (place == 0), 0.0, 1 / jnp.maximum(left, 1))
        return jnp.stack([(1 - comes) / 2, (1 - comes) / 2, comes])

    def numbers(self, word: Word) -> tuple[Word, Word]:
        """The digits of both, with zeros behind them, as many as the word has."""
        places, operator = jnp.arange(len(word)), jnp.argmax(word == OPERATOR)
        first = jnp.where(places < operator, word, 0)
        behind = operator + 1 + places
        second = jnp.where(behind < len(word), word[jnp.minimum(behind, len(word) - 1)], 0)
        return first, second

    def weigh(self, word: tuple[int, ...]) -> float:
        inside = word[1:-1].count(OPERATOR) == word.count(OPERATOR) == 1
        return inside * 0.5 ** (len(word) - 1) / (len(word) - 2)

    def numbers_of(self, word: tuple[int, ...]) -> tuple[int, int]:
        """Both, in plain Python."""
        operator = word.index(OPERATOR)
        first, second = (
            sum(digit << place for place, digit in enumerate(digits))
            for digits in (word[:operator], word[operator + 1 :])
        )
        return first, second


def digits_of(number: int) -> list[int]:
    """The binary digits, the least first; those of 0 are one 0."""
    return [int(digit) for digit in reversed(f"{number:b}")]


def with_carries(sums: Int[Array, " place"]) -> Int[Array, " place"]:
    """Binary digits of Σ_i sums_i 2^i, as many as there are sums."""

    def carry(carried: Array, digit: Array) -> tuple[Array, Array]:
        total = carried + digit
        return total // 2, total % 2

    return jax.lax.scan(carry, jnp.zeros_like(sums[0]), sums)[1]


def ended(digits: Int[Array, " place"], length: int) -> Answer:
    """Digits up to the last 1, their end, and zeros behind it."""
    places = jnp.arange(length)
    digits = jnp.pad(digits, (0, max(0, length - len(digits))))[:length]
    count = jnp.maximum(jnp.max(jnp.where(digits == 1, places, 0)) + 1, 1)
    return jnp.where(places == count, 2, jnp.where(places < count, digits, 0))


class BinaryAddition(TwoNumbers):
    """The sum of two numbers, the least digit first."""

    def answer_length(self, length: int) -> int:
        return length + 1

    def answer(self, word: Word) -> Answer:
        first, second = self.numbers(word)
        return ended(with_carries(first + second), len(word) + 1)

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        first, second = self.numbers_of(word)
        return terminated(digits_of(first + second), len(word) + 1)


class BinaryMultiplication(TwoNumbers):
    """The product of two numbers, the least digit first."""

    def answer_length(self, length: int) -> int:
        return length

    def answer(self, word: Word) -> Answer:
        first, second = self.numbers(word)
        sums = jnp.convolve(first, second)[: len(word)]  # digits of the product, before carries
        return ended(with_carries(sums.astype(word.dtype)), len(word))

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        first, second = self.numbers_of(word)
        return terminated(digits_of(first * second), len(word))


class ComputeSqrt(Rule):
    """The root of a binary number, rounded down; the greatest digit first, in both. All numbers are
    equally likely (in the public code 0 is none of them)."""

    def answer_length(self, length: int) -> int:
        return math.ceil(length / 2)

    def answer(self, word: Word) -> Answer:
        """Digit by digit, two of the word for each: the remainder R becomes 4 R + pair, and the
        root Q one digit longer, a 1 if 4 Q + 1 can be taken off."""
        pairs = jnp.pad(word, (len(word) % 2, 0)).reshape(-1, 2)
        width = len(pairs) + 3  # R ≤ 2 Q, the least digit first
        nothing = jnp.zeros(width, word.dtype)

        def step(state: tuple[Array, Array], pair: Array) -> tuple[tuple, Array]:
            remainder, root = state
            remainder = jnp.concatenate([pair[::-1], remainder[:-2]])
            trial = jnp.concatenate([jnp.array([1, 0], word.dtype), root[:-2]])
            less, fits = _minus(remainder, trial)
            digit = fits.astype(word.dtype)
            root = jnp.concatenate([digit[None], root[:-1]])
            return (jnp.where(fits, less, remainder), root), digit

        return jax.lax.scan(step, (nothing, nothing), pairs)[1]

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        root = math.isqrt(sum(digit << place for place, digit in enumerate(reversed(word))))
        width = self.answer_length(len(word))
        return tuple(int(digit) for digit in f"{root:0{width}b}")


def _minus(
    first: Int[Array, " place"], second: Int[Array, " place"]
) -> tuple[Int[Array, " place"], Bool[Array, ""]]:
    """The digits of a difference, and whether it is no less than 0; the least digit first."""

    def borrow(borrowed: Array, digits: tuple[Array, Array]) -> tuple[Array, Array]:
        difference = digits[0] - digits[1] - borrowed
        return (difference < 0).astype(difference.dtype), difference % 2

    owed, digits = jax.lax.scan(borrow, jnp.zeros_like(first[0]), (first, second))
    return digits, owed == 0
