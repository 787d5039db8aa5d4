"""Chat templates and patterns of foreign files, evaluated first in a process of their own.

`{% for a in range(99999) %}{% for b in range(99999) %}`, `{{ 10 ** 10 ** 10 }}`, `(a+)+b`: none of
these can be told from a good one without running it, and nothing in this process could stop it.
The other process is started once, on first use (0.1 s), and waits for the next request (0.3 ms).
"""

import atexit
import functools
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from promptax.formats import evaluating_process
from promptax.formats.tokenizers import package

SECONDS = 10.0  # a chat takes a thousandth of one
CHARACTERS_PER_SECOND = 1e5  # of a text that is cut; twenty times as many are usual
PACKAGES = ("jinja2", "markupsafe", "tokenizers")


class ForeignProblem(Exception):
    """What a foreign template or pattern says, or why it was stopped."""


def render(template: str, given: dict[str, Any], chats: list[Any]) -> list[str]:
    """Each chat, a list of messages, as the template writes it.

    Args:
        template: in Jinja's language.
        given: what else it may name, such as bos_token.

    Raises:
        ForeignProblem: the template is broken, refuses the messages, or does not end.
        ValueError: the package jinja2 is not installed.
    """
    package("jinja2")
    return _process().ask(what="render", template=template, given=given, chats=chats)


def match(patterns: list[str], paths: list[str], whole: bool = False) -> list[list[bool]]:
    """Whether each pattern fits each path [pattern][path], the whole of it, or its end.

    Raises:
        ForeignProblem: a pattern is broken, or does not end.
    """
    return _process().ask(what="match", patterns=patterns, paths=paths, whole=whole)


def try_cutting(written: str, text: str, special: bool) -> None:
    """Cut a text as a tokenizer does, to see that this ends; whoever cuts it then is as quick.

    Args:
        written: the tokenizer as a tokenizer.json, without its vocabulary.
        text, special: as for `Tokenizer.encode`.

    Raises:
        ForeignProblem: a pattern is broken, or does not end.
    """
    seconds = SECONDS + len(text) / CHARACTERS_PER_SECOND
    _process().ask(seconds, what="cut", written=written, text=text, special=special)


class _Process:
    """The other process; it is started when it is asked, and again after it was stopped."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.child: subprocess.Popen | None = None
        self.parent = 0

    def ask(self, seconds: float | None = None, **request: Any) -> Any:
        """The answer to a request, for which there is so much time."""
        seconds = SECONDS if seconds is None else seconds
        with self.lock:
            try:
                child = self._running()
                assert child.stdin is not None
                child.stdin.write(json.dumps(request).encode() + b"\n")
                child.stdin.flush()
                answer = json.loads(self._line(child, seconds))
            except (OSError, TimeoutError, ValueError) as error:
                self.stop()
                raise ForeignProblem(str(error)) from error
        if "problem" in answer:
            raise ForeignProblem(answer["problem"])
        return answer["result"]

    def _running(self) -> subprocess.Popen:
        if self.child is None or self.parent != os.getpid() or self.child.poll() is not None:
            specs = filter(None, map(importlib.util.find_spec, PACKAGES))
            folders = {str(Path(spec.origin).parent.parent) for spec in specs if spec.origin}
            self.parent = os.getpid()
            self.child = subprocess.Popen(
                [sys.executable, "-I", evaluating_process.__file__, *sorted(folders)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for this process alone
            )
        return self.child

    def _line(self, child: subprocess.Popen, seconds: float) -> bytes:
        """Wait for the answer, but not for ever."""
        assert child.stdout is not None
        handle, line, end = child.stdout.fileno(), b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            left = max(0.0, end - time.monotonic())
            if not select.select([handle], [], [], left)[0]:
                raise TimeoutError(f"it did not end within {seconds:.0f} s")
            piece = os.read(handle, 2**20)
            if not piece:
                raise OSError("it broke down")
            line += piece
        return line

    def stop(self) -> None:
        """End the other process, if there is one."""
        child, self.child = self.child, None
        if child is None or self.parent != os.getpid():
            return
        child.kill()
        child.communicate()


@functools.cache
def _process() -> _Process:
    process = _Process()
    atexit.register(process.stop)
    return process
