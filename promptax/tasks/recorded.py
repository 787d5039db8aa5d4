"""A user's own sequences as a task: no oracle, no exact predictor.

The file that a user names is the task. Its format is decided once for all lines; whatever does not
fit is refused by the number of its line.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Key

from promptax import files
from promptax.checks import as_tuple, check_fields
from promptax.files import StoreError, expect
from promptax.protocol.outcomes import Episode
from promptax.specs import check
from promptax.tasks.base import Task

PAD = -1
MOST_TOKENS = 2**29  # 2 GB, the padding included
MOST_PADDED = 2**25  # tokens, 128 MB: up to here nobody asks how many of them are padding,
LEAST_SHARE = 16  # and beyond, one in so many is none
TOKENS_AT_ONCE = 2**22  # to look at
MOST_SYMBOLS = 2**20  # of an alphabet that nobody named


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
                f"{row.shape}, {row.dtype} in row {index}.",
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


def draw_row(key: Key[Array, ""], sequences: Any, length: int) -> tuple[Array, Array]:
    """The index of a row drawn at random, and the first `length` of its tokens, -1 past the end."""
    sequences = jnp.asarray(sequences)
    index = jax.random.randint(key, (), 0, sequences.shape[0])
    row = sequences[index, :length]
    return index, jnp.pad(row, (0, length - row.shape[0]), constant_values=PAD)


class Recorded(Task):
    """Sequences from an array or from a text file with one sequence a line.

    Each episode is a recorded sequence drawn at random, read from its beginning; steps past its end
    are not scored.

    A file has one sequence a line. Its symbols are separated by commas, semicolons, tabs or spaces,
    by the same in all lines; in a file without any of these, every character is a symbol.
    `in_words` says how the file was read.
    """

    path: str = eqx.field(default="", static=True)
    """Text file with one sequence a line."""
    alphabet: tuple[str, ...] = eqx.field(default=(), static=True)
    """The symbols in order, as they are written in the file; by default those found, sorted."""
    sequences: Annotated[Any, tyro.conf.Suppress] = None
    """Tokens [sequence, time], -1 past the end; read from `path` if not given."""

    def __post_init__(self) -> None:
        self.alphabet = as_tuple(self.alphabet)
        check_fields(self)  # now, for files are read by them
        self.sequences = as_rows(self.sequences)
        if self.sequences is None:
            check(self.path != "", "Expected sequences or the path of a text file; got neither.")
            separator, rows = _read(self.path)
            self.alphabet = self.alphabet or _alphabet(self.path, separator, rows)
            self.sequences = _encode(self.path, rows, self.alphabet)
        largest = int(self.sequences.max())
        if not self.alphabet:
            check(
                largest < MOST_SYMBOLS,
                f"Expected tokens below {MOST_SYMBOLS:,}, each number a symbol; got {largest:,}. "
                "Number the symbols from 0 on without gaps.",
            )
            self.alphabet = tuple(str(i) for i in range(max(2, largest + 1)))
        check(
            int(self.sequences.min()) >= PAD and largest < len(self.alphabet),
            f"Expected tokens from 0 to {len(self.alphabet) - 1} (and {PAD} past the end); got "
            f"{int(self.sequences.min())} to {largest}. Give the whole alphabet.",
        )

    @property
    def symbols(self) -> int:
        return len(self.alphabet)

    def in_words(self) -> str:
        lengths = np.sum(np.asarray(self.sequences) != PAD, axis=1)
        least, most = int(lengths.min()), int(lengths.max())
        steps = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        read = f"{self.symbols:,} symbols, {len(lengths):,} sequences of {steps} steps"
        if self.path == "":
            return read
        try:
            separator = _read(self.path)[0]
        except (OSError, ValueError):  # the file has gone or changed, the sequences have not
            return read
        return f"{read}, separated by {SEPARATORS[separator]}"

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        index, row = draw_row(key, self.sequences, length)
        return Episode(jnp.maximum(row, 0), latent=index, scored=row != PAD)

    @classmethod
    def examples(cls) -> "tuple[Recorded, ...]":
        return cls(sequences=((0, 1, 1), (1, 0), (1, 1, 1, 0))), cls(sequences=((0, 2, 1), (1, 0)))


# --- a text file with symbols ---------------------------------------------------------------

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces", "": "nothing"}
"""What may stand between the symbols of a file, and its name."""

Rows = dict[int, list[str]]  # the symbols of each line with text, by its number in the file


def _read(path: str) -> tuple[str, Rows]:
    """What separates the symbols of a file, and its rows. One answer holds for all of its lines.

    Raises:
        StoreError: a line does not fit; the message has its number.
    """
    text = files.read_text(path)
    lines = {n: line.strip(" ") for n, line in enumerate(text.split("\n"), 1) if line.strip()}
    check(len(lines) > 0, f"Expected one sequence a line; {path} has no line with text.")
    separator = _separator(path, lines)
    rows = {number: _symbols(path, number, line, separator) for number, line in lines.items()}
    first, *others = rows.values()
    is_header = not any(map(_is_number, first)) and len(others) > 0
    expect(
        not (is_header and all(_is_number(symbol) for row in others for symbol in row)),
        f"Expected one sequence a line; line {min(rows)} of {path} has words, {first[:3]}, and all "
        "others have numbers. If it is a header, delete it.",
    )
    return separator, rows


def _separator(path: str, lines: dict[int, str]) -> str:
    """The one separator of all lines; "" if symbols are single characters."""
    numbers = {
        mark: next((number for number, line in lines.items() if mark in line), None)
        for mark in SEPARATORS
        if mark
    }
    there = [mark for mark, number in numbers.items() if number is not None]
    strong = [mark for mark in there if mark in ",;"]
    expect(
        len(strong) <= 1,
        f"Expected one separator in all of {path}; got "
        + " and ".join(f"{SEPARATORS[mark]} (line {numbers[mark]})" for mark in strong)
        + ". Write all lines in one way.",
    )
    return (strong or there[::-1] or [""])[0]  # spaces, where there are tabs and spaces


def _symbols(path: str, number: int, line: str, separator: str) -> list[str]:
    """The symbols of a line."""
    if separator == "":
        cells = list(line)
    elif separator == " ":
        cells = line.split()
    else:
        cells = [cell.strip() for cell in line.split(separator)]
    bad = {cell for cell in set(cells) if not _is_bare(cell, separator)}
    if bad:
        place = next(place for place, cell in enumerate(cells) if cell in bad)
        words = repr(cells[place][:40]) if cells[place] else "an empty one"
        raise StoreError(
            f"Expected bare symbols, separated by {SEPARATORS[separator]}; line {number} of {path} "
            f"has {words} at place {place + 1}. Correct the line, or write symbols without spaces, "
            "quotes and brackets."
        )
    return cells


def _is_bare(cell: str, separator: str) -> bool:
    """Whether it is a symbol without spaces, quotes and brackets."""
    is_quoted = separator != "" and cell[:1] in ('"', "'", "[", "{")
    has_space = any(letter.isspace() for letter in cell)
    return cell != "" and cell.isprintable() and not has_space and not is_quoted


def _is_number(symbol: str) -> bool:
    try:
        float(symbol)
    except ValueError:
        return False
    return len(symbol) <= MOST_DIGITS  # whole numbers of more are not read, not even by Python


MOST_DIGITS = 100
MISSING = ("nan", "na", "n/a", "null", "none", "inf", "-inf", "?", ".", "-")  # among numbers


def _alphabet(path: str, separator: str, rows: Rows) -> tuple[str, ...]:
    """The symbols that were found, sorted; where they may mean something else, nobody guesses."""
    symbols = {symbol for row in rows.values() for symbol in row}
    doubt = _doubt(symbols, rows) or ("" if separator else _between(symbols, rows))
    expect(doubt == "", f"Expected symbols whose meaning is clear in {path}; {doubt}")
    numbers = all(symbol.isdecimal() and _is_number(symbol) for symbol in symbols)
    ordered = sorted(symbols, key=(lambda symbol: (int(symbol), symbol)) if numbers else None)
    check(
        len(ordered) >= 2,
        f"Expected at least 2 different symbols; {path} has only {ordered}. Name the whole "
        "alphabet: alphabet=('0', '1').",
    )
    return tuple(ordered)


def _doubt(symbols: set[str], rows: Rows) -> str:
    """What may be no symbol of its own, in words; "" if there is nothing."""
    numbers = {symbol: float(symbol) for symbol in symbols if _is_number(symbol)}
    by_number: dict[float, list[str]] = {}
    for symbol, number in sorted(numbers.items()):
        by_number.setdefault(number, []).append(symbol)
    for alike in by_number.values():
        if len(alike) > 1:
            return f"{alike} are the same number. Write it in one way{_OR_NAME}"
    missing = [symbol for symbol in sorted(symbols) if symbol.lower() in MISSING]
    if missing and all(_is_number(symbol) for symbol in symbols - set(missing)):
        return (
            f"{missing[0]!r} among numbers says that one is missing. Cut the line there{_OR_NAME}"
        )
    tokens = [number for symbol, number in numbers.items() if symbol != "-1"]
    if "-1" not in symbols or len(tokens) < max(2, len(symbols) - 1) or min(tokens) < 0:
        return ""
    is_past = all("-1" not in row[: len(row) - _past_end(row)] for row in rows.values())
    return f"-1 comes at ends of lines alone, as padding does. Remove it{_OR_NAME}" * is_past


_OR_NAME = "; or name the alphabet if each is a symbol: alphabet=('0', '1')."


def _past_end(row: list[str]) -> int:
    """How many -1 a row ends with."""
    return next((n for n, symbol in enumerate(reversed(row)) if symbol != "-1"), len(row))


def _between(symbols: set[str], rows: Rows) -> str:
    """A sign that stands between all other symbols, in words; "" if there is none."""
    lines = [row for row in rows.values() if len(row) > 1]
    for sign in sorted(symbol for symbol in symbols if not symbol.isalnum()):
        places = [[n for n, symbol in enumerate(row) if symbol == sign] for row in lines]
        apart = all(
            at and at[0] > 0 and at[-1] < len(row) - 1 and all(np.diff(at) > 1)
            for row, at in zip(lines, places, strict=True)
        )
        if apart and lines and len(symbols) > 2:
            return f"{sign!r} stands between others in every line. Write commas{_OR_NAME}"
    return ""


def _encode(path: str, rows: dict[int, list[str]], alphabet: tuple[str, ...]) -> np.ndarray:
    index = {symbol: token for token, symbol in enumerate(alphabet)}
    for number, row in rows.items():
        unknown = next((symbol for symbol in row if symbol not in index), None)
        check(
            unknown is None,
            f"Expected symbols from {alphabet}; line {number} of {path} has {unknown!r}. Add it "
            "to the alphabet or correct the line.",
        )
    return as_rows([[index[symbol] for symbol in row] for row in rows.values()], path)
