"""Run folders: what every command leaves behind, so that the next one, and people, can use it.

spec.json       what was run: specs, seed, command, versions, platform
metrics.jsonl   the loss, rate and cost of every step of a fit, as it goes (`fit.logs`)

What else is in a folder says who writes it: `experiment_folder`, `studies.study_folder`, `cli`.
"""

import contextlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from promptax import files, platforms, store
from promptax.experiments.folder_swap import put_aside, replace_folder
from promptax.experiments.groups import slug
from promptax.files import expect
from promptax.fit.settings import USUAL_LENGTH, FitSettings
from promptax.progress import FITS, RUN_MARK, UNFINISHED
from promptax.specs import check_kind, from_json, to_json
from promptax.steering import Tuner
from promptax.tasks.base import Task, steps_to_read

CHECKPOINT = "checkpoint.safetensors"  # of a run that is one fit


def unused_name(stem: str) -> str:
    """A folder's name that is not taken: stem, stem-2, …"""
    number = 1
    while Path(stem if number == 1 else f"{stem}-{number}").exists():
        number += 1
    return stem if number == 1 else f"{stem}-{number}"


class At(NamedTuple):
    """Where a run works.

    `folder`: where it writes; `checkpoint`: where its fit keeps its state; `is_resumed`: whether an
    earlier run left its state there.
    """

    folder: Path
    checkpoint: store.Checkpoint
    is_resumed: bool


@contextmanager
def at_work(
    out: str,
    command: str = "",
    *,
    overwrite: bool = False,
    resume: bool = False,
    reads: Iterable[str] = (),
    tell: Callable[[str], object] = lambda text: None,
) -> Iterator[At]:
    """Hold a folder for one run, while the body computes and writes.

    The folder is the run's own: another process that wants it is refused. A new folder is written
    where it is named. Earlier results (`overwrite`) stay where they are until the body is done: the
    run writes to NAME.unfinished beside them, which then takes their place; where a kill came
    in the midst of that, the next run begins with the earlier results back. A body that fails
    before it has a checkpoint leaves nothing behind. With one, the folder stays, and the error
    carries the command that goes on.

    Args:
        command: the line that was typed, for that advice.
        reads: what the command reads; a folder that holds any of it is not replaced.
        tell: hears which results are going to be replaced.

    Raises:
        ValueError: the folder holds something else, is in use, or has nothing to resume.
    """
    expect(out != "", "Expected a folder's path for --out; got an empty one.")
    target = files.path_of(out)
    if target.is_symlink() or target.name == "" or ".." in target.parts:
        target = files.real_path(target)
    if not platforms.leads():  # the first process decides, and may have written there already
        place = _place(target, overwrite, resume, reads) if resume else target
        yield At(place, store.Checkpoint(place / CHECKPOINT), resume)
        return
    _restore(target)
    place = _place(target, overwrite, resume, reads)
    with contextlib.ExitStack() as stack:
        for folder in dict.fromkeys([place, target] if target.exists() else [place]):
            _hold(stack, folder)
        if place != target:
            tell(f"the results in {target} will be replaced when this run is done")
        if place != target and not resume:
            _empty(place)
        files.remove_temporaries(place)
        try:
            yield At(place, store.Checkpoint(place / CHECKPOINT), resume)
        except (store.OtherRun, store.OtherArrays):  # say themselves what to do; again is no use
            raise
        except BaseException as error:
            if _has_state(place):
                error.add_note(f"It goes on with\n\n    {_going_on(command)}\n")
            elif not resume:
                files.remove(place)
            raise
        if place != target:
            replace_folder(target, place)
        for aside in put_aside(target):
            files.remove(aside)


def _restore(target: Path) -> None:
    """Give earlier results their name back, if a run was killed once it had put them aside."""
    for aside in put_aside(target):
        if not target.exists() and (aside / RUN_MARK).exists():
            with files.alone(aside / RUN_MARK, wait=False) as is_free:  # of a run that replaces it
                if is_free:
                    os.replace(aside, target)


def _place(target: Path, overwrite: bool, resume: bool, reads: Iterable[str]) -> Path:
    """Where a run writes whose results go to `target`. Everything is checked, nothing changed."""
    expect(target.name != "", f"Expected a folder with a name for the results; got {target}.")
    beside = target.with_name(target.name + UNFINISHED)
    expect(not target.exists() or target.is_dir(), f"Expected a folder; {target} is a file.")
    is_taken = target.is_dir() and any(path.name != RUN_MARK for path in target.iterdir())
    if resume:
        with_state = [folder for folder in (beside, target) if _has_state(folder)]
        instead = "put --overwrite in its place" if is_taken else "leave it out"
        expect(
            len(with_state) > 0,
            f"Expected the checkpoint of an earlier run in {target} for --resume; there is none. "
            f"To start anew, {instead}.",
        )
        return with_state[0]
    if not is_taken:
        return target
    is_ours = (target / RUN_MARK).exists()
    ways = ["choose another --out"]
    ways += ["replace them with --overwrite"] * is_ours
    ways += ["continue that run with --resume"] * _has_state(target)
    whose = "" if is_ours else " (promptax did not make this folder)"
    expect(
        overwrite and is_ours,
        f"Expected a new or empty folder for the results; {target} has files in it{whose}. "
        f"You can {', or '.join(ways)}.",
    )
    inside = [path for path in (".", *reads) if _is_inside(path, target)]
    expect(
        not inside,
        f"Expected --overwrite of a folder that the command does not use; {target} holds "
        f"{', '.join(map(repr, inside))}. Choose another --out.",
    )
    return beside


