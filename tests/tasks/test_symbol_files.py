"""Files of sequences: how they are read, and what is refused by its line."""

import io
import itertools
import os
import zipfile

import equinox as eqx
import numpy as np
import pytest

from promptax import specs, tasks
from promptax.tasks import Recorded, symbol_lines


@pytest.mark.parametrize(
    ("text", "alphabet", "rows"),
    [
        ("aab\n\nba\n", ("a", "b"), [[0, 0, 1], [1, 0, -1]]),
        ("the cat\ncat the cat\n", ("cat", "the"), [[1, 0, -1], [0, 1, 0]]),
        ("2 10 2\n10\t10\n", ("2", "10"), [[0, 1, 0], [1, 1, -1]]),
        ("0,1,1\n1, 0\n", ("0", "1"), [[0, 1, 1], [1, 0, -1]]),
        ("011\n10\n", ("0", "1"), [[0, 1, 1], [1, 0, -1]]),
    ],
    ids=["characters", "words", "numbers", "commas", "digits"],
)
def test_recorded_from_a_text_file(tmp_path, text, alphabet, rows):
    path = tmp_path / "sequences.txt"
    path.write_text(text, encoding="utf-8")
    task = Recorded(path=str(path))
    assert task.alphabet == alphabet
    np.testing.assert_array_equal(task.sequences, rows)
    path.unlink()  # what was read travels with the description
    assert eqx.tree_equal(specs.from_json(specs.to_json(task)), task)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("text", ["x,y,z\n0,1\n1,0\n0,0\n", "0 a\n1 b\n2 a\n", "x\n0\n"])
def test_a_named_alphabet_says_that_all_are_symbols(tmp_path, text):
    path = tmp_path / "sequences.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match="name the alphabet"):
        Recorded(path=path)  # pyright: ignore[reportArgumentType] - paths of pathlib are taken
    symbols = tuple(dict.fromkeys(text.replace(",", " ").split()))
    task = Recorded(path=str(path), alphabet=symbols)
    assert task.alphabet == symbols and len(task.sequences) == text.count("\n")


def test_recorded_keeps_the_given_order_of_symbols(tmp_path):
    path = tmp_path / "sequences.txt"
    path.write_text("aab\n")
    task = Recorded(path=str(path), alphabet=("b", "a", "c"))
    np.testing.assert_array_equal(task.sequences, [[1, 1, 0]])


@pytest.mark.parametrize(
    ("text", "alphabet", "message"),
    [
        (
            "ab\n\nabx\n",
            ("a", "b"),
            "Expected symbols from ('a', 'b'); line 3 of {path} has 'x'. Add "
            "it to the alphabet, correct the line, or delete it if it is a header or a comment.",
        ),
        (
            "121\n21\n",
            ("0", "1"),
            "Expected symbols from ('0', '1'); line 1 of {path} has '2'. Correct the line, or add "
            "it to the alphabet, which names symbols and does not translate them: if 1 stands for "
            "0 and 2 for 1, rewrite the file (tr 12 01 < {path}).",
        ),
        (
            "ACGN\nGGA\n",
            ("A", "C", "G", "T"),
            "Expected symbols from ('A', 'C', 'G', 'T'); line 1 of {path} has 'N'. Add it to the "
            "alphabet, correct the line, or delete it if it is a header or a comment.",
        ),
        (
            "a é\né a\n",
            ("b", "c"),
            "Expected symbols from ('b', 'c'); line 1 of {path} has 'a'. Correct the line, or add "
            "it to the alphabet, which names symbols and does not translate them: if a stands for "
            "b and é for c, rewrite the file.",
        ),
        ("\n \n", (), "Expected one sequence a line; {path} has no line with text."),
        ("", (), "Expected one sequence a line; {path} has no line with text."),
        (
            "aaa\n",
            (),
            "Expected at least 2 different symbols; {path} has only ['a']. Name the "
            "whole alphabet: a b behind the flag that ends in .alphabet, in Python alphabet=('a', "
            "'b').",
        ),
        (
            "t0,t1,t2\na,b,a\nb,b,b\n",
            (),
            "Expected sequences; line 1 of {path} has 3 symbols that occur nowhere else (t0, t1, "
            "...). If it is a header or a comment, delete it; else name the alphabet: a b ... "
            "behind the flag that ends in .alphabet, in Python alphabet=('a', 'b', ...).",
        ),
    ],
    ids=[
        *("unknown symbol", "other symbols", "one more symbol", "symbols of several bytes"),
        *("blank lines", "empty", "one symbol", "header"),
    ],
)
def test_a_bad_file_is_refused_with_the_way_out(tmp_path, text, alphabet, message):
    path = tmp_path / "sequences.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as error:
        Recorded(path=str(path), alphabet=alphabet)
    assert str(error.value) == message.format(path=path)


