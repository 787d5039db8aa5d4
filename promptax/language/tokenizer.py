"""Text and tokens: encoding, chats, and replies as they come.

Special tokens never come from what a user wrote, only from the program and from the model's chat
template, which runs in Jinja's sandbox, in a process of its own (`formats.evaluating`).
"""

import contextlib
import dataclasses
import functools
import operator
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Array, Int

from promptax import files
from promptax.doors import door
from promptax.formats import evaluating, fetch, tokenizer_folders, tokenizers
from promptax.formats.settings import shown
from promptax.specs import check

SMOLLM2 = "smollm2"
BYTES = "bytes"
BROKEN = "\ufffd"  # what bytes that are no whole character are decoded to
Message = Mapping[str, str]  # {"role": "user", "content": "…"}
TokenIds = Int[np.ndarray, " time"]
Tokens = Iterable[SupportsIndex] | Array


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to tokens and back. `Tokenizer.named`, `from_gguf` and `from_folder` make one."""

    model: Any = dataclasses.field(repr=False)
    """Of the package `tokenizers`."""
    symbols: int
    """Size of the alphabet."""
    begin: int | None
    """The token that opens a text or a message, if the model has one."""
    end: int | None
    """The token that ends a text or a reply, if the model has one."""
    template: str | None = dataclasses.field(default=None, repr=False)
    """How a chat is written, in Jinja's language."""
    ends: tuple[int, ...] = ()
    """All tokens that end a reply (none given: `end` alone)."""
    names: Mapping[str, str] | None = dataclasses.field(default=None, repr=False)
    """What templates know special tokens by, such as bos_token, and how these are written (None:
    those of `begin` and `end`)."""

    def __post_init__(self) -> None:
        if self.end is not None and self.end not in self.ends:
            object.__setattr__(self, "ends", (self.end, *self.ends))

    @staticmethod
    def named(word: str) -> "Tokenizer":
        """Read a tokenizer by its name: "smollm2", "bytes", a Hugging Face folder, or a GGUF file.

        Raises:
            FileNotFoundError: nothing is there.
        """
        if word == BYTES:
            return Tokenizer.of_bytes()
        path = fetch.smollm2_path() if word == SMOLLM2 else files.path_of(word)
        if path.is_dir():
            return Tokenizer.from_folder(path)
        if not path.exists() and path.suffix != ".gguf":
            raise FileNotFoundError(
                f"Expected a tokenizer: {SMOLLM2!r}, {BYTES!r}, a folder with tokenizer.json, or a "
                f"GGUF file; got {word!r}."
            )
        files.expect_file(path)
        return _from_gguf_once(path.resolve(), path.stat().st_mtime_ns)

    @staticmethod
    @functools.cache
    def of_bytes() -> "Tokenizer":
        """Make every byte of a text, in UTF-8, one of 256 tokens. No file is needed, so that
        networks from scratch can read text.

        >>> from promptax.language import Tokenizer
        >>> Tokenizer.of_bytes().encode("née").tolist()
        [110, 195, 169, 101]
        """
        return Tokenizer(*tokenizers.of_bytes(_bytes_of_letters()))

    @staticmethod
    def from_gguf(path: str | os.PathLike) -> "Tokenizer":
        """Read the tokenizer of a GGUF file: its words, merges and chat template.

        Raises:
            FileNotFoundError: naming the files that are there.
            ValueError: the file is truncated, or its way to cut text is not known here.
        """
        return Tokenizer(*tokenizers.from_gguf(files.path_of(path)))

    @staticmethod
    def from_folder(folder: str | os.PathLike) -> "Tokenizer":
        """Read the tokenizer of a Hugging Face folder, which has a tokenizer.json.

        Raises:
            FileNotFoundError: there is no tokenizer.json.
            ValueError: a file is truncated or something else.
        """
        return Tokenizer(*tokenizer_folders.from_folder(files.path_of(folder)))

    @functools.cached_property
    def _ways_to_cut(self) -> str:
        """What `evaluating.try_cutting` needs, where patterns that cut text are foreign ones."""
        return tokenizers.without_vocabulary(self.model) if self._patterns else ""

    @functools.cached_property
    def _patterns(self) -> list[str]:
        return tokenizers.foreign_patterns(self.model)

    # --- text and tokens --------------------------------------------------------------------

    @door
    def encode(self, text: str, special: bool = False) -> TokenIds:
        """Tokens [time] of a text, none added. `special`: "<|im_end|>" in it is that token and not
        its characters; for text by the program, never for text by a user.

        Raises:
            ValueError: the tokenizer has no token for a character, or cannot cut the text.
        """
        _check_characters(text)
        self.model.encode_special_tokens = not special
        with _failures_named(self._patterns):
            if self._ways_to_cut and text:
                evaluating.try_cutting(self._ways_to_cut, text, special)
            encoding = self.model.encode(text, add_special_tokens=False)
        unknown = getattr(self.model.model, "unk_token", None)
        if unknown and (lost := self.model.token_to_id(unknown)) in encoding.ids:
            spans = (s for s, t in zip(encoding.offsets, encoding.ids, strict=True) if t == lost)
            for start, stop in spans:
                check(
                    text[start:stop] == unknown and special,
                    f"Expected text that the tokenizer has tokens for; got {text[start:stop]!r} "
                    f"at character {start}, for which it has none. Remove it.",
                )
        return np.array(encoding.ids, np.int32)

    @door
    def decode(self, tokens: Tokens, special: bool = True) -> str:
        """The text of tokens [time]; `special`: with the special ones as they are written."""
        numbers = self._checked(tokens)
        with _failures_named():
            return self.model.decode(numbers, skip_special_tokens=not special)

    def survives(self, tokens: Tokens) -> bool:
        """Whether tokens [time] are what their own text is encoded to: whoever copies the text has
        them. Others, such as parts of words that one token stands for, only exist as numbers."""
        try:
            numbers = self._checked(tokens)
            return self.encode(self.decode(numbers)).tolist() == numbers
        except ValueError:  # no tokens of its own, or characters that it has no tokens for
            return False

    def stream(self, tokens: Tokens, special: bool = True) -> Iterator[str]:
        """The text of tokens piece by piece, as they come; together it is what `decode` gives.

        A token may be a part of a character, which then waits for its other parts.
        """
        window, shown = [], 0
        added = {} if special else self.model.get_added_tokens_decoder()
        left_out = {number for number, token in added.items() if token.special}
        for token in tokens:
            if operator.index(token) in left_out:  # words before and after it follow on one another
                continue
            window.append(operator.index(token))
            text = self.decode(window, special)
            whole = len(text.rstrip(BROKEN))
            if whole > shown:
                yield text[shown:whole]
                shown = whole
            if whole == len(text):  # begin again; the last token says how the next one is written
                window = window[-1:]
                shown = len(self.decode(window, special))
        if ending := self.decode(window, special)[shown:]:
            yield ending

    def name_of(self, token: SupportsIndex) -> str:
        """A token for the eye: its text on one line, or its bytes if they are no characters."""
        text = self.decode([operator.index(token)])
        if not text:
            return f"<unused {token}>"
        if BROKEN in text:
            word, byte = self.model.id_to_token(operator.index(token)), _bytes_of_letters()
            return "".join(f"<{byte[c]:02X}>" if c in byte else c for c in word)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

    def token(self, text: str) -> int:
        """The one token of a text, such as the outcome " yes".

        Raises:
            ValueError: the text has another number of tokens.
        """
        tokens = self.encode(text, special=True)
        names = [self.name_of(token) for token in tokens]
        check(
            len(tokens) == 1,
            f"Expected a text of one token; {text!r} has {len(tokens)}: {names}. Choose another "
            "word; a common one with a space before it is one token.",
        )
        return int(tokens[0])

    # --- chats ------------------------------------------------------------------------------

    def chat_after_begin(self, messages: Sequence[Message]) -> TokenIds:
        """Tokens [time] of a chat up to the reply, without a begin token in front: a predictor
        reads that by itself."""
        tokens = self.chat(messages)
        return tokens[1:] if len(tokens) and tokens[0] == self.begin else tokens

    @door
    def chat(self, messages: Sequence[Message], reply: bool = True) -> TokenIds:
        """Tokens [time] of a chat, by the model's template; `reply`: up to where the model's
        reply begins.

        Special tokens are the template's alone: in a message they are the characters they are
        written with.

        Raises:
            ValueError: the model has no template, or the template refuses the messages.
        """
        _check_messages(messages)
        special = "|".join(re.escape(text) for text in self._special())
        said = "\n".join(text for message in messages for text in message.values())
        if not special or not re.search(special, said):
            return self.encode(self._rendered([messages], reply)[0], special=True)
        # A mark inside each special token of a message keeps it apart from those of the template.
        mark = next(c for c in map(chr, range(0xFDD0, 0xFDF0)) if c not in said
                    and escaped(c) not in said)  # fmt: skip
        apart = functools.partial(re.sub, special, lambda m: m[0][0] + mark + m[0][1:])
        marked = [{key: apart(text) for key, text in message.items()} for message in messages]
        plain, kept_apart = self._rendered([messages, marked], reply)

        def unmarked(text: str) -> str:
            return text.replace(mark, "").replace(escaped(mark), "")

        check(
            unmarked(kept_apart) == plain,
            "Expected messages without special tokens, since the model's chat template reads what "
            f"is in them; got {re.findall(special, said)[:3]}. Write them in another way.",
        )
        pieces = re.split(f"({special})", kept_apart)
        return np.concatenate(
            [self.encode(unmarked(p), special=i % 2 == 1) for i, p in enumerate(pieces)]
        )

    def _rendered(self, chats: Sequence[Sequence[Message]], reply: bool) -> list[str]:
        """Each chat as the template writes it."""
        if self.template is None:
            raise ValueError(
                "Expected a tokenizer with a chat template; this one has none. Use an instruct "
                "model, or write the text yourself and encode it."
            )
        names = self.names
        if names is None:
            tokens = {"bos_token": self.begin, "eos_token": self.end}
            names = {
                name: "" if token is None else self.model.id_to_token(token)
                for name, token in tokens.items()
            }
        given = {"add_generation_prompt": reply, "tools": None, "documents": None, **names}
        plain = [[dict(message) for message in messages] for messages in chats]
        try:
            return evaluating.render(self.template, given, plain)
        except evaluating.ForeignProblem as error:
            raise ValueError(
                "Expected messages that the model's chat template takes; it says: "
                f"{str(error).rstrip('.')}."
            ) from error

    def _special(self) -> list[str]:
        """How special tokens are written; the longer of two that begin alike comes first."""
        added = self.model.get_added_tokens_decoder().values()
        return sorted((token.content for token in added if token.special), key=len, reverse=True)

    def _checked(self, tokens: Tokens) -> list[int]:
        is_listed = isinstance(tokens, Iterable) and not isinstance(tokens, str | bytes)
        check(is_listed, f"Expected tokens [time]; got {type(tokens).__name__}.")
        numbers = np.asarray(tokens if hasattr(tokens, "shape") else list(tokens))
        check(
            numbers.ndim == 1 and (numbers.size == 0 or np.issubdtype(numbers.dtype, np.integer)),
            f"Expected tokens [time], whole numbers; got shape {numbers.shape}, {numbers.dtype}.",
        )
        outside = numbers[(numbers < 0) | (numbers >= self.symbols)]
        check(
            outside.size == 0,
            f"Expected tokens from 0 to {self.symbols - 1}; got {outside[:1].tolist()}. Leave out "
            "steps past a text's end.",
        )
        return numbers.tolist()


