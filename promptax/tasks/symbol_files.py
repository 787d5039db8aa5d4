"""Text files with one sequence a line: what separates their symbols, and which symbols there are.

The format is decided once for all lines. What may mean something else than a sequence (a header, a
table, real numbers, padding) is refused by its line, unless the alphabet is named: a name says that
each is a symbol.
"""

from collections.abc import Callable, Sequence

import numpy as np

from promptax import files
from promptax.files import StoreError, expect
from promptax.specs import check

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces", "": "nothing"}
"""What may stand between the symbols of a file, and its name."""

Rows = dict[int, list[str]]  # the symbols of each line with text, by its number in the file


def read(path: str) -> tuple[str, Rows]:
    """What separates the symbols of a file, and its rows. One answer holds for all of its lines.

    Raises:
        StoreError: a line does not fit; the message has its number.
    """
    text = files.read_text(path, taken_by="Recorded(sequences={})")
    lines = {n: line.strip(" ") for n, line in enumerate(text.split("\n"), 1) if line.strip()}
    check(len(lines) > 0, f"Expected one sequence a line; {path} has no line with text.")
    separator = _separator(path, lines)
    rows = {number: _symbols(path, number, line, separator) for number, line in lines.items()}
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


def find_alphabet(path: str, separator: str, rows: Rows) -> tuple[str, ...]:
    """The symbols that were found, sorted; where they may mean something else, nobody guesses."""
    distinct = {symbol for row in rows.values() for symbol in row}
    numbers = all(symbol.isdecimal() and _is_number(symbol) for symbol in distinct)
    symbols = sorted(distinct, key=(lambda symbol: (int(symbol), symbol)) if numbers else None)
    measurements = _measurements(symbols, rows)  # first: line 1 of such a file is like all others
    header = "" if measurements else _header(rows)
    expect(
        header == "",
        f"Expected sequences; line {min(rows)} of {path} {header}. If it is a header, delete it; "
        f"else name the alphabet: {_naming(symbols)}.",
    )
    doubt = measurements or _doubt(distinct, rows)
    doubt = doubt or (_table(rows) if separator else _between(distinct, rows))
    expect(
        doubt == "",
        f"Expected symbols whose meaning is clear in {path}; {doubt}; or name the alphabet if each "
        f"is a symbol: {_naming(symbols)}.",
    )
    check(
        len(symbols) >= 2,
        f"Expected at least 2 different symbols; {path} has only {symbols}. Name the whole "
        f"alphabet: {_naming(symbols)}.",
    )
    return tuple(symbols)


def _naming(symbols: list[str]) -> str:
    """How an alphabet is named that has these symbols, of one also another one."""
    if len(symbols) == 1:
        others = "01" if symbols[0].isdecimal() else "ab"
        symbols = [*symbols, next(symbol for symbol in others if symbol != symbols[0])]
    return f"alphabet=({_shorten(symbols, repr)})"


def _shorten(symbols: list[str], words: Callable[[str], str] = str) -> str:
    """The first of some symbols."""
    return ", ".join([words(symbol[:40]) for symbol in symbols[:2]] + ["..."] * (len(symbols) > 2))


# --- what may be no sequence of symbols ------------------------------------------------------


def _header(rows: Rows) -> str:
    """What makes line 1 look like names of columns, in words; "" if nothing does."""
    first, *others = rows.values()
    elsewhere = {symbol for row in others for symbol in row}
    are_numbers = all(map(_is_number, elsewhere)) and len(others) > 0
    if are_numbers and not any(map(_is_number, first)):
        return f"has words ({_shorten(first)}), and all others have numbers"
    only = [symbol for symbol in dict.fromkeys(first) if symbol not in elsewhere]
    if len(others) < 2 or not only:  # two lines that differ may well be two sequences
        return ""
    counts = len(first) > 2 and only[-1] == first[-1] and _counts(first)
    if counts:
        return f"counts its columns ({_shorten(first)}, {first[-1]})"
    # a constant sequence may share nothing with others, names of columns are mostly different
    are_names = only == list(dict.fromkeys(first)) and 2 * len(only) > len(first)
    noun = "1 symbol that occurs" if len(only) == 1 else f"{len(only)} symbols that occur"
    return f"has {noun} nowhere else ({_shorten(only)})" if are_names else ""


