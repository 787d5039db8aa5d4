"""Measure every condition of a paper's study: promptax study NAME. What is measured already is
kept; a run that was stopped goes on where it was."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from promptax import platforms, specs
from promptax.cli.arguments import choice
from promptax.cli.printing import note, print_rows, say
from promptax.experiments.conditions import Measurements, matching
from promptax.experiments.executors import by_ray
from promptax.experiments.run_folder import as_run_here
from promptax.experiments.sweeps import sweep, verified
from promptax.progress import Bar, Callback
from promptax.studies import Study, study_folder
from promptax.studies.judging import in_words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Which study, at which scale, and by what it is measured."""

    study: Study = choice(must_be_named=True)
    """Which study: its name, JSON, or @FILE."""
    scale: Literal["smoke", "small", "paper"] = "small"
    """Seconds, minutes, or the paper's own sizes."""
    out: str = ""
    """Folder of the results; by default runs/NAME-SCALE."""
    only: str = ""
    """Only conditions whose names contain these words, or some of several with commas between."""
    executor: Literal["local", "ray"] = "local"
    """One after the other here, or as Ray tasks on many machines."""
    address: str = "local"
    """For ray: "local" for a Ray of our own, "auto" or HOST:PORT for a cluster."""
    cores: int = 1
    """For ray: cores of each task."""


def run(flags: Flags, command: str) -> None:
    """Measure what is missing, write the report, print the claims; exit code 1 if some failed."""
    if flags.scale == "smoke":
        platforms.compile_quickly()
    conditions = flags.study.conditions(flags.scale)
    chosen = matching(conditions, flags.only)
    name = type(flags.study).__name__.lower()
    folder = Path(flags.out or f"runs/{name}-{flags.scale}")
    plugins = tuple(specs.plugins)
    executor = by_ray(flags.address, plugins, flags.cores) if flags.executor == "ray" else None
    verified(chosen, folder)  # before anything is written
    if elsewhere := study_folder.begin(folder, command, flags.study, flags.scale):
        note(f"this folder was begun with other versions, or elsewhere: {elsewhere}")
    study_folder.write_index(folder, conditions)
    try:
        with study_folder.at_work(folder):
            failures = sweep(chosen, folder, executor, announce=_bar, callbacks=(_tell,))
    except KeyboardInterrupt as stop:
        stop.add_note(f"It goes on with\n\n    {as_run_here(command)}\n")
        raise
    for condition, failure in failures.items():
        note(f"failed: {condition}: {failure.reason}", style="red")
    say(f"{len(Measurements(chosen, folder))} of {len(chosen)} conditions are in {folder}")
    if platforms.leads():
        _report(folder)
    if failures:
        raise SystemExit(1)


def _report(folder: Path) -> None:
    page, claims = study_folder.write_page(folder)
    rows = [(claim.name, in_words(claim), claim.text) for claim in claims]
    print_rows("claims", ("claim", "verdict", "text"), rows, words=("verdict", "text"))
    say(f"\n{page.absolute()}  ← open this in a browser", style="bold")


def _bar(what: str) -> Sequence[Callback]:
    return (Bar(what),)


def _tell(done: int, total: int, text: str) -> bool:
    """A callback of the sweep. It never asks to stop."""
    if text:
        note(f"{done} of {total}: {text}")
    return False
