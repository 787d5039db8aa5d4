"""Conditions: what is measured once, under which name, and where its result lies."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from promptax import store
from promptax.experiments.measurement import Measurement
from promptax.fit.code import code_of
from promptax.progress import FITS
from promptax.specs import Spec, check, members, to_json

FEW_NAMES = 5  # of conditions, in a message


class Condition(Spec):
    """One measurement with one seed."""

    experiment: Measurement
    """What is measured. Its name is that of the measurement which came first: results are found by
    the names of fields."""
    seed: int = 0
    """Everything random comes from it: weights, data and prompts."""

    def identity(self) -> str:
        """A name for its result: the same for the same description only, and for the same code of
        members that are not promptax's."""
        code = code_of(self)
        described = to_json(self) | ({"code": code} if code else {})
        text = json.dumps(described, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def shared(self) -> "Condition | None":
        """What it begins with and other conditions too, None: nothing (`Measurement.shared`)."""
        part = self.experiment.shared()
        return None if part is None else Condition(part, self.seed)

    def work(self) -> float:
        """A rough measure of its cost (`Measurement.work`)."""
        return float(self.experiment.work())

    @classmethod
    def examples(cls) -> "tuple[Condition, ...]":
        kinds = members(Measurement).values()
        every = [example for kind in kinds for example in kind.examples()]
        return tuple(cls(example) for example in every if isinstance(example, Measurement))


class Failure(NamedTuple):
    """A condition that could not be measured, and the `reason`."""

    reason: str


def matching(conditions: dict[str, Condition], only: str) -> dict[str, Condition]:
    """Those whose names contain one of the texts in `only`, with commas between, as whole words:
    "seed 1" is not in "seed 10". All of them if it is empty; one alone if it is that one's name."""
    if only in conditions:
        return {only: conditions[only]}
    texts = [text.strip() for text in only.split(",") if text.strip()]
    check(
        bool(texts) or not only,
        f"Expected --only to name conditions, with commas between; got {only!r}, which names none. "
        "Leave it out to measure all.",
    )
    patterns = [re.compile(rf"(?<!\w){re.escape(text)}(?!\w)") for text in texts]
    chosen = {
        name: condition
        for name, condition in conditions.items()
        if not patterns or any(pattern.search(name) for pattern in patterns)
    }
    near = [] if chosen else difflib.get_close_matches(only, list(conditions), FEW_NAMES, 0.0)
    check(
        len(chosen) > 0,
        f"Expected --only to match one of {len(conditions)} conditions, such as "
        f"{', '.join(map(repr, near))}; got {only!r}.",
    )
    return chosen


def result_path(folder: Path, condition: Condition) -> Path:
    """Where the result of a condition is."""
    return folder / "conditions" / f"{condition.identity()}.nc"


def unfinished_path(folder: Path, condition: Condition) -> Path:
    """The folder for what a condition in work keeps."""
    return folder / FITS / condition.identity()


def shared_path(folder: Path, shared: Condition) -> Path:
    """Where the fit is that conditions share; `shared`: what they have in common.

    The folder is named after the pretraining, which came first.
    """
    return folder / "pretraining" / f"{shared.identity()}.safetensors"


class Measurements(Mapping[str, xr.DataTree]):
    """The results in a folder by the conditions' names; each is read when it is asked for."""

    def __init__(self, conditions: dict[str, Condition], folder: Path) -> None:
        paths = {name: result_path(folder, wanted) for name, wanted in conditions.items()}
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
