"""A progress bar with rate and time left for everything that takes over a second; stopping.

A callback is called as `callback(done, total, note)` after each piece of work; what it returns asks
the loop to stop if it is true. A bar is such a callback. It shows itself on terminals and in
notebooks only, so logs and pipes stay clean.

Ctrl-C and SIGTERM are requests while a loop runs (`stoppable`): the loop finishes the update in
work, saves, and leaves.

Names and notes come from users, models and files. On a terminal, control characters in them could
move the cursor, hide words or answer for the user; `visible` shows them instead.
"""

import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.progress import Progress


Callback = Callable[..., Any]
"""Is told how far the work is; each function says what it passes."""

METRICS = "metrics.jsonl"  # in a run folder: the numbers of its fits, a line for each step
RUN_MARK = ".promptax-run"  # in every folder that promptax made; locked while a run has it in work
STUDY_MARK = ".in-work"  # in the folder of a study; who has it in work shares a lock on it
INDEX = "conditions.json"  # in the folder of a study: the file of each condition, by its name
FITS = "unfinished"  # the folder of what fits in work keep, in that of a run or of a study
TRACEBACK = "traceback.txt"  # of a condition that failed, beside what else it left unfinished
UNFINISHED = ".unfinished"  # ends the name of a folder whose run will replace earlier results


def as_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """Functions that are told of progress, before there is any; what cannot be called is refused.

    Raises:
        TypeError: no series of functions.
    """
    values = tuple(callbacks) if isinstance(callbacks, Iterable) else None
    if values is None or not all(map(callable, values)):
        raise TypeError(f"Expected callbacks, functions of (done, total); got {callbacks!r:.60}.")
    return values


class Bar:
    """A bar that shows `done` of `total`. It appears after `patience` seconds, and closes itself
    at the end."""

    def __init__(self, description: str, patience: float = 1.0):
        self.description = description
        self.patience = patience
        self.began = time.monotonic()
        self.display: Progress | None = None
        self.is_text = False  # in notebooks without widgets: one line, which is written over

    def __call__(self, done: int, total: int, note: str = "") -> bool:
        waited = time.monotonic() - self.began >= self.patience
        if self.display is None and not self.is_text and waited and done < total:
            self._open(total)
        if self.is_text:
            self.is_text = done < total
            line = visible(f"{self.description} {done:,}/{total:,} {note}")
            sys.stderr.write(f"\r{line}\x1b[K" + "\n" * (done >= total))
            sys.stderr.flush()
        if self.display is not None:
            self.display.update(self.display.task_ids[0], completed=done, note=visible(note))
            if done >= total:
                self.close()
        return False

    def _open(self, total: int) -> None:
        console = Console(stderr=True)
        if not (console.is_terminal or console.is_jupyter):
            self.patience = float("inf")
            return
        if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
            self.is_text = True
            return
        from rich.progress import Progress  # takes long to import, and most runs are short

        columns = _columns()
        self.display = Progress(*columns, console=console, transient=True)
        self.display.start()
        self.display.add_task(visible(self.description), total=total, note="")

    def close(self) -> None:
        """Take the bar away."""
        if self.display is not None:
            self.display.stop()
            self.display = None


def _columns() -> tuple[Any, ...]:
    """What a bar shows: name, bar, done of total, pieces of work a second, time left, note."""
    from rich import progress

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            return Text(f"{task.speed:.3g}/s" if task.speed else "")

    return (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}", markup=False),
    )


class reporting:
    """The callbacks of one piece of work, as one; its bars close however the work ends.

    `callbacks`: None stands for a bar with that description.

        with reporting("tuning", callbacks) as progress:
            wants_to_stop = progress(done, total)
    """

    def __init__(self, description: str, callbacks: Sequence[Callback] | None):
        self.callbacks = (Bar(description),) if callbacks is None else tuple(callbacks)

    def __enter__(self) -> "reporting":
        self.looking = looking()
        self.looking.__enter__()
        return self

    def __call__(self, done: int, total: int, note: str = "") -> bool:
        answers = [callback(done, total, note) for callback in self.callbacks]
        return is_asked_to_stop() or any(answers)

    def __exit__(self, *error: Any) -> None:
        for callback in self.callbacks:
            if isinstance(callback, Bar):
                callback.close()
        self.looking.__exit__(*error)


