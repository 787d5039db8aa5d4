"""A user's own sequences as a task: no oracle, no exact predictor.

The file that a user names is the task. Its format is decided once for all lines; whatever does not
fit is refused by the number of its line.
"""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Int, Key

from promptax.checks import as_tuple, check_fields, shown
from promptax.protocol.outcomes import Episode
from promptax.specs import check
from promptax.tasks import symbol_files, symbol_lines, symbol_tables
from promptax.tasks.base import Task
from promptax.tasks.symbol_tables import PAD, pieces

MOST_TOKENS = 2**29  # 2 GB, the padding included
MOST_PADDED = 2**25  # tokens, 128 MB: up to here nobody asks how many of them are padding,
LEAST_SHARE = 16  # and beyond, one in so many is none
MOST_SYMBOLS = 2**20  # of an alphabet that nobody named
MOST_NAMES = 20  # symbols in a message,
MOST_LONE = 10  # and of those of one sequence alone: beyond, as in texts, they are nothing odd
# rows: in fewer, a symbol that comes at their ends alone may be a matter of chance
LEAST_PADDED = 10


def as_path_text(path: Any, whose: str) -> Any:
    """A path, such as one of `pathlib`, as text. Data in its place are refused by the field of
    `whose`, a task, that they belong in; what else is no path is refused by its field's name."""
    if isinstance(path, os.PathLike):
        return os.fspath(path)
    is_text = isinstance(path, str)
    is_data = "\n" in path if is_text else isinstance(path, Iterable) or hasattr(path, "__array__")
    check(
        not is_data,
        f"Expected {'the path of a file' if is_text else 'text'} as {whose}.path; got "
        f"{shown(path)}. For data in memory write {whose}(sequences=...).",
    )
    return path


def as_names(alphabet: Any) -> Any:
    """An alphabet as a tuple of words; whole numbers, such as range(3), are their own names."""
    if isinstance(alphabet, range | np.ndarray | list | tuple):
        are_numbers = [isinstance(s, int | np.integer) and type(s) is not bool for s in alphabet]
        return tuple(str(s) if n else s for s, n in zip(alphabet, are_numbers, strict=True))
    return as_tuple(alphabet)


