"""Settings in files that others made: JSON objects and GGUF headers, read with suspicion.

Each setting is checked as it is taken, and those that nobody takes are not passed over: one that
could change what is computed is refused by its name. Whatever is wrong ends in one error type,
`StoreError`, whose message says which file, what was expected, what came, and what to do.
"""

import json
import reprlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from promptax import files
from promptax.checks import parse_json
from promptax.files import expect

MOST_JSON_BYTES = 2**28  # the largest tokenizer.json known has 34 MB
POINTER = "version https://git-lfs.github.com/spec"  # what Git leaves in place of a large file
HUGGING_FACE = (
    "Name a folder in the Hugging Face format: config.json, tokenizer.json, model.safetensors."
)
LEAST_FLOAT, MOST_FLOAT = 2.0**-126, 2.0**127  # of float32, without the numbers near its ends
Object = dict[str, Any]
_SHORT = reprlib.Repr()
_SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong, _SHORT.maxlist = 100, 100, 40, 4


class Settings:
    """The settings of one file, by key. `refuse_others` names those that were not taken."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values, self.path = values, path
        self.taken: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """Take a setting as it is; one that is null counts as left out."""
        self.taken.add(key)
        value = self.values.get(key)
        return default if value is None else value

    def whole_number(self, key: str, default: int | None = None, least: int = 1) -> int:
        """Take a whole number of at least `least`; without a default it must be there."""
        value = self._there(key, default)
        expect(
            type(value) is int and least <= value < 2**31,
            f"Expected {key} in {self.path} to be a whole number of at least {least}; got "
            f"{shown(value)}. Correct it, or copy the file again.",
        )
        return value

    def positive_number(self, key: str, default: float | None = None) -> float:
        """Take a number above 0 that float32 can hold; without a default it must be there."""
        value = self._there(key, default)
        expect(
            type(value) in (int, float) and LEAST_FLOAT <= value <= MOST_FLOAT,
            f"Expected {key} in {self.path} to be a finite number above 0 that float32 can hold; "
            f"got {shown(value)}. Correct it, or copy the file again.",
        )
        return float(value)

    def require(self, key: str, allowed: Collection[Any], why: str) -> None:
        """Take a setting that, where it is given, may only have an allowed value."""
        value = self.get(key)
        expect(
            value is None or value in allowed,
            f"Expected {key} {' or '.join(map(repr, allowed))} in {self.path}; got {shown(value)}, "
            f"{why}",
        )

    def refuse_others(self, harmless: Iterable[str], way_out: str) -> None:
        """Complain about settings that were not taken and may change what is computed.

        `harmless`: keys that change nothing here; one that ends in * stands for all that begin so.
        """
        plain = {key for key in harmless if not key.endswith("*")}
        prefixes = tuple(key[:-1] for key in harmless if key.endswith("*"))
        others = {
            key: shown(value)
            for key, value in self.values.items()
            if key not in self.taken | plain
            and not key.startswith(prefixes)
            and not is_neutral(value)
        }
        expect(
            not others,
            f"Expected settings that are known here in {self.path}; got "
            f"{', '.join(f'{key} = {value}' for key, value in sorted(others.items())[:4])}, which "
            f"may change what is computed. {way_out}",
        )

    def _there(self, key: str, default: Any) -> Any:
        value = self.get(key, default)
        expect(
            value is not None,
            f"Expected the setting {key} in {self.path}; there is none. Copy the file again from "
            "where the model comes from.",
        )
        return value


def is_neutral(value: Any) -> bool:
    """Whether a setting is switched off: null, false, the whole number 0, or empty."""
    return value is None or value is False or (type(value) is int and value == 0) or (
        isinstance(value, str | list | tuple | dict) and len(value) == 0
    )  # fmt: skip


def shown(value: Any) -> str:
    """A foreign value for a message: short, whatever it is."""
    return _SHORT.repr(value)


def read_object(path: Path, hint: str = HUGGING_FACE) -> Object:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: there is no such file; `hint` says what to do.
        StoreError: the file holds something else, or is very large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected {path.name} in {path.parent}; there is none. {hint}")
    return parse_object(read_whole_text(path), f"{path}")


def read_object_if_there(path: Path) -> Object:
    """The JSON object in a file; empty if there is no file."""
    return read_object(path) if path.is_file() else {}


def read_whole_text(path: Path) -> str:
    """A foreign file's text.

    Raises:
        FileNotFoundError: naming the files that are there.
        StoreError: it is no UTF-8, or very large, or stands for a file that was not fetched.
    """
    files.expect_file(path)
    size = path.stat().st_size
    expect(
        size <= MOST_JSON_BYTES,
        f"Expected at most {MOST_JSON_BYTES:,} bytes of text in {path}; got {size:,}.",
    )
    text = files.read_text(path)
    expect_no_pointer(path, text[: len(POINTER)])
    return text


def expect_no_pointer(path: Path, beginning: str | bytes) -> None:
    """Complain if a file only stands for a large one that Git did not fetch."""
    expected = POINTER if isinstance(beginning, str) else POINTER.encode()
    expect(
        beginning != expected,
        f"Expected the file itself at {path}; got a pointer of Git LFS. Fetch it: git lfs pull",
    )


def parse_object(text: str, place: str) -> Object:
    """The JSON object that a text is. `place` says for messages where the text stands.

    Raises:
        StoreError: the text is something else, is nested without end, or names a key twice.
    """
    try:
        value = parse_json(text)
        if "\\ud" in text.lower():  # escapes of characters in two halves, or of half a one
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        problem = "nested too deeply" if isinstance(error, RecursionError) else error
        raise files.StoreError(
            f"Expected a JSON object in {place}; got something else ({problem}). Copy it again."
        ) from error
    expect(
        isinstance(value, dict),
        f"Expected a JSON object in {place}; got something else ({shown(value)}). Copy it again.",
    )
    return value