# --- the format of a file is decided once ----------------------------------------------------

READ = {
    "BOM": (b"\xef\xbb\xbf0,1,1\r\n1,0,1\r\n", ("0", "1"), "commas"),
    "UTF-16": ("0,1,1\n1,0,1\n".encode("utf-16"), ("0", "1"), "commas"),
    "UTF-32": ("0,1,1\n1,0,1\n".encode("utf-32"), ("0", "1"), "commas"),
    "one value": (b"3 12 7\n12\n7 3\n", ("3", "7", "12"), "spaces"),
    "one value among commas": (b"3,12,7\n12\n7,3\n", ("3", "7", "12"), "commas"),
    "semicolons": (b"0;1;1\n1; 0 ;1\n", ("0", "1"), "semicolons"),
    "tabs": (b"0\t1\n1\t0\n", ("0", "1"), "tabs"),
    "tabs and spaces": (b"0\t1 1\n1  0\n", ("0", "1"), "spaces"),
    "old line ends": (b"01\r10\r", ("0", "1"), "nothing"),
    "no last line end, blank lines": (b"\n01\n \n10", ("0", "1"), "nothing"),
    "spins": (b"1,-1\n-1,-1\n", ("-1", "1"), "commas"),
    "minus one within": (b"0,-1,1\n1,0,-1\n", ("-1", "0", "1"), "commas"),
    "signs of comments": (b"a # b\na b #\nb # a\n", ("#", "a", "b"), "spaces"),
    "the same sign first": (b"# a b\n# b a\n", ("#", "a", "b"), "spaces"),
    "a sign among commas": (b"a,#,c\nb,a\n", ("#", "a", "b", "c"), "commas"),
    "gaps in some lines": (b"A-C\nAC\n", ("-", "A", "C"), "nothing"),
    "dots at the ends": (b".A.\nA.\n", (".", "A"), "nothing"),
    "fractions": (b"0.5 1.5\n1.5 1.5\n", ("0.5", "1.5"), "spaces"),
    "blocks": (b"aabb\nccdd\ndcdc\n", ("a", "b", "c", "d"), "nothing"),
    "single words": (b"sun\nrain\nrain fog\nsun\n", ("fog", "rain", "sun"), "spaces"),
    "two lines that share nothing": (b"a b\nc d\n", ("a", "b", "c", "d"), "spaces"),
    "lines that count on": (b"0 1 2\n1 2 3\n2 3 4\n", ("0", "1", "2", "3", "4"), "spaces"),
    "a grid": (
        "\n".join(",".join(f"{n / 10}" for n in range(30)) for _ in range(10)).encode(),
        tuple(f"{n / 10}" for n in range(30)),
        "commas",
    ),
    # what looks a little like something else
    "a rare symbol in line 1": (b"aNb\n" + b"abba\n" * 9, ("N", "a", "b"), "nothing"),
    "rare symbols in other lines": (b"xyab\nztab\n" + b"abba\n" * 9, tuple("abtxyz"), "nothing"),
    "quoted within": (b"'a'b'\n'b'\nab\n", ("'", "a", "b"), "nothing"),
    "brackets": (b"[[]]\n[]\n[[][]]\n", ("[", "]"), "nothing"),
    "questions": (b"ab?\nb?\n", ("?", "a", "b"), "nothing"),
    "dice of two kinds": (b"1,20\n2,17\n1,4\n" * 5, ("1", "2", "4", "17", "20"), "commas"),
    "all sequences": (
        "\n".join(map(" ".join, itertools.product("0123", repeat=3))).encode(),
        tuple("0123"),
        "spaces",
    ),
    "rows that begin alike": (
        "\n".join(f"s {'abcdefghijkl'[n % 12]}" for n in range(20)).encode(),
        tuple("abcdefghijkls"),
        "spaces",
    ),
    "numbers in a text": (b"is it 1\nit was 1.\n", ("1", "1.", "is", "it", "was"), "spaces"),
    "periodic": (b"abcdab\nbcdabc\n" * 30, tuple("abcd"), "nothing"),
    "letters and digits": (b"a1b\nb2a\n" * 30, tuple("12ab"), "nothing"),
    "digits that begin with 0": (
        "\n".join(f"{n * 37 % 1000:03d}" for n in range(60)).encode(),
        tuple("0123456789"),
        "nothing",
    ),
    "words of commas and dots": ("naïve,日本\n日本\n".encode(), ("naïve", "日本"), "commas"),
}