class Together:
    """Progress of several fits as one. A piece of work is a hundredth of a fit."""

    def __init__(self, callbacks: Sequence[Callback], fits: int):
        self.callbacks = callbacks
        self.done = [0] * fits
        self.lock = threading.Lock()

    def part(self, index: int) -> Callback:
        """The callback of the fit of that number, which may run in a thread of its own."""

        def update(done: int, total: int, note: str = "") -> bool:
            del note
            with self.lock:
                self.done[index] = 100 * done // max(1, total)
                self._tell()
            return False

        return update

    def close(self) -> None:
        """Say that all fits are done. Some may have reported nothing."""
        self.done = [100] * len(self.done)
        self._tell()

    def _tell(self) -> None:
        for callback in self.callbacks:
            callback(sum(self.done), 100 * len(self.done))


# --- stopping -------------------------------------------------------------------------------


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and left its loop where nothing is lost."""


def signal_of(stop: KeyboardInterrupt) -> int:
    """The number of the signal that stopped what ran: that of Ctrl-C unless it says another."""
    return stop.args[0] if stop.args and isinstance(stop.args[0], int) else signal.SIGINT


_asked = threading.Event()
_asked_by = [int(signal.SIGINT)]  # the number of the signal that asked
_loops = 0  # that look whether they are asked, in all threads
_counting = threading.Lock()
SOON = 0.02  # seconds: what drops errors is over by then
ASKED = "\nstopping after the update in work, with a checkpoint; once more stops at once\n"


def is_asked_to_stop() -> bool:
    """Whether the loop that asks should save and leave."""
    return _asked.is_set()


@contextlib.contextmanager
def looking() -> Iterator[None]:
    """While it lasts, a loop looks at `is_asked_to_stop`; on leaving, it stops if it was asked.

    Raises:
        Stopped: it was asked to stop.
    """
    global _loops
    with _counting:
        _loops += 1
    try:
        yield
    finally:
        with _counting:
            _loops -= 1
    if is_asked_to_stop():
        raise Stopped(_asked_by[0])


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Take Ctrl-C and SIGTERM for requests while a loop looks for them; they stop anything else.

    The second one stops at once. Only the main thread may use it.
    """

    def ask(number: int, frame: Any) -> None:
        del frame
        if _asked.is_set() or _loops == 0:
            raise KeyboardInterrupt(number)
        _asked_by[0] = number
        _asked.set()
        os.write(2, ASKED.encode())

    def ask_again(dropped: Any) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            tell_of_dropped(dropped)
            return
        number = signal_of(dropped.exc_value)
        threading.Timer(SOON, os.kill, (os.getpid(), number)).start()

    # what is raised while the garbage collector calls back, as JAX lets it, is dropped by Python
    tell_of_dropped, sys.unraisablehook = sys.unraisablehook, ask_again
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # what the shell ignores for a job in the background stays ignored
    before = {number: was for number, was in before.items() if was != signal.SIG_IGN}
    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        _asked.clear()
        sys.unraisablehook = tell_of_dropped
        for number, handler in before.items():
            signal.signal(number, handler)


# --- text of others on a terminal ------------------------------------------------------------

KEPT = "\n\t"  # control characters that only place text
HIDING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # Unicode's classes of what is not seen, but acts
JOINING = "\u200c\u200d"  # without these, some scripts and emoji cannot be written


def visible(text: str) -> str:
    """The text with everything that acts on a terminal shown: "␛" for escape, "\\u202e" for others.

    >>> visible("red: \\x1b[31m")
    'red: ␛[31m'
    """
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in KEPT or character in JOINING or unicodedata.category(character) not in HIDING:
        return character
    if character < " ":
        return chr(0x2400 + ord(character))  # Unicode's pictures of control characters
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
