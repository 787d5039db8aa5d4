"""Trials in watched processes: what has no end, or takes too much memory, is ended and told.

A script that tries things calls `serve(…)` in its worker processes and `run(…)` in the first
one. A worker tries many jobs one after the other, since starting it takes seconds; a worker that
had to be ended is started again.
"""

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple, TextIO

SECONDS = 20.0  # for one trial
AT_WORK = 180.0  # seconds for a trial whose work has begun, and has shown no progress
CLOCK = 5  # a machine with other work lets a trial take that many times as long by the clock
CROWD = 3  # and one with a crowd so many times as long for every process that wants a core
MEMORY = 10**9  # bytes above what the process had before the trial
TICK = 0.02  # seconds between two looks at a worker
START = 600.0  # seconds for a worker to be ready
ROOT = Path(__file__).parent.parent
OWN = (ArithmeticError, MemoryError, OSError, TypeError, ValueError, IndexError, AttributeError)
"""Errors that promptax raises about what it is given."""
ENDED = ("without end", "over 1 GB", "the process died")
LONG = "long"  # the verdict of work that goes on when its time is over: it made progress
BEGUN, MOVED = "its work has begun", "it made progress"  # what a worker says in the midst of a job


class Outcome(NamedTuple):
    """What became of a job: a verdict, the error's words, seconds, and memory above the start."""

    verdict: str
    message: str
    seconds: float
    grown: int


def is_told(error: BaseException) -> bool:
    """Whether promptax itself raised the error: its last line of code is a `raise` there."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not isinstance(error, OWN):
        return False
    inside = f"{os.sep}promptax{os.sep}" in frames[-1].filename
    return inside and (frames[-1].line or "").startswith("raise")


def raised_in(error: BaseException, file: str) -> bool:
    """Whether a file's own code raised the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename == file


def shown(error: BaseException) -> str:
    """An error in a line: its kind, its words, and where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({where})"


# --- in a worker ----------------------------------------------------------------------------


def serve(attempt: Callable[[Any], tuple[str, str]], prepare: Callable[[], object]) -> None:
    """Prepare, then take a job a line, try it, and answer with its outcome; for ever.

    Standard streams carry the jobs. What is tried sees an empty input, and prints to nowhere.
    """
    global _answers
    jobs, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    _answers = answers
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(nowhere, number)
    prepare()
    print("ready", file=answers, flush=True)
    for line in jobs:
        _told.clear()
        _forget_peak()
        before, began = memory(os.getpid()), now(os.getpid())
        verdict, message = attempt(json.loads(line))
        passed, most = lasted(os.getpid(), began), memory(os.getpid(), "HWM")
        outcome = verdict, message, passed, most - before
        print(json.dumps(outcome), file=answers, flush=True)


_answers: TextIO
_told: set[str] = set()


def tell(what: str) -> None:
    """Say BEGUN or MOVED of the job in work, once; a job that says it may take longer."""
    if what not in _told:
        _told.add(what)
        print(json.dumps(what), file=_answers, flush=True)


def _forget_peak() -> None:
    """Let the system count the highest memory of this process from now on."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


class Moment(NamedTuple):
    """Seconds of the clock, and of processors that a process has taken."""

    clock: float
    processors: float


def now(process: int) -> Moment:
    """This moment in the life of a process."""
    with open(f"/proc/{process}/stat", encoding="ascii") as file:
        ticks = file.read().rpartition(")")[2].split()[11:13]  # behind a name with spaces
    return Moment(time.monotonic(), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"))


def lasted(process: int, began: Moment) -> float:
    """Seconds that a process has worked since then, whatever else the machine had to do: those of
    processors, or a part of the clock's if it waited."""
    clock, processors = now(process)
    times_as_long = max(CLOCK, CROWD * os.getloadavg()[0] / (os.cpu_count() or 1))
    return max(processors - began.processors, (clock - began.clock) / times_as_long)


def memory(process: int, what: str = "RSS") -> int:
    """Memory of a process that is in use ("RSS"), or was at most ("HWM"), in bytes."""
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        line = next((line for line in file if line.startswith(f"Vm{what}:")), "x 0 kB")
    return 1024 * int(line.split()[1])


# --- in the first process -------------------------------------------------------------------


def run(script: str, jobs: Sequence[Any], workers: int = 2) -> Iterator[tuple[Any, Outcome]]:
    """Try all jobs in workers of a script, `python SCRIPT --worker`; yields outcomes as they come.

    Jobs are JSON. One that takes more than SECONDS or MEMORY ends its worker. One that says that
    its work has begun (`tell`) is LONG at SECONDS if it made progress; else it may take AT_WORK
    seconds to make some, since compiling shows none.
    """
    waiting: Queue[Any] = Queue()
    done: Queue[tuple[Any, Outcome]] = Queue()
    for job in jobs:
        waiting.put(job)
    with tempfile.TemporaryDirectory() as place:  # of a worker that is ended, something stays
        for _ in range(workers):
            threading.Thread(target=_work, args=(script, place, waiting, done)).start()
        for _ in jobs:
            yield done.get()


def _work(script: str, place: str, waiting: Queue[Any], done: Queue[tuple[Any, Outcome]]) -> None:
    """Give jobs to a worker until there are none."""
    child = None
    while True:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            break
        try:
            child = child or _started(script, place)
            outcome = _watched(child, job)
        except Exception as error:  # whoever waits for the job must hear of it
            outcome = Outcome("the process died", str(error), 0.0, 0)
        if outcome.verdict in (*ENDED, LONG) and child is not None:
            child.kill()
            child.wait()
            child = None
        done.put((job, outcome))
    if child is not None:
        child.kill()
        child.wait()


def _started(script: str, place: str) -> subprocess.Popen:
    child = subprocess.Popen(
        [sys.executable, script, "--worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PROMPTAX_TRACEBACK": "1", "TMPDIR": place},
    )
    assert child.stdout is not None
    if not select.select([child.stdout], [], [], START)[0] or child.stdout.readline() != b"ready\n":
        child.kill()
        raise OSError("a worker did not start")
    return child


def _watched(child: subprocess.Popen, job: Any) -> Outcome:
    """What becomes of a job, with an eye on the worker."""
    assert child.stdin is not None and child.stdout is not None
    before, began = memory(child.pid), now(child.pid)
    child.stdin.write(json.dumps(job).encode() + b"\n")
    child.stdin.flush()
    told: set[str] = set()
    while True:
        while not select.select([child.stdout], [], [], TICK)[0]:
            passed, grown = lasted(child.pid, began), memory(child.pid) - before
            if passed > SECONDS and MOVED in told:
                return Outcome(LONG, "", passed, grown)
            if passed > (AT_WORK if BEGUN in told else SECONDS):
                return Outcome("without end", "", passed, grown)
            if grown > MEMORY:
                return Outcome("over 1 GB", "", passed, grown)
        line = child.stdout.readline()
        if not line:
            return Outcome("the process died", "", time.monotonic() - began.clock, 0)
        answer = json.loads(line)
        if isinstance(answer, list):
            outcome = Outcome(*answer)
            return outcome._replace(verdict="over 1 GB") if outcome.grown > MEMORY else outcome
        told.add(answer)


def as_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; the first column holds words, the others numbers."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
