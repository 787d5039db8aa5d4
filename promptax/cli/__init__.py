"""The command line: the only room that prints, bars aside.

`promptax demo · list · pretrain · tune · evaluate · diagnose · report · study · bench`, and
`promptax lm` for language models. A command is a file of `commands`: its flags, and its deed.
`overview` finds it without importing the others, and `arguments` reads its flags.
"""

import os
import sys
import time
import warnings
from typing import Any

from rich.console import Console

from promptax.cli import overview
from promptax.cli.printing import console, say
from promptax.cli.words import import_plugins, join_processes, take_process_flags


def main(arguments: list[str] | None = None) -> None:
    """Run one command; complaints go to standard error, with exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    line = " ".join(["promptax", *arguments])
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            _run(arguments, line)
        except (ValueError, TypeError, MemoryError, OSError) as error:
            if os.environ.get("PROMPTAX_TRACEBACK"):
                raise
            Console(stderr=True).print("error:", style="red", end=" ")
            Console(stderr=True).print(str(error), soft_wrap=True, highlight=False, markup=False)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None


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

    flags = parse(command.Flags, name, arguments[len(name.split()) :], overview.about(name))
    started = time.monotonic()
    command.run(flags, line)
    say(f"{time.monotonic() - started:.0f} s", style="dim")


def _prepare_devices(processes: dict[str, str | None]) -> None:
    from promptax import platforms

    join_processes(processes)
    console.quiet = not platforms.leads()
    _use_compilation_cache()


def _use_compilation_cache() -> None:
    """Compile nothing twice, from one command to the next: JAX's cache in the user's folder."""
    import jax

    from promptax.formats import fetch

    jax.config.update("jax_compilation_cache_dir", str(fetch.cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _warn(message: Any, *place: Any, **options: Any) -> None:
    del place, options
    Console(stderr=True).print(f"warning: {message}", style="yellow", soft_wrap=True, markup=False)