def split_rows(count: int, fraction: float, seed: int, noun: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices [sequence], sorted, of those to steer to, and of a `fraction` that is held out, at
    least one each, drawn at random. `noun`: what they are, for messages."""
    check(count >= 2, f"Expected at least 2 {noun} to split; got {count}.")
    is_fraction = isinstance(fraction, int | float | np.floating) and 0 < fraction < 1
    check(is_fraction, f"Expected a fraction between 0 and 1; got {fraction!r:.60}.")
    is_seed = isinstance(seed, int | np.integer) and seed >= 0
    check(is_seed, f"Expected a seed, a whole number of at least 0; got {seed!r:.60}.")
    order = np.random.default_rng(seed).permutation(count)
    held_out = min(max(1, round(fraction * count)), count - 1)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def as_rows(sequences: Any, path: str = "", of_texts: str = "") -> Any:
    """Rows of whole numbers [sequence, time], shorter rows filled with -1. `path`: of the file that
    they are from; `of_texts`: what to do with rows of text, by default to number their symbols."""
    if sequences is None:
        return None
    if hasattr(sequences, "__array__"):  # of JAX, PyTorch, pandas, …
        sequences = _as_array(sequences)
    if isinstance(sequences, np.ndarray) and sequences.dtype.kind in "OUS" and sequences.ndim > 0:
        sequences = sequences.tolist()
    if not isinstance(sequences, np.ndarray):
        if not isinstance(sequences, Sequence) or isinstance(sequences, str | bytes):
            got = f"{sequences!r:.60}"
            raise ValueError(f"Expected sequences, a row of whole numbers each; got {got}.")
        rows = [_as_array(row) for row in sequences]
        check(len(rows) > 0, "Expected at least one sequence; got none.")
        for index, row in enumerate(rows):
            whole = np.issubdtype(row.dtype, np.integer) or row.size == 0
            if not (row.ndim == 1 and whole):
                raise ValueError(
                    "Expected whole numbers, one row for each sequence; got shape "
                    f"{row.shape}, {row.dtype} in row {index}.{_as_whole(row, sequences, of_texts)}"
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
    are_whole = np.issubdtype(sequences.dtype, np.integer)
    if not (sequences.ndim == 2 and sequences.size > 0 and are_whole):
        raise ValueError(
            f"Expected whole numbers of shape [sequence, time]; got shape {sequences.shape}, "
            f"{sequences.dtype}.{_as_whole(sequences)}"
        )
    _check_tokens(int(sequences.min()), int(sequences.max()))
    _check_ends(sequences)
    return sequences.astype(np.int32, copy=False)


def _as_array(sequences: Any) -> np.ndarray:
    """An array of it; what is masked is past the end, or NaN among fractions."""
    if not isinstance(sequences, np.ma.MaskedArray) or sequences.dtype.kind not in "iuf":
        return np.asarray(sequences)
    if sequences.dtype.kind == "f":
        return sequences.filled(np.nan)
    if not np.any(sequences.mask):
        return sequences.data
    return np.where(sequences.mask, np.int64(PAD), sequences.data)  # -1 is none of uint8


def _as_whole(row: np.ndarray, rows: Sequence = (), of_texts: str = "") -> str:
    """How to make rows of whole numbers of others, in words; "" if nobody knows."""
    if row.dtype.kind in "USO" and of_texts:
        return f" {of_texts}"
    if row.dtype.kind in "US":
        symbols = sorted({str(symbol) for row in rows for symbol in row})
        are_letters = len(symbols) <= MOST_NAMES and all(len(symbol) == 1 for symbol in symbols)
        names = json.dumps("".join(symbols), ensure_ascii=False) if are_letters else "symbols"
        way = f"[[{names}.index(symbol) for symbol in row] for row in sequences]"
        listed = "symbols = sorted({symbol for row in sequences for symbol in row}); "
        return f" Number its symbols: {'' if are_letters else listed}{way}."
    if row.dtype.kind == "f":
        numbers = row[~np.isnan(row)]
        if not (np.isfinite(numbers) & (numbers == np.floor(numbers))).all():
            return " Write the class of each number in its place, from 0 on, and -1 past the end."
        if numbers.size < row.size:
            return (
                f" NaN is no symbol. Past the end of a row write {PAD} in its place: in pandas "
                f".fillna({PAD}).astype(int), in NumPy np.nan_to_num(array, nan={PAD}).astype(int)."
            )
    if row.dtype.kind == "O" and any(symbol_lines.is_missing(str(entry)) for entry in row.flat):
        return f" A missing value is no symbol. Past the end of a row write {PAD} in its place."
    if row.dtype.kind in "bf":
        return " Make whole numbers of them, such as by astype(int)."
    one_row = row.dtype.kind in "iu" and row.ndim < 2 and row.size > 0
    return " Write a single sequence as [sequence]." * one_row


def _check_numbering(sequences: np.ndarray, largest: int) -> None:
    """Complain about numbers of which nobody knows that each is a symbol: nobody named them."""
    seen = np.zeros(largest + 2, bool)
    is_padded = largest > 1 and len(sequences) >= LEAST_PADDED
    for _, rows in pieces(sequences):
        seen[rows] = True  # the last one: -1
        goes_on = (rows[:, :-1] == 0) & (rows[:, 1:] != 0)
        is_padded = is_padded and not goes_on.any() and bool((rows[:, 0] != 0).all())
    named = f"name the alphabet: alphabet=range({max(2, largest + 1)})"
    check(
        not is_padded or not seen[0] or bool(seen[-1]),
        "Expected symbols whose meaning is clear; 0 comes at ends of rows alone, as padding does. "
        f"Subtract 1, so that it becomes -1 and symbols count from 0; or {named}.",
    )
    check(
        not symbol_tables.counts_columns(sequences),
        f"Expected sequences; row 0 counts its columns, and {sequences[0, -1]} comes nowhere else. "
        f"Leave it out if it has the names of columns; or {named}.",
    )
    missing = np.flatnonzero(~seen[:-1])
    if len(missing) == 0:
        return
    least = int(np.argmax(seen))
    way = f"If yours count from {least}, subtract {least} from every token"
    if len(missing) > least or largest == least:
        way = "Number those that occur from 0 on, without gaps"
    words = ", ".join(map(str, missing[:3])) + ", ..." * (len(missing) > 3)
    raise ValueError(
        f"Expected every symbol from 0 to the largest, {largest}, to occur, since nobody named "
        f"them; {words} never {'occurs' if len(missing) == 1 else 'occur'}. {way}; or {named}."
    )


def _check_ends(sequences: np.ndarray) -> None:
    """Complain about a token behind a -1."""
    for first, rows in pieces(sequences):
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

    `Recorded(path="mine.txt")` or `Recorded(sequences=array)`, also a list of lists.

    Each episode is a recorded sequence drawn at random, read from its beginning; steps past its end
    are not scored. What is measured is measured on each sequence once (`held`): errors are those of
    so many sequences, however many one asks for.

    A file has one sequence a line. Its symbols are separated by commas, semicolons, tabs or spaces,
    by the same in all lines; in a file without any of these, every character is a symbol. A mark at
    its beginning (BOM) and lines without text do not count. There is no header: what looks like
    one, like a table, texts in quotes, missing values, measured numbers or a column with one symbol
    a line is refused, unless `alphabet` says that each is a symbol; so are rows of arrays with
    names of rows or one symbol each. `in_words` says how the file was read.
    """

    path: str = eqx.field(default="", static=True)
    """Text file with one sequence a line."""
    alphabet: tuple[str, ...] = eqx.field(default=(), static=True)
    """The symbols in order, as they are written in the file; by default those found, sorted. In
    an array, symbols are numbers from 0 on: by default to the largest, and each must occur."""
    sequences: Annotated[Any, tyro.conf.Suppress] = None
    """Tokens [sequence, time], -1 past the end, or masked there; read from `path` if not given."""

    def __post_init__(self) -> None:
        self.path = as_path_text(self.path, "Recorded")
        self.alphabet = as_names(self.alphabet)
        check_fields(self)  # now, for files are read by them
        twice = [name for name, count in Counter(self.alphabet).items() if count > 1]
        check(
            not twice,
            f"Expected an alphabet that names each symbol once; got {twice[:3]} more than once.",
        )
        self.sequences = as_rows(self.sequences)
        if self.sequences is None:
            check(self.path != "", "Expected sequences or the path of a text file; got neither.")
            separator, rows = symbol_files.read(self.path, self.alphabet)
            is_named = bool(self.alphabet)
            self.alphabet = self.alphabet or symbol_files.find_alphabet(self.path, separator, rows)
            tokens = symbol_files.encode(self.path, rows, self.alphabet)
            self.sequences = as_rows(tokens, self.path)
            if not is_named:
                self._check_rows(f"line of {self.path}", symbol_files.naming(self.alphabet))
        largest = int(self.sequences.max())
        if not self.alphabet:
            check(
                largest < MOST_SYMBOLS,
                f"Expected tokens below {MOST_SYMBOLS:,}, each number a symbol; got {largest:,}. "
                "Number the symbols from 0 on without gaps.",
            )
            _check_numbering(self.sequences, largest)
            self.alphabet = _numbers(max(2, largest + 1))
            self._check_rows("row", f"alphabet=range({self.symbols})")
        if largest >= len(self.alphabet):
            least = min(
                int(np.min(rows, initial=largest, where=rows != PAD))
                for _, rows in pieces(self.sequences)
            )
            way = f"If yours count from {least}, subtract {least}; else give" if least else "Give"
            raise ValueError(
                f"Expected tokens from 0 to {len(self.alphabet) - 1} (and {PAD} past the end); got "
                f"{int(self.sequences.min())} to {largest}. {way} the whole alphabet."
            )

    def _check_rows(self, where: str, naming: str) -> None:
        """Complain about rows that look like no sequences, of symbols that nobody named."""

        def names(tokens: np.ndarray) -> str:
            return symbol_lines.shorten([self.alphabet[token] for token in tokens[:3]])

        doubt = symbol_tables.doubt(self.sequences, self.symbols, names)
        check(
            doubt == "",
            f"Expected one sequence in each {where}; {doubt}; or name the alphabet if each is a "
            f"symbol: {naming}.",
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
        read = f"{self._symbols_in_words()}, {len(lengths):,} sequences of {steps} steps"
        if self.path == "":
            return read
        try:
            separator = symbol_files.read(self.path, self.alphabet)[0]
        except (OSError, ValueError):  # the file has gone or changed, the sequences have not
            return read
        return f"{read}, separated by {symbol_lines.SEPARATORS[separator]}"

    def _symbols_in_words(self) -> str:
        """How many symbols there are, which, and which of them one sequence alone has."""
        number = f"{self.symbols:,} symbols"
        if not self.symbol_names:
            return number
        shown = " ".join(symbol[:MOST_NAMES] for symbol in self.symbol_names[:MOST_NAMES])
        number = f"{number} ({shown}{' ...' * (self.symbols > MOST_NAMES)})"
        lone = symbol_tables.of_one_row(np.asarray(self.sequences), self.symbols)
        if not 0 < len(lone) <= MOST_LONE:
            return number
        return f"{number[:-1]}; one sequence alone has {' '.join(self.alphabet[t] for t in lone)})"

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

    def split(self, fraction: float = 0.2, seed: int = 0) -> "tuple[Recorded, Recorded]":
        """Sequences to steer to, and a `fraction` of them held out to judge by, drawn at random.
        Both have the whole alphabet."""
        kept, held_out = split_rows(len(self.sequences), fraction, seed, "sequences")
        return self._of(kept), self._of(held_out)

    def _of(self, chosen: np.ndarray) -> "Recorded":
        rows = np.asarray(self.sequences)[chosen]
        longest = int((rows != PAD).sum(axis=1).max())
        return dataclasses.replace(self, sequences=rows[:, : max(1, longest)])

    @classmethod
    def examples(cls) -> "tuple[Recorded, ...]":
        return cls(sequences=((0, 1, 1), (1, 0), (1, 1, 1, 0))), cls(sequences=((0, 2, 1), (1, 0)))