@pytest.mark.parametrize("name", READ)
def test_one_format_holds_for_a_whole_file(tmp_path, monkeypatch, name):
    data, alphabet, separator = READ[name]
    (tmp_path / "it").write_bytes(data)
    looks, is_number = [], symbol_lines.is_number
    monkeypatch.setattr(symbol_lines, "is_number", lambda s: looks.append(s) or is_number(s))
    task = Recorded(path=str(tmp_path / "it"))
    assert len(looks) <= 8 * len(alphabet), "a look at every symbol, not at every entry"
    assert task.alphabet == alphabet
    assert task.in_words().endswith(f"separated by {separator}")


def test_what_was_read_is_said(tmp_path):
    (tmp_path / "it").write_text("a,b,c\nc\n")
    task = Recorded(path=str(tmp_path / "it"))
    assert task.in_words() == "3 symbols (a b c), 2 sequences of 1 to 3 steps, separated by commas"
    (tmp_path / "it").unlink()
    assert task.in_words() == "3 symbols (a b c), 2 sequences of 1 to 3 steps"
    assert Recorded(sequences=((0, 1),)).in_words() == "2 symbols, 1 sequences of 2 steps"
    (tmp_path / "it").write_text("aNb\n" + "abba\n" * 9)
    assert (
        "3 symbols (N a b; one sequence alone has N)"
        in Recorded(path=str(tmp_path / "it")).in_words()
    )


