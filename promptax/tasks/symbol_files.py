"""Text files with one sequence a line: what separates their symbols, and which symbols there are.

The format is decided once for all lines. What may mean something else than a sequence (a header, a
table, real numbers, padding) is refused by its line, unless the alphabet is named: a name says that
each is a symbol.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from promptax import files
from promptax.files import StoreError, expect
from promptax.specs import check

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces", "": "nothing"}
"""What may stand between the symbols of a file, and its name."""

Rows = dict[int, list[str]]  # the symbols of each line with text, by its number in the file


def read(path: str, alphabet: tuple[str, ...] = ()) -> tuple[str, Rows]:
    """What separates the symbols of a file, and its rows. One answer holds for all of its lines.

    `alphabet`: its symbols, if somebody named them; a file that has no others is not doubted.

    Raises:
        StoreError: a line does not fit; the message has its number.
    """
    text = files.read_text(path, taken_by="Recorded(sequences={})")
    lines = {n: line.strip(" ") for n, line in enumerate(text.split("\n"), 1) if line.strip()}
    check(len(lines) > 0, f"Expected one sequence a line; {path} has no line with text.")
    comments = _comments(lines)
    separator = _separator(path, lines, doubted=comments == "")
    rows = {number: _cells(line, separator) for number, line in lines.items()}
    if not {symbol for row in rows.values() for symbol in row} <= set(alphabet):
        odd = comments or _odd_lines(lines, rows, separator)
        named = "add its symbols to" if alphabet else "if each is a symbol, name"
        expect(odd == "", f"Expected sequences alone in {path}; {odd}; or {named} the alphabet.")
    for number, row in rows.items():
        _expect_bare(path, number, row, separator)
    return separator, rows


def _separator(path: str, lines: dict[int, str], doubted: bool) -> str:
    """The one separator of all lines; "" if symbols are single characters."""
    numbers = {
        mark: [number for number, line in lines.items() if mark in line]
        for mark in SEPARATORS
        if mark
    }
    there = [mark for mark in numbers if numbers[mark]]
    strong = [mark for mark in there if mark in ",;"]
    single = next((numbers[mark][0] for mark in strong if len(numbers[mark]) == 1), None)
    delete = f", or delete line {single} if it is a header or a comment" if single else ""
    expect(
        len(strong) <= 1 or not doubted,
        f"Expected one separator in all of {path}; got "
        + " and ".join(f"{SEPARATORS[mark]} (line {numbers[mark][0]})" for mark in strong)
        + f". Write all lines in one way{delete * (len(lines) > 1)}.",
    )
    return (strong or there[::-1] or [""])[0]  # spaces, where there are tabs and spaces


def _cells(line: str, separator: str) -> list[str]:
    """What may be the symbols of a line."""
    if separator == "":
        return list(line)
    if separator == " ":
        return line.split()
    return [cell.strip() for cell in line.split(separator)]


def _expect_bare(path: str, number: int, cells: list[str], separator: str) -> None:
    """Complain unless the symbols of a line are symbols."""
    bad = {cell for cell in set(cells) if not _is_bare(cell, separator)}
    if bad:
        place = next(place for place, cell in enumerate(cells) if cell in bad)
        words = repr(cells[place][:40]) if cells[place] else "an empty one"
        raise StoreError(
            f"Expected bare symbols, separated by {SEPARATORS[separator]}; line {number} of {path} "
            f"has {words} at place {place + 1}. Correct the line, delete it if it is a header or a "
            "comment, or write symbols without spaces, quotes and brackets."
        )


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
    symbols = _sorted(distinct)
    measurements = _measurements(symbols, rows)  # first: line 1 of such a file is like all others
    odd, header = ([], "") if measurements else _header(rows)
    expect(
        header == "",
        f"Expected sequences; {_lines(odd)} of {path} {header}. If {_it(odd)} a header or a "
        f"comment, delete {'it' if len(odd) == 1 else 'them'}; else name the alphabet: "
        f"{_naming(symbols)}.",
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
    """How an alphabet is named that has these symbols, of one also another one; in Python and on
    the command line."""
    if len(symbols) == 1:
        others = "01" if symbols[0].isdecimal() else "ab"
        symbols = [*symbols, next(symbol for symbol in others if symbol != symbols[0])]
    flag = _shorten(symbols, shlex.quote).replace(", ", " ")
    return f"as a flag --target.alphabet {flag}, in Python alphabet=({_shorten(symbols, repr)})"


def _shorten(symbols: list[str], words: Callable[[str], str] = str) -> str:
    """The first of some symbols."""
    return ", ".join([words(symbol[:40]) for symbol in symbols[:2]] + ["..."] * (len(symbols) > 2))


# --- what may be no sequence of symbols ------------------------------------------------------


def _lines(numbers: list[int]) -> str:
    """Lines by their numbers, in words."""
    first = ", ".join(map(str, numbers[:3])) + ", ..." * (len(numbers) > 3)
    return f"line{'s' * (len(numbers) > 1)} {first}"


def _it(numbers: list[int]) -> str:
    return "it is" if len(numbers) == 1 else "each is"


LEAST_RULE = 3  # signs, all alike: a line such as -----
COMMENTS = ("#", "%", "//")  # how lines begin that nobody means as sequences
NAMES = (">", "@")  # and those of FASTA and FASTQ files


def _comments(lines: dict[int, str]) -> str:
    """Lines, not all, that begin with a sign which no other line has, in words; "" without them."""
    for sign in (*COMMENTS, *NAMES):
        marked = [number for number, line in lines.items() if line.startswith(sign)]
        others = [line for line in lines.values() if not line.startswith(sign)]
        if not marked or not others or any(sign in line for line in others):
            continue
        if sign in NAMES:
            return (
                f"lines that begin with > or @, such as line {marked[0]}, name sequences in FASTA "
                "and FASTQ files. Delete them"
            )
        begins = f"begin{'s' * (len(marked) == 1)} with {sign!r}, as comments do"
        return f"{_lines(marked)} {begins}. Delete {'it' if len(marked) == 1 else 'them'}"
    for number, line in lines.items():
        is_rule = len(line) >= LEAST_RULE and line == line[0] * len(line) and not line[0].isalnum()
        if is_rule and sum(line[0] in other for other in lines.values()) == 1 < len(lines):
            return f"line {number} is a rule ({line[:40]!r}). Delete it"
    return ""


def _odd_lines(lines: dict[int, str], rows: Rows, separator: str) -> str:
    """Few lines that have separators where others have none, or the other way round, and symbols
    that no other line has, in words; "" if there are none."""
    single = {number: row[0] for number, row in rows.items() if len(row) == 1}
    several = [number for number in rows if number not in single]
    among = {symbol for number in several for symbol in rows[number]}
    if separator == "" or not single or not several:
        return ""
    what, longest = SEPARATORS[separator], max(map(len, among))
    joined = [n for n, cell in single.items() if len(cell) > 2 * longest and set(cell) <= among]
    if joined and len(several) > len(single):
        shown = single[joined[0]][:40]
        return f"{_lines(joined)} has no {what} ({shown!r}) where others have. Write them"
    if len(several) > len(single) or not among.isdisjoint(single.values()):
        return ""
    has = "has" if len(several) == 1 else "have"
    return (
        f"only {_lines(several)} {has} {what} ({lines[several[0]][:40]!r}). If {_it(several)} a "
        f"header or a comment, delete {'it' if len(several) == 1 else 'them'}; else write "
        f"{'it' if len(several) == 1 else 'them'} like the others"
    )


def _header(rows: Rows) -> tuple[list[int], str]:
    """Lines that look like names of columns or remarks, and what makes them do so, in words; ""
    if nothing does."""
    kinds = {number: {_kind(symbol) for symbol in row} for number, row in rows.items()}
    odd = [number for number, kind in kinds.items() if kind == {"word"}]
    number_lines = [number for number, kind in kinds.items() if kind == {"number"}]
    at_an_end = odd in (list(rows)[: len(odd)], list(rows)[len(number_lines) :])
    few = LEAST_TABLE * len(odd) <= len(number_lines) or (len(odd) == 1 and len(rows) > 2)
    few = few or (at_an_end and len(odd) <= len(number_lines) and odd != [max(rows)])
    if odd and len(odd) + len(number_lines) == len(rows) > 1 and few:
        has = "has" if len(odd) == 1 else "have"
        return odd, f"{has} words ({_shorten(rows[odd[0]])}), and all others have numbers"
    for number in (min(rows), max(rows)):
        if names := _names(rows, number):
            return [number], names
    return [], ""


def _names(rows: Rows, number: int) -> str:
    """What makes a line look like names of columns or a remark, in words; "" if nothing does."""
    line, others = rows[number], [row for other, row in rows.items() if other != number]
    elsewhere = {symbol for row in others for symbol in row}
    only = [symbol for symbol in dict.fromkeys(line) if symbol not in elsewhere]
    if len(others) < 2 or not only:  # two lines that differ may well be two sequences
        return ""
    is_first = number == min(rows)
    if is_first and len(line) > 2 and only[-1] == line[-1] and _counts(line):
        return f"counts its columns ({_shorten(line)}, {line[-1]})"
    # a constant sequence may share nothing with others, names of columns are mostly different
    are_names = only == list(dict.fromkeys(line)) and 2 * len(only) > len(line)
    are_names = are_names and (is_first or len(only) > 1)  # a rare word may be a sequence
    noun = "1 symbol that occurs" if len(only) == 1 else f"{len(only)} symbols that occur"
    return f"has {noun} nowhere else ({_shorten(only)})" if are_names else ""


def _kind(symbol: str) -> str:
    """Whether it is a number, a word, or what may stand for a number that is missing."""
    if symbol.lower() in MISSING:
        return "missing"
    return "number" if _is_number(symbol) else "word"


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
    bare = [symbol.rstrip(":.)") for symbol in first]
    if _counts(bare) and not any(first[-1] in column for column in others):
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
    numbers = {symbol: float(symbol) for symbol in symbols if _is_number(symbol)}
    by_number: dict[float, list[str]] = {}
    for symbol, number in sorted(numbers.items()):
        by_number.setdefault(number, []).append(symbol)
    for alike in by_number.values():
        if len(alike) > 1:
            return f"{alike} are the same number. Write it in one way"
    wholes = [int(number) for number in by_number if number.is_integer()]
    if len(wholes) == len(symbols) and any("." in s or "e" in s.lower() for s in symbols):
        written, better = " ".join(sorted(symbols)[:2]), " ".join(map(str, wholes[:2]))
        return (
            f"its numbers are whole, and written as {written}. Write {better}, such as by "
            "np.savetxt(..., fmt='%d')"
        )
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
    if bad := [number for number, row in rows.items() if not index.keys() >= set(row)]:
        unknown = next(symbol for symbol in rows[bad[0]] if symbol not in index)
        found = {symbol for row in rows.values() for symbol in row}
        way = "Add it to the alphabet or correct the line."
        if translated := translation(path, found, alphabet):
            way = (
                "Correct the line, or add it to the alphabet, which names symbols and does not "
                f"translate them: {translated}."
            )
        elif bad in ([min(rows)], [max(rows)]) and len(rows) > 1:
            way = (
                "Add it to the alphabet, correct the line, or delete it if it is a header or a "
                "comment."
            )
        names = ", ".join(map(repr, alphabet[:MOST_SHOWN])) + ", ..." * (len(alphabet) > MOST_SHOWN)
        raise ValueError(
            f"Expected symbols from ({names}); {_lines(bad[:1])} of {path} has {unknown!r}. {way}"
        )
    return [[index[symbol] for symbol in row] for row in rows.values()]


MOST_SHOWN = 20  # symbols of an alphabet in a message


def translation(path: str, found: Iterable[str], alphabet: tuple[str, ...]) -> str:
    """How a file is rewritten in which other symbols stand for those of an alphabet, in words.

    The order of symbols says which stands for which, of whole numbers that count from elsewhere
    also their distance; "" if neither does.
    """
    ours, theirs = _sorted(set(found)), _sorted(set(alphabet))
    if all(symbol.isdecimal() and _is_number(symbol) for symbol in (*ours, *theirs)):
        distance = int(ours[0]) - int(theirs[0])
        moved = [str(int(symbol) - distance) for symbol in ours]
        theirs = moved if set(moved) <= set(theirs) else theirs
    if len(ours) != len(theirs) or ours == theirs:
        return ""
    pairs = [f"{ours[0]} stands for {theirs[0]}"]
    pairs += [f"{one} for {other}" for one, other in zip(ours[1:3], theirs[1:3], strict=True)]
    pairs += ["and so on"] * (len(ours) > 3)
    words = ", ".join(pairs) if len(pairs) > 2 else " and ".join(pairs)
    is_plain = all(len(symbol) == 1 and symbol.isalnum() for symbol in (*ours, *theirs))
    command = f" (tr {''.join(ours)} {''.join(theirs)} < {shlex.quote(path)})" if is_plain else ""
    return f"if {words}, rewrite the file{command}"


def _sorted(symbols: set[str]) -> list[str]:
    """Symbols in their order: that of numbers if all are whole ones."""
    numbers = all(symbol.isdecimal() and _is_number(symbol) for symbol in symbols)
    return sorted(symbols, key=(lambda symbol: (int(symbol), symbol)) if numbers else None)
