"""Many conditions, each measured once: in this process, or as Ray tasks on many machines.

A condition is an experiment and a seed. It is described by JSON, so that it can be sent anywhere,
and its result has the name of a hash of that description: what was measured already is not
measured again, whoever started it, in whatever order. Results are written in one step each, by the
process that started the sweep. Several such processes may share a folder: each takes conditions
that no other one has in work.

    conditions/IDENTITY.nc          what was measured
    pretraining/IDENTITY.safetensors  networks, shared by all conditions that pretrain alike
    unfinished/IDENTITY/            checkpoints of a condition in work
"""

import functools
import hashlib
import json
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import xarray as xr

from promptax import files, platforms, store
from promptax.conduct import Announce, Measured, conducted, keep_nothing, silent
from promptax.experiment import PRETRAINING, Experiment
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

    def pretraining(self) -> "Condition":
        """What it shares with all conditions that pretrain alike."""
        own = self.experiment
        alone = Experiment(
            network=own.network,
            prior=own.prior,
            pretraining=own.pretraining,
            targets={},
            methods={},
        )
        return Condition(alone, self.seed)

    def work(self) -> float:
        """A rough measure of its cost: numbers touched by all updates, and by measuring, which is a
        third of the work for each token."""
        own, (tuning, training) = self.experiment, self.experiment.lengths()
        build = lambda key: own.network.build(key, own.prior.symbols)  # noqa: E731
        shapes = eqx.filter_eval_shape(build, jax.random.key(0))
        size = sum(leaf.size for leaf in jax.tree.leaves(shapes) if hasattr(leaf, "size"))
        read = own.pretraining.steps * own.pretraining.batch * training
        fits = len(own.methods) * len(own.targets) * own.tuning.repetitions
        read += fits * own.tuning.steps * own.tuning.batch * tuning
        measured = (fits + len(own.targets)) * own.sequences * own.length
        return size * (read + measured / 3)


class Failure(NamedTuple):
    """A condition that could not be measured, and why."""

    reason: str


Outcomes = Iterator[tuple[str, xr.DataTree | Failure | None]]
"""Conditions' names with what was measured; None for what another process took."""
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

    The result of a condition is `folder/conditions/IDENTITY.nc`: a group for the pretraining and
    some for each target (`promptax.load`). One that fails does not keep the others from being
    measured; one that another process has in work is left to it.
    """
    todo = {n: c for n, c in conditions.items() if not result_path(folder, c).exists()}
    failures: dict[str, Failure] = {}
    done = len(conditions) - len(todo)
    described = {name: to_json(condition) for name, condition in todo.items()}
    left, taken = _Left(todo), 0
    with report("conditions", callbacks) as progress:
        progress(done, len(conditions), "")
        for name, outcome in (executor or here(folder))(described, announce):
            if outcome is None:
                taken += 1
                left.drop(name)
                continue
            if isinstance(outcome, Failure):
                failures[name] = outcome
            else:
                store.save(result_path(folder, todo[name]), outcome)
                files.remove(_unfinished(folder, todo[name]))
            done += 1
            lost = f", {len(failures)} failed" if failures else ""
            others = f", {taken} taken by other processes" if taken else ""
            if progress(done, len(conditions), f"{name}{lost}{others}; {left.after(name)}"):
                break
    return failures


def matching(conditions: dict[str, Condition], only: str) -> dict[str, Condition]:
    """Those whose names contain one of the texts in `only`, with commas between, as whole words:
    "seed 1" is not in "seed 10". All of them if it is empty; one alone if it is that one's name."""
    if only in conditions:
        return {only: conditions[only]}
    parts = [part.strip() for part in only.split(",") if part.strip()]
    words = [re.compile(rf"(?<!\w){re.escape(part)}(?!\w)") for part in parts]
    fits = lambda name: not parts or any(each.search(name) for each in words)  # noqa: E731
    chosen = {name: each for name, each in conditions.items() if fits(name)}
    check(len(chosen) > 0, f"Expected --only to match one of {list(conditions)}; got {only!r}.")
    return chosen


class _Left:
    """How long the rest will take, from the work that was done and its time."""

    def __init__(self, conditions: dict[str, Condition]) -> None:
        self.work = {name: condition.work() for name, condition in conditions.items()}
        self.total = sum(self.work.values())
        self.began = time.monotonic()

    def drop(self, name: str) -> None:
        """Another process does it."""
        self.total -= self.work.pop(name)

    def after(self, name: str) -> str:
        """In words, once the condition of that name is done."""
        self.work.pop(name, None)
        rest = sum(self.work.values())
        minutes = (time.monotonic() - self.began) * rest / max(1.0, self.total - rest) / 60
        hours = f"{minutes / 60:.1f} h" if minutes > 90 else f"{minutes:.0f} min"
        return f"about {hours} left" if rest else "all done"


def result_path(folder: Path, condition: Condition) -> Path:
    """Where the result of a condition is."""
    return folder / "conditions" / f"{condition.identity()}.nc"


def _unfinished(folder: Path, condition: Condition) -> Path:
    return folder / "unfinished" / condition.identity()


class Measurements(Mapping[str, xr.DataTree]):
    """The results in a folder by the conditions' names; each is read when it is asked for."""

    def __init__(self, conditions: dict[str, Condition], folder: Path) -> None:
        paths = {name: result_path(folder, each) for name, each in conditions.items()}
        self._paths = {name: path for name, path in paths.items() if path.exists()}
        self._read: dict[str, xr.DataTree] = {}

    def __getitem__(self, name: str) -> xr.DataTree:
        if name not in self._read:
            self._read[name] = store.load(self._paths[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


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
