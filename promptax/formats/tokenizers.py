"""What a tokenizer is made of, from the header of a GGUF file; `tokenizer_folders` reads folders.

Encoding itself is by the package `tokenizers`. Of a file, only words, merges, ways to cut text and
the text of the chat template are taken; nothing in it is run here.
"""

import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from promptax import platforms
from promptax.files import StoreError, expect
from promptax.formats import fetch, gguf
from promptax.formats.settings import Settings, shown

SPECIAL, USER_DEFINED = 3, 4  # GGUF's types of tokens; the latter is whole in any text
READABLE = "gpt2", "smollm"  # byte-level pairs, and how text is cut before
MOST_GROWTH = 1000  # of a text by replacements; tokenizers put one character for another
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
QUICK = (  # of GPT-2, of Llama 3, and of Qwen 2: as long as the text, whatever it is
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    _WORDS + r"\p{N}{1,3}" + _REST,
    _WORDS + r"\p{N}" + _REST,
)


class Parts(NamedTuple):
    """What a tokenizer is made of."""

    model: Any
    """Of the package `tokenizers`."""
    symbols: int
    """Size of the alphabet."""
    begin: int | None
    """The token that opens a text or a message."""
    end: int | None
    """The token that ends a text or a reply."""
    template: str | None
    """How a chat is written, in Jinja's language."""
    ends: tuple[int, ...] = ()
    """All tokens that end a reply; `end` is one of them."""
    names: Mapping[str, str] = {}
    """What a chat template knows special tokens by, such as bos_token, and how they are written."""


LISTS = "tokens", "merges", "token_type"
ENDS = "eos_token_id", "eot_token_id", "eom_token_id"  # of a text, a turn, a message
AS_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}


def from_gguf(path: Path) -> Parts:
    """From the words, merges and chat template in a GGUF file.

    Raises:
        FileNotFoundError: naming the files that are there.
        StoreError: the file is truncated, contradicts itself, or its way to cut text is not known.
    """
    with fetch.verified(path):
        settings = Settings(gguf.read(path).values, path)
    values = {key: settings.get(f"tokenizer.ggml.{key}") for key in ("model", "pre", *LISTS)}
    kind = values["model"], values["pre"]
    expect(
        kind == READABLE and all(isinstance(values[key], list | tuple) for key in LISTS),
        f"Expected a GGUF file whose tokenizer is {READABLE}, with words and merges; {path} has "
        f"{kind}. Give the model's Hugging Face folder instead: it says how its text is cut.",
    )
    words = values["tokens"]
    expect(
        0 < len(words) == len(values["token_type"]) == len(set(words))
        and all(isinstance(text, str) for text in (*words, *values["merges"])),
        f"Expected different words and a type for each in {path}; got {len(words):,} words, "
        f"{len(values['token_type']):,} types. {gguf.AGAIN}",
    )

    def token(key: str) -> int | None:
        number = settings.get(f"tokenizer.ggml.{key}")
        expect(
            number is None or (type(number) is int and 0 <= number < len(words)),
            f"Expected {key} from 0 to {len(words) - 1} in {path}; got {shown(number)}.",
        )
        return number

    model = model_of(json.dumps(_tokenizer_json(values, token("unknown_token_id"))), path)
    ends = [number for number in map(token, ENDS) if number is not None]
    named = {"bos": token("bos_token_id"), "eos": token("eos_token_id")}
    named |= {"unk": token("unknown_token_id"), "pad": token("padding_token_id")}
    return Parts(
        model,
        len(words),
        named["bos"],
        ends[0] if ends else None,
        checked_template(settings.get("tokenizer.chat_template"), path),
        tuple(dict.fromkeys(ends)),
        {f"{key}_token": words[number] for key, number in named.items() if number is not None},
    )


def _tokenizer_json(values: dict[str, Any], unknown: int | None) -> dict[str, Any]:
    """Write the tokenizer of a GGUF file as tokenizer.json does: text is cut into single digits
    first, then into pairs of bytes."""
    words = values["tokens"]
    added = [
        {"id": token, "content": words[token], "special": kind == SPECIAL}
        | dict.fromkeys(FLAGS, False)
        for token, kind in enumerate(values["token_type"])
        if kind in (SPECIAL, USER_DEFINED)
    ]
    cuts = [{"type": "Digits", "individual_digits": True}, {**AS_BYTES, "use_regex": True}]
    model = {
        "type": "BPE",
        "vocab": dict(zip(words, range(len(words)), strict=True)),
        "merges": [merge.split(" ") for merge in values["merges"]],
        "unk_token": None if unknown is None else words[unknown],
    }
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts},
        "decoder": AS_BYTES,
        "model": model,
    }


