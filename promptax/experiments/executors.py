"""Who measures a condition: this process, or Ray tasks on many machines."""

import functools
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import xarray as xr

from promptax import files, platforms, store
from promptax.experiments.conditions import Condition, Failure, _unfinished, result_path
from promptax.experiments.experiment import PRETRAINING
from promptax.experiments.groups import Measured
from promptax.experiments.stages import Announce, conducted, keep_nothing, silent
from promptax.specs import check, from_json, import_plugin

RETRIES = 3  # how often a condition is started again whose machine was lost


Outcomes = Iterator[tuple[str, xr.DataTree | Failure | None]]


"""Conditions' names with what was measured; None for what another process took."""


Executor = Callable[[dict[str, dict], Announce], Outcomes]


def measure(
    description: dict, announce: Announce = silent, folder: Path | None = None
) -> xr.DataTree:
    """Everything that is measured for a condition, from its description.

    `folder`: where networks are shared with other conditions and unfinished work is kept.
    """
    condition = from_json(description)
    check(isinstance(condition, Condition), f"Expected a Condition; got {type(condition)}.")
    measured = Measured()
    workers = platforms.tunings_at_once()
    keep = keep_nothing if folder is None else functools.partial(_kept, folder, condition)
    stages = conducted(condition.experiment, condition.seed, announce, workers, keep)
    if folder is None:
        measured.add(next(stages))
    else:  # whoever pretrains the same network at the same time waits for it
        with files.alone(_network(folder, condition).with_suffix(".lock")):
            measured.add(next(stages))
    for stage in stages:
        measured.add(stage)
    return measured.tree()


def _network(folder: Path, condition: Condition) -> Path:
    return folder / "pretraining" / f"{condition.pretraining().identity()}.safetensors"


def _kept(folder: Path, condition: Condition, stage: str) -> store.Checkpoint:
    """Where the state of a stage's fit is kept."""
    shared = stage == PRETRAINING
    path = _unfinished(folder, condition) / f"{stage}.safetensors"
    return store.Checkpoint(_network(folder, condition) if shared else path)


def locally(conditions: dict[str, dict], announce: Announce = silent) -> Outcomes:
    """One after the other, in this process, without a trace on disk."""
    for name, description in conditions.items():
        yield name, _outcome(description, announce)


def here(folder: Path) -> Executor:
    """One after the other, in this process, but for those that another process has in work."""

    def run(conditions: dict[str, dict], announce: Announce = silent) -> Outcomes:
        for name, description in conditions.items():
            condition = from_json(description)
            done = result_path(folder, condition).exists
            if done():  # by now; taking its lock would leave an empty folder behind
                yield name, None
                continue
            with files.alone(_unfinished(folder, condition) / "lock", wait=False) as mine:
                yield name, _outcome(description, announce, folder) if mine and not done() else None

    return run


def _outcome(
    description: dict, announce: Announce, folder: Path | None = None
) -> xr.DataTree | Failure:
    try:
        return measure(description, announce, folder)
    except Exception as error:
        return Failure(_reason(error))


def by_ray(address: str = "local", plugins: Sequence[str] = (), cores: int = 1) -> Executor:
    """As Ray tasks, each with that many cores; a task whose machine is lost starts again elsewhere.

    `address`: "local" for a Ray of our own on this machine, "auto" or HOST:PORT for a cluster.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
        from ray.exceptions import RayError  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(
            "Expected Ray for --executor ray; it is not installed. pip install promptax[ray]"
        ) from error

    def run(conditions: dict[str, dict], announce: Announce = silent) -> Outcomes:
        del announce  # the tasks run elsewhere
        if not ray.is_initialized():
            ray.init(address, log_to_driver=False, include_dashboard=False)
        task = ray.remote(num_cpus=cores, max_retries=RETRIES)(_measure_there)
        waiting = {task.remote(each, tuple(plugins)): name for name, each in conditions.items()}
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
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}, line {last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {error}{where}"
