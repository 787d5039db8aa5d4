"""The study: a network for each strength of noise, one of a single layer, linear attention, and one
for sparse weights."""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import xarray as xr

from promptax.experiments.training import Training
from promptax.fit.settings import FitSettings
from promptax.predictors import LinearAttention, Transformer
from promptax.protocol.predictor import Predictor
from promptax.report.pages.study import Part
from promptax.studies.akyurek_2022 import claims, figures
from promptax.studies.akyurek_2022.claims import (
    AVERAGING,
    EXACT,
    LEAST_RATIO,
    LEAST_SQUARES,
    LINEAR,
    NEIGHBOURS,
    NOISELESS,
    ONE_LAYER,
    POINTS,
    RATIOS,
    SPARSE,
    matching,
    name_of,
    ridge_name,
    step_name,
)
from promptax.studies.judging import ClaimList
from promptax.studies.trainings import Reader, TrainingStudy
from promptax.tasks import LinearRegression, SparseRegression, Task
from promptax.tasks.regression.references import (
    Averaging,
    GradientDescent,
    MinimumNorm,
    NearestNeighbours,
    Ridge,
)


class Scale(NamedTuple):
    """Sizes of everything; `points` is how many a sequence shows, `shallow_steps` are the updates
    of networks of one layer; `sparse` says how many numbers x has where few weights are not 0, and
    how many those are."""

    dimensions: int
    points: int
    width: int
    layers: int
    heads: int
    steps: int
    shallow_steps: int
    batch: int
    rate: float
    sequences: int
    sparse: tuple[int, int]


SCALES = {
    "smoke": Scale(2, 4, 8, 2, 2, 10, 10, 8, 3e-3, 16, (2, 1)),
    "small": Scale(2, 10, 32, 2, 2, 24_000, 12_000, 64, 3e-3, 512, (4, 1)),
    "paper": Scale(8, 40, 512, 16, 4, 500_000, 500_000, 64, 1e-4, 1024, (20, 3)),
}
"""`paper`: dimensions, pairs, layers and widths of Akyürek et al. 2022; batch, rate and the sparse
task, 3 of 20 weights over 41 points, are those of Garg et al. 2022, whose task it is. `small`: two
dimensions, since what tells one penalty from the next, 0.004 of squared difference, must be learned
in as many updates as fit; after 12,000 the network with a ratio of 1/16 was nearer to its
neighbour's penalty than to its own."""


class Akyurek2022(TrainingStudy):
    """Which algorithm does a network carry out that learns linear regression in context?"""

    title: ClassVar[str] = "Which algorithm is it? Akyürek et al. 2022, von Oswald et al. 2023"
    seeds_of: ClassVar[Mapping[str, int]] = {"smoke": 1, "small": 1, "paper": 5}

    seeds: int | None = None
    """Networks that are trained on each noise (None: 1 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[Akyurek2022, ...]":
        return (cls(seeds=1),)

    def trainings(self, scale: str) -> dict[str, Training]:
        sizes = SCALES[scale]
        width, heads = sizes.width, sizes.heads
        deep = Transformer(width=width, depth=sizes.layers, heads=heads)
        # One head suffices for the step; but networks here predict how sure they are too, which von
        # Oswald's do not, and one head of four numbers gave up a dimension of x for it.
        linear = LinearAttention(
            width=2 * (sizes.dimensions + 2),
            heads=2,
            widening=0,
            norm=False,
            positions=False,
            mean=False,
        )
        described: dict[str, tuple[Transformer | LinearAttention, float]]
        described = {name_of(ratio): (deep, ratio) for ratio in RATIOS}
        described[ONE_LAYER] = (Transformer(width=width, depth=1, heads=heads), NOISELESS)
        described[LINEAR] = (linear, NOISELESS)
        trainings = {name: _training(sizes, *parts) for name, parts in described.items()}
        noiseless = trainings[name_of(NOISELESS)]
        probed = dataclasses.replace(noiseless, probed=matching(NOISELESS))
        return trainings | {name_of(NOISELESS): probed, SPARSE: _sparse(sizes, deep)}

    def claim_list(self) -> ClaimList[Reader]:
        return claims.CLAIMS

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(Reader(results))


def _training(sizes: Scale, network: Transformer | LinearAttention, ratio: float) -> Training:
    """A network on regression with noise of that variance, where weights have a variance of 1."""
    noise = math.sqrt(max(ratio, LEAST_RATIO))
    task = LinearRegression(sizes.dimensions, 1.0, noise)
    named = algorithms(sizes.dimensions, sizes.points, noise)
    return _on(task, network, sizes, sizes.points, named)


def _sparse(sizes: Scale, network: Transformer) -> Training:
    """A network where few weights are not 0, on sequences of 2 d + 1 points, as in Garg et al."""
    dimensions, nonzero = sizes.sparse
    noise = math.sqrt(LEAST_RATIO)
    task = SparseRegression(dimensions, nonzero, 1.0, noise)
    named: dict[str, Task | Predictor] = {
        EXACT: task,
        LEAST_SQUARES: MinimumNorm(dimensions, noise),
        matching(NOISELESS): Ridge(dimensions, LEAST_RATIO, noise),
        AVERAGING: Averaging(dimensions, noise),
        NEIGHBOURS: NearestNeighbours(dimensions, 3, noise),
    }
    return _on(task, network, sizes, 2 * dimensions + 1, named)


def _on(
    task: LinearRegression | SparseRegression,
    network: Transformer | LinearAttention,
    sizes: Scale,
    points: int,
    named: dict[str, Task | Predictor],
) -> Training:
    """A network on sequences of so many points of a task, held against named algorithms."""
    steps = sizes.shallow_steps if network.depth == 1 else sizes.steps
    return Training(
        network=network,
        task=task,
        training=FitSettings(
            steps=steps,
            batch=sizes.batch,
            length=2 * points,  # a point is read as two rows
            learning_rate=sizes.rate,
            schedule="cosine",
            warmup=steps // 20,
        ),
        sources={POINTS: task},
        algorithms=named,
        looks=10,
        look_sequences=sizes.sequences,
        sequences=sizes.sequences,
        length=2 * points,
    )


def algorithms(dimensions: int, points: int, noise: float) -> dict[str, Task | Predictor]:
    """Least squares, ridge regression with each penalty (no noise has `LEAST_RATIO`), and a
    gradient step with several rates: with 1 / (n + d + 1) it loses least after n points without
    noise."""
    named: dict[str, Task | Predictor] = {LEAST_SQUARES: MinimumNorm(dimensions, noise)}
    penalties = [max(ratio, LEAST_RATIO) for ratio in RATIOS]
    named |= {ridge_name(penalty): Ridge(dimensions, penalty, noise) for penalty in penalties}
    counts = [*range(0, points, max(1, points // 5)), points]
    rates = [round(1 / (count + dimensions + 1), 6) for count in counts]
    return named | {
        step_name(rate): GradientDescent(dimensions, steps=1, rate=rate, noise_scale=noise)
        for rate in rates
    }
