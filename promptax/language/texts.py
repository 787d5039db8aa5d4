"""A user's texts as a task: no oracle, no exact predictor.

A language model is steered to texts, or to completions of prompts; prompts are read, not scored.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Bool, Int, Key

from promptax import files
from promptax.checks import check_fields, parse_json, unmasked
from promptax.formats.settings import shown
from promptax.language.tokenizer import SMOLLM2, Tokenizer
from promptax.protocol.outcomes import Episode
from promptax.specs import check
from promptax.tasks.base import Task
from promptax.tasks.recorded import PAD, as_path_text, as_rows, row_at, split_rows

Given = str | Mapping[str, Any]  # a text, {"text": …} or {"prompt": …, "completion": …}
SHAPES = '{"text": …} or {"prompt": …, "completion": …}'
OF_TEXTS = "Give each text as one str; of a table one column: sequences=table['text'].tolist()."


class Texts(Task):
    """Texts from a file, as tokens.

    Each episode is a text drawn at random, read from its beginning. Steps past its end are not
    scored, nor are those of a prompt. A text longer than the episode is cut; one of `task.longest`
    steps cuts none. What is measured is measured on each text once (`held`).

    A file has one text a line, or one JSON object a line: {"text": …} or {"prompt": …,
    "completion": …}. Its first line says which, whatever the file is called; so does a first "["
    of a JSON list of such objects. A completion is encoded apart from its prompt, so the space
    between them is the completion's.
    """

    path: str = eqx.field(default="", static=True)
    """A file of texts, or of JSON objects."""
    tokenizer: str = eqx.field(default=SMOLLM2, static=True)
    """The predictor's: smollm2, a Hugging Face folder, or a GGUF file."""
    template: Literal["plain", "chat"] = eqx.field(default="plain", static=True)
    """plain: texts as they stand; chat: prompts as a user's messages, completions as replies, by
    the model's chat template."""
    end: bool | None = eqx.field(default=None, static=True)
    """Whether each text is followed by the token that ends one (None: completions are)."""
    context: int = eqx.field(default=2048, static=True)
    """The longest text, in tokens."""
    vocabulary: int = eqx.field(default=0, static=True)
    """Size of the alphabet (0: the tokenizer's)."""
    sequences: Annotated[Any, tyro.conf.Suppress] = None
    """Texts or objects as in a file, also an array or a column of them, or tokens [sequence, time],
    -1 past the end; read from `path` if not given."""
    prompt_lengths: Annotated[Any, tyro.conf.Suppress] = None
    """How many tokens of each sequence are its prompt [sequence]; by default none."""

    def __post_init__(self) -> None:
        self.path = as_path_text(self.path, "Texts")
        check_fields(self)  # now, for files are read by them
        for name, least in (("context", 1), ("vocabulary", 0)):
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value!r}.")
        places = ()
        if self.sequences is None:
            check(self.path != "", "Expected sequences or the path of a file; got neither.")
            places, self.sequences = zip(*_read(self.path).items(), strict=True)
        self.sequences = _as_list(self.sequences)
        if _are_texts(self.sequences):
            check(
                self.prompt_lengths is None,
                "Expected prompt_lengths for tokens only; got them for texts, which have their "
                'prompts apart: {"prompt": …, "completion": …}.',
            )
            places = places or [f"sequence {index}" for index in range(len(self.sequences))]
            tokenizer = Tokenizer.named(self.tokenizer)
            encoded = [
                _encoded(tokenizer, place, given, self.template, self.end)
                for place, given in zip(places, self.sequences, strict=True)
            ]
            self.prompt_lengths, self.sequences = zip(*encoded, strict=True)
            self.vocabulary = self.vocabulary or tokenizer.symbols
        rows = as_rows(self.sequences, of_texts=OF_TEXTS)
        lengths = (rows != PAD).sum(axis=1)
        self.sequences = rows[:, : max(1, lengths.max())]
        if self.prompt_lengths is None:
            self.prompt_lengths = np.zeros(len(rows), np.int32)
        try:
            given = np.asarray(unmasked(self.prompt_lengths))
        except ValueError:  # rows of different lengths
            given = np.empty(0, object)
        are_numbers = given.ndim == 1 and given.dtype.kind in "iuf"
        bad = given[~((given >= 0) & (given == np.floor(given)))] if are_numbers else given
        check(
            are_numbers and bad.size == 0,
            "Expected prompt_lengths that are whole numbers of at least 0, one for each sequence; "
            f"got {self.prompt_lengths!r:.60}.",
        )
        self.prompt_lengths = np.minimum(given, rows.shape[1]).astype(np.int32)
        self.vocabulary = self.vocabulary or Tokenizer.named(self.tokenizer).symbols
        self._check(lengths, lambda index: places[index] if places else f"sequence {index}")

    def _check(self, lengths: np.ndarray, place: Any) -> None:
        least, largest = int(self.sequences.min()), int(self.sequences.max())
        check(
            least >= PAD and largest < self.vocabulary,
            f"Expected tokens from 0 to {self.vocabulary - 1} (and {PAD} past the end); got "
            f"{least} to {largest}. Name their tokenizer.",
        )
        check(
            self.prompt_lengths.shape == lengths.shape,
            f"Expected prompt_lengths of at least 0 for {len(lengths)} sequences; got shape "
            f"{self.prompt_lengths.shape}.",
        )
        bare = self.prompt_lengths >= lengths
        check(
            not bare.any(),
            f"Expected something to score in every text; {place(int(bare.argmax()))} has nothing "
            "after its prompt. Complete it or leave it out.",
        )
        longest = int(lengths.argmax())
        check(
            int(lengths[longest]) <= self.context,
            f"Expected texts of at most {self.context} tokens (context); {place(longest)} has "
            f"{int(lengths[longest])}. Split it, or raise context if the predictor reads that far.",
        )

    @property
    def symbols(self) -> int:
        return self.vocabulary

    @property
    def longest(self) -> int:
        """Tokens of the longest text: episodes of so many steps cut none."""
        return self.sequences.shape[1]

    @property
    def survivors(self) -> "Survivors":
        return Survivors(self.tokenizer)

    @property
    def held(self) -> int:
        return self.sequences.shape[0]

    def held_sequence(self, index: Int[Array, ""], length: int) -> Episode:
        row = row_at(index, self.sequences, length)
        after_prompt = jnp.arange(length) >= jnp.asarray(self.prompt_lengths)[index]
        return Episode(jnp.maximum(row, 0), latent=index, scored=(row != PAD) & after_prompt)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        return self.held_sequence(jax.random.randint(key, (), 0, self.held), length)

    def split(self, fraction: float = 0.2, seed: int = 0) -> "tuple[Texts, Texts]":
        """Texts to steer to, and a `fraction` of them held out to judge by, drawn at random."""
        kept, held_out = split_rows(len(self.sequences), fraction, seed, "texts")
        return self._of(kept), self._of(held_out)

    def _of(self, chosen: np.ndarray) -> "Texts":
        rows, lengths = np.asarray(self.sequences), np.asarray(self.prompt_lengths)
        return dataclasses.replace(self, sequences=rows[chosen], prompt_lengths=lengths[chosen])

    @classmethod
    def examples(cls) -> "tuple[Texts, ...]":
        return (
            cls(sequences=((0, 1, 1), (1, 0), (1, 1, 2, 0)), vocabulary=3),
            cls(sequences=((0, 2, 1, 3), (1, 0)), prompt_lengths=(2, 1), vocabulary=4),
        )


