"""Held-out measures along a fit: what a predictor is worth after 0, 100, 200, … updates.

A probe looks at predictors and changes none. The loop stops its compiled updates where a probe is
due and goes on afterwards, which compiles nothing and leaves every number of the fit as it is.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from promptax import platforms
from promptax.fit.masters import rounded
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.specs import check

Probed = dict[str, Float[np.ndarray, "repetition look"]]  # NaN where a probe did not look


@dataclasses.dataclass(frozen=True)
class Probe:
    """Looks at the predictor before the first update, after every `every` updates, and at the end.

    `look(predictor)` runs on the host, once for each repetition, and returns numbers by name; the
    names stay the same. They are kept in `Fitted.probes` [repetition, step] and in checkpoints. A
    resumed fit looks at its start once more.

    Example: `Probe(100, lambda network: {"zeros": float(px.predict(network, [0])[0, 0])})`.
    """

    every: int
    """Updates between two looks."""
    look: Callable[[Predictor], Mapping[str, float]]
    """From a predictor to numbers by name."""

    def __post_init__(self) -> None:
        whole = isinstance(self.every, int) and callable(self.look)
        check(whole, f"Expected every, a whole number, and look, a function; got {self!r:.100}.")
        check(self.every >= 1, f"Expected a probe every 1 or more updates; got {self.every}.")

    def due(self, step: int, steps: int) -> bool:
        """Whether to look after `step` of `steps` updates."""
        return step % self.every == 0 or step == steps


class Looks(NamedTuple):
    """The probes of one fit, and what their looks need to know of it."""

    probes: tuple[Probe, ...]
    frozen: Any  # the frozen half of the predictors
    settings: FitSettings
    dtypes: Any = None  # of the tuned leaves that are copied (`masters`)

    def steps(self) -> Int[np.ndarray, " look"]:
        """After how many updates at least one of the probes looks, in order."""
        last = self.settings.steps
        due = {step for probe in self.probes for step in (*range(0, last, probe.every), last)}
        return np.array(sorted(due), np.int64)

    def start(self, tuned: Any) -> Probed:
        """What the probes say of the start, with room for all that they will say."""
        if not self.probes:
            return {}
        numbers = self._look(tuned, 0)
        shape = self.settings.repetitions, len(self.steps())
        probed = {name: np.full(shape, np.nan) for name in numbers}
        _write(probed, numbers, 0)
        return probed

    def note(self, probed: Probed, tuned: Any, step: int) -> None:
        """Look at the tuned half after that many updates, if it is time to."""
        steps = self.steps()
        if step in steps:
            numbers = self._look(platforms.at_home(tuned), step)
            _write(probed, numbers, int(np.searchsorted(steps, step)))

    def kept(self, probed: Probed, step: int) -> dict[str, Any] | None:
        """`Fitted.probed` of a fit that ended after that many updates; None without probes."""
        if not self.probes:
            return None
        steps = self.steps()
        seen = steps <= step
        numbers = {name: values[:, seen] for name, values in probed.items()}
        return {"step": steps[seen], "numbers": numbers}

    def _look(self, tuned: Any, step: int) -> dict[str, list[float]]:
        """The numbers of all probes that are due, by name, one for each repetition."""
        leaves = rounded(tuned, self.dtypes)
        predictors = list(Repeated(leaves, self.frozen, self.settings.repetitions))
        numbers: dict[str, list[float]] = {}
        for probe in self.probes:
            if probe.due(step, self.settings.steps):
                for name, values in _of_all(probe, predictors).items():
                    check(name not in numbers, f"Two probes measure {name!r}. Rename one of them.")
                    numbers[name] = values
        return numbers


def _of_all(probe: Probe, predictors: Sequence[Predictor]) -> dict[str, list[float]]:
    """What a probe says of every predictor, by name."""
    numbers: dict[str, list[float]] = {}
    for predictor in predictors:
        for name, number in probe.look(predictor).items():
            check(
                "/" not in name and name not in ("class", "array"),
                f"Expected a probe to name its numbers by words without '/', not 'class' or "
                f"'array'; got {name!r}. Rename it.",
            )
            numbers.setdefault(name, []).append(float(number))
    return numbers


def _write(probed: Probed, numbers: Mapping[str, Sequence[float]], column: int) -> None:
    """Write the numbers of one look [repetition] into their column."""
    for name, values in numbers.items():
        check(
            name in probed and len(values) == len(probed[name]),
            f"Expected a probe to give the same numbers at every look: {sorted(probed)}; got "
            f"{name!r} for {len(values)} repetitions.",
        )
        probed[name][:, column] = values
