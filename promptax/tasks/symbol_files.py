"""Text files with one sequence a line: what separates their symbols, and which symbols there are.

The format is decided once for all lines. What may mean something else than a sequence (see
`symbol_lines`) is refused by its line, unless the alphabet is named: a name says that each is a
symbol.
"""

import shlex
import unicodedata
from collections.abc import Iterable, Sequence

from promptax import files
from promptax.files import StoreError, expect
from promptax.specs import check
from promptax.tasks import symbol_lines
from promptax.tasks.symbol_lines import (
    SEPARATORS,
    Rows,
    distinct,
    in_words,
    is_number,
    it_is,
    shorten,
)


def read(path: str, alphabet: tuple[str, ...] = ()) -> tuple[str, Rows]:
    """What separates the symbols of a file, and its rows. One answer holds for all of its lines.

    `alphabet`: its symbols, if somebody named them; a file that has no others is not doubted.

    Raises:
        StoreError: a line does not fit; the message has its number.
    """
    text = files.read_text(path, taken_by="Recorded(sequences={load})")
    lines = {n: line.strip(" ") for n, line in enumerate(text.split("\n"), 1) if line.strip()}
    check(len(lines) > 0, f"Expected one sequence a line; {path} has no line with text.")
    comments = symbol_lines.comments(lines)
    separator = _separator(path, lines, doubted=comments == "")
    rows = {number: _cells(line, separator) for number, line in lines.items()}
    symbols = distinct(rows)
    if not symbols <= set(alphabet):
        odd = comments or symbol_lines.remarks(rows, separator)
        odd = odd or symbol_lines.odd_lines(lines, rows, separator)
        named = "add its symbols to" if alphabet else "if each is a symbol, name"
        expect(odd == "", f"Expected sequences alone in {path}; {odd}; or {named} the alphabet.")
    parts = sorted(filter(_is_part, symbols - set(alphabet))) if separator == "" else []
    expect(
        not parts,
        f"Expected one character for each symbol in {path}, where nothing separates them; got "
        f"{', '.join(f'U+{ord(part):04X}' for part in parts[:3])}, a part of what is seen as one. "
        "Separate the symbols by spaces, or name the alphabet if each is a symbol.",
    )
    bad = {symbol for symbol in symbols - set(alphabet) if not _is_bare(symbol, separator)}
    _expect_bare(path, rows, bad, separator)
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


def _expect_bare(path: str, rows: Rows, bad: set[str], separator: str) -> None:
    """Complain about the first of those symbols that are none."""
    for number, row in rows.items() if bad else ():
        if place := next((place for place, cell in enumerate(row, 1) if cell in bad), 0):
            words = repr(row[place - 1][:40]) if row[place - 1] else "an empty one"
            raise StoreError(
                f"Expected bare symbols, separated by {SEPARATORS[separator]}; line {number} of "
                f"{path} has {words} at place {place}. Correct the line, delete it if it is a "
                "header or a comment, or write symbols without spaces, quotes and brackets; or "
                "name the alphabet, if each is a symbol."
            )


def _is_bare(cell: str, separator: str) -> bool:
    """Whether it is a symbol without spaces, quotes and brackets."""
    is_quoted = separator != "" and cell[:1] in ('"', "'", "[", "{")
    is_quoted = is_quoted or (len(cell) > 1 and cell[0] == "(")  # alone it may be a symbol
    has_space = any(letter.isspace() for letter in cell)
    return cell != "" and cell.isprintable() and not has_space and not is_quoted


def _is_part(character: str) -> bool:
    """Whether it is seen as part of another one: an accent or a vowel sign of its own, what selects
    how an emoji looks, one of the two letters of a flag."""
    is_modifier = 0x1F3FB <= ord(character) <= 0x1F3FF or 0x1F1E6 <= ord(character) <= 0x1F1FF
    return is_modifier or character == "\u200d" or unicodedata.category(character)[0] == "M"