class Survivors(NamedTuple):
    """Tells which prompts are what their own text is encoded to, by the tokenizer of that name."""

    tokenizer: str

    def __call__(self, prompts: Any) -> Bool[np.ndarray, "*candidate"]:
        survives, prompts = _tokenizer_once(self.tokenizer).survives, np.asarray(prompts)
        rows = prompts.reshape(-1, prompts.shape[-1])
        return np.array([survives(row) for row in rows], bool).reshape(prompts.shape[:-1])


@functools.lru_cache(maxsize=2)
def _tokenizer_once(word: str) -> Tokenizer:
    """Read once: a search asks in every step."""
    return Tokenizer.named(word)


def _as_list(sequences: Any) -> Any:
    """An array of texts, also one of NumPy or pandas, as a list; other data as they are."""
    if not hasattr(sequences, "__array__") or np.ndim(sequences) != 1:
        return sequences
    array = np.asarray(sequences)
    return array.tolist() if array.dtype.kind in "OUT" else sequences


def _are_texts(sequences: Any) -> bool:
    """Rather than tokens; an array is not looked at row by row."""
    return isinstance(sequences, list | tuple) and any(
        isinstance(sequence, str | Mapping) for sequence in sequences
    )


def _read(path: str) -> dict[str, Given]:
    """The texts of a file by their place in it ("line 3 of FILE"), for messages.

    What the file is, its content says: the first line of a file of JSON objects is one, or the
    whole file is one JSON value. What looks like JSON and is not read as such is refused: nobody
    means its brackets and quotes as text.
    """
    written = files.read_text(path, taken_by="Texts(sequences={load}{column})")
    lines = {
        f"line {number} of {path}": line
        for number, line in enumerate(written.split("\n"), start=1)
        if line.strip()
    }
    files.expect(len(lines) > 0, f"Expected one text a line; {path} has no line with text.")
    place, first = next(iter(lines.items()))
    first = first.strip()
    if first[0] in "[{" and (listed := _listed(path, place, written)) is not None:
        files.expect(len(listed) > 0, f"Expected {SHAPES}; {path} is an empty list.")
        return listed
    name_says = Path(path).suffix.lower() in JSON_NAMES
    if name_says or _is_object(first):
        return {place: _object(place, line) for place, line in lines.items()}
    like_json = [place] * (first in "[{" or all(map(_is_list, lines.values())))
    like_json += [place for place, line in lines.items() if OBJECT.match(line)]
    files.expect(
        not like_json,
        f"Expected one text a line, or {SHAPES} in every line; {''.join(like_json[:1])} looks like "
        'JSON, but is broken, or others do not. If it is a text, write {"text": …} in all lines.',
    )
    return dict(lines)