def escaped(character: str) -> str:
    """A character as JSON writes it in ASCII."""
    return f"\\u{ord(character):04x}"


@contextlib.contextmanager
def _failures_named(patterns: Sequence[str] = ()) -> Iterator[None]:
    """The package `tokenizers` has no error of its own, and panics over some patterns."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(
            f"Expected a tokenizer that can read the text; its package gives up: {error}. Its "
            "tokenizer.json contradicts itself, or has a pattern without end on such text"
            + (f": {shown(list(patterns))}." if patterns else ".")
        ) from error


@functools.lru_cache(maxsize=2)
def _from_gguf_once(path: Path, changed: int) -> Tokenizer:
    """Read again only if the file has changed since."""
    del changed
    return Tokenizer.from_gguf(path)


@functools.cache
def _bytes_of_letters() -> dict[str, int]:
    """The bytes behind the letters of byte-level words: printable bytes are written as themselves,
    the others as the letters from U+0100 on (Radford et al. 2019)."""
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    letters = {chr(byte): byte for byte in itself}
    return letters | {chr(256 + place): byte for place, byte in enumerate(others)}


def _check_characters(text: str) -> None:
    check(isinstance(text, str), f"Expected a text; got {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Expected whole Unicode characters; got half of one, {text[error.start]!r}, at "
            f"character {error.start}. Read the text again as UTF-8."
        ) from error


def _check_messages(messages: Sequence[Message]) -> None:
    for message in messages:
        check(
            isinstance(message, Mapping)
            and {"role", "content"} <= set(message)
            and all(isinstance(text, str) for text in message.values()),
            f'Expected messages such as {{"role": "user", "content": "…"}}; got {message!r}.',
        )
