"""What a run folder says to those who watch: which fits there are, and whether it is in work.

It is read without JAX, which would take the memory of a GPU that the run needs.
"""

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

from promptax.cli.words import expect
from promptax.progress import METRICS, RUN_MARK, UNFINISHED


class Watched(NamedTuple):
    """One fit: the loss of each step that is done, mean over repetitions in nats per sequence, and
    how many steps there will be. Steps without a finite loss are not among `losses`."""

    losses: dict[int, float]
    done: int
    steps: int


def watched_folder(path: str) -> Path:
    """The folder in which the run of that name writes; one that replaces earlier results writes
    beside them.

    Raises:
        ValueError: it is no folder of a run whose fits can be watched.
    """
    folder = Path(path).expanduser()
    beside = folder.with_name(folder.name + UNFINISHED)
    if (beside / RUN_MARK).exists() and (is_in_work(beside) or not folder.exists()):
        folder = beside
    expect(
        folder.is_dir(),
        f"Expected a run folder; {path} is {'a file' if folder.exists() else 'not there'}. "
        "`promptax pretrain --out FOLDER` makes one.",
    )
    expect(
        (folder / RUN_MARK).exists(),
        f"Expected a run folder; promptax did not make {path}. Watch what was given as --out.",
    )
    expect(
        (folder / METRICS).is_file() or (is_in_work(folder) and not (folder / METRICS).exists()),
        f"Expected {METRICS} in {path}, which pretrain, tune and demo write there; got none: the "
        "run took no step, was made by another command, or before there was such a file.",
    )
    return folder


def is_in_work(folder: Path) -> bool:
    """Whether a run holds the folder."""
    try:
        import fcntl
    except ImportError:  # where there are no such locks, nobody can tell
        return False
    try:
        handle = os.open(folder / RUN_MARK, os.O_RDONLY)
    except OSError:  # it took another name
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


class Metrics:
    """The fits in a metrics.jsonl, read on as it grows; a file that was written anew is read anew.

    Raises:
        ValueError: a line is not of promptax.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.place, self.file, self.lines = 0, 0, 0
        self.sums: dict[str, dict[int, tuple[float, int]]] = {}
        self.progress: dict[str, tuple[int, int]] = {}

    def read(self) -> dict[str, Watched]:
        """All fits by name; the one that was written last is the last."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self.file or status.st_size < self.place:
                    self._forget()
                self.file = status.st_ino
                file.seek(self.place)
                text = file.read()
        except FileNotFoundError:
            return {}
        whole = text[: text.rfind(b"\n") + 1]  # a line may be on its way
        self.place += len(whole)
        for line in whole.splitlines():
            self._add(line)
        return {
            name: Watched(
                {step: total / n for step, (total, n) in sums.items()}, *self.progress[name]
            )
            for name, sums in self.sums.items()
        }

    def _add(self, text: bytes) -> None:
        self.lines += 1
        try:
            line = json.loads(text)
            name, step, steps = str(line["fit"]), int(line["step"]), int(line["steps"])
            loss = math.nan if line["loss"] is None else float(line["loss"])
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            raise ValueError(
                f"Expected a line of a fit, with fit, step, steps and loss; got {text[:60]!r} in "
                f"line {self.lines} of {self.path}. The file is damaged or of another program."
            ) from None
        sums = self.sums.pop(name, {})
        self.sums[name] = sums  # now it is the last
        self.progress[name] = step, steps
        if math.isfinite(loss):
            total, count = sums.get(step, (0.0, 0))
            sums[step] = total + loss, count + 1
