"""Who measures a condition: this process, or Ray tasks on many machines."""

import contextlib
import itertools
import os
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import xarray as xr

from promptax import files, platforms, store
from promptax.axes import Tree
from promptax.checks import warn
from promptax.experiments.conditions import (
    Condition,
    Failure,
    result_path,
    shared_path,
    unfinished_path,
)
from promptax.experiments.measurement import Announce, keep_nothing, silent
from promptax.fit.logs.metrics_file import MetricsFile
from promptax.progress import METRICS, TRACEBACK
from promptax.specs import check, from_json, import_plugin

LOGGED = 5_000  # lines about each fit: a few MB, which go when the condition is done
RETRIES = 3  # how often a condition is started again whose machine was lost

Outcomes = Iterator[tuple[str, xr.DataTree | Failure | None]]
"""Conditions' names with what was measured; None for what another process took."""
Executor = Callable[[dict[str, dict], Announce], Outcomes]
"""Takes conditions' descriptions by name, and who hears of the progress."""


def measure(
    description: dict, announce: Announce = silent, folder: Path | None = None
) -> xr.DataTree:
    """Everything that is measured for a condition, from its description: a group for each stage.

    `folder`: where conditions share fits and keep unfinished work; None keeps and shares nothing.
    """
    condition = from_json(description)
    check(isinstance(condition, Condition), f"Expected a Condition; got {type(condition)}.")
    keeper = None if folder is None else _Keeper(folder, condition)
    announce = announce if keeper is None else keeper.logging(announce)
    stages = condition.experiment.stages(condition.seed, announce, keeper or keep_nothing)
    groups: dict[str, xr.Dataset] = {}
    with contextlib.nullcontext() if keeper is None else keeper.first_stage():
        groups.update(itertools.islice(stages, 1))
    for name, results in stages:
        check(name not in groups, f"Expected stages of different names; got {name!r} twice.")
        groups[name] = results
    return xr.DataTree.from_dict(groups)


class _Keeper:
    """Says where the fits of a condition are kept: that of a shared first stage where all find it
    who share it, the others with the condition's unfinished work."""

    def __init__(self, folder: Path, condition: Condition) -> None:
        shared = condition.shared()
        self.unfinished = unfinished_path(folder, condition)
        self.shared = None if shared is None else shared_path(folder, shared)
        self.in_first_stage = False

    def __call__(self, name: str) -> "_Unfinished":
        if self.in_first_stage and self.shared is not None:
            return _Unfinished(store.Checkpoint(self.shared))
        return _Unfinished(store.Checkpoint(self.unfinished / f"{name}.safetensors"))

    def logging(self, announce: Announce) -> Announce:
        """The same, with a log of each fit in the metrics.jsonl of what is unfinished."""
        place = self.unfinished / METRICS
        return lambda what: (*announce(what), MetricsFile(place, what, LOGGED))

    @contextlib.contextmanager
    def first_stage(self) -> Iterator[None]:
        """While it lasts, whoever begins with the same shared part waits."""
        lock = None if self.shared is None else files.alone(self.shared.with_suffix(".lock"))
        with lock or contextlib.nullcontext():
            self.in_first_stage = True
            yield
            self.in_first_stage = False


class _Unfinished:
    """The checkpoint of a fit in a folder of results, where its place says that its settings are
    the same. What versions and machines can change, besides, makes the fit start anew, with a
    warning:

    - its first weights: another version of JAX, or another processor, draws them with other last
      digits. What was saved is of no use then, also for a pretraining that conditions share: where
      weights come from a file, they may be another network's. Whoever begins a shared one anew
      holds its lock, and the others read what it saves.
    - the arrays of its state, such as those of the optimiser.
    """

    def __init__(self, checkpoint: store.Checkpoint) -> None:
        self.checkpoint = checkpoint

    @property
    def path(self) -> Path:
        """Where the state is kept."""
        return self.checkpoint.path

    def restore(self, identity: str, like: Tree) -> Tree | None:
        """The saved state; None if nothing was saved yet, or nothing that this version can use.

        Raises:
            StoreError: the file is damaged, or of a run with other settings.
        """
        try:
            return self.checkpoint.restore(identity, like)
        except store.OtherRun as error:
            if not error.has_other_weights_alone:
                raise store.OtherRun(
                    f"Expected the fit in {self.path} to be the one that its name stands for; got "
                    f"another: {error.difference}. Other code described it. Go on with that "
                    "version of promptax, or remove this file to start the fit anew.",
                    error.there,
                    error.wanted,
                ) from error
            warn(
                f"{self.path} was begun from other first weights, or by other code of a member of "
                "yours, and is the same otherwise: another version or processor can draw weights "
                "with other last digits. The fit starts anew."
            )
        except store.OtherArrays as error:
            warn(f"{error} The fit does so, and replaces what was saved.")
        return None

    def save(self, identity: str, state: Tree) -> None:
        self.checkpoint.save(identity, state)

    def due(self) -> bool:
        return self.checkpoint.due()


