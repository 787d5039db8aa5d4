"""Many conditions, each measured once: in this process, or as Ray tasks on many machines.

A condition is an experiment and a seed. It is described by JSON, so that it can be sent anywhere,
and its result has the name of a hash of that description: what was measured already is not
measured again, whoever started it, in whatever order. Results come back to the process that
started the sweep, which alone writes them, each in one step.
"""

import hashlib
import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from promptax import platforms, store
from promptax.experiment import Announce, Experiment, Measured, conducted, silent
from promptax.progress import Callback, report
from promptax.specs import Spec, check, from_json, import_plugin, to_json

RETRIES = 3  # how often a condition is started again whose machine was lost


class Condition(Spec):
    """One experiment with one seed."""

    experiment: Experiment = Experiment()
    """What is measured."""
    seed: int = 0
    """Makes weights, data and prompts."""

    def identity(self) -> str:
        """A name for its result: the same for the same description only."""
        text = json.dumps(to_json(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


class Failure(NamedTuple):
    """A condition that could not be measured, and why."""

    reason: str


Outcomes = Iterator[tuple[str, xr.DataTree | Failure]]
Executor = Callable[[dict[str, dict], Announce], Outcomes]


def sweep(
    conditions: dict[str, Condition],
    folder: Path,
    executor: Executor | None = None,
    *,
    announce: Announce = silent,
    callbacks: Sequence[Callback] | None = None,
) -> dict[str, Failure]:
    """Measure every condition whose result is not in the folder yet; returns those that failed.

    The result of a condition is `folder/IDENTITY.nc`: a group for the pretraining and one for each
    target (`promptax.load`). One that fails does not keep the others from being measured.
    """
    todo = {n: c for n, c in conditions.items() if not result_path(folder, c).exists()}
    failures: dict[str, Failure] = {}
    done = len(conditions) - len(todo)
    described = {name: to_json(condition) for name, condition in todo.items()}
    with report("conditions", callbacks) as progress:
        progress(done, len(conditions), "")
        for name, outcome in (executor or locally)(described, announce):
            if isinstance(outcome, Failure):
                failures[name] = outcome
            else:
                store.save(result_path(folder, todo[name]), outcome)
            done += 1
            lost = f", {len(failures)} failed" if failures else ""
            if progress(done, len(conditions), name + lost):
                break
    return failures


def result_path(folder: Path, condition: Condition) -> Path:
    """Where the result of a condition is."""
    return folder / f"{condition.identity()}.nc"


def measure(description: dict, announce: Announce = silent) -> xr.DataTree:
    """Everything that is measured for a condition, from its description."""
    condition = from_json(description)
    check(isinstance(condition, Condition), f"Expected a Condition; got {type(condition)}.")
    measured = Measured()
    workers = platforms.tunings_at_once()
    for stage in conducted(condition.experiment, condition.seed, announce, workers):
        measured.add(stage)
    return measured.tree()


def locally(conditions: dict[str, dict], announce: Announce = silent) -> Outcomes:
    """One after the other, in this process."""
    for name, description in conditions.items():
        try:
            yield name, measure(description, announce)
        except Exception as error:
            yield name, Failure(_reason(error))


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
        return measure(description)
    except Exception as error:
        return Failure(_reason(error))


def _reason(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}, line {last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {error}{where}"
