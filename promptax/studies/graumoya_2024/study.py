"""The study: small and larger networks on random context trees, larger ones also on programs."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import xarray as xr

from promptax.experiments.training import Training
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.protocol.predictor import Predictor
from promptax.report.pages.study import Part
from promptax.studies.graumoya_2024 import claims, figures
from promptax.studies.graumoya_2024.claims import (
    LARGER,
    LSTM_NAME,
    MIXTURE,
    PROGRAMS,
    SMALL,
    TRANSFORMER,
    TREES,
    WEIGHTING,
    name_of,
    on_programs,
)
from promptax.studies.judging import ClaimList
from promptax.studies.trainings import Reader, TrainingStudy
from promptax.tasks import ContextTree, Programs, Task


class Scale(NamedTuple):
    """Sizes of everything; widths and layers of the small and of the larger networks."""

    depth: int
    program_length: int
    length: int
    widths: tuple[int, int]
    layers: tuple[int, int]
    steps: int
    batch: int
    rate: float
    sequences: int


SCALES = {
    "smoke": Scale(2, 3, 12, (4, 8), (1, 1), 10, 8, 5e-3, 16),
    "small": Scale(3, 6, 100, (8, 32), (1, 2), 8000, 32, 3e-3, 256),
    "paper": Scale(5, 7, 256, (16, 64), (2, 4), 500_000, 128, 1e-4, 1000),
}
"""`paper`: the authors' depth-4, width-64 Transformer is the larger one here; sequences are judged
over four times the length of training there, over twice that at the other scales. `small`: as many
updates as fit."""


class GrauMoya2024(TrainingStudy):
    """How near do networks come to context-tree weighting, and are larger ones nearer?"""

    title: ClassVar[str] = "Context trees: Grau-Moya et al. 2024, a part of it run again"
    seeds_of: ClassVar[dict[str, int]] = {"smoke": 1, "small": 1, "paper": 5}

    seeds: int | None = None
    """Networks that are trained of each kind (None: 1 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[GrauMoya2024, ...]":
        return (cls(seeds=1),)

    def trainings(self, scale: str) -> dict[str, Training]:
        sizes = SCALES[scale]
        tree = ContextTree(sizes.depth)
        programs = Programs(program_length=sizes.program_length)
        trainings = {}
        for size, width, layers in zip((SMALL, LARGER), sizes.widths, sizes.layers, strict=True):
            networks: dict[str, Architecture] = {
                LSTM_NAME: LSTM(width=width, depth=layers),
                TRANSFORMER: Transformer(width=width, depth=layers, heads=2),
            }
            for name, network in networks.items():
                trainings[name_of(name, size)] = _training(scale, network, {TREES: tree})
                if size == LARGER:
                    sources: dict[str, Task] = {PROGRAMS: programs, TREES: tree}
                    trainings[on_programs(name)] = _training(scale, network, sources)
        # those of programs last, so that a study of trees alone is their beginning
        return dict(sorted(trainings.items(), key=lambda named: PROGRAMS in named[0]))

    def claim_list(self) -> ClaimList[Reader]:
        return claims.CLAIMS

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(Reader(results))


def _training(scale: str, network: Architecture, sources: dict[str, Task]) -> Training:
    """A network on the first of the sources; it is judged on all of them."""
    sizes, task = SCALES[scale], next(iter(sources.values()))
    named: dict[str, Task | Predictor] = {WEIGHTING: ContextTree(sizes.depth)}
    if PROGRAMS in sources:
        named = {MIXTURE: task, **named}
    return Training(
        network=network,
        task=task,
        training=FitSettings(
            steps=sizes.steps,
            batch=sizes.batch,
            length=sizes.length,
            learning_rate=sizes.rate,
            schedule="constant" if scale == "paper" else "cosine",
        ),
        sources=sources,
        algorithms=named,
        looks=10,
        look_sequences=min(64, sizes.sequences),
        sequences=sizes.sequences,
        length=(4 if scale == "paper" else 2) * sizes.length,
    )
