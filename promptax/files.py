"""How anything gets to disk: in one step, and by one process.

A write goes to a temporary file in the same folder, which then takes the final name: whoever opens
that name finds the old file or the new one, never half of one, even after a kill. Of several
processes that compute together, the first one writes.
"""

import codecs
import contextlib
import hashlib
import json
import mmap
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import safetensors

from promptax import platforms
from promptax.checks import parse_json

MARKS = {  # at the beginning of a text; those of UTF-32 before those of UTF-16, which they contain
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
AS_TABLE = "{load}.to_csv({text!r}, header=False, index=False)"
FOREIGN = {  # how formats begin that are no text: what they are, how Python reads and writes them
    b"\x93NUMPY": ("an array of NumPy", "np.load({path!r})", ""),
    **dict.fromkeys(
        [b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(lp0\n", b"cnumpy", b"]q\0"],
        ("a pickle of Python", "pd.read_pickle({path!r})", ""),
    ),
    b"MATLAB 5.0": ("a file of MATLAB", "scipy.io.loadmat({path!r})[NAME]", ""),
    b"\x89HDF\r\n": ("a file of HDF5", "h5py.File({path!r})[NAME][:]", ""),
    b"PAR1": ("a Parquet table", "pd.read_parquet({path!r})", AS_TABLE),
    b"ARROW1": ("an Arrow table", "pd.read_feather({path!r})", AS_TABLE),
    b"<stata_dta>": ("a table of Stata", "pd.read_stata({path!r})", AS_TABLE),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", "pd.read_excel({path!r}{header})", AS_TABLE),
    b"\x1f\x8b": ("compressed by gzip", "", ""),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "", ""),
    b"BZh": ("compressed by bzip2", "", ""),
    b"\xfd7zXZ": ("compressed by xz", "", ""),
    b"SQLite format 3": ("a database of SQLite", "", ""),
    b"%PDF-": ("a PDF", "", ""),
    b"MThd\0": ("music in MIDI", "", ""),
    b"PK\x03\x04": ("a zip archive", "", ""),
}
INSIDE = {  # names in a zip archive that say what it is
    b".npy": ("an archive of NumPy arrays", "np.load({path!r})[{name!r}]", ""),
    b"xl/workbook": FOREIGN[b"\xd0\xcf\x11\xe0"],
    b"opendocument.spread": FOREIGN[b"\xd0\xcf\x11\xe0"],
    b"/data.pkl": ("a file of PyTorch", "torch.load({path!r})", ""),
}
NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")  # what no text has: an escape it may have
MOST_TEXT = 2**30  # bytes; what is made of text takes several times as much memory
MOST_BYTES = 2**33
MOST_FOLDERS = 500  # in a path; Python makes them by calls in calls
DIGEST, DIGESTED = "digest", "digested"  # keys in JSON: what verifies it, and that it can be
ENTRY = "promptax"  # our entry in the metadata of safetensors and netCDF files
TEMPORARY = ".tmp"  # how the names end of what is being written
ABANDONED = 3600.0  # seconds: nobody writes a file for so long without touching it


class StoreError(ValueError):
    """A file or folder is not what was expected."""


def read_text(path: str | os.PathLike, most: int = MOST_TEXT, taken_by: str = "") -> str:
    """Read a text file: all of promptax reads text in this way.

    UTF-8, or what the mark at its beginning says (UTF-8, UTF-16 or UTF-32). The mark is no part of
    the text, and every line ends in a single line feed. `taken_by`: what takes such data in Python,
    "Recorded(sequences={load})", with {column} behind it where a table's texts are taken.

    Raises:
        FileNotFoundError: naming the files that are there.
        StoreError: the file is no text, or more than `most` bytes.
    """
    path = path_of(path)
    data = read_bytes(path, most)
    expect_no_foreign(path, data, taken_by)
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        way = (
            ". Save it as UTF-8." if NO_TEXT.search(data) is None else ". Export it as text first."
        )
        raise StoreError(
            f"Expected text in UTF-8; {path} has other bytes in line {line} (byte {error.start:,} "
            f"of the file){way}"
        ) from error
    expect(
        "\0" not in text,
        f"Expected text in UTF-8; {path} has zero bytes: it is in another encoding, such as UTF-16 "
        "without a mark, or no text. Save it as UTF-8.",
    )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def expect_no_foreign(path: Path, data: bytes, taken_by: str = "") -> None:
    """Complain if the bytes are of a format that is no text, with how Python reads it."""
    kind, name = next((FOREIGN[mark] for mark in FOREIGN if data.startswith(mark)), None), ""
    if kind is None:
        return
    if data.startswith(b"PK"):  # the first name inside begins at byte 30
        name = data[30 : 30 + int.from_bytes(data[26:28], "little")].decode(errors="replace")
        kind = next((INSIDE[part] for part in INSIDE if part in data), kind)
    what, load, write = kind
    header = ", header=None" * ("{column}" not in taken_by)
    load = load.format(path=str(path), name=name.removesuffix(".npy"), header=header)
    taken = taken_by.format(load=load, column="['text'].tolist()" * bool(write))
    way = f"In Python: {taken}. " if load and taken else ""
    if write and header:  # a column of texts would be written with a table's quotes
        way += f"As text: {write.format(load=load, text=str(path.with_suffix('.txt')))}."
    way = way.strip() or "Unpack or export it first."
    raise StoreError(f"Expected text in UTF-8; {path} is {what}. {way}")


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Read what `write_json` wrote, or another file with one JSON object.

    Raises:
        FileNotFoundError: naming the files that are there.
        StoreError: the file is no JSON object, or not what was written.
    """
    text = read_text(path)
    try:
        content = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"Expected a whole JSON file; got {path}, which is truncated or damaged ({error}). "
            "Copy it again or write it again."
        ) from error
    expect(isinstance(content, dict), f"Expected a JSON object in {path}; got another kind.")
    return as_written(content, str(path))


def write_json(path: str | os.PathLike, content: Mapping[str, Any]) -> Path:
    """Write a JSON object with a digest of its content, which `read_json` verifies."""
    whole = {DIGESTED: True, **content, DIGEST: digest_of_json(content)}
    return write_text(path, json.dumps(whole, indent=1) + "\n")


def digest_of_json(content: Mapping[str, Any]) -> str:
    """A digest of a JSON object: the same for the same content, however it is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def as_written(content: dict[str, Any], where: str) -> dict[str, Any]:
    """The content of a JSON file without its digest, if that is its own."""
    marks = content.keys() & {DIGEST, DIGESTED}
    plain = {key: value for key, value in content.items() if key not in marks}
    expect(
        not marks or content.get(DIGEST) == digest_of_json(plain),
        f"Expected {where} as it was written; its content differs from its digest: it was damaged "
        f"or edited. Copy it again; if you edited it, delete its {DIGEST!r} and {DIGESTED!r}.",
    )
    return plain


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap | bytes]:
    """The bytes of a file, of which only those that are looked at are read."""
    with open(path, "rb") as file:
        if path.stat().st_size == 0:  # which cannot be mapped
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write UTF-8 text in one step."""
    with replacing(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def write_bytes(path: str | os.PathLike, data: bytes) -> Path:
    """Write bytes in one step."""
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def read_bytes(path: str | os.PathLike, most: int = MOST_BYTES) -> bytes:
    """Read the bytes of a file.

    Raises:
        FileNotFoundError: with the names that come close.
        StoreError: there are more than `most`.
    """
    path = path_of(path)
    expect_file(path)
    with open(path, "rb") as file:  # of a pipe nobody knows the size beforehand
        data = file.read(most + 1)
    expect(len(data) <= most, f"Expected at most {most:,} bytes; {path} has more. Split it.")
    return data


def real_path(path: Path) -> Path:
    """The path without links.

    Raises:
        StoreError: its links go round in a circle.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # what it is differs between versions of Python
        raise StoreError(f"Expected a path that leads somewhere; got {path}: {error}.") from error


