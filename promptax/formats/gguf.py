"""The header of a GGUF file: what it says about itself, and where its tensors are.

The format is a list of named values, then one of tensors, then the tensors themselves (GGUF
specification, versions 2 and 3). Read directly, 49,152 words and 48,900 merges take 0.1 s.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from promptax import files
from promptax.specs import check

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
NUMBERS[12] = "d"  # GGUF's kinds of numbers, as `struct` writes them, little endian
STRING, ARRAY = 8, 9
VERSIONS = (2, 3)


class TensorPlace(NamedTuple):
    """Where a tensor lies in the file, its shape, and how it is quantised."""

    shape: tuple[int, ...]
    """Rows first, as NumPy has it; the file names the axes in reverse."""
    kind: int
    """The number of GGML's data type, such as 0 (float32), 3 (Q4_1), 8 (Q8_0)."""
    offset: int
    """First byte, from the beginning of the file."""


class Header(NamedTuple):
    """What a GGUF file says before its tensors: values by key, and the places of the tensors."""

    about: dict[str, Any]
    """Numbers, words, and lists or tuples of them, by key."""
    tensors: dict[str, TensorPlace]
    """By name, in the file's order."""


def read(path: str | os.PathLike) -> Header:
    """The header of a GGUF file.

    Raises:
        FileNotFoundError: naming the files that are there.
        ValueError: the file is truncated, damaged or no GGUF file.
    """
    path = Path(path)
    files.expect_file(path)
    with files.mapped(path) as data:
        check(
            data[:4] == b"GGUF",
            f"Expected a GGUF file; {path} begins with {bytes(data[:4])!r}. Name another file, or "
            "the folder of a Hugging Face model.",
        )
        try:
            return _header(_Cursor(data))
        except (struct.error, KeyError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(
                f"Expected a whole GGUF file; got {path} with {len(data):,} bytes, which is "
                f"truncated or damaged ({type(error).__name__}: {error}). Fetch or copy it again."
            ) from error


class _Cursor:
    """Reads one thing after the other."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self.data, self.place = data, 4

    def number(self, kind: str) -> Any:
        return self.numbers(kind, 1)[0]

    def numbers(self, kind: str, count: int) -> tuple:
        values = struct.unpack_from(f"<{count}{kind}", self.data, self.place)
        self.place += count * struct.calcsize(f"<{kind}")
        return values

    def strings(self, count: int) -> list[str]:
        strings, data, place, size_at = [], self.data, self.place, struct.Struct("<Q").unpack_from
        for _ in range(count):
            (size,) = size_at(data, place)
            text = data[place + 8 : place + 8 + size]
            if len(text) < size:
                raise struct.error(f"a text of {size} bytes goes beyond the end")
            strings.append(text.decode())
            place += 8 + size
        self.place = place
        return strings

    def string(self) -> str:
        return self.strings(1)[0]

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.number(NUMBERS[kind])
        inner, count = self.numbers("I", 1)[0], self.number("Q")
        if inner == STRING:
            return self.strings(count)
        if inner in NUMBERS:
            return self.numbers(NUMBERS[inner], count)
        return [self.value(inner) for _ in range(count)]


def _header(cursor: _Cursor) -> Header:
    version = cursor.number("I")
    check(
        version in VERSIONS,
        f"Expected GGUF of version 2 or 3, little endian; got version {version}. Convert it with "
        "llama.cpp's own tools.",
    )
    tensors, values = cursor.numbers("Q", 2)
    fields = {cursor.string(): cursor.value(cursor.number("I")) for _ in range(values)}
    places = {}
    for _ in range(tensors):
        name = cursor.string()
        shape = cursor.numbers("Q", cursor.number("I"))[::-1]
        places[name] = TensorPlace(shape, cursor.number("I"), cursor.number("Q"))
    unit = fields.get("general.alignment", 32)
    check(isinstance(unit, int) and unit > 0, f"Expected an alignment of at least 1; got {unit!r}.")
    start = -(-cursor.place // unit) * unit
    places = {name: place._replace(offset=start + place.offset) for name, place in places.items()}
    return Header(fields, places)
