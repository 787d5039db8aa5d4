"""What the folder of a run, or of a study, says to those who watch: which fits there are, and
whether it is in work.

It is read without JAX, which would take the memory of a GPU that the run needs.
"""

import abc
import contextlib
import json
import math
import os
from pathlib import Path
from typing import ClassVar, NamedTuple

from promptax.cli.words import expect
from promptax.progress import FITS, INDEX, METRICS, RUN_MARK, STUDY_MARK, TRACEBACK, UNFINISHED

SILENCE = 60.0  # seconds; several processes write by turns


class Watched(NamedTuple):
    """One fit: the loss of each step that is done, mean over repetitions in nats per sequence, and
    how many steps there will be. Steps without a finite loss are not among `losses`."""

    losses: dict[int, float]
    done: int
    steps: int


class Place(abc.ABC):
    """A folder that is watched.

    `name`: what is seen of it now, in words; `idle`: what is said where nothing is to be seen, and
    nothing will be.
    """

    name: str
    idle: ClassVar[str]

    @abc.abstractmethod
    def is_in_work(self) -> bool:
        """Whether somebody has it in work."""

    @abc.abstractmethod
    def read(self) -> dict[str, Watched]:
        """All fits that are seen, by name; the one that was written last is the last."""


def place_of(path: str) -> Place:
    """The folder in which the run or the study of that name writes; a run that replaces earlier
    results writes beside them.

    Raises:
        ValueError: it is no folder whose fits can be watched.
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
    is_study = (folder / INDEX).is_file() and not (folder / RUN_MARK).exists()
    expect(
        is_study or (folder / RUN_MARK).exists(),
        f"Expected a run folder; promptax did not make {path}. Watch what was given as --out.",
    )
    if is_study:
        return StudyFolder(folder)
    expect(
        (folder / METRICS).is_file() or (is_in_work(folder) and not (folder / METRICS).exists()),
        f"Expected {METRICS} in {path}, which pretrain, tune and demo write there; got none: the "
        "run took no step, was made by another command, or before there was such a file.",
    )
    return RunFolder(folder)


class RunFolder(Place):
    """The folder of one run."""

    idle = "it is not in work, and took no step"

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, str(folder)
        self.metrics = Metrics(folder / METRICS)

    def is_in_work(self) -> bool:
        return is_in_work(self.folder)

    def read(self) -> dict[str, Watched]:
        return self.metrics.read()


class StudyFolder(Place):
    """The folder of a study, of which the fits of one condition are seen: the last one that wrote
    anything, until it is done, has failed, or is silent for `SILENCE` longer than another."""

    idle = "it is not in work, and no fit is under way; its page.html has what was measured"

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, str(folder)
        self.metrics: Metrics | None = None

    def is_in_work(self) -> bool:
        # its processes share the lock: nobody else can have it alone
        return _is_held(self.folder / STUDY_MARK, alone=True)

    def read(self) -> dict[str, Watched]:
        when = {
            path: _when_written(path)
            for path in (self.folder / FITS).glob(f"*/{METRICS}")
            if _when_written(path.with_name(TRACEBACK)) < _when_written(path)  # it has not failed
        }
        if not when:
            self.metrics, self.name = None, str(self.folder)
            return {}
        last = max(when, key=lambda path: when[path])
        if self.metrics is None or when.get(self.metrics.path, -math.inf) < when[last] - SILENCE:
            self.metrics, self.name = Metrics(last), f"{self._condition(last)}, {self.folder}"
        return self.metrics.read()

    def _condition(self, path: Path) -> str:
        """The name of the condition that writes there."""
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
            index = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
            return {Path(str(file)).stem: name for name, file in index.items()}[path.parent.name]
        return path.parent.name


def _when_written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it is done by now
        return 0.0


def is_in_work(folder: Path) -> bool:
    """Whether a run holds the folder."""
    return _is_held(folder / RUN_MARK, alone=False)


def _is_held(path: Path, alone: bool) -> bool:
    """Whether another process has a lock on the file: one that it holds alone, or, with `alone`,
    any. Looking takes the lock for a moment."""
    try:
        import fcntl
    except ImportError:  # where there are no such locks, nobody can tell
        return False
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # it is not there, or took another name
        return False
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
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
