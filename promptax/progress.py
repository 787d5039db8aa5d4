"""A progress bar with rate and time left for everything that takes over a second.

A callback is called as `callback(done, total, note)` after each piece of work; what it returns asks
the loop to stop if it is true. A bar is such a callback. It shows itself on terminals and in
notebooks only, so logs and pipes stay clean.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Callback = Callable[..., Any]


class _Rate(ProgressColumn):
    """Pieces of work a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.3g}/s" if task.speed else "")


class Bar:
    """A bar that shows `done` of `total`. It appears after `patience` seconds, and closes itself
    at the end."""

    def __init__(self, description: str, patience: float = 1.0):
        self.description = description
        self.patience = patience
        self.began = time.monotonic()
        self.display: Progress | None = None

    def __call__(self, done: int, total: int, note: str = "") -> bool:
        waited = time.monotonic() - self.began >= self.patience
        if self.display is None and waited and done < total:
            self._open(total)
        if self.display is not None:
            self.display.update(self.display.task_ids[0], completed=done, note=note)
            if done >= total:
                self.close()
        return False

    def _open(self, total: int) -> None:
        console = Console(stderr=True)
        if not (console.is_terminal or console.is_jupyter):
            self.patience = float("inf")
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.display = Progress(*columns, console=console, transient=True)
        self.display.start()
        self.display.add_task(self.description, total=total, note="")

    def close(self) -> None:
        """Take the bar away."""
        if self.display is not None:
            self.display.stop()
            self.display = None


class reporting:
    """The callbacks of one piece of work, as one; its bars close however the work ends.

    `callbacks`: None stands for a bar with that description.

        with reporting("tuning", callbacks) as progress:
            wants_to_stop = progress(done, total)
    """

    def __init__(self, description: str, callbacks: Sequence[Callback] | None):
        self.callbacks = (Bar(description),) if callbacks is None else tuple(callbacks)

    def __enter__(self) -> "reporting":
        return self

    def __call__(self, done: int, total: int, note: str = "") -> bool:
        return any([callback(done, total, note) for callback in self.callbacks])

    def __exit__(self, *error: object) -> None:
        for callback in self.callbacks:
            if isinstance(callback, Bar):
                callback.close()


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