def _counts(symbols: Sequence[str]) -> bool:
    """Whether they are the numbers from 0 or from 1 on."""
    return any(
        all(symbol == str(number) for number, symbol in enumerate(symbols, first))
        for first in (0, 1)
    )


LEAST_TABLE = 10  # lines: in fewer, columns of numbers and of words may be a matter of chance


def _table(rows: Rows) -> str:
    """What makes the lines look like rows of a table, in words; "" if nothing does."""
    lines = list(rows.values())
    if len({len(line) for line in lines}) > 1 or len(lines[0]) < 2 or len(lines) < 3:
        return ""
    first, *others = zip(*lines, strict=True)
    if _counts(first) and not any(first[-1] in column for column in others):
        return "each line begins with its number. Delete that column"
    kinds = [{_is_number(symbol) for symbol in column} for column in (first, *others)]
    if len(lines) >= LEAST_TABLE and {True} in kinds and {False} in kinds:
        return (
            "some columns have numbers and others words, as tables do. Write one sequence a line, "
            "its symbols alone"
        )
    return ""


MANY = 10  # symbols of which each should come again
LEAST_REPEATS = 1.25  # entries for each symbol: of words in a short text there are more
LEAST_REPEATS_OF_FRACTIONS = 10  # of numbers on a grid there are more


def _measurements(symbols: list[str], rows: Rows) -> str:
    """Numbers, or others, of which hardly any comes twice, in words; "" if there are none."""
    entries = sum(map(len, rows.values()))
    fractions = sum(_is_number(symbol) and not float(symbol).is_integer() for symbol in symbols)
    are_fractions = 2 * fractions > len(symbols)
    least = LEAST_REPEATS_OF_FRACTIONS if are_fractions else LEAST_REPEATS
    if len(symbols) <= MANY or entries >= least * len(symbols):
        return ""
    return (
        f"its {entries:,} entries are {len(symbols):,} different ones ({_shorten(symbols)}). "
        "If they were measured, write the class of each in its place, such as low and high"
    )


def _doubt(symbols: set[str], rows: Rows) -> str:
    """What may be no symbol of its own, in words; "" if there is nothing."""
    named = [row[:1] == [sign] for sign in ">@" for row in rows.values()]
    inside = {symbol for row in rows.values() for symbol in row[1:]}
    if any(named) and not inside & {">", "@"}:
        return "lines that begin with > or @ name sequences in FASTA and FASTQ files. Delete them"
    numbers = {symbol: float(symbol) for symbol in symbols if _is_number(symbol)}
    by_number: dict[float, list[str]] = {}
    for symbol, number in sorted(numbers.items()):
        by_number.setdefault(number, []).append(symbol)
    for alike in by_number.values():
        if len(alike) > 1:
            return f"{alike} are the same number. Write it in one way"
    missing = [symbol for symbol in sorted(symbols) if symbol.lower() in MISSING]
    others = symbols - set(missing)
    if missing and others and all(map(_is_number, others)):
        return f"{missing[0]!r} among numbers says that one is missing. Cut the line there"
    tokens = [number for symbol, number in numbers.items() if symbol != "-1"]
    if "-1" not in symbols or len(tokens) < max(2, len(symbols) - 1) or min(tokens) < 0:
        return ""
    is_past = all("-1" not in row[: len(row) - _past_end(row)] for row in rows.values())
    return "-1 comes at ends of lines alone, as padding does. Remove it" * is_past


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
            return f"{sign!r} stands between others in every line. Write commas"
    return ""


def encode(path: str, rows: Rows, alphabet: tuple[str, ...]) -> list[list[int]]:
    """The place of every symbol in the alphabet; a symbol that is not in it is refused."""
    index = {symbol: token for token, symbol in enumerate(alphabet)}
    for number, row in rows.items():
        unknown = next((symbol for symbol in row if symbol not in index), None)
        check(
            unknown is None,
            f"Expected symbols from {alphabet}; line {number} of {path} has {unknown!r}. Add it "
            "to the alphabet or correct the line.",
        )
    return [[index[symbol] for symbol in row] for row in rows.values()]