def locally(conditions: dict[str, dict], announce: Announce = silent) -> Outcomes:
    """An executor: one after the other, in this process; nothing is kept on disk."""
    for name, description in conditions.items():
        yield name, _outcome(description, announce)


def in_this_process(folder: Path) -> Executor:
    """One after the other, in this process, but for those that another process has in work."""

    def run(conditions: dict[str, dict], announce: Announce = silent) -> Outcomes:
        for name, description in conditions.items():
            condition = from_json(description)
            is_done = result_path(folder, condition).exists
            if is_done():  # by now; taking its lock would leave an empty folder behind
                yield name, None
                continue
            lock = unfinished_path(folder, condition) / "lock"
            with files.alone(lock, wait=False) as is_mine:
                if is_mine and not is_done():
                    yield name, _outcome(description, announce, folder)
                else:
                    yield name, None

    return run


def _outcome(
    description: dict, announce: Announce, folder: Path | None = None
) -> xr.DataTree | Failure:
    try:
        return measure(description, announce, folder)
    except Exception as error:
        kept = ""
        if folder is not None:
            place = unfinished_path(folder, from_json(description)) / TRACEBACK
            with contextlib.suppress(OSError):  # a full disk is no reason to end all others
                kept = f"; all of it is in {files.write_text(place, traceback.format_exc())}"
        return Failure(_reason(error) + kept)


def by_ray(address: str = "local", plugins: Sequence[str] = (), cores: int = 1) -> Executor:
    """As Ray tasks, each with that many cores; a task whose machine is lost starts again elsewhere.

    `address`: "local" for a Ray of our own on this machine, "auto" or HOST:PORT for a cluster.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.exceptions import RayError  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            "Expected Ray for --executor ray; it is not installed. "
            f"{platforms.how_to_install('ray')}"
        ) from error

    def run(conditions: dict[str, dict], announce: Announce = silent) -> Outcomes:
        del announce  # the tasks run elsewhere
        if not ray.is_initialized():
            ray.init(address, log_to_driver=False, include_dashboard=False)
        task = ray.remote(num_cpus=cores, max_retries=RETRIES)(_measure_there)
        waiting = {
            task.remote(description, tuple(plugins)): name
            for name, description in conditions.items()
        }
        while waiting:
            (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
            name = waiting.pop(ready)
            try:
                yield name, ray.get(ready)
            except RayError as error:
                yield name, Failure(_reason(error))

    return run


def _measure_there(description: dict, plugins: tuple[str, ...]) -> xr.DataTree | Failure:
    """In a worker of Ray: errors of the condition come back as words, and are not retried."""
    try:
        for plugin in plugins:
            import_plugin(plugin)
    except Exception as error:
        return Failure(_reason(error))
    return _outcome(description, silent)


def _reason(error: BaseException) -> str:
    """What went wrong, and where: in the last line that is neither of promptax nor of a library, or
    else in the last line."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_of_others(frame.filename)]
    last = (theirs or frames)[-1:]
    where = f" ({Path(last[0].filename).name}, line {last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {error}{where}"


def _is_of_others(filename: str) -> bool:
    """Whether code is of promptax, of a library, of Python, or in no file."""
    roots = (str(Path(__file__).parents[1]), sysconfig.get_path("stdlib"))
    within = [f"{root}{os.sep}" for root in roots]
    return "site-packages" in filename or filename.startswith(("<", *within))
