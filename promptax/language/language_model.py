"""A trained language model as an architecture: its weights are there, its symbols are words.

What is said of a network, pretrain, steer, measure, can so be said of a language model: an
`Experiment` names it by plain fields, and pretraining of zero steps leaves it as it is.
"""

import functools
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
from jax.core import eval_context
from jaxtyping import Array, Key

from promptax import files
from promptax.checks import as_tuple
from promptax.formats import fetch
from promptax.language.spelled import Spelled, spelled
from promptax.language.tokenizer import SMOLLM2, Tokenizer
from promptax.predictors.base import Architecture, Network
from promptax.predictors.llama import Llama
from promptax.predictors.torso import Torso
from promptax.protocol.outcomes import Outcome, Symbols, as_outcome
from promptax.specs import check


class LanguageModel(Architecture):
    """A language model with its trained weights, as a predictor over a few words (`spelled`).

    The weights are read once and shared by all that is built from them in a process.
    """

    weights: str = SMOLLM2
    """"smollm2", a folder in the Hugging Face format, or a GGUF file."""
    words: tuple[str, ...] = eqx.field(default=(" H", " T"), converter=as_tuple)
    """The text of each outcome; all have equally many tokens, the first ones differ."""
    opening: str = ""
    """Text that stands before every sequence, after the model's begin token."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights and rows; log probabilities are float32."""

    def __check_init__(self) -> None:
        check(
            len(self.words) >= 2 and all(self.words),
            f"Expected at least 2 words, none empty; got {self.words}.",
        )

    @classmethod
    def examples(cls) -> "tuple[LanguageModel, ...]":
        return ()  # its weights are not everywhere; see test_spelled

    @property
    def trained(self) -> bool:
        return True

    def embedding_width(self) -> int:
        return self._network().embedding_width

    def output_width(self) -> int:
        return self._network().architecture.output_width()

    def torso(self, key: Key[Array, ""]) -> Torso:
        del key
        return self._network().torso

    def begin_token(self) -> int | None:
        return self._network().architecture.begin_token()

    def build(self, key: Key[Array, ""], outcome: Outcome | int) -> Spelled:
        """The model over the words; the key plays no part.

        Raises:
            FileNotFoundError: the weights are not here.
            ValueError: another number of words, or words that cannot be told apart.
        """
        del key
        outcome = as_outcome(outcome)
        check(
            outcome == Symbols(len(self.words)),
            f"Expected a word for each of {outcome.words()}; got {self.words}.",
        )
        tokenizer = Tokenizer.named(self.weights)
        words, opening = (
            [tokenizer.encode(text).tolist() for text in texts]
            for texts in (self.words, (self.opening,))
        )
        network = self._network()
        try:
            with eval_context():
                return spelled(network, words, opening[0])
        except ValueError as error:
            pieces = {
                text: [*map(tokenizer.name_of, word)]
                for text, word in zip(self.words, words, strict=True)
            }
            raise ValueError(f"{error} The tokenizer cuts {pieces}.") from error

    def _network(self) -> Network:
        return read_model(self.weights, self.dtype)


def weights_path(weights: str) -> Path:
    """Find the file or the folder of a language model: "smollm2", or a path.

    Raises:
        FileNotFoundError: it is not here; the message says how to fetch it.
    """
    path = fetch.smollm2_path() if weights == SMOLLM2 else files.path_of(weights)
    if not path.is_dir():
        files.expect_file(path)
    return path


def read_model(weights: str, dtype: Literal["float32", "bfloat16"] = "float32") -> Network:
    """Read a language model whole, over its tokenizer's alphabet. Whoever asks for the same one
    next gets the same arrays.

    Raises:
        FileNotFoundError: it is not here.
        ValueError: another architecture, or a file that is truncated or foreign.
    """
    path = weights_path(weights)
    parts = path.iterdir() if path.is_dir() else [path]
    changed = max((part.stat().st_mtime_ns for part in parts), default=0)
    return _read_once(path.resolve(), changed, dtype)


@functools.lru_cache(maxsize=1)
def _read_once(path: Path, changed: int, dtype: Any) -> Network:
    """Read again only if the file has changed since; also where JAX is tracing."""
    del changed
    read = Llama.from_safetensors if path.is_dir() else Llama.from_gguf
    with eval_context():
        return read(path, dtype)
