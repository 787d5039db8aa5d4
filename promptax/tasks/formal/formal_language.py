"""Words and what a rule answers to them, one after the other: tasks of the Chomsky hierarchy.

Delétang et al. 2022, "Neural Networks and the Chomsky Hierarchy" (arXiv 2207.02098), ask which
networks learn rules of which class, and go on beyond the lengths that they were trained on. Their
fifteen rules are members of `promptax.tasks.formal.rule.Rule`. Sequences are laid out as by
Grau-Moya et al. 2024 (arXiv 2401.14953): `word . answer : word . answer : …`.
"""

import functools
from typing import Annotated, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.exchangeable import uniform_if
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.specs import argument, check
from promptax.tasks.base import Task, draw
from promptax.tasks.formal.regular import ParityCheck
from promptax.tasks.formal.rule import Rule
from promptax.tasks.markov.contexts import check_whole, only_tokens


class FormalLanguage(Task):
    """Examples of a rule: a word of `word_length` symbols, a dot, the answer, a colon, and so on
    with the next word, until the sequence ends.

    *Symbols*: those of words and answers from 0 on, as the rule numbers them, then the dot, then
    the colon. Words are independent. *Scored* are the answers alone: a rule whose answers differ in
    length pads them, and then they are scored up to their end.

    The oracle knows all words, and loses nothing. `bayes()` knows the rule, not the next word: what
    it says of answers is certain. So its loss on the scored steps is 0, and a network's loss there
    is its regret.

    Words of several lengths are a `Mixture` of these tasks.

    Example: `FormalLanguage(ReverseString(), word_length=3)`: 1 1 0 . 0 1 1 : 0 1 0 . 0 1 0 : …
    """

    rule: Annotated[Rule, argument(Rule)] = eqx.field(default=ParityCheck(), static=True)
    """What is answered."""
    word_length: int = 5
    """How many symbols every word has."""

    def __check_init__(self) -> None:
        check_whole("a word_length", self.word_length, 1, "1 symbol is the shortest word.")
        wrong = self.rule.refuse(self.word_length)
        check(wrong == "", f"Expected of {type(self.rule).__name__} {wrong}.")
        check(
            self.word_length <= self.rule.most_places,
            f"Expected words of at most {self.rule.most_places} symbols of "
            f"{type(self.rule).__name__}; got {self.word_length}.",
        )

    @property
    def symbols(self) -> int:
        return self.dot + 2

    @property
    def dot(self) -> int:
        """The symbol between word and answer; the colon behind the answer is the next one."""
        return max(self.rule.word_symbols, self.rule.answer_symbols)

    @property
    def example_length(self) -> int:
        """Steps from one word to the next."""
        return self.word_length + self.rule.answer_length(self.word_length) + 2

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        count = -(-length // self.example_length)
        words = jax.vmap(self._draw_word)(jax.random.split(key, count))
        tokens = jax.vmap(self._example)(words).reshape(-1)[:length]
        scored = jax.vmap(self._scored)(words).reshape(-1)[:length]
        return Episode(tokens, latent=tokens, scored=scored)

    def _draw_word(self, key: Key[Array, ""]) -> Int[Array, " place"]:
        def step(word: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
            key, place = given
            symbol = draw(key, self.rule.chances(word, place), 1)[0]
            return word.at[place].set(symbol), None

        places = jnp.arange(self.word_length)
        keys = jax.random.split(key, self.word_length)
        nothing = jnp.zeros(self.word_length, jnp.int32)
        return jax.lax.scan(step, nothing, (keys, places))[0]

    def _example(self, word: Int[Array, " place"]) -> Tokens:
        dot = jnp.full(1, self.dot, jnp.int32)
        answer = self.rule.answer(word).astype(jnp.int32)
        return jnp.concatenate([word, dot, answer, dot + 1])

    def _scored(self, word: Int[Array, " place"]) -> Bool[Array, " time"]:
        counts = self.rule.counts(self.rule.answer(word))
        return jnp.pad(counts, (self.word_length + 1, 1))

    def oracle(self, latent: Tokens, inputs: Tokens) -> LogProbs:
        """Log probabilities [time, symbol]: 0 for what comes."""
        coming = latent[: len(inputs), None] == jnp.arange(self.symbols)
        return jnp.where(coming, 0.0, -jnp.inf)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return jnp.zeros(length)

    def bayes(self) -> "RulePosterior":
        return RulePosterior(self)

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """The sum over all words, by the rule's plain Python, of each example by itself, nats."""
        weights, examples = _all_examples(self.rule, self.word_length, self.dot)
        total = jnp.zeros(())
        for start in range(0, len(tokens), self.example_length):
            part = tokens[start : start + self.example_length]
            begins = jnp.all(examples[:, : len(part)] == part, axis=1)
            total += jnp.log(jnp.sum(jnp.where(begins, weights.astype(total.dtype), 0.0)))
        return total

    @classmethod
    def examples(cls) -> "tuple[FormalLanguage, ...]":
        return (cls(word_length=2),)


@functools.lru_cache(maxsize=32)
def _all_examples(
    rule: Rule, length: int, dot: int
) -> tuple[Float[np.ndarray, " word"], Int[np.ndarray, "word time"]]:
    """The probability of every word, and its example."""
    weights = {word: rule.weigh(word) for word in rule.words(length)}
    possible = [word for word, weight in weights.items() if weight > 0]
    examples = [(*word, dot, *rule.solve(word), dot + 1) for word in possible]
    return np.array([weights[word] for word in possible]), np.array(examples, np.int32)


class Within(NamedTuple):
    """The belief: the word so far, with zeros behind it, until its answer is given; the place in
    the example; and whether what was read is possible at all."""

    word: Int[Array, " place"]
    place: Int[Array, ""]
    possible: Bool[Array, ""]


class RulePosterior(Predictor):
    """Knows the rule: certain of answers, dots and colons; of words it says how likely they are.
    After what no example of the rule is, all symbols are equally likely."""

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    language: FormalLanguage

    @property
    def symbols(self) -> int:
        return self.language.symbols

    def start(self, capacity: int | None = None) -> Within:
        del capacity  # the state never grows
        word = jnp.zeros(self.language.word_length, jnp.int32)
        return Within(word, jnp.zeros((), jnp.int32), jnp.ones((), bool))

    def advance(self, state: Within, inputs: Inputs) -> tuple[Within, Prediction]:
        state, log_probs = jax.lax.scan(self._step, state, only_tokens(inputs))
        return state, Prediction(log_probs)

    def _step(self, state: Within, token: Int[Array, ""]) -> tuple[Within, Array]:
        language, length = self.language, self.language.word_length
        chances = language.rule.chances(state.word, state.place)
        chances = jnp.pad(chances, (0, self.symbols - len(chances)))
        certain = language._example(state.word)[state.place] == jnp.arange(self.symbols)
        row = jnp.where(state.place < length, chances, certain)
        log_probs = uniform_if(~state.possible, jnp.log(row))
        in_word = (jnp.arange(length) == state.place) & state.possible
        word = jnp.where(in_word, token.astype(jnp.int32), state.word)
        ends = state.place == language.example_length - 1
        possible = state.possible & (row[token] > 0)
        place = jnp.where(ends | ~possible, 0, state.place + 1)
        word = jnp.where(ends | ~possible, 0, word)
        return Within(word, place, possible), log_probs

    def reading_bytes(self, rows: int) -> int:
        return 8 * rows * self.symbols
