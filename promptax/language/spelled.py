"""A predictor over a few symbols, made of a network over many: each symbol is a word, spelled in
tokens of the network.

With w_s the word of symbol s, w_s1 its first token, and o the opening,

    p(s | s_1 … s_t) = P(w_s1 | o w_{s_1} … w_{s_t}) / Σ_r P(w_r1 | o w_{s_1} … w_{s_t})

The network's prediction at a word's first token says which word comes, restricted to the symbols'
words and normalised; first tokens differ, and all words are of one length. So a language model can
be asked about coins: prompts, tuners, tasks and measures see a predictor over two symbols. Of the
unembedding only the columns of the first tokens are multiplied.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from promptax.predictors.base import Architecture, Network, NetworkState, Reading
from promptax.predictors.llama import Llama
from promptax.predictors.torso import Torso
from promptax.protocol.outcomes import Outcome, Symbols, as_outcome
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import Embedded, Inputs, KeyValues, rows_in
from promptax.protocol.prompted import Wrapper
from promptax.specs import check

Word = Sequence[int]
"""The tokens of one word, in their order."""


def spelled(network: Network, words: Sequence[Word], opening: Word = ()) -> "Spelled":
    """The network as a predictor over one symbol for each word.

    Args:
        network: over a larger alphabet.
        words: the tokens of each symbol, equally many, the first ones all different.
        opening: tokens that stand before the sequence, after the network's begin token.

    Raises:
        ValueError: words that cannot be told apart by their first token, or that the network has
            no tokens for.
    """
    check_words(words, opening, network.symbols)
    return Spelled(network, jnp.array(words, jnp.int32), jnp.array(opening, jnp.int32))


def check_words(words: Sequence[Word], opening: Word, alphabet: int) -> None:
    """Complain about words that do not make a predictor."""
    lengths = {len(word) for word in words}
    check(
        len(words) >= 2 and len(lengths) == 1 and min(lengths) >= 1,
        "Expected at least 2 words, all of one number of tokens; got "
        f"{', '.join(map(str, map(list, words))) or 'none'}. Choose words that the tokenizer cuts "
        "alike.",
    )
    first = [word[0] for word in words]
    check(
        len(set(first)) == len(first),
        f"Expected words whose first tokens differ; got {', '.join(map(str, map(list, words)))}. "
        "Put what they begin with at the end of each, and into the opening.",
    )
    every = [*opening, *(token for word in words for token in word)]
    check(
        min(every) >= 0 and max(every) < alphabet,
        f"Expected tokens from 0 to {alphabet - 1}; got {min(every)} to {max(every)}. The network "
        f"has an alphabet of {alphabet} symbols.",
    )


class Spelled(Wrapper):
    """A network over many symbols as a predictor over a few; `spelled` makes and checks it.

    `words` [symbol, piece]: the tokens that spell each symbol; `opening` [time]: those that stand
    before the first one.

    Prompts enter as they do in the network: embedding rows, and tokens spelled out, after the
    opening; keys and values before the begin token. Internal states are those after a word's last
    token.
    """

    predictor: Network  # pyright: ignore[reportIncompatibleVariableOverride]
    words: Int[Array, "symbol piece"]
    opening: Int[Array, " time"]

    @property
    def symbols(self) -> int:
        return self.words.shape[0]

    @property
    def outcome(self) -> Outcome:
        return Symbols(self.symbols)

    @property
    def pieces(self) -> int:
        """How many tokens a word has."""
        return self.words.shape[1]

    def most_inputs(self, behind: tuple[Inputs, ...] = ()) -> int | None:
        left = self.predictor.most_inputs((self.opening,))
        read = sum(rows_in(inputs) * self._tokens_of_a_row(inputs) for inputs in behind)
        return None if left is None else (left - read) // self.pieces

    def start(self, capacity: int | None = None) -> NetworkState:
        return self.begin(self.blank(capacity))

    def blank(self, capacity: int | None = None) -> NetworkState:
        room = None if capacity is None else capacity * self.pieces + self.opening.shape[0]
        return self.predictor.blank(room)

    def begin(self, state: NetworkState) -> NetworkState:
        state = self.predictor.begin(state)
        return self.predictor.read(state, self.opening).state if self.opening.shape[0] else state

    def advance(self, state: NetworkState, inputs: Inputs) -> tuple[NetworkState, Prediction]:
        tokens, word_length = self._spelled_out(inputs)
        return self._predict(self.predictor.read(state, tokens), word_length)

    def advance_batch(self, state: NetworkState, inputs: Inputs) -> tuple[NetworkState, Prediction]:
        tokens, word_length = self._spelled_out(inputs)
        return self._predict(self.predictor.read_batch(state, tokens), word_length)

    def _tokens_of_a_row(self, inputs: Inputs) -> int:
        """How many rows the network reads for each row of the inputs: a word's tokens for symbols
        and weights over them, 1 for rows of its own."""
        if isinstance(inputs, Embedded | KeyValues):
            return 1
        are_symbols = jnp.issubdtype(inputs.dtype, jnp.integer) or inputs.shape[-1] == self.symbols
        return self.pieces if are_symbols else 1

    def _spelled_out(self, inputs: Inputs) -> tuple[Inputs, int]:
        """The tokens that the network reads, and how many of its rows stand for one symbol."""
        if isinstance(inputs, Embedded | KeyValues):
            return inputs, 1
        if jnp.issubdtype(inputs.dtype, jnp.integer):
            *batch, time = inputs.shape
            return self.words[inputs].reshape(*batch, time * self.pieces), self.pieces
        *batch, time, width = inputs.shape
        if width != self.symbols:
            return Embedded(inputs), 1
        table = self.predictor.embed(self.words.reshape(-1)).reshape(self.symbols, -1)
        rows = (inputs @ table).reshape(*batch, time * self.pieces, -1)
        return Embedded(rows), self.pieces

    def _predict(self, reading: Reading, word_length: int) -> tuple[NetworkState, Prediction]:
        before = reading.before[..., ::word_length, :]
        logits = self.predictor.out.part(self.words[:, 0])(before)
        after = {
            name: rows[..., word_length - 1 :: word_length, :]
            for name, rows in reading.internals.items()
        }
        return reading.state, Prediction(jax.nn.log_softmax(logits), after)

    def reading_bytes(self, rows: int) -> int:
        return self.predictor.reading_bytes(rows * self.pieces)

    def reading_operations(self, rows: int) -> float:
        return self.predictor.reading_operations(rows * self.pieces)

    def micro_batch(self, batch: int, length: int) -> int:
        return self.predictor.micro_batch(batch, length * self.pieces)

    def prompts_at_once(self, prompts: int, sequences: int, length: int) -> int:
        return self.predictor.prompts_at_once(prompts, sequences, length * self.pieces)

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        ends = self.predictor.reading_lengths(length * self.pieces)
        return tuple(sorted({-(-end // self.pieces) for end in ends}))


class SpelledNetwork(Architecture):
    """An untrained network over a larger alphabet that is asked about words of it alone: what
    `LanguageModel` is with trained weights, at any size."""

    network: Architecture = Llama()
    """The network inside."""
    alphabet: int = 16
    """Its number of symbols."""
    words: tuple[tuple[int, ...], ...] = ((2,), (3,))
    """The tokens of each outcome, equally many; the first ones differ."""
    opening: tuple[int, ...] = ()
    """Tokens that stand before every sequence."""

    def __check_init__(self) -> None:
        check_words(self.words, self.opening, self.alphabet)

    @classmethod
    def examples(cls) -> "tuple[SpelledNetwork, ...]":
        return ()  # what it builds is no Network, whose laws the contracts are; see test_spelled

    def embedding_width(self) -> int:
        return self.network.embedding_width()

    def output_width(self) -> int:
        return self.network.output_width()

    def torso(self, key: Key[Array, ""]) -> Torso:
        return self.network.torso(key)

    def build(self, key: Key[Array, ""], outcome: Outcome | int) -> Spelled:
        outcome = as_outcome(outcome)
        check(
            outcome == Symbols(len(self.words)),
            f"Expected a word for each of {outcome.words()}; got {len(self.words)} words.",
        )
        return spelled(self.network.build(key, self.alphabet), self.words, self.opening)