def find_alphabet(path: str, separator: str, rows: Rows) -> tuple[str, ...]:
    """The symbols that were found, sorted; where they may mean something else, nobody guesses."""
    symbols = _sorted(distinct(rows))
    # first, since line 1 of a file of measured numbers is like all others
    doubt = symbol_lines.blocks(symbols, rows) if separator else ""
    doubt = doubt or symbol_lines.measurements(symbols, rows)
    odd, header = ([], "") if doubt else symbol_lines.header(rows)
    expect(
        header == "",
        f"Expected sequences; {in_words(odd)} of {path} {header}. If {it_is(odd)} a header or a "
        f"comment, delete {'it' if len(odd) == 1 else 'them'}; else name the alphabet: "
        f"{naming(symbols)}.",
    )
    doubt = doubt or symbol_lines.doubt(set(symbols), rows)
    if separator:
        doubt = doubt or symbol_lines.table(rows)
    else:
        doubt = doubt or symbol_lines.quotes(rows) or symbol_lines.sign_between(set(symbols), rows)
        doubt = doubt or symbol_lines.words(rows)
    expect(
        doubt == "",
        f"Expected symbols whose meaning is clear in {path}; {doubt}; or name the alphabet if each "
        f"is a symbol: {naming(symbols)}.",
    )
    check(
        len(symbols) >= 2,
        f"Expected at least 2 different symbols; {path} has only {symbols}. Name the whole "
        f"alphabet: {naming(symbols)}.",
    )
    return tuple(symbols)


def naming(symbols: Sequence[str]) -> str:
    """How an alphabet is named that has these symbols, of one also another one; on the command
    line, where the flag begins with the task's own name (target, task, …), and in Python."""
    symbols = list(symbols)
    if len(symbols) == 1:
        others = "01" if symbols[0].isdecimal() else "ab"
        symbols = [*symbols, next(symbol for symbol in others if symbol != symbols[0])]
    flag = shorten(symbols, shlex.quote).replace(", ", " ")
    return (
        f"{flag} behind the flag that ends in .alphabet, in Python "
        f"alphabet=({shorten(symbols, repr)})"
    )


def encode(path: str, rows: Rows, alphabet: tuple[str, ...]) -> list[list[int]]:
    """The place of every symbol in the alphabet; a symbol that is not in it is refused."""
    index = {symbol: token for token, symbol in enumerate(alphabet)}
    if bad := [number for number, row in rows.items() if not index.keys() >= set(row)]:
        unknown = next(symbol for symbol in rows[bad[0]] if symbol not in index)
        found = distinct(rows)
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
            f"Expected symbols from ({names}); {in_words(bad[:1])} of {path} has {unknown!r}. {way}"
        )
    return [[index[symbol] for symbol in row] for row in rows.values()]


MOST_SHOWN = 20  # symbols of an alphabet in a message


def translation(path: str, found: Iterable[str], alphabet: tuple[str, ...]) -> str:
    """How a file is rewritten in which other symbols stand for those of an alphabet, in words.

    Whole numbers may count from elsewhere: 1, 2 for 0, 1. Other symbols stand for those of the
    alphabet, in order, if none of them is in it: of C, G and N beside A, C and G nobody knows what
    N means. "" if neither is so.
    """
    ours, theirs = _sorted(set(found)), _sorted(set(alphabet))
    if len(ours) != len(theirs) or ours == theirs:
        return ""
    if not set(ours).isdisjoint(theirs) and not _is_shifted(ours, theirs):
        return ""
    pairs = [f"{ours[0]} stands for {theirs[0]}"]
    pairs += [f"{one} for {other}" for one, other in zip(ours[1:3], theirs[1:3], strict=True)]
    pairs += ["and so on"] * (len(ours) > 3)
    words = ", ".join(pairs) if len(pairs) > 2 else " and ".join(pairs)
    # tr works on bytes, and means ranges and more by other signs
    is_plain = all(
        len(symbol) == 1 and symbol.isascii() and symbol.isalnum() for symbol in (*ours, *theirs)
    )
    command = f" (tr {''.join(ours)} {''.join(theirs)} < {shlex.quote(path)})" if is_plain else ""
    return f"if {words}, rewrite the file{command}"


def _is_shifted(ours: list[str], theirs: list[str]) -> bool:
    """Whether they are whole numbers, of which ours are theirs and a constant."""
    if not all(symbol.isdecimal() and is_number(symbol) for symbol in (*ours, *theirs)):
        return False
    return len({int(one) - int(other) for one, other in zip(ours, theirs, strict=True)}) == 1


def _sorted(symbols: set[str]) -> list[str]:
    """Symbols in their order: that of numbers if all are whole ones."""
    numbers = all(symbol.isdecimal() and is_number(symbol) for symbol in symbols)
    return sorted(symbols, key=(lambda symbol: (int(symbol), symbol)) if numbers else None)