def write_together(folder: str | os.PathLike, contents: Mapping[str, bytes]) -> Path:
    """Write files, by name, that belong together: all are whole before the first of them takes its
    name, and the first in `contents` does so last."""
    with contextlib.ExitStack() as stack:
        for name, content in contents.items():
            stack.enter_context(replacing(Path(folder) / name)).write_bytes(content)
    return Path(folder)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that takes the name `path` if the body succeeds.

    Raises:
        StoreError: the disk is full, or nothing can be written there; `path` is what it was.
    """
    if not platforms.leads():
        with tempfile.TemporaryDirectory() as nowhere:
            yield Path(nowhere) / path.name
        return
    path = real_path(path)  # a link stays a link
    expect_place(path)
    temporary = beside(path, TEMPORARY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporaries_of(path, ABANDONED)
        temporary.touch(mode=0o666, exist_ok=False)  # less what the umask takes
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # some writers make a file of their own, for its owner alone
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except (OSError, safetensors.SafetensorError) as error:
        raise StoreError(
            f"Expected to write {path}; got: {error}. Nothing there was changed{_room(path)}. Make "
            "room or choose another folder."
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()


@contextmanager
def alone(path: Path, wait: bool = True, shared: bool = False) -> Iterator[bool]:
    """Hold a lock file, of which one process at a time has the hold; true inside if it is this one.

    `wait`: until the other process is done, instead of going on without the lock. `shared`: all who
    share the hold have it. The system frees the lock of a process that dies. Where there are no
    such locks, everybody is alone.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # less what the umask takes
        stack.callback(os.close, handle)
        kind, held = fcntl.LOCK_SH if shared else fcntl.LOCK_EX, False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, kind | (0 if wait else fcntl.LOCK_NB))
            held = True
        yield held


