"""The study: two networks on two sources that switch, and what they do on a third."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import xarray as xr

from promptax.experiments.training import Training
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.report.pages.study import Part
from promptax.studies.genewein_2023 import claims, figures
from promptax.studies.genewein_2023.claims import (
    LIVE_AND_DIE,
    LSTM_NAME,
    PARTITIONS,
    SHIFTS,
    TRANSFORMER,
    name_of,
)
from promptax.studies.judging import ClaimList
from promptax.studies.trainings import Reader, TrainingStudy
from promptax.tasks import LiveAndDie, PartitionTree, RegularShifts, Task


class Scale(NamedTuple):
    """Sizes of everything; sequences of training are 2^depth symbols, twice as many are judged."""

    depth: int
    period: int
    width: int
    layers: int
    heads: int
    steps: int
    batch: int
    rate: float
    sequences: int


SCALES = {
    "smoke": Scale(4, 5, 6, 1, 2, 10, 4, 5e-3, 16),
    "small": Scale(8, 20, 32, 2, 2, 2500, 16, 3e-3, 256),
    "paper": Scale(8, 20, 128, 2, 4, 500_000, 128, 1e-4, 10_000),
}
"""`paper`: 500,000 updates of 128 sequences at 1e-4, by the authors' code; sizes of its networks
vary, these are ours. `small`: a fourth of the width, and rates that fall from 3e-3 to zero. An
update of the Transformer on 32 sequences takes 0.29 s of processor time, so that 16 are read: twice
as many updates in the same time."""


class Genewein2023(TrainingStudy):
    """Do trained networks switch like exact Bayes, on partition trees and on live-and-die?"""

    title: ClassVar[str] = "Sources that switch: Genewein et al. 2023, run again"
    seeds_of: ClassVar[Mapping[str, int]] = {"smoke": 1, "small": 2, "paper": 5}

    seeds: int | None = None
    """Networks that are trained on each source (None: 2 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[Genewein2023, ...]":
        return (cls(seeds=1),)

    def trainings(self, scale: str) -> dict[str, Training]:
        sizes = SCALES[scale]
        exact: dict[str, Task] = {
            PARTITIONS: PartitionTree(sizes.depth),
            LIVE_AND_DIE: LiveAndDie(),
        }
        networks: dict[str, Architecture] = {
            LSTM_NAME: LSTM(width=sizes.width),
            TRANSFORMER: Transformer(width=sizes.width, depth=sizes.layers, heads=sizes.heads),
        }
        return {
            name_of(network, source): Training(
                network=architecture,
                task=task,
                training=FitSettings(
                    steps=sizes.steps,
                    batch=sizes.batch,
                    length=2**sizes.depth,
                    learning_rate=sizes.rate,
                    schedule="constant" if scale == "paper" else "cosine",
                ),
                sources={source: task, SHIFTS: RegularShifts(sizes.period)},
                algorithms={**exact},
                looks=10,
                look_sequences=min(64, sizes.sequences),
                sequences=sizes.sequences,
                length=2 * 2**sizes.depth,
            )
            for source, task in exact.items()
            for network, architecture in networks.items()
        }

    def claim_list(self) -> ClaimList[Reader]:
        return claims.CLAIMS

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(Reader(results), {s: (z.depth, z.period) for s, z in SCALES.items()})