JSON_NAMES = (".json", ".jsonl", ".ndjson", ".jsonlines")
OBJECT = re.compile(r'\s*\{\s*"(text|prompt|completion|messages)"')  # its beginning


def _is_object(line: str) -> bool:
    """Whether a line is a JSON object, also one that goes wrong within."""
    try:
        return isinstance(json.loads(line), dict)
    except RecursionError:
        return line.startswith("{")
    except ValueError:
        return OBJECT.match(line) is not None  # broken, but no text of a person


def _is_list(line: str) -> bool:
    """Whether a line is a JSON list."""
    try:
        return isinstance(json.loads(line), list)
    except (ValueError, RecursionError):
        return False


def _listed(path: str, place: str, written: str) -> dict[str, Given] | None:
    """The objects or texts of a file that is one JSON value: a list of them, or one object over
    several lines; None if it is no JSON value."""
    try:
        values = parse_json(written)
    except (ValueError, RecursionError):
        return None
    if isinstance(values, dict):
        return {place: values}
    others = [value for value in values if not isinstance(value, dict | str)]
    files.expect(
        not others,
        f"Expected a list of texts, or of {SHAPES}; {path} has {shown(others[:1])} in it. Tokens "
        "are given in Python: Texts(sequences=…), or are the task Recorded.",
    )
    return {f"entry {number} of {path}": value for number, value in enumerate(values, start=1)}


def _object(place: str, line: str) -> dict[str, Any]:
    try:
        parsed = parse_json(line)
    except RecursionError as error:
        raise files.StoreError(
            f"Expected JSON such as {SHAPES}; {place} is nested too deeply."
        ) from error
    except ValueError as error:  # broken, or a number with thousands of digits
        where = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        problem = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise files.StoreError(
            f"Expected JSON such as {SHAPES}; {place} is broken{where}: {problem}."
        ) from error
    files.expect(isinstance(parsed, dict), f"Expected {SHAPES}; {place} is another kind of JSON.")
    return parsed


TEACHING = (  # keys of what belongs to a text, as others write it
    "system", "messages", "conversations", "history", "context", "instruction", "input", "output",
    "response", "tools",
)  # fmt: skip
JUDGING = ("label", "chosen", "rejected", "weight", "score", "reward")  # of a completion


def _parts(place: str, given: Given) -> tuple[str | None, str]:
    """The prompt, if there is one, and what is scored."""
    if isinstance(given, str):
        return None, given
    check(
        isinstance(given, Mapping),
        f"Expected texts or {SHAPES}, and no tokens among them; {place} is {given!r:.80}.",
    )
    keys = ("text",) if "text" in given else ("prompt", "completion")
    meaningful = TEACHING if "text" in given else TEACHING + JUDGING
    is_ambiguous = "text" in given and not {"prompt", "completion"}.isdisjoint(given)
    check(
        all(isinstance(given.get(key), str) for key in keys) and not is_ambiguous,
        f"Expected {SHAPES}, all of them texts; {place} has {sorted(given)}.",
    )
    unread = [key for key in meaningful if not _is_nothing(given.get(key))]
    check(
        not unread,
        f"Expected {SHAPES}; {place} also has {', '.join(unread)}, of which nothing would be read. "
        "Write into prompt and completion what the model should see, and leave the rest out.",
    )
    return (None, given["text"]) if keys == ("text",) else (given["prompt"], given["completion"])


def _is_nothing(value: Any) -> bool:
    """Whether a field says nothing: empty, or a missing value of a table."""
    if isinstance(value, np.ndarray):
        return value.size == 0
    if isinstance(value, Sized):
        return len(value) == 0
    is_missing = isinstance(value, float | np.floating) and bool(np.isnan(value))
    return value is None or is_missing or type(value).__name__ in ("NAType", "NaTType")  # pandas'


def _encoded(
    tokenizer: Tokenizer, place: str, given: Given, template: str, end: bool | None
) -> tuple[int, np.ndarray]:
    """The length of the prompt, and the tokens [time]."""
    prompt, text = _parts(place, given)
    check(
        template == "plain" or prompt is not None,
        f"Expected prompt and completion for the chat template; {place} has none. "
        "template='plain' takes texts as they stand.",
    )
    try:
        tokens = tokenizer.encode(text)
        if prompt is None:
            before = tokens[:0]
        elif template == "chat":
            before = tokenizer.chat_after_begin([{"role": "user", "content": prompt}])
        else:
            before = tokenizer.encode(prompt)
    except ValueError as error:
        raise ValueError(f"In {place}: {error}") from error
    if end or (end is None and prompt is not None):
        check(
            tokenizer.end is not None,
            "Expected a tokenizer with an end token; this one has none: end=False.",
        )
        tokens = np.append(tokens, np.int32(tokenizer.end or 0))
    return len(before), np.concatenate([before, tokens])
