"""Rules for which a stack suffices (Delétang et al. 2022, Table 1); those of brackets are in
`expressions`."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax.tasks.formal.rule import (
    Answer,
    Rule,
    TerminatedRule,
    Word,
    check_at_least,
    terminated,
)

POP, PUSH_0, PUSH_1 = 2, 3, 4


class ReverseString(Rule):
    """The word from its end to its beginning. Words are binary."""

    def answer_length(self, length: int) -> int:
        return length

    def answer(self, word: Word) -> Answer:
        return word[::-1]

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(reversed(word))


class StackManipulation(TerminatedRule):
    """A stack of bits, its bottom first, and then what to do with it: 2 takes the top away, if
    there is one, 3 puts a 0 on it and 4 a 1. The answer is the stack at the end, its top first.

    How many bits there are is uniform, from 1 to one less than the word has symbols; bits and
    actions are independent and uniform.
    """

    word_symbols: ClassVar[int] = 5

    def refuse(self, length: int) -> str:
        return check_at_least(length, 2)

    def answer_length(self, length: int) -> int:
        return length + 1

    def chances(self, word: Word, place: Int[Array, ""]) -> Float[Array, " symbol"]:
        acted = jnp.any((jnp.arange(len(word)) < place) & (word >= POP))
        first_acts = jnp.where(place == 0, 0.0, 1 / (len(word) - place))
        acts = jnp.where(acted, 1.0, first_acts)
        return jnp.where(jnp.arange(5) < POP, (1 - acts) / 2, acts / 3)

    def answer(self, word: Word) -> Answer:
        def act(state: tuple[Array, Array], symbol: Array) -> tuple[tuple, None]:
            stack, height = state
            value = jnp.where(symbol > POP, symbol - PUSH_0, symbol)
            stack = stack.at[height].set(value)  # above the top where a symbol is taken away
            height = jnp.where(symbol == POP, jnp.maximum(height - 1, 0), height + 1)
            return (stack, height), None

        start = jnp.zeros(len(word) + 1, word.dtype), jnp.zeros((), word.dtype)
        stack, height = jax.lax.scan(act, start, word)[0]
        places = jnp.arange(len(word) + 1)
        symbols = stack[jnp.maximum(height - 1 - places, 0)]
        return jnp.where(places < height, symbols, jnp.where(places == height, 2, 0))

    def weigh(self, word: tuple[int, ...]) -> float:
        bits = next((place for place, symbol in enumerate(word) if symbol >= POP), len(word))
        fits = 0 < bits < len(word) and min(word[bits:]) >= POP
        return fits * 0.5**bits * 3.0 ** -(len(word) - bits) / (len(word) - 1)

    def solve(self, word: tuple[int, ...]) -> tuple[int, ...]:
        stack = []
        for symbol in word:
            if symbol != POP:
                stack.append(symbol if symbol < POP else symbol - PUSH_0)
            elif stack:
                stack.pop()
        return terminated(stack[::-1], len(word) + 1)
