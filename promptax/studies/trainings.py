"""Studies of networks that are trained and compared with named predictors: what they share.

A condition is one network on one task with one seed, "pool of 16 · seed 0". A study says which
trainings there are at each scale and what is claimed; names, seeds and figures are made here.
"""

import abc
import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import equinox as eqx
import numpy as np
import xarray as xr

from promptax.experiments.conditions import Condition
from promptax.experiments.groups import slug
from promptax.experiments.training import DISTANCES, LEARNING, NETWORK, Training
from promptax.report.figures import learning
from promptax.report.pages.study import Part
from promptax.specs import check
from promptax.studies.base import Study
from promptax.studies.judging import Check, Claim, ClaimList

Number = Callable[["Results"], float]
SEED = " · seed "


class Results:
    """The results of one training: its groups, by the name of a source."""

    def __init__(self, tree: xr.DataTree) -> None:
        self.tree = tree

    def final(self, source: str) -> xr.Dataset:
        """Regret to the oracle at the end [predictor, time]."""
        return self.tree[slug(source)].to_dataset().isel(repetition=0)

    def learning(self, source: str) -> xr.Dataset:
        """Distances and losses [step] while it was trained."""
        return self.tree[slug(source) + LEARNING].to_dataset()

    def distances(self, source: str) -> xr.DataArray:
        """Distances at the end [predictor, algorithm, time], NaN at steps that are not scored."""
        return self.tree[slug(source) + DISTANCES].to_dataset()["distance"]

    def regret(self, source: str, predictor: str = NETWORK, time: int | None = None) -> float:
        """Cumulative regret to the oracle in nats, after so many steps (None: all)."""
        curve = self.final(source)["regret"].sel(predictor=predictor)
        return float(curve[-1] if time is None else curve.sel(time=time))

    def excess(self, source: str, exact: str, length: int, beyond: bool = False) -> float:
        """Nats that the network loses above the algorithm named `exact`, over the first `length`
        steps, or over all steps `beyond` these."""
        near, total = (
            self.regret(source, NETWORK, time) - self.regret(source, exact, time)
            for time in (length, None)
        )
        return total - near if beyond else near

    def distance(self, source: str, algorithm: str, predictor: str = NETWORK) -> float:
        """Mean distance over the scored steps at the end."""
        return float(self.distances(source).sel(predictor=predictor, algorithm=algorithm).mean())


class Reader:
    """Reads results by what they are; what was not measured is empty."""

    def __init__(self, results: Mapping[str, xr.DataTree]) -> None:
        self.results = results

    def of(self, name: str) -> dict[int, Results]:
        """The trainings of that name, by seed."""
        by_seed = {}
        for key, tree in self.results.items():
            before, _, seed = key.rpartition(SEED)
            if before == name:
                by_seed[int(seed)] = Results(tree)
        return dict(sorted(by_seed.items()))

    def names(self) -> list[str]:
        """The names of all that were measured, without seeds."""
        return list(dict.fromkeys(name.rpartition(SEED)[0] for name in self.results))

    def numbers(self, name: str, number: Number) -> tuple[float, ...]:
        """A number of each seed."""
        return tuple(number(results) for results in self.of(name).values())

    def of_all(self, names: list[str]) -> list[dict[str, Results]]:
        """For each seed that has all of these trainings: those trainings, by name."""
        by_name = {name: self.of(name) for name in names}
        seeds = set.intersection(*map(set, by_name.values())) if names else set()
        return [{name: by_name[name][seed] for name in names} for seed in sorted(seeds)]

    def check(
        self,
        what: str,
        name: str,
        number: Number,
        least: float = -math.inf,
        most: float = math.inf,
        printed: float | None = None,
    ) -> Check:
        """A number of each seed of a training, between bounds."""
        return Check(what, self.numbers(name, number), least, most, printed=printed)


def exactly(what: str, number: float, expected: float, tolerance: float) -> Check:
    """A computed number and what it is known to be."""
    return Check(what, (float(number),), expected - tolerance, expected + tolerance, True, expected)


class TrainingStudy(Study):
    """A study that consists of trainings.

    To implement one, instead of `conditions` and `claims`:

    - `seeds`: a field, how many networks are trained on each task; None: `seeds_of` the scale.
    - `seeds_of`: by scale.
    - `trainings`: at each scale, by name.
    - `claim_list`: its claims, judged by a `Reader`.
    - optionally `parts`; otherwise every training has its curves.
    """

    seeds: eqx.AbstractVar[int | None]
    seeds_of: ClassVar[Mapping[str, int]] = {"smoke": 1, "small": 3, "paper": 5}

    @abc.abstractmethod
    def trainings(self, scale: str) -> dict[str, Training]:
        """What is trained at that scale, by name."""

    @abc.abstractmethod
    def claim_list(self) -> ClaimList[Reader]:
        """The paper's claims."""

    def conditions(self, scale: str) -> dict[str, Condition]:
        check(scale in self.scales, f"Expected a scale from {self.scales}; got {scale!r}.")
        trainings = self.trainings(scale)
        return {
            f"{name}{SEED}{seed}": Condition(training, seed)
            for seed in range(self.seeds or self.seeds_of[scale])
            for name, training in trainings.items()
        }

    def claims(self, results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
        return self.claim_list().claims(Reader(results))

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        reader = Reader(results)
        return parts_of_all(reader)


def parts_of_all(reader: Reader, *, with_regret: bool = True) -> list[Part]:
    """A part for every training, with its curves. Its name begins with a capital letter."""
    names = reader.names()
    drawn = [curves(reader.of(name), with_regret=with_regret) for name in names]
    return [
        Part(name[:1].upper() + name[1:], "", figures)
        for name, figures in zip(names, drawn, strict=True)
        if figures
    ]


def curves(
    by_seed: Mapping[int, Results], *, with_regret: bool = True
) -> list[tuple[str, "learning.Figure"]]:
    """Regret at the end, and distances while learning, on every source: means over seeds.

    `with_regret`: False where algorithms say nothing sensible of how sure one can be.
    """
    trees = [results.tree for results in by_seed.values()]
    drawn = []
    for group in trees[0].children:
        datasets = [tree[group].to_dataset() for tree in trees]
        if group.endswith(LEARNING) and "distance" in datasets[0]:
            distances = np.mean([dataset["distance"].values for dataset in datasets], axis=0)
            mean = datasets[0].assign(distance=(("algorithm", "step"), distances))
            drawn.append((learning.distance_reading(mean), learning.distances_by_step(mean)))
        elif group.endswith(LEARNING) and "last_accuracy" in datasets[0]:
            words = ("last_accuracy", "first_accuracy")
            shares = {
                word: ("step", np.mean([dataset[word].values for dataset in datasets], axis=0))
                for word in words
            }
            mean = datasets[0].assign(shares)
            drawn.append((learning.accuracy_reading(mean), learning.accuracy_by_step(mean)))
        elif with_regret and "regret" in datasets[0]:
            regrets = [dataset["regret"].isel(repetition=0).values for dataset in datasets]
            mean = datasets[0].isel(repetition=0)
            mean = mean.assign(regret=(("predictor", "time"), np.mean(regrets, axis=0)))
            drawn.append((learning.regret_reading(mean), learning.regret_curves(mean)))
    return drawn
