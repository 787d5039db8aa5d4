"""Tokenizers in files: GGUF files and Hugging Face folders.

Encoding itself is by the package `tokenizers`. Of a file, only words, merges, ways to cut text and
the text of the chat template are taken; nothing in it is run.
"""

import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from promptax import files
from promptax.formats import gguf
from promptax.specs import check

SPECIAL = 3  # GGUF's type of tokens that stand for no text of a user
READABLE = "gpt2", "smollm"  # byte-level pairs, and how text is cut before


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


def from_gguf(path: Path) -> Parts:
    """From the words, merges and chat template in a GGUF file.

    Raises:
        FileNotFoundError: naming the files that are there.
        ValueError: the file is truncated, or its way to cut text is not known here.
    """
    header = gguf.read(path).about
    keys = "model", "pre", *LISTS, *TOKENS
    values: dict[str, Any] = {key: header.get(f"tokenizer.ggml.{key}") for key in keys}
    kind = values["model"], values["pre"]
    check(
        kind == READABLE and all(values[key] for key in LISTS),
        f"Expected a GGUF file whose tokenizer is {READABLE}, with words and merges; {path} has "
        f"{kind}. Give the model's Hugging Face folder instead: it says how its text is cut.",
    )
    model = _model(json.dumps(_tokenizer_json(values)), path)
    template = header.get("tokenizer.chat_template")
    return Parts(
        model, len(values["tokens"]), values["bos_token_id"], values["eos_token_id"], template
    )


AS_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
LISTS = "tokens", "merges", "token_type"
TOKENS = "bos_token_id", "eos_token_id", "unknown_token_id"


def _tokenizer_json(values: dict[str, Any]) -> dict[str, Any]:
    """Write the tokenizer of a GGUF file as tokenizer.json does: text is cut into single digits
    first, then into pairs of bytes."""
    words, unknown = values["tokens"], values["unknown_token_id"]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    special = [
        {"id": token, "content": words[token], "special": True, **flags}
        for token, kind in enumerate(values["token_type"])
        if kind == SPECIAL
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
        "added_tokens": special,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts},
        "decoder": AS_BYTES,
        "model": model,
    }


def of_bytes(letters: dict[str, int]) -> Parts:
    """Every byte is a token, none is special. `letters`: how the package writes each byte."""
    model = {"type": "BPE", "vocab": letters, "merges": []}
    parts = {"version": "1.0", "pre_tokenizer": AS_BYTES, "decoder": AS_BYTES, "model": model}
    return Parts(_model(json.dumps(parts), Path("bytes")), len(letters), None, None, None)


def from_folder(folder: Path) -> Parts:
    """Read the tokenizer of a folder: tokenizer.json, and where they are there also
    tokenizer_config.json, config.json and chat_template.jinja.

    Raises:
        FileNotFoundError: there is no tokenizer.json.
        ValueError: a file is truncated or something else.
    """
    path = folder / "tokenizer.json"
    model = _model(files.read_text(path), path)
    settings, config = (_json(folder / f"{name}.json") for name in ("tokenizer_config", "config"))
    unknown = _text(settings, "unk")
    if unknown and getattr(model.model, "unk_token", unknown) is None:
        model.model.unk_token = unknown  # else characters without a token are lost in silence
    template = settings.get("chat_template")
    if isinstance(template, list):  # several with names
        template = {named["name"]: named["template"] for named in template}.get("default")
    if (folder / "chat_template.jinja").is_file():
        template = files.read_text(folder / "chat_template.jinja")
    symbols = max(model.get_vocab_size(), config.get("vocab_size", 0))
    begin, end = (_token(model, settings, config, key) for key in ("bos", "eos"))
    return Parts(model, symbols, begin, end, template)


def _model(written: str, path: Path) -> Any:
    tokenizers = package("tokenizers")
    try:
        model = tokenizers.Tokenizer.from_str(written)
    except Exception as error:  # the package has no exception of its own
        raise ValueError(
            f"Expected a tokenizer of the package tokenizers in {path}; got: {error}. Copy the "
            "file again."
        ) from error
    model.no_truncation()
    model.no_padding()
    return model


def _json(path: Path) -> dict[str, Any]:
    """A JSON object, empty if there is no file."""
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(files.read_text(path)))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Expected a JSON object in {path}; got something else ({error}). Copy it again."
        ) from error


def _text(settings: dict[str, Any], key: str) -> str | None:
    """A special token in tokenizer_config.json: its text, or an object with it."""
    token = settings.get(f"{key}_token")
    return token.get("content") if isinstance(token, dict) else token


def _token(model: Any, settings: dict, config: dict, key: str) -> int | None:
    """The token that the tokenizer names, or else the (first) one that config.json names."""
    named = model.token_to_id(_text(settings, key) or "")
    number = config.get(f"{key}_token_id") if named is None else named
    return (number or [None])[0] if isinstance(number, list) else number


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
            "pip install promptax[lm]"
        ) from error
