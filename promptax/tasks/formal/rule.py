"""A rule: which words there are, and what is answered to each."""

import abc
import itertools
from collections.abc import Iterable
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from promptax.specs import Spec, check

Word = Int[Array, " place"]
Answer = Int[Array, " answer_place"]
MOST_PLACES = 1024


class Rule(Spec, open_as="rule", default="ParityCheck"):
    """Words of one length, each with its probability, and the answer to each.

    A member owes, with the symbols of words and answers numbered from 0:

    - `word_symbols` and `answer_symbols`: how many there are;
    - `chances(word, place)`: how likely each symbol comes next. What is drawn and what is predicted
      both follow from it;
    - `answer(word)`, and `answer_length(length)` unless it is 1;
    - `weigh(word)` and `solve(word)`: the same in plain Python, for whole words. They are what the
      rule means, and judge the fast ones.

    Optional: `refuse(length)`, where not every length has words; `counts(answer)`, where an answer
    is shorter than its place; `words(length)`, where few of all are words; `most_places`.
    """

    most_places: ClassVar[int] = MOST_PLACES

    word_symbols: ClassVar[int] = 2
    answer_symbols: ClassVar[int] = 2

    def refuse(self, length: int) -> str:
        """What is wrong with words of that length; "" if nothing is."""
        del length
        return ""

    def answer_length(self, length: int) -> int:
        """How many symbols the answer to a word of that length has."""
        del length
        return 1

    def chances(self, word: Word, place: Int[Array, ""]) -> Float[Array, " symbol"]:
        """The probability of each symbol at a place, given those before it; the others are not
        looked at. All are equally likely unless a member says otherwise."""
        del word, place
        return jnp.full(self.word_symbols, 1 / self.word_symbols)

    @abc.abstractmethod
    def answer(self, word: Word) -> Answer:
        """The answer to a word."""

    def counts(self, answer: Answer) -> Bool[Array, " answer_place"]:
        """Which symbols of the answer are scored: all."""
        return jnp.ones(answer.shape, bool)

    def words(self, length: int) -> Iterable[tuple[int, ...]]:
        """All words of that length, and maybe others that weigh 0, in plain Python."""
        return itertools.product(range(self.word_symbols), repeat=length)

    def weigh(self, word: tuple[int, ...]) -> float:
        """The probability of a whole word, in plain Python; 0 where it is none."""
        return self.word_symbols ** -len(word)

    @abc.abstractmethod
    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        """The answer to a word, in plain Python."""


class TerminatedRule(Rule):
    """A rule whose answers differ in length: behind an answer comes the symbol 2, its end, and then
    0 up to the place of the longest. They are scored up to the end."""

    answer_symbols: ClassVar[int] = 3

    def counts(self, answer: Answer) -> Bool[Array, " answer_place"]:
        ended = jnp.cumsum(answer == 2)
        return ended - (answer == 2) == 0


def terminated(symbols: list[int], length: int) -> tuple[int, ...]:
    """An answer, its end, and zeros behind it, in plain Python."""
    check(len(symbols) < length, f"Expected fewer than {length} symbols; got {len(symbols)}.")
    return (*symbols, 2, *[0] * (length - len(symbols) - 1))


def check_at_least(length: int, least: int) -> str:
    """What is wrong with a length, for `Rule.refuse`."""
    return "" if length >= least else f"words of at least {least} symbols; got {length}"
