"""The command line: the only room that prints, bars aside.

`promptax demo · list · pretrain · tune · evaluate · diagnose · report · study · bench`, and
`promptax lm` for language models. A command is a dataclass of its flags (`flags`), read by
`arguments`, and a function.
"""

import difflib
import os
import sys
import time
import warnings
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from promptax import platforms
from promptax.cli import jobs, language
from promptax.cli.arguments import import_plugins, join_processes, parse
from promptax.cli.flags import (
    Bench,
    Demo,
    Diagnose,
    Evaluate,
    List,
    Pretrain,
    Report,
    RunStudy,
    Tune,
)
from promptax.cli.printing import console, say
from promptax.experiments import demo
from promptax.formats import fetch

COMMANDS: dict[str, tuple[type, Any]] = {
    "demo": (Demo, jobs.demo),
    "list": (List, jobs.list_members),
    "pretrain": (Pretrain, jobs.pretrain_run),
    "tune": (Tune, jobs.tune_run),
    "evaluate": (Evaluate, jobs.evaluate_run),
    "diagnose": (Diagnose, jobs.diagnose_run),
    "report": (Report, jobs.report_run),
    "study": (RunStudy, jobs.study_run),
    "bench": (Bench, jobs.bench_run),
    **language.COMMANDS,
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command; complaints go to standard error, with exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = " ".join(["promptax", *arguments])
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            _run(arguments, command)
        except (ValueError, TypeError, MemoryError, OSError) as error:
            if os.environ.get("PROMPTAX_TRACEBACK"):
                raise
            Console(stderr=True).print("error:", style="red", end=" ")
            Console(stderr=True).print(str(error), soft_wrap=True, highlight=False, markup=False)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def _run(arguments: list[str], command: str) -> None:
    arguments = join_processes(import_plugins(arguments))
    console.quiet = not platforms.leads()
    name = _command(arguments)
    kind, run = COMMANDS[name]
    presets = demo.DEMO_NETWORK if kind is Demo else {}
    parsed = parse(kind, name, arguments[len(name.split()) :], presets)
    _use_compilation_cache()
    started = time.monotonic()
    run(parsed, command)
    say(f"{time.monotonic() - started:.0f} s", style="dim")


def _warn(message: Any, *about: Any, **more: Any) -> None:
    del about, more
    Console(stderr=True).print(f"warning: {message}", style="yellow", soft_wrap=True, markup=False)


def _command(arguments: list[str]) -> str:
    group = arguments[:1] == [language.GROUP]
    given = " ".join(arguments[: 1 + group]) or "--help"
    if given == language.GROUP or given.split()[-1] in ("-h", "--help"):
        say("usage: promptax COMMAND [--plugin MODULE] [flags]\n")
        shown = Table.grid(padding=(0, 2))
        for name, (kind, _) in (language.COMMANDS if group else COMMANDS).items():
            shown.add_row(f"  {name}", " ".join((kind.__doc__ or "").split()))
        console.print(shown)
        say("\npromptax COMMAND --help shows its flags.")
        raise SystemExit(0)
    if given not in COMMANDS:
        near = difflib.get_close_matches(given, list(COMMANDS), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"Expected a command: {', '.join(COMMANDS)}; got {given!r}.{hint}")
    return given


def _use_compilation_cache() -> None:
    """Compile nothing twice, from one command to the next: JAX's cache in the user's folder."""
    jax.config.update("jax_compilation_cache_dir", str(fetch.cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
