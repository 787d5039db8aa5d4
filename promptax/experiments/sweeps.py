"""Many conditions, each measured once: in this process, or as Ray tasks on many machines.

A condition is a measurement and a seed. It is described by JSON, so that it can be sent anywhere,
and its result has the name of a hash of that description: what was measured already is not
measured again, whoever started it, in whatever order. Results are written in one step each, by the
process that started the sweep. Several such processes may share a folder: each takes conditions
that no other one has in work.

    conditions/IDENTITY.nc          what was measured
    pretraining/IDENTITY.safetensors  what conditions share, such as networks that were pretrained
    unfinished/IDENTITY/            checkpoints of a condition in work, and the losses of its fits
"""

import time
from collections.abc import Sequence
from pathlib import Path

from promptax import files, store
from promptax.experiments.conditions import Condition, Failure, result_path, unfinished_path
from promptax.experiments.executors import Executor, in_this_process
from promptax.experiments.measurement import Announce, silent
from promptax.progress import Callback, reporting
from promptax.specs import to_json


def sweep(
    conditions: dict[str, Condition],
    folder: Path,
    executor: Executor | None = None,
    *,
    announce: Announce = silent,
    callbacks: Sequence[Callback] | None = None,
) -> dict[str, Failure]:
    """Measure every condition whose result is not in the folder yet; returns those that failed.

    The result of a condition is `folder/conditions/IDENTITY.nc`: a group for each stage of its
    measurement (`promptax.load`). One that fails does not keep the others from being measured; one
    that another process has in work is left to it.

    Raises:
        ValueError, FileNotFoundError: something that a condition needs is not here, such as the
            weights of a language model. Nothing was measured then.
    """
    todo = verified(conditions, folder)
    failures: dict[str, Failure] = {}
    done = len(conditions) - len(todo)
    described = {name: to_json(condition) for name, condition in todo.items()}
    left, taken = _Left(todo), 0
    with reporting("conditions", callbacks) as progress:
        progress(done, len(conditions), "")
        for name, outcome in (executor or in_this_process(folder))(described, announce):
            if outcome is None:
                taken += 1
                left.drop(name)
                continue
            if isinstance(outcome, Failure):
                failures[name] = outcome
            else:
                path = result_path(folder, todo[name])
                files.remove_temporaries_of(path)  # of a process that was killed in this write
                store.save(path, outcome)
                files.remove(unfinished_path(folder, todo[name]))
            done += 1
            lost = f", {len(failures)} failed" if failures else ""
            others = f", {taken} taken by other processes" if taken else ""
            if progress(done, len(conditions), f"{name}{lost}{others}; {left.after(name)}"):
                break
    return failures


def verified(conditions: dict[str, Condition], folder: Path) -> dict[str, Condition]:
    """The conditions whose results are not in the folder yet. Each of them can be measured here.

    Raises:
        ValueError, FileNotFoundError: something that a condition needs is not here.
    """
    todo = {n: c for n, c in conditions.items() if not result_path(folder, c).exists()}
    for condition in todo.values():
        condition.experiment.verify()
    return todo


class _Left:
    """Says how long the remaining conditions will take, from the work done and its time."""

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
        remaining = sum(self.work.values())
        passed = time.monotonic() - self.began
        minutes = passed * remaining / max(1.0, self.total - remaining) / 60
        duration = f"{minutes / 60:.1f} h" if minutes > 90 else f"{minutes:.0f} min"
        return f"about {duration} left" if remaining else "all done"
