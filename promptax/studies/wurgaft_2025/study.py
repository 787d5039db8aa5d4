"""The study: pools of dice of several sizes, and a network for each."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import xarray as xr

from promptax.experiments.training import Training
from promptax.fit.settings import FitSettings
from promptax.predictors import Transformer
from promptax.report.pages.study import Part
from promptax.studies.judging import ClaimList
from promptax.studies.trainings import Reader, TrainingStudy
from promptax.studies.wurgaft_2025 import claims, figures
from promptax.studies.wurgaft_2025.claims import GENERALISING, MEMORISING, NEW, POOL, name_of
from promptax.tasks import DirichletCategorical, FinitePool


class Scale(NamedTuple):
    """Sizes of everything."""

    faces: int
    pools: tuple[int, ...]
    widened: tuple[int, ...]  # pools that networks of other perceptrons are trained on too
    width: int
    widenings: tuple[int, int]  # of the perceptron: for all pools, and for the widened ones
    steps: int
    batch: int
    length: int
    rate: float
    looks: int
    sequences: int


SCALES = {
    "smoke": Scale(4, (2, 8, 32), (), 8, (1, 4), 20, 8, 16, 5e-3, 4, 16),
    "small": Scale(8, (2, 8, 32, 128, 512), (32,), 32, (1, 4), 3000, 32, 64, 3e-3, 30, 64),
    "paper": Scale(
        *(8, (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096), (256,)),
        *(64, (1, 4), 100_000, 64, 128, 5e-4, 100, 500),
    ),
}
"""`paper`: the settings of the authors' code for balls and urns, whose perceptron is half as wide
as the network or four times as wide, among others; half is not there, so that it is as wide.
`small`: half the width, a thirtieth of the updates at six times the learning rate."""


class Wurgaft2025(TrainingStudy):
    """When do networks memorise a pool of dice, when do they generalise beyond it?"""

    title: ClassVar[str] = "Memorise or generalise: Wurgaft et al. 2025, with dice"

    seeds: int | None = None
    """Networks that are trained on each pool (None: 3 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[Wurgaft2025, ...]":
        return (cls(seeds=1),)

    def trainings(self, scale: str) -> dict[str, Training]:
        sizes = SCALES[scale]
        plain, wide = sizes.widenings
        described = {name_of(size): (size, plain) for size in sizes.pools}
        described |= {name_of(size, wide): (size, wide) for size in sizes.widened}
        return {name: _training(sizes, *parts) for name, parts in described.items()}

    def claim_list(self) -> ClaimList[Reader]:
        return claims.CLAIMS

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(Reader(results))


def _training(sizes: Scale, size: int, widening: int) -> Training:
    """A network on one pool; judged on the pool's sequences, and on those of new dice."""
    dice = DirichletCategorical((1.0,) * sizes.faces)
    pool = FinitePool(dice, size=size)
    return Training(
        network=Transformer(width=sizes.width, heads=1, widening=widening),
        task=pool,
        training=FitSettings(
            steps=sizes.steps,
            batch=sizes.batch,
            length=sizes.length,
            learning_rate=sizes.rate,
            warmup=sizes.steps // 20,  # 5,000 of 100,000 in the authors' code
        ),
        sources={POOL: pool, NEW: dice},
        algorithms={MEMORISING: pool, GENERALISING: dice},
        mixed=(MEMORISING, GENERALISING),
        looks=sizes.looks,
        look_sequences=sizes.sequences,
        sequences=sizes.sequences,
        length=sizes.length,
    )