def remove(folder: Path) -> None:
    """Remove a folder and what is in it, if it is there."""
    if platforms.leads():
        shutil.rmtree(folder, ignore_errors=True)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there."""
    if platforms.leads():
        path.unlink(missing_ok=True)


def remove_temporaries(folder: Path) -> None:
    """Remove what writes left behind in a folder when their process was killed.

    Only whoever holds the folder alone may do so: others' writes look the same.
    """
    for path in folder.rglob(f".*{TEMPORARY}"):
        if re.search(rf"\.[0-9a-f]{{12}}{re.escape(TEMPORARY)}$", path.name):
            path.unlink(missing_ok=True)


def remove_temporaries_of(path: Path, age: float = 0.0) -> None:
    """Remove what killed writes of that file left behind, and nobody touched for `age` seconds.

    Without an age only its one writer may do so.
    """
    for temporary in left_beside(path, TEMPORARY):
        with contextlib.suppress(FileNotFoundError):  # another process removed it
            if time.time() - temporary.stat().st_mtime >= age:
                temporary.unlink()


def beside(path: Path, ending: str) -> Path:
    """A hidden name of its own in the same folder, which tells whose it is."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}{ending}")


def left_beside(path: Path, ending: str) -> list[Path]:
    """What has such a name."""
    pattern = re.compile(rf"\.{re.escape(path.name[:100])}\.[0-9a-f]{{12}}{re.escape(ending)}")
    there = os.listdir(path.parent) if path.parent.is_dir() else []
    return [path.with_name(name) for name in there if pattern.fullmatch(name)]


def _room(path: Path) -> str:
    """How much is free where the path would be."""
    there = next((folder for folder in path.parents if folder.is_dir()), None)
    return "" if there is None else f" ({shutil.disk_usage(there).free / 1e6:.1f} MB are free)"


def _flush(path: Path) -> None:
    """Wait until the file, or the folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def expect(condition: bool, message: str) -> None:
    """Complain unless the condition holds."""
    if not condition:
        raise StoreError(message)


def path_of(word: str | os.PathLike) -> Path:
    """A path as people name it, with "~" for the home folder.

    Raises:
        StoreError: the system has no such paths, such as one that is too long.
    """
    expect(isinstance(word, str | os.PathLike), f"Expected a path; got {type(word).__name__}.")
    path = Path(word)
    expect("\0" not in str(path), f"Expected a path; got {str(word)[:80]!r}, with a zero byte.")
    try:
        path = path.expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise StoreError(f"Expected a path; got {str(word)[:80]!r}: {problem}.") from error
    deep = len(path.parts) > MOST_FOLDERS
    expect(not deep, f"Expected at most {MOST_FOLDERS} folders in a path; got {str(word)[:80]!r}.")
    return path


def expect_place(path: Path) -> None:
    """Complain unless a file can be written there: into a folder, in place of a file or nothing."""
    expect(not path.is_dir() and path.name != "", f"Expected a file's path; {path} is a folder.")
    other = "is a device or a pipe, which a file would replace"
    expect(path.is_file() or not path.exists(), f"Expected a file's path; {path} {other}.")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    expect(above.is_dir(), f"Expected {path} to lie in folders; {above} is a file.")


def expect_file(path: Path) -> None:
    """Complain, with the paths that come close, unless a file is there."""
    expect(not path.is_dir(), f"Expected a file; {path} is a folder. Name a file in it.")
    kind = path.stat().st_mode if path.exists() else 0
    waits = stat.S_ISFIFO(kind) and path.parts[:2] not in (("/", "dev"), ("/", "proc"))  # not <(…)
    is_device = stat.S_ISCHR(kind) or stat.S_ISBLK(kind) or waits
    expect(not is_device, f"Expected a file; {path} is a device or a pipe, which may have no end.")
    if not path.exists():
        there = sorted(file.name for file in path.parent.iterdir()) if path.parent.is_dir() else []
        near = [str(path.with_name(n)) for n in get_close_matches(path.name, there, 3, 0.5)]
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Check the path."
        raise FileNotFoundError(f"Expected a file at {path}; there is none. {hint}")
