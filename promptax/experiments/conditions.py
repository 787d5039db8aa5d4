"""Conditions: what is measured once, under which name, and where its result lies."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import xarray as xr

from promptax import store
from promptax.experiments.experiment import Experiment
from promptax.specs import Spec, check, to_json


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
