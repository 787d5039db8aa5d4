"""Whether a run and a target call their symbols by the same names.

A file's symbols become numbers, and a network knows the numbers alone: trained over a, b and c, it
would read d as c. What the numbers meant is kept in spec.json of its run folder, with the task that
it was trained on. It also holds once the file itself is gone.
"""

import dataclasses
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from promptax import files, specs
from promptax.cli.printing import note
from promptax.tasks import Recorded, Task
from promptax.tasks.recorded import PAD
from promptax.tasks.symbol_files import translation

MOST_SHOWN = 1000  # letters of an alphabet in a message
MOST_UNKNOWN = 10  # symbols in a message that a run does not know
MOST_BASES = 20  # of a run that tuned what another one tuned, and so on


def check_names(paths: Iterable[str], **tasks: Task | None) -> None:
    """Complain if a run was trained over an alphabet with other names than that of a task.

    `paths`: of run folders, or of files in them. `tasks`: by the flags that name them, `target`
    first. Where either has no names, or a file is in no run folder, nothing is known to differ.
    """
    runs = [(f"{path} was trained over", _names_of_run(Path(path))) for path in paths]
    whose = [(f"--{flag} has", _names_of(task)) for flag, task in tasks.items()]
    # of tasks nobody knows which one is odd, where no run says it
    named = [run for run in runs if run[1]] or [one for one in whose if one[1]]
    for flag, task in tasks.items():
        path, theirs = getattr(task, "path", "") or f"--{flag}", _names_of(task)
        for what, names in named:
            if theirs in ((), names):
                continue
            way = (
                f"If the same are meant, give --{flag}.alphabet {_listed(names)}; if others stand "
                "in their place, replace them in the file."
            )
            if unknown := sorted(_occurring(task, theirs) - set(names)):
                way = _way_to(path, flag, _occurring(task, theirs), names, unknown)
            raise ValueError(
                f"Expected symbols of the same names; {what} {_listed(names)}; {path} has "
                f"{_listed(theirs)}. {way}"
            )


def tell_order(prior: Task | None, target: Task) -> None:
    """Say which symbol each number of a prior is for, where the target alone has names for them."""
    if prior is not None and target.symbol_names and not prior.symbol_names:
        order = _listed(target.symbol_names)
        note(f"--prior: its symbols are those of the target, in the order {order}")


def _way_to(
    path: str, flag: str, found: set[str], names: tuple[str, ...], unknown: list[str]
) -> str:
    """What to do about symbols that no alphabet makes those of a run: it names, and translates
    nothing."""
    translated = translation(path, found, names)
    if translated:
        begin = f"{translated[0].upper()}{translated[1:]}"
        return f"{begin}; --{flag}.alphabet names symbols, it does not translate them."
    return (
        f"{_listed(tuple(unknown[:MOST_UNKNOWN]))} cannot be read over that alphabet, whatever "
        f"--{flag}.alphabet names: replace them in the file, or train over all of them."
    )


def _occurring(task: Any, names: tuple[str, ...]) -> set[str]:
    """Of the names of a task's symbols those that occur, where it holds its sequences."""
    if not isinstance(task, Recorded):
        return set(names)
    return {names[token] for token in np.unique(np.asarray(task.sequences)) if token != PAD}


def _listed(names: tuple[str, ...]) -> str:
    """Names as a shell takes them."""
    text = shlex.join(names)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} … ({len(names):,} symbols)"


def _names_of(thing: Any) -> tuple[str, ...]:
    """The names of a task's symbols, or else of the first task in it that has some."""
    if isinstance(thing, tuple):
        return next((names for part in thing if (names := _names_of(part))), ())
    if not isinstance(thing, specs.Spec):
        return ()
    names = thing.symbol_names if isinstance(thing, Task) else ()
    parts = (getattr(thing, field.name) for field in dataclasses.fields(thing))
    return names or _names_of(tuple(parts))


def _names_of_run(path: Path) -> tuple[str, ...]:
    """The names of the symbols that a run was trained over, or the run that it began from."""
    for _ in range(MOST_BASES):
        folder = path if path.is_dir() else path.parent
        if not (folder / "spec.json").is_file():
            return ()
        spec = files.read_json(folder / "spec.json")
        for what in ("task", "target"):
            if names := _names_of(_task(spec.get(what))):
                return names
        if not isinstance(spec.get("predictor"), str):
            return ()
        path = Path(spec["predictor"])
    return ()


def _task(description: Any) -> Any:
    """A task as spec.json describes it; None if there is none, or its class is not known here."""
    try:
        return specs.from_json(description)
    except (ValueError, TypeError):
        return None
