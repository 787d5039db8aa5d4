"""The held-out inputs of a word task, read by any predictor behind any demonstrations.

Demonstrations are read once, and all inputs from the state after them. What is scored is the answer
alone, never what separates it from the next pair.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from promptax.language.texts import Texts
from promptax.language.tokenizer import SMOLLM2, Tokenizer
from promptax.language.word_tasks.pairs import Pair, Split, WordTask
from promptax.protocol.predictor import Predictor, State
from promptax.specs import Spec, check
from promptax.streaming import stepping

CONTENT_FREE = "N/A"  # Zhao et al. 2021, section 5
MOST_INPUTS = 16  # training inputs that are read for a class prior
INPUTS_AT_ONCE = 16  # a hundred rows keep two cores busy


class Format(Spec):
    """How a pair is written: "France → Paris" and a new line."""

    between: str = " →"
    """After the input; the answer follows behind a space."""
    after: str = "\n"
    """Between a demonstration and what comes next."""

    def prompt(self, given: str) -> str:
        """All before the answer."""
        return f"{given}{self.between}"

    def completion(self, answer: str) -> str:
        """The answer, which is scored."""
        return f" {answer}"

    def shown(self, pairs: Sequence[Pair]) -> str:
        """Demonstrations, to be read before an input."""
        return "".join(
            f"{self.prompt(pair.given)}{self.completion(pair.answer)}{self.after}" for pair in pairs
        )


class Scores(NamedTuple):
    """How well the held-out inputs were answered."""

    log_loss: Float[np.ndarray, " sequence"]
    """−log p(answer | input), in nats, over the whole alphabet."""
    correct: Bool[np.ndarray, " sequence"]
    """Whether the right label is the likeliest; without labels, whether every token of the answer
    is."""
    label_log_probs: Float[np.ndarray, "row label"] | None
    """Of tasks with labels: of the held-out inputs, of the content-free one, and of some training
    inputs."""


class Exam:
    """The held-out inputs of a word task as tokens: judges any predictor of the same alphabet."""

    def __init__(
        self,
        task: WordTask,
        split: Split,
        tokenizer: str = SMOLLM2,
        format: Format = Format(),
    ) -> None:
        self.task, self.split, self.format, self.name = task, split, format, tokenizer
        self.tokenizer = Tokenizer.named(tokenizer)
        asked = split.held_out
        if task.labels:
            others = [CONTENT_FREE, *(pair.given for pair in split.training[:MOST_INPUTS])]
            inputs = [pair.given for pair in asked] + others
            asked = [Pair(given, label) for given in inputs for label in task.labels]
        self.rows = self.texts(asked)

    def texts(self, pairs: Sequence[Pair]) -> Texts:
        """Pairs as prompts and completions, without demonstrations: what a tuner tunes to."""
        written = [
            {
                "prompt": self.format.prompt(pair.given),
                "completion": self.format.completion(pair.answer),
            }
            for pair in pairs
        ]
        return Texts(sequences=written, tokenizer=self.name, end=False)

    def tokens(self, pairs: Sequence[Pair]) -> Int[np.ndarray, " time"]:
        """Demonstrations as tokens."""
        return self.tokenizer.encode(self.format.shown(pairs))

    def room(self, shots: int) -> int:
        """Rows of memory for so many of the longest demonstrations and an input."""
        longest = max((len(self.tokens([pair])) for pair in self.split.demonstrations), default=0)
        return stepping.room_for((shots + 1) * longest + self.rows.longest)

    def judge(
        self, predictor: Predictor, demonstrations: Sequence[Pair] = (), *, room: int | None = None
    ) -> Scores:
        """How well it answers behind the demonstrations. `room`: rows of memory; the same number
        for several calls compiles once."""
        predictor = stepping.ready(predictor)
        check(
            predictor.symbols == self.rows.symbols,
            f"Expected a predictor over the tokenizer's {self.rows.symbols} symbols; got "
            f"{predictor.symbols}. Name its own tokenizer.",
        )
        room = room or self.room(len(demonstrations))
        state = stepping.after(predictor, room, self.tokens(demonstrations))
        with jax.default_matmul_precision("float32"):  # accelerators round otherwise
            pieces = _score_pieces(predictor, state, *self._pieces())
        count = len(self.rows.sequences)
        log_probs, greedy = (np.asarray(values).reshape(-1)[:count] for values in pieces)
        if not self.task.labels:
            return Scores(-log_probs, greedy, None)
        by_label = log_probs.reshape(-1, len(self.task.labels))
        held_out = by_label[: len(self.split.held_out)]
        right = self.right
        log_loss = -np.take_along_axis(held_out, right[:, None], axis=1)[:, 0]
        return Scores(log_loss, held_out.argmax(axis=1) == right, by_label)

    @property
    def right(self) -> Int[np.ndarray, " sequence"]:
        """The place of each held-out answer among the labels."""
        return np.array([self.task.labels.index(pair.answer) for pair in self.split.held_out])

    def _pieces(self) -> tuple[Array, Array]:
        """Tokens and what of them is scored [piece, sequence, time], the last piece filled up."""
        rows, lengths = np.asarray(self.rows.sequences), np.asarray(self.rows.prompt_lengths)
        scored = (rows >= 0) & (np.arange(rows.shape[1]) >= lengths[:, None])
        size = min(INPUTS_AT_ONCE, len(rows))
        missing = [(0, -len(rows) % size), (0, 0)]
        shape = -1, size, rows.shape[1]

        def pieces(array: np.ndarray) -> Array:
            return jnp.asarray(np.pad(array, missing).reshape(shape))

        return pieces(np.maximum(rows, 0)), pieces(scored)


@eqx.filter_jit
def _score_pieces(
    predictor: Predictor,
    state: State,
    tokens: Int[Array, "piece sequence time"],
    scored: Bool[Array, "piece sequence time"],
) -> tuple[Float[Array, "piece sequence"], Bool[Array, "piece sequence"]]:
    """Log probability in nats of what is scored, and whether each token of it is the likeliest."""

    def read(piece: tuple[Array, Array]) -> tuple[Array, Array]:
        tokens, scored = piece
        _, prediction = predictor.advance_batch(state, tokens)
        rows = prediction.log_probs
        log_probs = jnp.take_along_axis(rows, tokens[..., None], axis=-1)[..., 0]
        log_prob = jnp.sum(jnp.where(scored, log_probs, 0.0), axis=-1)
        is_likeliest = jnp.argmax(rows, axis=-1) == tokens
        return log_prob, jnp.all(is_likeliest | ~scored, axis=-1)

    return jax.lax.map(read, (tokens, scored))