def zipped(*names, content=""):
    """A zip archive of files of those names."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return data.getvalue()


ROWS = "abcab\nbbacacba\ncabbacbb\ncaabcabc\n"
LETTERS = str.maketrans("01", "ab")


def table(name):
    """Twenty lines of three symbols that begin with a name each."""
    return "\n".join(f"{name(n)},{','.join('abcab')}" for n in range(20)).encode()


REFUSED = {
    "empty cell": (b"0,1\n0,,1\n", "line 2 .* has an empty one at place 2"),
    "last cell empty": (b"0;1\n0;1;\n", "line 2 .* has an empty one at place 3"),
    "first cell empty": (b"\t1\t0\n", "line 1 .* has an empty one at place 1"),
    "two separators": (b"0,1\n\n0;1\n", r"commas \(line 1\) and semicolons \(line 3\)"),
    "decimal commas": (b"0,5;1,5\n", "Write all lines in one way"),
    "spaces within": (b"0,1\n0 1,1\n", "line 2 .* has '0 1' at place 1"),
    "quotes": (b'"0","1"\n', "bare symbols.* line 1"),
    "JSON": (b"[0, 1, 1]\n[1, 0]\n", r"line 1 .* has '\[0' at place 1"),
    "a header": (b"x,y,z\n0,1,1\n", "line 1 .* header or a comment, delete it"),
    "a header over words": (b"t0,t1,t2\na,b,a\nb,b,b\n", "line 1 .* has 3 symbols that .* delete"),
    "a header of one word": (b"sequence\nACGT\nGGAT\n", "line 1 .* has 6 symbols that"),
    "a header of one column": (b"x\na\nb\na\n", "line 1 .* has 1 symbol that occurs nowhere else"),
    "a comment": (b"# made by me\na b a\nb b b\n", "line 1 begins with '#'"),
    "comments": (b"# made\n# by me\n0 1 0\n1 1 0\n", "lines 1, 2 begin with '#'"),
    "a comment behind symbols": (b"0 1 # run 1\n1 0\n", "line 1 has a comment"),
    "a word behind symbols": (b"a b\nb a // odd\n", "line 2 has a comment"),
    "a header with a space": (b"my coin flips\n011\n10\n", r"only line 1 has spaces \('my c"),
    "a header with commas": (b"heads, tails\n0 1 1\n1 0\n", "only line 1 has commas"),
    "two lines of a header": (b"my coins\nof 2024\n01\n10\n", "only lines 1, 2 have spaces"),
    "a last line": (b"011\n10\nend of file\n", "only line 3 has spaces"),
    "a word at the end": (b"011\n10\nend\n", r"line 3 .* has words \(e, n, \.\.\.\)"),
    "a last line over letters": (
        b"A C G\nC A G\ntotal: 2\n",
        "line 3 .* has 2 symbols that occur no",
    ),
    "a rule": (b"011\n---\n10\n", "line 2 is a rule"),
    "spaces were forgotten": (b"0 1 1\n1 0 1\n011\n", r"line 3 has no spaces \('011'\)"),
    "whole numbers with dots": (b"1.0 0.0\n1.0 1.0\n", r"are whole, and written as 0.0 1.0"),
    "numbered columns": (b"0,1,2,3\n0,1,0,1\n2,2,1,0\n", r"line 1 .* counts .*\(0, 1, ..., 3\)"),
    "a long table": (b"id,time,symbol\n0,0,a\n0,1,b\n", "line 1 .* delete it"),
    "a long table without a header": (
        "\n".join(f"{n // 4},{n % 4},{'ab'[n % 3 == 0]}" for n in range(12)).encode(),
        "some columns have numbers and others words",
    ),
    "numbered lines": (b"1,a,b\n2,b,b\n3,a,a\n", "each line begins with its number"),
    "measured numbers": (
        "\n".join(
            ",".join(f"{(7 * n * m % 101) / 101}" for n in range(8)) for m in range(5, 9)
        ).encode(),
        r"its 32 entries are 25 different ones",
    ),
    "numbers for names": (
        "\n".join(",".join(f"{90 * n + m}" for n in range(8)) for m in range(5, 9)).encode(),
        r"its 32 entries are 32 different ones \(5, 6, \.\.\.\)",
    ),
    "control characters": (b"0,1\n0,\x1b[1m1\n", "line 2"),
    "a header over digits": (b"abc\n011\n10\n", "line 1 .* header or a comment, delete it"),
    "a header over a column": (b"x\n0\n1\n", "line 1 .* header or a comment, delete it"),
    "a number in two ways": (b"1,0\n01,0\n", r"\['01', '1'\] are the same number"),
    "whole and not": (b"1.0 0\n1 0\n", r"\['1', '1.0'\] are the same number"),
    "digits of two scripts": ("1０\n１0\n".encode(), "are the same number"),
    "powers": (b"1e2,0\n100,0\n", "are the same number"),
    "a missing number": (b"0,1,nan\n1,0\n", "'nan' among numbers says that one is missing"),
    "another missing number": (b"0;NA;1\n1;0\n", "'NA' among numbers"),
    "nothing, in words": (b"0 1\n1 null 0\n", "'null' among numbers"),
    "a question mark": (b"01?1\n", r"'\?' among numbers"),
    "padding": (b"0,1,-1\n1,0,2\n2,-1,-1\n", "-1 comes at ends of lines alone"),
    "bars": (b"0|1|1\n1|0\n", r"'\|' stands between others in every line"),
    "dashes": (b"a-b-b\nb-a\n", "'-' stands between others"),
    "slashes": (b"0/1\n1/1/0\n", "'/' stands between others"),
    "colons of words": (b"12:3\n3:12\n", "':' stands between others"),
    # names of columns that share letters with the symbols
    **{
        f"{name} over letters": (f"{name}\n{3 * ROWS}".encode(), "line 1 .* nowhere else .* delete")
        for name in ("sequence", "Sequence", "data", "states", "obs", "column1")
    },
    "a name with a digit": (b"x1\n" + b"01101\n" * 9, r"line 1 .* 1 symbol that .* \(x\)"),
    "a total": (f"{3 * ROWS}total\n".encode(), "line 13 .* 3 symbols that occur nowhere else"),
    "JSON lines": (b'"aba"\n"bca"\n', 'every line is between " and ". .*Remove'),
    "texts of Python": (b"'aba'\n'bca'\n", "every line is between ' and '"),
    "bytes of Python": (b"b'aba'\nb'bca'\n", "every line is between ' and '"),
    "names of lines": (
        table(lambda n: f"s{n}"),
        r"column 1 of 6 has 20 symbols \(s0, s1, \.\.\.\)",
    ),
    "dates": (table(lambda n: f"2026-01-{n:02d}"), "column 1 of 6 has 20 symbols"),
    "whole numbers for names": (
        "\n".join(f"{1000 + 3 * n},{n % 7 % 3},0,1,2,1" for n in range(20)).encode(),
        "column 1 of 6 has 20 symbols",
    ),
    "names last": (
        "\n".join(f"{','.join('abcab'[n % 4 :])},s{n}" for n in range(0, 80, 4)).encode(),
        "column 6 of 6 has 20 symbols",
    ),
    "a long table of numbers": (
        "\n".join(f"{n // 40},{n % 40},{n % 7 % 3}" for n in range(1600)).encode(),
        "column 2 of 3 counts on from row to row",
    ),
    "times": (
        "\n".join(f"{n % 8 * 10},{n // 8 % 2},{n % 7 % 3}" for n in range(48)).encode(),
        "column 1 of 3 counts on from row to row",
    ),
    "blocks of ten": (
        "\n".join(f"{n:010b} {n * 7:010b}" for n in range(30, 60)).translate(LETTERS).encode(),
        "mostly of 10 letters .* remove what is between the blocks",
    ),
    **{
        f"{word} for a letter": (f"a,b,{word}\nb,{word},a\n".encode(), "that a symbol is missing")
        for word in ("NaN", "NA", "nan", "None", "null", "<NA>", "?")
    },
    "a question mark among letters": (b"ab?a\nbba\n", "'\\?' says that a symbol is missing"),
    "decimals": (
        "\n".join(
            ",".join(f"{7 * n * m % 51 / 50}" for n in range(20)) for m in range(40)
        ).encode(),
        "its 800 entries are 51 different ones",
    ),
    "emoji": ("☀️🌧️\n🌧️☀️\n".encode(), r"got U\+FE0F, a part of what is seen as one\. Separate"),
    "flags": ("🇩🇪🇫🇷\n🇫🇷🇩🇪\n".encode(), r"got U\+1F1E9, U\+1F1EA, U\+1F1EB, a part"),
    "vowel signs": ("किका\nकाकि\n".encode(), r"got U\+093E, U\+093F, a part"),
    "skin tones": ("👍🏽👎🏽\n👎🏽👍🏽\n".encode(), r"got U\+1F3FD, a part"),
    "tuples of Python": (b"(0, 1, 2)\n(1, 2, 0)\n", r"line 1 .* has '\(0' at place 1"),
    "one symbol a line": (b"a\nb\n" * 9, "all 18 have one symbol alone. .* xargs"),
    "one word a line": (b"heads\ntails\n" * 30, r"looks like a word of its own \(heads, tails\)"),
    "numbered words a line": (b"s1\ns2\ns3\n" * 20, "looks like a word of its own"),
    "numbers a line": (
        "\n".join(str(60 + n * 37 % 100) for n in range(60)).encode(),
        "looks like a number of its own",
    ),
    "gzip": (b"\x1f\x8b\x08\0", "is compressed by gzip. Unpack"),
    "a zip archive": (zipped("it.csv"), r"is a zip archive\. Unpack"),
    "Excel": (
        zipped("[Content_Types].xml", "xl/workbook.xml"),
        r"spreadsheet\. In Python: Recorded\(sequences=pd.read_excel\('.*it', header=None\)\)\. As",
    ),
    "OpenDocument": (
        zipped("mimetype", content="application/vnd.oasis.opendocument.spreadsheet"),
        "is a spreadsheet",
    ),
    "PyTorch": (zipped("it/data.pkl"), r"Recorded\(sequences=torch.load\('.*it'\)\)\.$"),
    "NumPy": (b"\x93NUMPY\1\0", r"In Python: Recorded\(sequences=np.load\('.*it'\)\)\.$"),
    "several arrays": (zipped("a.npy", "b.npy"), r"NumPy arrays\..*\)\['a'\]\)\.$"),
    "a pickle": (b"\x80\5\x95", "is a pickle of Python"),
    "binary data": (b"01\n\1\xff", "line 2 .* Export it as text"),
    "a table": (b"PAR1\x15\x04\x15", "is a Parquet table"),
    "FASTA": (b">s1\nACGT\n>s2\nGGTA\n", "name sequences in FASTA"),
    "no text": (b"\x7fELF\0\0\1\n", "zero bytes"),
    "UTF-16 without a mark": ("01\n".encode("utf-16-le"), "zero bytes"),
    "Latin-1": (b"0,1\ncaf\xe9,1\n", "other bytes in line 2"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_fits_no_format_is_refused_by_its_line(tmp_path, name):
    data, message = REFUSED[name]
    (tmp_path / "it").write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        Recorded(path=str(tmp_path / "it"))
    assert str(tmp_path / "it") in str(error.value)


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "named pipe"])
def test_devices_are_refused(tmp_path, monkeypatch, place):
    """A named pipe would be waited for until somebody writes into it."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("named pipe")
    with pytest.raises(ValueError, match="is a device or a pipe"):
        Recorded(path=place)


def test_files_that_would_take_all_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks.recorded, "MOST_TOKENS", 1000)
    (tmp_path / "it").write_text("01" * 400 + "\n0\n")
    with pytest.raises(ValueError, match="2 of up to 800"):
        Recorded(path=str(tmp_path / "it"))
    monkeypatch.setattr(tasks.recorded, "MOST_TOKENS", 10_000)
    monkeypatch.setattr(tasks.recorded, "MOST_PADDED", 100)
    (tmp_path / "it").write_text("01" * 20 + "\n0" * 40)
    with pytest.raises(ValueError, match="one of 40 among 41 of 1"):
        Recorded(path=str(tmp_path / "it"))
