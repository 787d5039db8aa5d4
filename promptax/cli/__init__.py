"""The command line: the only room that prints, bars aside.

`promptax demo · list · pretrain · tune · evaluate · diagnose · report · study · bench · watch`, and
`promptax lm` for language models. A command is a file of `commands`: its flags, and its deed.
`overview` finds it without importing the others, and `arguments` reads its flags.
"""

import os
import shlex
import sys
import time
import warnings
from typing import Any

from promptax.cli import overview
from promptax.cli.printing import complaints, lost_output, note, prepare_streams
from promptax.cli.words import import_plugins, join_processes, take_process_flags, with_home
from promptax.progress import signal_of, stoppable

EXPECTED = (ArithmeticError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
"""Errors that input can bring about, JAX's own among them; others are faults of promptax."""
REFUSED, PIPE_CLOSED = 2, 141  # exit codes, as shells know them
OF_JAX = "JAX has removed its internal frames"  # from a traceback, which nobody sees here
STOPPED = 128  # plus the number of the signal: 130 for Ctrl-C, 143 for SIGTERM


def main(arguments: list[str] | None = None) -> None:
    """Run one command; complaints go to standard error, with exit code 2.

    Ctrl-C ends a command with exit code 130, SIGTERM with 143, after a checkpoint if it keeps one.
    What was done is on disk although it could not be printed (`printing.lost_output`).
    """
    arguments = with_home(sys.argv[1:] if arguments is None else arguments)
    line = shlex.join(["promptax", *arguments])
    prepare_streams()
    lost_output.clear()
    with warnings.catch_warnings(), stoppable():
        warnings.showwarning = _warn
        try:
            _run(arguments, line)
        except EXPECTED as error:
            if os.environ.get("PROMPTAX_TRACEBACK"):
                raise
            _complain("error:", error)
            raise SystemExit(REFUSED) from None
        except KeyboardInterrupt as stop:
            _complain("stopped:", stop)
            raise SystemExit(STOPPED + signal_of(stop)) from None
    for error in lost_output:
        if isinstance(error, BrokenPipeError):  # whoever read it had enough
            raise SystemExit(PIPE_CLOSED)
        note(f"error: Expected to print to standard output; got: {error}.", style="red")
        raise SystemExit(REFUSED)


def _complain(what: str, error: BaseException) -> None:
    """Print why a command ended, and the advice that came with it (`BaseException.add_note`)."""
    why = "nothing was kept" if isinstance(error, KeyboardInterrupt) else str(error)
    if isinstance(error, MemoryError) or "out of memory" in why.lower():
        why = f"Expected something that fits into memory; got: {why[:300]}. Choose smaller sizes."
    elif type(error).__module__.split(".")[0] in ("jax", "jaxlib"):
        why = f"JAX cannot compute this: {why[:600]}"
    advice = [text for text in getattr(error, "__notes__", []) if OF_JAX not in text]
    if isinstance(error, KeyboardInterrupt) and advice:
        what, why = "stopped.", ""
    note(" ".join(filter(None, [what, why, *advice])), style="red" if what == "error:" else "")


def _run(arguments: list[str], line: str) -> None:
    processes, arguments = take_process_flags(import_plugins(arguments))
    name = overview.command_named(arguments)
    if name is None:
        overview.print_commands(arguments)
        return
    command = overview.module_of(name)
    if "jax" in sys.modules:  # a command that does not import JAX computes nothing
        _prepare_devices(processes)
    from promptax.cli.arguments import parse  # with tyro, which a page of help can do without

    arguments = arguments[len(name.split()) :]
    imply = vars(command).get("imply")
    given = imply(arguments) if imply else arguments
    flags = parse(command.Flags, name, given, overview.about(name))
    started = time.monotonic()
    command.run(flags, line)
    note(f"{time.monotonic() - started:.0f} s", style="dim")


def _prepare_devices(processes: dict[str, str | None]) -> None:
    from promptax import platforms

    join_processes(processes)
    platforms.expect_platform()
    complaints.quiet = not platforms.leads()
    _use_compilation_cache()


def _use_compilation_cache() -> None:
    """Compile nothing twice, from one command to the next: JAX's cache in the user's folder, unless
    JAX_COMPILATION_CACHE_DIR names another."""
    import jax

    from promptax.formats import fetch

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(fetch.cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _warn(message: Any, *place: Any, **options: Any) -> None:
    del place, options
    note(f"warning: {message}", style="yellow")