def _is_inside(path: str, folder: Path) -> bool:
    return Path(path).expanduser().resolve().is_relative_to(folder.resolve())


def _has_state(folder: Path) -> bool:
    """Whether a run left its state there: a checkpoint of a fit, or of one of several fits."""
    return (folder / CHECKPOINT).exists() or any((folder / FITS).glob("*.safetensors"))


def _hold(stack: contextlib.ExitStack, folder: Path) -> None:
    """Take hold of a folder until the stack closes."""
    is_held = stack.enter_context(files.alone(folder / RUN_MARK, wait=False))
    expect(
        is_held,
        f"Expected a folder that no other run has in work; {folder} is in use by another process. "
        "Wait until it is done, or choose another --out.",
    )


def _empty(folder: Path) -> None:
    """Remove what an earlier run began there. The mark stays: it is held."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            files.remove(path)
        elif path.name != RUN_MARK:
            files.remove_file(path)


def _going_on(command: str) -> str:
    """The command line that goes on with a run that a command began."""
    words = [word for word in shlex.split(command) if word not in ("--overwrite", "--resume")]
    return as_run_here(shlex.join([*words, "--resume"]))


def as_run_here(command: str) -> str:
    """A command line as the shell understands it: with the path of the program that runs, such as
    .venv/bin/promptax, unless its name alone calls it."""
    program, by_name = Path(sys.argv[0]), shutil.which("promptax")
    if program.stem != "promptax" or not program.is_file():
        return command
    if by_name is not None and os.path.samefile(by_name, program):
        return command
    return shlex.join([sys.argv[0], *shlex.split(command)[1:]])


class History(NamedTuple):
    """How a predictor came about, as far as run folders say."""

    prior: Task | None = None
    """What it was pretrained on."""
    trained_length: int | None = None
    """Symbols in the sequences that it was pretrained on."""
    has_tuned_weights: bool | None = None
    """Whether a tuner moved weights after that; None: that is not known here."""


def history_of(path: Path) -> History:
    """What the spec.json of a predictor's folder says of it, and those of the folders that it was
    made from. A file that was copied elsewhere has lost it."""
    is_tuned: bool | None = False
    for _ in range(MOST_TUNINGS):
        file = path if os.path.isfile(path) else path / "predictor.safetensors"
        folder = next((place for place in list(file.parents)[:2] if _has_spec(place)), None)
        if folder is None:  # what it was made from is not known
            break
        spec = files.read_json(folder / "spec.json")
        experiment = _object(spec.get("experiment"))
        by_file = {slug(name): tuner for name, tuner in _object(experiment.get("methods")).items()}
        is_tuned = is_tuned or _moves_weights(spec.get("tuner") or by_file.get(file.stem), is_tuned)
        if "predictor" in spec:  # what was tuned
            path = Path(str(spec["predictor"]))
            continue
        try:
            prior = from_json(spec.get("task", experiment.get("prior")))
            settings = from_json(spec.get("fit", experiment.get("pretraining")))
            check_kind(prior, Task, "DirichletCategorical()")
            check_kind(settings, FitSettings, "FitSettings()")
            return History(prior, steps_to_read(prior, settings.length, USUAL_LENGTH), is_tuned)
        except NOT_HERE:
            return History(has_tuned_weights=is_tuned)
    return History(has_tuned_weights=is_tuned or None)


def _object(value: Any) -> dict[str, Any]:
    """An object of a file; what is none is an empty one."""
    return value if isinstance(value, dict) else {}


def _moves_weights(description: Any, before: bool | None) -> bool | None:
    """Whether weights were moved, by the tuner that is described, or before."""
    if description is None:
        return before
    try:
        tuner = from_json(description)
    except NOT_HERE:
        return None
    return (tuner.group == "weights" or before) if isinstance(tuner, Tuner) else None


def _has_spec(folder: Path) -> bool:
    return os.path.exists(folder / "spec.json")  # a name that no file can have is none


NOT_HERE = (OSError, TypeError, ValueError, RecursionError)  # a class, or a file, that is not here
MOST_TUNINGS = 100  # one after the other; folders that name each other would never end


def write_spec(folder: Path, command: str, seed: int, **what: Any) -> None:
    """spec.json: what was run, and on what."""
    written = {"command": command, "seed": seed, **{k: to_json(v) for k, v in what.items()}}
    written |= {
        "environment": platforms.environment(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    files.write_json(folder / "spec.json", written)


def read_spec(folder: Path, *needed: str) -> dict[str, Any]:
    """What spec.json of a run folder says was run; it has the fields `needed`.

    Raises:
        FileNotFoundError, StoreError: it is not there, damaged, or has other fields.
    """
    spec = files.read_json(folder / "spec.json")
    missing = [name for name in needed if name not in spec]
    expect(
        not missing,
        f"Expected {', '.join(map(repr, missing))} in {folder}/spec.json; got {list(spec)}. "
        "Another command made this folder, or the file was edited.",
    )
    return spec


def details_of(spec: dict, what: str) -> dict[str, str]:
    """What is needed to make the same page again, from spec.json."""
    return {
        "command": spec["command"],
        "seed": str(spec["seed"]),
        "started": spec["started"],
        **{name: str(value) for name, value in spec["environment"].items()},
        what: json.dumps(spec.get(what)),
    }
