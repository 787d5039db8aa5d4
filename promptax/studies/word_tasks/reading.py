"""Numbers out of the results of the conditions, one for each seed."""

from collections.abc import Callable, Mapping

import xarray as xr

from promptax.language.word_tasks.measurements import SHOWN as SHOWN_GROUP
from promptax.language.word_tasks.measurements import TUNED as TUNED_GROUP
from promptax.studies.word_tasks.conditions import TUNED, name_of

Number = Callable[[xr.Dataset], float]


class Reader:
    """Reads the results of conditions by what they are; what is not there is empty."""

    def __init__(self, results: Mapping[str, xr.DataTree]) -> None:
        self.results = results
        self.seeds = sorted({int(name.rsplit(" ", 1)[1]) for name in results})
        self._scores: dict[tuple[str, str], dict[int, xr.Dataset]] = {}

    def scores(self, task: str, way: str) -> dict[int, xr.Dataset]:
        """The scores of a way on a task, by seed; of tuned ones the whole curve."""
        if (task, way) not in self._scores:
            group = TUNED_GROUP if way in TUNED else SHOWN_GROUP
            names = {seed: name_of(task, way, seed) for seed in self.seeds}
            self._scores[task, way] = {
                seed: self.results[name][group].to_dataset()
                for seed, name in names.items()
                if name in self.results
            }
        return self._scores[task, way]

    def numbers(self, task: str, way: str, number: Number) -> dict[int, float]:
        """A number of a way on a task, by seed."""
        return {seed: number(scores) for seed, scores in self.scores(task, way).items()}

    def differences(
        self, task: str, first: tuple[str, Number], second: tuple[str, Number]
    ) -> tuple[float, ...]:
        """The first number minus the second, for seeds that have both; each is a way and what is
        read of it."""
        ours, theirs = (self.numbers(task, way, number) for way, number in (first, second))
        return tuple(ours[seed] - theirs[seed] for seed in ours if seed in theirs)


def loss(shots: int | None = None) -> Number:
    """Mean loss in nats per answer behind so many demonstrations; None: after the last update."""

    def number(scores: xr.Dataset) -> float:
        return float(_at(scores, shots)["log_loss"].mean())

    return number


def accuracy(shots: int | None = None) -> Number:
    """Share of right answers behind so many demonstrations; None: after the last update."""

    def number(scores: xr.Dataset) -> float:
        return float(_at(scores, shots)["correct"].mean())

    return number


def label_accuracy(prior: str, shots: int) -> Number:
    """Share of inputs whose right label is the likeliest, divided by one of `few_shot.PRIORS`."""

    def number(scores: xr.Dataset) -> float:
        return float(_at(scores, shots)["label_correct"].sel(calibration=prior).mean())

    return number


def spread(prior: str, shots: int) -> Number:
    """Standard deviation of that share between draws of the demonstrations."""

    def number(scores: xr.Dataset) -> float:
        correct = _at(scores, shots)["label_correct"].sel(calibration=prior)
        return float(correct.mean("sequence").std("draw"))

    return number


def _at(scores: xr.Dataset, shots: int | None) -> xr.Dataset:
    """One setting; the demonstrations of a condition have one kind of answers."""
    if shots is None:
        return scores.isel(step=-1)
    return scores.sel(shots=shots).isel(answers=0)
