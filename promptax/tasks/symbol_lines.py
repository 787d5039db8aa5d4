"""What in a file may be no sequence of symbols: comments, headers, tables, real numbers, padding.

Every function looks at all lines, and says in words what it found and what to do about it; "" if
that is nothing. A word that may mean two things is refused, never guessed.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces", "": "nothing"}
"""What may stand between the symbols of a file, and its name."""

Rows = dict[int, list[str]]  # the symbols of each line with text, by its number in the file


def is_number(symbol: str) -> bool:
    """Whether Python reads it as a number of at most `MOST_DIGITS` signs."""
    try:
        float(symbol)
    except ValueError:
        return False
    return len(symbol) <= MOST_DIGITS


MOST_DIGITS = 100  # whole numbers of thousands are not read, not even by Python
# among numbers
MISSING = ("nan", "na", "n/a", "<na>", "#n/a", "nat", "null", "none", "inf", "-inf", "?", ".", "-")
# among words, as Python, R, pandas, databases and spreadsheets write it
MISSING_WORDS = ("NaN", "nan", "NA", "N/A", "#N/A", "None", "NULL", "null", "<NA>", "NaT")
MOST_WORDS = 50  # symbols: beyond, as in texts, these are words like others


def is_missing(symbol: str) -> bool:
    """Whether it is how programs write a value that is missing."""
    return symbol in MISSING_WORDS


def distinct(rows: Rows) -> set[str]:
    """The symbols of all rows, each once: what a symbol is need not be found for every entry."""
    return set().union(*rows.values())


def shorten(symbols: list[str], words: Callable[[str], str] = str) -> str:
    """The first of some symbols."""
    return ", ".join([words(symbol[:40]) for symbol in symbols[:2]] + ["..."] * (len(symbols) > 2))


def in_words(numbers: list[int]) -> str:
    """Lines by their numbers, in words."""
    first = ", ".join(map(str, numbers[:3])) + ", ..." * (len(numbers) > 3)
    return f"line{'s' * (len(numbers) > 1)} {first}"


def it_is(numbers: list[int]) -> str:
    """How a sentence about such lines goes on."""
    return "it is" if len(numbers) == 1 else "each is"


LEAST_RULE = 3  # signs, all alike: a line such as -----
COMMENTS = ("#", "%", "//")  # how lines begin that nobody means as sequences
NAMES = (">", "@")  # and those of FASTA and FASTQ files


def comments(lines: dict[int, str]) -> str:
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
        return f"{in_words(marked)} {begins}. Delete {'it' if len(marked) == 1 else 'them'}"
    for number, line in lines.items():
        is_rule = len(line) >= LEAST_RULE and line == line[0] * len(line) and not line[0].isalnum()
        if is_rule and sum(line[0] in other for other in lines.values()) == 1 < len(lines):
            return f"line {number} is a rule ({line[:40]!r}). Delete it"
    return ""


def remarks(rows: Rows, separator: str) -> str:
    """Lines that end with a comment (0 1 # first), in words; "" without them.

    Most lines with a sign of comments must go on with words that come nowhere before one, among
    numbers at least some; else the sign is a symbol like others.
    """
    signs = {symbol for symbol in distinct(rows) if symbol.startswith(COMMENTS)}
    if separator not in (" ", "\t") or not signs:
        return ""
    marked = {number: row for number, row in rows.items() if not signs.isdisjoint(row)}
    ends = {
        number: row[min(row.index(sign) for sign in signs if sign in row) :]
        for number, row in marked.items()
    }
    before = {n: row[: len(row) - len(ends[n])] if n in ends else row for n, row in rows.items()}
    symbols = distinct(before)
    are_numbers = all(map(is_number, symbols))
    odd = []
    for number, (sign, *words) in ends.items():
        is_apart = symbols.isdisjoint(words) or (are_numbers and not symbols.issuperset(words))
        is_comment = are_numbers if sign not in COMMENTS else bool(words) and is_apart
        if is_comment and signs.isdisjoint(words):
            odd.append(number)
    if not symbols or 2 * len(odd) <= len(ends):
        return ""
    has = "has a comment" if len(odd) == 1 else "have comments"
    shown = " ".join(ends[odd[0]])[:40]
    return f"{in_words(odd)} {has} ({shown!r}). Delete {'it' if len(odd) == 1 else 'them'}"


def odd_lines(lines: dict[int, str], rows: Rows, separator: str) -> str:
    """Few lines that have separators where others have none, or the other way round, and symbols
    that no other line has, in words; "" if there are none."""
    single = {number: row[0] for number, row in rows.items() if len(row) == 1}
    several = [number for number in rows if number not in single]
    if separator == "" or not single or not several:
        return ""
    among = distinct({number: rows[number] for number in several})
    what, longest = SEPARATORS[separator], max(map(len, among))
    joined = [n for n, cell in single.items() if len(cell) > 2 * longest and set(cell) <= among]
    if joined and len(several) > len(single):
        shown = single[joined[0]][:40]
        return f"{in_words(joined)} has no {what} ({shown!r}) where others have. Write them"
    if len(several) > len(single) or not among.isdisjoint(single.values()):
        return ""
    has = "has" if len(several) == 1 else "have"
    return (
        f"only {in_words(several)} {has} {what} ({lines[several[0]][:40]!r}). If {it_is(several)} "
        f"a header or a comment, delete {'it' if len(several) == 1 else 'them'}; else write "
        f"{'it' if len(several) == 1 else 'them'} like the others"
    )


def header(rows: Rows) -> tuple[list[int], str]:
    """Lines that look like names of columns or remarks, and what makes them do so, in words; ""
    if nothing does."""
    symbols = distinct(rows)
    numbers = {symbol for symbol in symbols if _kind(symbol) == "number"}
    words = {symbol for symbol in symbols if _kind(symbol) == "word"}
    odd = [number for number, row in rows.items() if words.issuperset(row)]
    number_lines = [number for number, row in rows.items() if numbers.issuperset(row)]
    at_an_end = odd in (list(rows)[: len(odd)], list(rows)[len(number_lines) :])
    few = LEAST_TABLE * len(odd) <= len(number_lines) or (len(odd) == 1 and len(rows) > 2)
    few = few or (at_an_end and len(odd) <= len(number_lines) and odd != [max(rows)])
    if odd and len(odd) + len(number_lines) == len(rows) > 1 and few:
        has = "has" if len(odd) == 1 else "have"
        return odd, f"{has} words ({shorten(rows[odd[0]])}), and all others have numbers"
    among_numbers = words if words | numbers == symbols else set()
    for number in (min(rows), max(rows)):
        if names := _names(rows, number) or _rare(rows, number, among_numbers):
            return [number], names
    return [], ""


def _names(rows: Rows, number: int) -> str:
    """What makes a line look like names of columns or a remark, in words; "" if nothing does."""
    line, others = rows[number], [row for other, row in rows.items() if other != number]
    alone = set(line)
    for row in others:
        alone.difference_update(row)
        if not alone:
            return ""
    if len(others) < 2:  # two lines that differ may well be two sequences
        return ""
    only = [symbol for symbol in dict.fromkeys(line) if symbol in alone]
    is_first = number == min(rows)
    if is_first and len(line) > 2 and only[-1] == line[-1] and _counts(line):
        return f"counts its columns ({shorten(line)}, {line[-1]})"
    # a constant sequence may share nothing with others, names of columns are mostly different
    are_names = only == list(dict.fromkeys(line)) and 2 * len(only) > len(line)
    are_names = are_names and (is_first or len(only) > 1)  # a rare word may be a sequence
    noun = "1 symbol that occurs" if len(only) == 1 else f"{len(only)} symbols that occur"
    return f"has {noun} nowhere else ({shorten(only)})" if are_names else ""


LEAST_REST = 10  # times the entries of a line: so seldom a rare symbol is in it by chance


def _rare(rows: Rows, number: int, among_numbers: set[str]) -> str:
    """Whether a line has symbols, not all, that occur nowhere else, as names of columns have whose
    letters partly are symbols: at least 2, at least half of its own, and no other line has so
    many. Or it has all `among_numbers`, the words of a file that has else numbers alone. In words;
    "" if it has none."""
    line, others = rows[number], [row for other, row in rows.items() if other != number]
    if len(others) < 2 or sum(map(len, others)) < LEAST_REST * len(line):
        return ""
    alone = set(line).difference(*others)
    if not alone:
        return ""
    if alone != among_numbers:
        counts = Counter(symbol for row in others for symbol in set(row))
        most = max(sum(counts[symbol] == 1 for symbol in set(row)) for row in others)
        if len(alone) < 2 or 2 * len(alone) < len(set(line)) or most > 1:
            return ""
    only = [symbol for symbol in dict.fromkeys(line) if symbol in alone]
    occur = "symbol that occurs" if len(only) == 1 else "symbols that occur"
    return f"has {len(only)} {occur} nowhere else ({shorten(only)})"


def _kind(symbol: str) -> str:
    """Whether it is a number, a word, or what may stand for a number that is missing."""
    if symbol.lower() in MISSING:
        return "missing"
    return "number" if is_number(symbol) else "word"


def _counts(symbols: Sequence[str]) -> bool:
    """Whether they are the numbers from 0 or from 1 on."""
    return any(
        all(symbol == str(number) for number, symbol in enumerate(symbols, first))
        for first in (0, 1)
    )


LEAST_TABLE = 10  # lines: in fewer, columns of numbers and of words may be a matter of chance


def table(rows: Rows) -> str:
    """What makes the lines look like rows of a table, in words; "" if nothing does."""
    lines = list(rows.values())
    if len({len(line) for line in lines}) > 1 or len(lines[0]) < 2 or len(lines) < 3:
        return ""
    first, *others = zip(*lines, strict=True)
    bare = [symbol.rstrip(":.)") for symbol in first]
    if _counts(bare) and not any(first[-1] in column for column in others):
        return "each line begins with its number. Delete that column"
    numbers = set(filter(is_number, distinct(rows)))
    kinds = [{symbol in numbers for symbol in column} for column in (first, *others)]
    if len(lines) >= LEAST_TABLE and {True} in kinds and {False} in kinds:
        return (
            "some columns have numbers and others words, as tables do. Write one sequence a line, "
            "its symbols alone"
        )
    return ""


MANY = 10  # symbols of which each should come again
LEAST_REPEATS = 1.25  # entries for each symbol: of words in a short text there are more
LEAST_REPEATS_OF_FRACTIONS = 10  # of numbers on a grid there are more,
MOST_FRACTIONS = 30  # and fewer of them than of measured numbers


def measurements(symbols: list[str], rows: Rows) -> str:
    """Numbers, or others, of which hardly any comes twice, in words; "" if there are none."""
    entries = sum(map(len, rows.values()))
    fractions = sum(is_number(symbol) and not float(symbol).is_integer() for symbol in symbols)
    are_fractions = 2 * fractions > len(symbols)
    least = LEAST_REPEATS_OF_FRACTIONS if are_fractions else LEAST_REPEATS
    is_grid = not are_fractions or fractions <= MOST_FRACTIONS
    if len(symbols) <= MANY or (entries >= least * len(symbols) and is_grid):
        return ""
    return (
        f"its {entries:,} entries are {len(symbols):,} different ones ({shorten(symbols)}). "
        "If they were measured, write the class of each in its place, such as low and high"
    )


def doubt(symbols: set[str], rows: Rows) -> str:
    """What may be no symbol of its own, in words; "" if there is nothing."""
    numbers = {symbol: float(symbol) for symbol in symbols if is_number(symbol)}
    by_number: dict[float, list[str]] = {}
    for symbol, number in sorted(numbers.items()):
        by_number.setdefault(number, []).append(symbol)
    are_numbers = 2 * len(numbers) >= len(symbols)  # a text has "1" and "1."
    for alike in by_number.values():
        if len(alike) > 1 and are_numbers:
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
    if missing and others and all(map(is_number, others)):
        return f"{missing[0]!r} among numbers says that one is missing. Cut the line there"
    missing = sorted(filter(is_missing, symbols))
    # the only sign among letters, and not only at ends: texts have others, and there
    is_only = [symbol for symbol in symbols if not symbol.isalnum()] == ["?"]
    missing += ["?"] * (is_only and any("?" in row[:-1] for row in rows.values()))
    if missing and len(symbols) <= MOST_WORDS:
        return f"{missing[0]!r} says that a symbol is missing. Cut the line there"
    tokens = [number for symbol, number in numbers.items() if symbol != "-1"]
    if "-1" not in symbols or len(tokens) < max(2, len(symbols) - 1) or min(tokens) < 0:
        return ""
    is_past = all("-1" not in row[: len(row) - _past_end(row)] for row in rows.values())
    return "-1 comes at ends of lines alone, as padding does. Remove it" * is_past


def _past_end(row: list[str]) -> int:
    """How many -1 a row ends with."""
    return next((n for n, symbol in enumerate(reversed(row)) if symbol != "-1"), len(row))


def sign_between(symbols: set[str], rows: Rows) -> str:
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


QUOTES = ('""', "''", "``", "“”", "„“", "«»", "‘’", "[]")  # how lists of texts are written


def quotes(rows: Rows) -> str:
    """Quotes around every line, as JSON and Python write texts, in words; "" if there are none."""
    for begin, end in QUOTES:
        # b'...' is how Python writes bytes
        if all(
            len(row) > 1
            and begin in row[:2]
            and row[-1] == end
            and row.count(begin) + row.count(end) == (4 if begin == end else 2)
            for row in rows.values()
        ):
            return f"every line is between {begin} and {end}, as texts of JSON are. Remove these"
    return ""


LEAST_BLOCK = 5  # letters
MOST_LETTERS = 8  # in blocks; words of so long a text have more of them


def blocks(symbols: list[str], rows: Rows) -> str:
    """Symbols that are pieces of sequences, all of one length and hardly any twice, in words."""
    (length, count), *_ = Counter(map(len, symbols)).most_common(1)
    letters = set("".join(symbol for symbol in symbols if len(symbol) == length))
    are_few = len(letters) <= MOST_LETTERS < len(symbols)
    hardly_again = sum(map(len, rows.values())) < LEAST_AGAIN * len(symbols)
    if length >= LEAST_BLOCK and are_few and hardly_again and 5 * count >= 4 * len(symbols):
        return (
            f"its {len(symbols):,} symbols are mostly of {length} letters ({shorten(symbols)}), as "
            "blocks are. If each letter is a symbol, remove what is between the blocks"
        )
    return ""


LEAST_AGAIN = 3  # entries for each symbol
LEAST_WORDS = 50  # lines: so many numbers of which none begins with 0 are not read by digits
NUMBER_A_LINE = re.compile(r"[1-9]\d{0,3}|0")
NUMBERED = re.compile(r"[^\W\d]+[_-]?\d+")  # a word such as s1 or state_1


def words(rows: Rows) -> str:
    """Lines that look like one word or one number each, read by their letters, in words."""
    if len(rows) < LEAST_WORDS:
        return ""
    lines, letters = {"".join(row) for row in rows.values()}, distinct(rows)
    are_numbers = letters == set("0123456789") and all(map(NUMBER_A_LINE.fullmatch, lines))
    # each often, and so few that sequences over so many letters would differ more
    are_few = 2 <= len(lines) <= len(rows) // LEAST_REST
    are_words = are_few and all(len(line) > 1 and line.isalpha() for line in lines)
    # sequences that go round have the same letters
    are_words = are_words and len(set(map(frozenset, lines))) == len(lines) <= len(letters) // 2
    are_words = are_words or (are_few and all(map(NUMBERED.fullmatch, lines)))
    if not (are_numbers or are_words):
        return ""
    return (
        f"each line looks like a {'number' if are_numbers else 'word'} of its own "
        f"({shorten(sorted(lines))}). If it is one symbol, write several in a line, with spaces or "
        "commas between them, such as by xargs -n 50 < FILE > NEW"
    )
