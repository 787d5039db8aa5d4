"""Commands of promptax in forks of a process that has imported everything, and started nothing.

Importing JAX takes most of a short run's time. `Nursery.begin` starts a command, in a process of
its own and in a folder, and gives a `Run` that can be stopped by a signal.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import trials


class Nursery:
    """Runs commands of promptax, one at a time, in forks of a process that has imported it."""

    def __init__(self, programs: Path):
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | {"PYTHONPATH": str(trials.ROOT), "PROGRAMS": str(programs)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line != "", "the nursery died"
        return line

    def begin(self, folder: Path, words: list[str], **environment: str) -> "Run":
        """Start a command, in that folder."""
        job = {"folder": str(folder), "words": words, "environment": environment}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        return Run(self, folder, int(self.answer()))

    def close(self) -> None:
        """End it; it has no runs any more."""
        self.process.kill()
        self.process.wait()


class Run(NamedTuple):
    """A command at work."""

    nursery: Nursery
    folder: Path
    number: int

    def is_over(self) -> bool:
        """Whether it has ended; tell its exit code then (`end`)."""
        return bool(select.select([self.nursery.process.stdout], [], [], 0)[0])

    def stop(self, how: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self.is_over():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.number, how)

    def end(self) -> tuple[int, str]:
        """Wait for its end: the exit code, minus a signal's number; and what it complained of."""
        return int(self.nursery.answer()), (self.folder / "complaints.txt").read_text()


def serve() -> None:
    """Fork a process for every job that comes, say its number, and its exit code in the end."""
    import h5netcdf
    import optax

    from promptax import cli
    from promptax.cli.commands import pretrain, tune

    del h5netcdf, optax, pretrain, tune  # imported for those who are forked
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line), cli.main)
        print(child, file=answers, flush=True)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, file=answers, flush=True)


def _become(job: dict[str, Any], main: Callable[[list[str]], None]) -> None:
    """Be a command of its own until it ends; never return."""
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    nowhere = os.open(os.devnull, os.O_RDWR)
    complaints = os.open("complaints.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, file in enumerate((nowhere, nowhere, complaints)):
        os.dup2(file, number)
    code = 1
    try:
        main(job["words"])
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
