"""The study: small and larger networks on random context trees."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import xarray as xr

from promptax.experiments.training import Training
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.report.pages.study import Part
from promptax.studies.graumoya_2024 import claims, figures
from promptax.studies.graumoya_2024.claims import (
    LARGER,
    LSTM_NAME,
    SMALL,
    TRANSFORMER,
    TREES,
    WEIGHTING,
    name_of,
)
from promptax.studies.judging import ClaimList
from promptax.studies.trainings import Reader, TrainingStudy
from promptax.tasks import ContextTree


class Scale(NamedTuple):
    """Sizes of everything; widths and layers of the small and of the larger networks."""

    depth: int
    length: int
    widths: tuple[int, int]
    layers: tuple[int, int]
    steps: int
    batch: int
    rate: float
    sequences: int


SCALES = {
    "smoke": Scale(2, 12, (4, 8), (1, 1), 10, 8, 5e-3, 16),
    "small": Scale(3, 100, (8, 32), (1, 2), 8000, 32, 3e-3, 256),
    "paper": Scale(5, 256, (16, 64), (2, 4), 500_000, 128, 1e-4, 1000),
}
"""`paper`: the authors' depth-4, width-64 Transformer is the larger one here; sequences are judged
over four times the length of training there, over twice that at the other scales. `small`: as many
updates as fit."""


class GrauMoya2024(TrainingStudy):
    """How near do networks come to context-tree weighting, and are larger ones nearer?"""

    title: ClassVar[str] = "Context trees: Grau-Moya et al. 2024, a part of it run again"
    seeds_of: ClassVar[dict[str, int]] = {"smoke": 1, "small": 2, "paper": 5}

    seeds: int | None = None
    """Networks that are trained of each kind (None: 2 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[GrauMoya2024, ...]":
        return (cls(seeds=1),)

    def trainings(self, scale: str) -> dict[str, Training]:
        sizes = SCALES[scale]
        tree = ContextTree(sizes.depth)
        networks: dict[str, Architecture] = {}
        for size, width, layers in zip((SMALL, LARGER), sizes.widths, sizes.layers, strict=True):
            networks[name_of(LSTM_NAME, size)] = LSTM(width=width, depth=layers)
            networks[name_of(TRANSFORMER, size)] = Transformer(width=width, depth=layers, heads=2)
        return {
            name: Training(
                network=network,
                task=tree,
                training=FitSettings(
                    steps=sizes.steps,
                    batch=sizes.batch,
                    length=sizes.length,
                    learning_rate=sizes.rate,
                    schedule="constant" if scale == "paper" else "cosine",
                ),
                sources={TREES: tree},
                algorithms={WEIGHTING: tree},
                looks=10,
                look_sequences=min(64, sizes.sequences),
                sequences=sizes.sequences,
                length=(4 if scale == "paper" else 2) * sizes.length,
            )
            for name, network in networks.items()
        }

    def claim_list(self) -> ClaimList[Reader]:
        return claims.CLAIMS

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(Reader(results))
