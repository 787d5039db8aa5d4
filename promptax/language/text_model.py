"""A language model: a predictor of tokens, and the tokenizer that its tokens come from.

Text goes in and comes out here; everything between is the predictor's (`sampling`, `compression`,
`steering`).
"""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Unpack

import numpy as np
from jaxtyping import Array, Int, Key

from promptax import files
from promptax.doors import door
from promptax.formats import gguf
from promptax.language.language_model import weights_path
from promptax.language.tokenizer import SMOLLM2, Message, Tokenizer
from promptax.predictors import Llama
from promptax.predictors.base import Network
from promptax.predictors.llama import opened_by
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Wrapper
from promptax.specs import check, check_kind
from promptax.streaming import batches, compression, sampling
from promptax.streaming.sampling import Picking

Dtype = Literal["float32", "bfloat16"]


def is_named(word: str | os.PathLike) -> bool:
    """Whether the word names a language model: smollm2, a folder with config.json, a GGUF file."""
    if word == SMOLLM2:
        return True
    try:
        path = files.path_of(word)
    except files.StoreError:
        return False
    is_missing = path.suffix == ".gguf" and not path.exists()  # its message says what is there
    return is_missing or gguf.is_gguf(path) or (path / "config.json").is_file()


def predictor(word: str | os.PathLike, dtype: Dtype = "float32") -> Predictor:
    """The language model of that name: "smollm2", a folder in the Hugging Face format, or a GGUF
    file, whatever the file is called.

    Raises:
        FileNotFoundError: nothing is there, or it was not fetched yet.
        StoreError: another architecture, or a file that is truncated or foreign.
    """
    path = weights_path(str(word))
    read = Llama.from_safetensors if path.is_dir() else Llama.from_gguf
    return read(path, dtype)


def _begin_token(predictor: Predictor) -> int | None:
    """The token that a language model reads first, by itself; also one behind prompts."""
    while isinstance(predictor, Wrapper):
        predictor = predictor.predictor
    return predictor.architecture.begin_token() if isinstance(predictor, Network) else None