def of_bytes(letters: dict[str, int]) -> Parts:
    """Every byte is a token, none is special. `letters`: how the package writes each byte."""
    model = {"type": "BPE", "vocab": letters, "merges": []}
    parts = {"version": "1.0", "pre_tokenizer": AS_BYTES, "decoder": AS_BYTES, "model": model}
    return Parts(model_of(json.dumps(parts), Path("bytes")), len(letters), None, None, None)


def checked_template(template: Any, path: Path) -> str | None:
    """The text of a chat template, if there is one."""
    expect(
        template is None or isinstance(template, str),
        f"Expected the text of a chat template in {path}; got {shown(template)}.",
    )
    return template


def model_of(written: str, path: Path) -> Any:
    """The tokenizer of the package `tokenizers` that a tokenizer.json describes."""
    tokenizers = package("tokenizers")
    try:
        model = tokenizers.Tokenizer.from_str(written)
    except BaseException as error:  # the package has no exception of its own, and may panic
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise StoreError(
            f"Expected a tokenizer of the package tokenizers in {path}; got: {error}. Copy the "
            "file again."
        ) from error
    model.no_truncation()
    model.no_padding()
    if getattr(model.model, "dropout", None):
        model.model.dropout = None  # for training: it would cut the same text in different ways
    strange = patterns_in(_state_of(model.decoder))
    expect(
        not strange,
        f"Expected a decoder without regular expressions in {path}; got {shown(strange[0:1])}, "
        "which may take all time. Save the tokenizer without it.",
    )
    for part in (model.normalizer, model.pre_tokenizer, model.decoder):
        growth = growth_of(_state_of(part))
        expect(
            growth <= MOST_GROWTH,
            f"Expected a tokenizer that makes a text at most {MOST_GROWTH:,} times as long; in "
            f"{path} replacements make it {growth:,} times as long, and would take all memory.",
        )
    return model


def _state_of(part: Any) -> Any:
    """What a part of a tokenizer is made of, as tokenizer.json has it."""
    return None if part is None else json.loads(part.__getstate__())


def patterns_in(step: Any) -> list[str]:
    """The regular expressions of a step, and of those in it."""
    if isinstance(step, dict):
        own_pattern = step.get("Regex")
        return [own_pattern] if isinstance(own_pattern, str) else patterns_in([*step.values()])
    return [p for part in step for p in patterns_in(part)] if isinstance(step, list) else []


def foreign_patterns(model: Any) -> list[str]:
    """The regular expressions that cut a text, but those that are known to be quick."""
    steps = [_state_of(model.normalizer), _state_of(model.pre_tokenizer)]
    return [pattern for pattern in patterns_in(steps) if pattern not in QUICK]


def without_vocabulary(model: Any) -> str:
    """A tokenizer as tokenizer.json has it, with nothing but its ways to cut text."""
    added = [
        {"id": number, "content": token.content, "special": token.special}
        | {flag: getattr(token, flag) for flag in FLAGS}
        for number, token in enumerate(model.get_added_tokens_decoder().values())
    ]
    words = {token["content"]: token["id"] for token in added}
    parts = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": _state_of(model.normalizer),
        "pre_tokenizer": _state_of(model.pre_tokenizer),
        "model": {"type": "BPE", "vocab": words, "merges": []},
    }
    return json.dumps(parts)


def growth_of(step: Any) -> int:
    """How many times as long a text may become by the replacements of a step, and of those in it.

    One step replaces each character by `content`, or puts a text before; steps in a sequence follow
    on one another.
    """
    if isinstance(step, list):
        return math.prod(map(growth_of, step))
    if not isinstance(step, dict):
        return 1
    content = step.get({"Replace": "content", "Prepend": "prepend"}.get(str(step.get("type")), ""))
    growth = max(1, len(content)) if isinstance(content, str) else 1
    return growth * math.prod(growth_of(value) for value in step.values())


def package(name: str) -> Any:
    """A package of the extra `lm`.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"Expected the package {name.split('.')[0]} for text; it is not installed. "
            f"{platforms.how_to_install('lm')}"
        ) from error
