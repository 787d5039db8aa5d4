"""Rules that a machine with finitely many states can follow (Delétang et al. 2022, Table 1)."""

import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.specs import check
from promptax.tasks.formal.rule import Answer, Rule, Word

MOST_MODULUS = 1024  # products of two digits are far below 2^31
PLUS, MINUS, TIMES = 0, 1, 2  # behind the digits


class EvenPairs(Rule):
    """Is the number of neighbours 01 and 10 even (0) or odd (1)? Words are binary."""

    def answer(self, word: Word) -> Answer:
        return (word[:1] + word[-1:]) % 2  # neighbours differ as often as first and last say

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        return (sum(a != b for a, b in itertools.pairwise(word)) % 2,)


class ParityCheck(Rule):
    """Is the number of ones even (0) or odd (1)? Words are binary."""

    def answer(self, word: Word) -> Answer:
        return jnp.sum(word, keepdims=True) % 2

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        return (word.count(1) % 2,)


class CycleNavigation(Rule):
    """Where on a circle of `circle` places do the moves lead, from place 0? Symbols 0, 1 and 2 are
    a step back, none, and a step on."""

    circle: int = 5
    """Places on the circle, 5 in the paper; at least 3."""

    word_symbols: ClassVar[int] = 3

    def __check_init__(self) -> None:
        check(self.circle >= 3, f"Expected a circle of at least 3 places; got {self.circle}.")

    @property
    def answer_symbols(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.circle

    def answer(self, word: Word) -> Answer:
        return jnp.sum(word - 1, keepdims=True) % self.circle

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        place = 0
        for move in word:
            place = (place + (-1, 0, 1)[move]) % self.circle
        return (place,)


class ModularArithmetic(Rule):
    """The value of digits with +, - and * between them, modulo `modulus`; * goes first. Words have
    an odd length. Symbols: the digits, then +, - and *."""

    modulus: int = 5
    """Digits are below it, 5 in the paper."""

    def __check_init__(self) -> None:
        check(
            2 <= self.modulus <= MOST_MODULUS,
            f"Expected a modulus from 2 to {MOST_MODULUS:,}; got {self.modulus}.",
        )

    @property
    def word_symbols(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.modulus + 3

    @property
    def answer_symbols(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.modulus

    def refuse(self, length: int) -> str:
        return (
            "" if length % 2 else f"words of an odd length, digits around operators; got {length}"
        )

    def chances(self, word: Word, place: Int[Array, ""]) -> Float[Array, " symbol"]:
        is_digit = jnp.arange(self.word_symbols) < self.modulus
        operators = jnp.where(is_digit, 0.0, 1 / 3)
        return jnp.where(place % 2 == 0, jnp.where(is_digit, 1 / self.modulus, 0.0), operators)

    def answer(self, word: Word) -> Answer:
        def add(sums: tuple[Array, Array], pair: tuple[Array, Array]) -> tuple[tuple, None]:
            total, product = sums  # of what is done, and of what is being multiplied
            operator, digit = pair
            multiplies = operator == self.modulus + TIMES
            signed = jnp.where(operator == self.modulus + MINUS, -digit, digit)
            total = jnp.where(multiplies, total, total + product) % self.modulus
            return (total, jnp.where(multiplies, product * digit, signed) % self.modulus), None

        pairs = word[1::2], word[2::2]
        total, product = jax.lax.scan(add, (jnp.zeros_like(word[0]), word[0]), pairs)[0]
        return (total + product)[None] % self.modulus

    def weigh(self, word: tuple[int, ...]) -> float:
        digits, operators = word[::2], word[1::2]
        fits = max(digits) < self.modulus and min(operators, default=self.modulus) >= self.modulus
        return fits * self.modulus ** -len(digits) * 3.0 ** -len(operators)

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        signs = {self.modulus + PLUS: "+", self.modulus + MINUS: "-", self.modulus + TIMES: "*"}
        terms, sign = [[word[0]]], [1]
        for operator, digit in zip(word[1::2], word[2::2], strict=True):
            if signs[operator] == "*":
                terms[-1].append(digit)
            else:
                terms.append([digit])
                sign.append(1 if signs[operator] == "+" else -1)
        value = 0
        for factors, direction in zip(terms, sign, strict=True):
            product = direction
            for factor in factors:
                product *= factor
            value += product
        return (value % self.modulus,)