@dataclasses.dataclass(frozen=True)
class TextModel:
    """A language model as people meet it: text in, text out. `predictor` predicts the tokens that
    `tokenizer` makes of a text."""

    predictor: Predictor
    tokenizer: Tokenizer

    @staticmethod
    def named(word: str | os.PathLike, dtype: Dtype = "float32") -> "TextModel":
        """Both parts of the model of that name (`predictor` says which names there are)."""
        parts = predictor(word, dtype), Tokenizer.named(str(word))
        try:
            return TextModel(*parts)
        except ValueError as error:
            raise ValueError(f"In {word}: {error}") from error

    def __post_init__(self) -> None:
        check_kind(self.predictor, Predictor, "Llama.smollm2_135m()")
        check_kind(self.tokenizer, Tokenizer, "Tokenizer.named('smollm2')")
        check(
            self.predictor.symbols == self.tokenizer.symbols,
            f"Expected a tokenizer over the predictor's {self.predictor.symbols:,} symbols; got "
            f"one over {self.tokenizer.symbols:,}. Take the one that came with the weights.",
        )
        begins = _begin_token(self.predictor), self.tokenizer.begin
        check(
            None in begins or begins[0] == begins[1],
            f"Expected a tokenizer whose begin token is the predictor's, {begins[0]}; got one with "
            f"{begins[1]}. Take the one that came with the weights.",
        )

    @door
    def opened_by(self, text: str) -> "TextModel":
        """The same model with another begin token, the one token of `text`: chats open with what
        opens a message, prose is better off behind what ends a text ("<|endoftext|>").

        Raises:
            TypeError: no llama, by itself or behind prompts.
            ValueError: the text is not one token.
        """
        token = self.tokenizer.token(text)
        tokenizer = dataclasses.replace(self.tokenizer, begin=token)
        return TextModel(opened_by(self.predictor, token), tokenizer)

    def tokens(self, text: str) -> Int[np.ndarray, " time"]:
        """Tokens of a text, without the one that opens it: the predictor has read that."""
        return self.tokenizer.encode(text)

    @door
    def write(
        self, key: Key[Array, ""], text: str, length: int = 200, **picking: Unpack[Picking]
    ) -> Iterator[str]:
        """Go on with a text: yields pieces as they come, up to the token that ends a text, without
        it.

        Args:
            length: at most so many tokens.
            picking: temperature, top_k, top_p and typical_p, as `generate` takes them; stop: tokens
                that end the text as well.

        Raises:
            TypeError: several texts, or a setting of another name.
            ValueError: settings out of range, or more than the model was trained to read.
        """
        if not isinstance(text, str):
            raise TypeError(f"Expected one text; got {text!r:.60}. Use write_batch for several.")
        return self._stream(key, self.tokens(text), length, picking)

    @door
    def reply(
        self,
        key: Key[Array, ""],
        messages: Sequence[Message],
        length: int = 400,
        **picking: Unpack[Picking],
    ) -> Iterator[str]:
        """The model's reply to a chat, in pieces as they come. Settings and errors as of `write`.

        Args:
            messages: such as [{"role": "user", "content": "…"}].
        """
        return self._stream(key, self._chat_tokens(messages), length, picking)

    def has_room(self, messages: Sequence[Message], length: int) -> bool:
        """Whether a chat and a reply of so many tokens are no more than the model was trained to
        read."""
        limit = self.predictor.most_inputs()
        return limit is None or len(self._chat_tokens(messages)) + length - 1 <= limit

    @door
    def write_batch(
        self,
        key: Key[Array, ""],
        texts: Iterable[str],
        length: int = 200,
        **picking: Unpack[Picking],
    ) -> list[str]:
        """Go on with several texts at once, each up to the token that ends a text: what `write`
        yields for each of them, in less time together. Arguments as for `write`; text i has the key
        `jax.random.fold_in(key, i)`.

        Raises:
            TypeError: a single text, or a setting of another name.
            ValueError: settings out of range, or more than the model was trained to read.
        """
        if isinstance(texts, str):
            raise TypeError(
                f"Expected a list of texts; got one text, {texts!r:.60}. Use write for a single "
                "one, or put it into a list."
            )
        return self._batch(key, [self.tokens(text) for text in texts], length, picking)

    @door
    def reply_batch(
        self,
        key: Key[Array, ""],
        chats: Iterable[Sequence[Message]],
        length: int = 400,
        **picking: Unpack[Picking],
    ) -> list[str]:
        """The model's replies to several chats at once, each as `reply` takes and gives it.

        Raises:
            TypeError: a single chat, or a setting of another name.
            ValueError: settings out of range, or more than the model was trained to read.
        """
        given: list[Any] = [chats] if isinstance(chats, Mapping | str) else list(chats)
        for chat in given:
            if isinstance(chat, Mapping | str):
                raise TypeError(
                    "Expected a list of chats, each a list of messages; got one chat, with "
                    f"{chat!r:.60}. Use reply for a single one, or put it into a list."
                )
        prompts = [self._chat_tokens(chat) for chat in given]
        return self._batch(key, prompts, length, picking)

    def _batch(
        self, key: Key[Array, ""], prompts: list[np.ndarray], length: int, picking: Picking
    ) -> list[str]:
        picking = self._with_ends(picking)
        texts = batches.generate_batch(key, self.predictor, length, prompts, **picking)
        return ["".join(self._spoken(text.tolist(), picking)) for text in texts]

    def _with_ends(self, picking: Picking) -> Picking:
        """The settings, in which what ends a text stops it as well."""
        return {**picking, "stop": (*self.tokenizer.ends, *sampling.as_stop(picking))}

    def _spoken(self, tokens: Iterable[int], picking: Picking) -> Iterator[str]:
        """The pieces of a text, without the token that stopped it."""
        stops = frozenset(picking.get("stop", ()))
        return self.tokenizer.stream(token for token in tokens if token not in stops)

    def _chat_tokens(self, messages: Sequence[Message]) -> np.ndarray:
        """Tokens of a chat, without the one that opens it."""
        tokens = self.tokenizer.chat(messages)
        is_begun = len(tokens) > 0 and tokens[0] == _begin_token(self.predictor)
        return tokens[1:] if is_begun else tokens

    def _stream(
        self, key: Key[Array, ""], prompt: Array | np.ndarray, length: int, picking: Picking
    ) -> Iterator[str]:
        picking = self._with_ends(picking)
        return self._spoken(
            sampling.stream(key, self.predictor, length, prompt, **picking), picking
        )

    def bits(self, text: str, context: int | None = None) -> float:
        """The log loss of a text, in bits: the length of its code, to a few bits."""
        return compression.code_length(self.predictor, self.tokens(text), context=context)

    @door
    def compress(self, text: str, context: int | None = None, **options: Any) -> bytes:
        """A text as bytes; `decompress` gives it back exactly.

        Args:
            context: after so many tokens the model starts afresh, which bounds time and memory.
            options: callbacks (`compression.compress`).

        Raises:
            ValueError: the tokenizer changes the text, so that it could not come back exactly.
        """
        tokens = self.tokens(text)
        back = self.tokenizer.decode(tokens)
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(text, back, strict=False))
        place = sum(1 for _ in same)
        check(
            back == text,
            "Expected a text that its tokens spell, so that it comes back exactly; the tokenizer "
            f"makes {back[place : place + 10]!a} of {text[place : place + 10]!a} at character "
            f"{place:,}. Take a model whose tokenizer changes nothing (smollm2), or compress the "
            "text that comes back: tokenizer.decode(tokenizer.encode(text)).",
        )
        return compression.compress(self.predictor, tokens, context=context, **options)

    @door
    def decompress(self, data: bytes, **options: Any) -> str:
        """The text that `compress` was given.

        Raises:
            ValueError: the data are damaged or foreign, or another model wrote them.
        """
        return self.tokenizer.decode(compression.decompress(self.predictor, data, **options))
