"""metrics.jsonl: the numbers of a run as it goes, for people, `promptax watch` and other programs.

A line is whole or not there: lines are added by a single write at their end. A resumed run writes
what its checkpoint knows anew, in one step, and goes on from there; so no step is missing, and none
is there twice, although an earlier run may have gone beyond its last checkpoint.
"""

import json
import os
import threading
from pathlib import Path

from promptax import files
from promptax.checks import check
from promptax.fit.logs.base import MOST_LINES, Log, Metrics

_writing = threading.Lock()  # several fits of a run may write to one file


class MetricsFile(Log):
    """Writes a line of JSON for each step and repetition of a fit.

    A line has `fit`, `step`, `steps`, `repetition`, `loss` (nats per sequence), `rate`, and what
    was spent up to that step: `sequences`, `tokens_forward`, `tokens_backward`, `operations`
    (`promptax.fit.Cost`). Several fits can share a file, each with its own name: a
    fit that begins drops what an earlier one of its name wrote there. Of a fit with more than
    `most` steps times repetitions there are evenly spaced steps.

    Example: `px.pretrain(key, network, task, callbacks=(MetricsFile("metrics.jsonl"),))`, and then
    `pandas.read_json("metrics.jsonl", lines=True)`.
    """

    def __init__(self, path: str | os.PathLike, fit: str = "fit", most: int = MOST_LINES) -> None:
        self.path = files.path_of(path)
        self.fit = fit
        check(most >= 1, f"Expected at least 1 line of each fit; got most={most}.")
        self.most = most

    def hear(self, metrics: Metrics) -> None:
        text = "".join(
            f"{json.dumps({'fit': self.fit, **line})}\n" for line in metrics.lines(self.most)
        )
        with _writing:
            if metrics.begin == 0:
                files.write_text(self.path, self._lines_of_others() + text)
            else:
                _append(self.path, text)

    def _lines_of_others(self) -> str:
        """The whole lines that other fits wrote."""
        if not self.path.exists():
            return ""
        ours = json.dumps({"fit": self.fit})[:-1] + ","
        lines = files.read_text(self.path).splitlines(keepends=True)
        return "".join(line for line in lines if line.endswith("\n") and not line.startswith(ours))


def _append(path: Path, text: str) -> None:
    """Add text to the end of a file in a single write: after a kill it is there or it is not.

    Raises:
        StoreError: the disk is full, or nothing can be written there; the file is what it was.
    """
    data = text.encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            before = os.fstat(handle).st_size
            if os.write(handle, data) < len(data):
                os.ftruncate(handle, before)
                raise OSError("there is no room for all of it")
        finally:
            os.close(handle)
    except OSError as error:
        raise files.StoreError(
            f"Expected to write {path}; got: {error}. Nothing there was changed. Make room or "
            "choose another folder."
        ) from error
