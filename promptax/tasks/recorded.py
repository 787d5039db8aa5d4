"""A user's own sequences as a task: no oracle, no exact predictor.

The file that a user names is the task. Its format is decided once for all lines; whatever does not
fit is refused by the number of its line.
"""

import os
from collections.abc import Sequence
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Int, Key

from promptax.checks import as_tuple, check_fields
from promptax.protocol.outcomes import Episode
from promptax.specs import check
from promptax.tasks import symbol_files
from promptax.tasks.base import Task

PAD = -1
MOST_TOKENS = 2**29  # 2 GB, the padding included
MOST_PADDED = 2**25  # tokens, 128 MB: up to here nobody asks how many of them are padding,
LEAST_SHARE = 16  # and beyond, one in so many is none
TOKENS_AT_ONCE = 2**22  # to look at
MOST_SYMBOLS = 2**20  # of an alphabet that nobody named
NUMBERED = ' Number its symbols: [["ab".index(symbol) for symbol in row] for row in sequences].'


def as_path_text(path: Any) -> Any:
    """A path, such as one of `pathlib`, as text; what is none stays what it is: the field is
    refused by its name."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def as_rows(sequences: Any, path: str = "") -> Any:
    """Rows of whole numbers [sequence, time], shorter rows filled with -1. `path`: of the file that
    they are from."""
    if sequences is None:
        return None
    if isinstance(sequences, jax.Array):
        sequences = np.asarray(sequences)
    if not isinstance(sequences, np.ndarray):
        check(
            isinstance(sequences, Sequence) and not isinstance(sequences, str | bytes),
            f"Expected sequences, a row of whole numbers each; got {sequences!r:.60}.",
        )
        rows = [np.asarray(row) for row in sequences]
        check(len(rows) > 0, "Expected at least one sequence; got none.")
        for index, row in enumerate(rows):
            whole = np.issubdtype(row.dtype, np.integer) or row.size == 0
            check(
                row.ndim == 1 and whole,
                "Expected whole numbers, one row for each sequence; got shape "
                f"{row.shape}, {row.dtype} in row {index}.{NUMBERED * (row.dtype.kind in 'UO')}",
            )
        width, of_file = max(len(row) for row in rows), f" in {path}" if path else ""
        check(
            len(rows) * width <= MOST_TOKENS,
            f"Expected sequences{of_file} that take at most {MOST_TOKENS:,} tokens, all as long as "
            f"the longest; got {len(rows):,} of up to {width:,}. Cut long ones into several.",
        )
        tokens = sum(map(len, rows))
        check(
            len(rows) * width <= max(MOST_PADDED, LEAST_SHARE * tokens),
            f"Expected sequences of like lengths{of_file}, since all take as much memory as the "
            f"longest; got one of {width:,} among {len(rows):,} of {tokens // len(rows):,} on "
            "average. Cut it into several.",
        )
        bounds = [int(end) for row in rows if row.size for end in (row.min(), row.max())]
        _check_tokens(min(bounds, default=PAD), max(bounds, default=PAD))
        sequences = np.full((len(rows), width), PAD, np.int32)
        for place, row in zip(sequences, rows, strict=True):
            place[: len(row)] = row
    check(
        sequences.ndim == 2 and sequences.size > 0 and np.issubdtype(sequences.dtype, np.integer),
        f"Expected whole numbers of shape [sequence, time]; got shape {sequences.shape}, "
        f"{sequences.dtype}.",
    )
    _check_tokens(int(sequences.min()), int(sequences.max()))
    _check_ends(sequences)
    return sequences.astype(np.int32, copy=False)


def _check_ends(sequences: np.ndarray) -> None:
    """Complain about a token behind a -1; some rows at a time, since a file may fill the memory."""
    at_once = max(1, TOKENS_AT_ONCE // sequences.shape[1])
    for first in range(0, len(sequences), at_once):
        rows = sequences[first : first + at_once]
        again = (np.maximum.accumulate(rows == PAD, axis=1) & (rows != PAD)).any(axis=1)
        check(
            not again.any(),
            f"Expected {PAD} only past the end of a sequence; got a token after one in row "
            f"{first + int(again.argmax())}. Cut the sequence there, or give a token.",
        )


def _check_tokens(least: int, most: int) -> None:
    check(
        least >= PAD and most < np.iinfo(np.int32).max,
        f"Expected tokens from 0 to {np.iinfo(np.int32).max - 1:,} (and {PAD} past the end); got "
        f"{least:,} to {most:,}.",
    )


def row_at(index: Int[Array, ""], sequences: Any, length: int) -> Int[Array, " time"]:
    """The first `length` tokens of a row, -1 past its end."""
    row = jnp.asarray(sequences)[index, :length]
    return jnp.pad(row, (0, length - row.shape[0]), constant_values=PAD)


def _numbers(symbols: int) -> tuple[str, ...]:
    """The alphabet of symbols that have no names."""
    return tuple(map(str, range(symbols)))


class Recorded(Task):
    """Sequences from an array or from a text file with one sequence a line.

    Each episode is a recorded sequence drawn at random, read from its beginning; steps past its end
    are not scored. What is measured is measured on each sequence once (`held`): errors are those of
    so many sequences, however many one asks for.

    A file has one sequence a line. Its symbols are separated by commas, semicolons, tabs or spaces,
    by the same in all lines; in a file without any of these, every character is a symbol. A mark at
    its beginning (BOM) and lines without text do not count. There is no header: what looks like
    one, like a table or like measured numbers is refused, unless `alphabet` says that each is a
    symbol. `in_words` says how the file was read.
    """

    path: str = eqx.field(default="", static=True)
    """Text file with one sequence a line."""
    alphabet: tuple[str, ...] = eqx.field(default=(), static=True)
    """The symbols in order, as they are written in the file; by default those found, sorted."""
    sequences: Annotated[Any, tyro.conf.Suppress] = None
    """Tokens [sequence, time], -1 past the end; read from `path` if not given."""

    def __post_init__(self) -> None:
        self.path, self.alphabet = as_path_text(self.path), as_tuple(self.alphabet)
        check_fields(self)  # now, for files are read by them
        self.sequences = as_rows(self.sequences)
        if self.sequences is None:
            check(self.path != "", "Expected sequences or the path of a text file; got neither.")
            separator, rows = symbol_files.read(self.path)
            self.alphabet = self.alphabet or symbol_files.find_alphabet(self.path, separator, rows)
            tokens = symbol_files.encode(self.path, rows, self.alphabet)
            self.sequences = as_rows(tokens, self.path)
        largest = int(self.sequences.max())
        if not self.alphabet:
            check(
                largest < MOST_SYMBOLS,
                f"Expected tokens below {MOST_SYMBOLS:,}, each number a symbol; got {largest:,}. "
                "Number the symbols from 0 on without gaps.",
            )
            self.alphabet = _numbers(max(2, largest + 1))
        check(
            int(self.sequences.min()) >= PAD and largest < len(self.alphabet),
            f"Expected tokens from 0 to {len(self.alphabet) - 1} (and {PAD} past the end); got "
            f"{int(self.sequences.min())} to {largest}. Give the whole alphabet.",
        )

    @property
    def symbols(self) -> int:
        return len(self.alphabet)

    @property
    def symbol_names(self) -> tuple[str, ...]:
        is_numbered = self.path == "" and self.alphabet == _numbers(self.symbols)
        return () if is_numbered else self.alphabet

    def in_words(self) -> str:
        lengths = np.sum(np.asarray(self.sequences) != PAD, axis=1)
        least, most = int(lengths.min()), int(lengths.max())
        steps = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        read = f"{self.symbols:,} symbols, {len(lengths):,} sequences of {steps} steps"
        if self.path == "":
            return read
        try:
            separator = symbol_files.read(self.path)[0]
        except (OSError, ValueError):  # the file has gone or changed, the sequences have not
            return read
        return f"{read}, separated by {symbol_files.SEPARATORS[separator]}"

    @property
    def longest(self) -> int:
        """Steps of the longest sequence: episodes of so many steps cut none."""
        return self.sequences.shape[1]

    @property
    def held(self) -> int:
        return self.sequences.shape[0]

    def held_sequence(self, index: Int[Array, ""], length: int) -> Episode:
        row = row_at(index, self.sequences, length)
        return Episode(jnp.maximum(row, 0), latent=index, scored=row != PAD)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        return self.held_sequence(jax.random.randint(key, (), 0, self.held), length)

    @classmethod
    def examples(cls) -> "tuple[Recorded, ...]":
        return cls(sequences=((0, 1, 1), (1, 0), (1, 1, 1, 0))), cls(sequences=((0, 2, 1), (1, 0)))
