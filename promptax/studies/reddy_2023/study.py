"""The study: classification whose classes come in bursts or not, are few or many, rare or not."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import xarray as xr

from promptax.experiments.training import Training
from promptax.fit.settings import FitSettings
from promptax.predictors import Transformer
from promptax.report.pages.study import Part
from promptax.studies.judging import ClaimList
from promptax.studies.reddy_2023 import claims, figures
from promptax.studies.reddy_2023.claims import KNOWN, NOVEL, name_of
from promptax.studies.trainings import Reader, TrainingStudy
from promptax.tasks import PrototypeClassification


class Scale(NamedTuple):
    """Sizes of everything. `classes`: few and many; `points` of a sequence, the last of which is
    asked."""

    dimensions: int
    classes: tuple[int, int]
    labels: int
    points: int
    width: int
    steps: int
    batch: int
    rate: float
    looks: int
    sequences: int


SCALES = {
    "smoke": Scale(4, (4, 8), 2, 4, 8, 10, 8, 5e-3, 2, 16),
    "small": Scale(16, (16, 512), 4, 8, 32, 6000, 32, 2e-3, 30, 256),
    "paper": Scale(63, (128, 2048), 32, 8, 128, 100_000, 128, 1e-3, 100, 1000),
}
"""`paper`: the dimensions, labels and points of Reddy 2023, whose networks have no perceptron in
between and are trained by plain gradient descent; these here are Transformers, trained by Adam.
`small`: as many updates as fit."""
KINDS = 2  # classes of a bursty sequence; with 512 exact Bayes would sum over too many pairs


class Reddy2023(TrainingStudy):
    """Classes learned by heart, or looked up in the context: what decides?"""

    title: ClassVar[str] = "In weights or in context: Reddy 2023, Chan et al. 2022, run again"
    seeds_of: ClassVar[dict[str, int]] = {"smoke": 1, "small": 2, "paper": 5}

    seeds: int | None = None
    """Networks that are trained on each kind (None: 2 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[Reddy2023, ...]":
        return (cls(seeds=1),)

    def trainings(self, scale: str) -> dict[str, Training]:
        sizes = SCALES[scale]
        few, many = sizes.classes
        kinds = [(0.0, many, 0.0), (1.0, many, 0.0)]
        if scale != "smoke":  # each compiles programs of its own
            kinds += [(0.0, few, 0.0), (1.0, few, 0.0), (0.5, few, 0.0), (0.5, few, 1.0)]
        return {name_of(b, c == many, z): _training(sizes, b, c, z) for b, c, z in kinds}

    def claim_list(self) -> ClaimList[Reader]:
        return claims.CLAIMS

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(Reader(results))


def _training(sizes: Scale, burstiness: float, classes: int, zipf: float) -> Training:
    """A network on one kind of data; judged on classes that it cannot know, and on those of its
    training: the first answer to these has no context."""

    def source(
        burstiness: float, novel: bool = False, zipf: float = 0.0
    ) -> PrototypeClassification:
        return PrototypeClassification(
            dimensions=sizes.dimensions,
            classes=classes,
            labels=sizes.labels,
            zipf=zipf,
            burstiness=burstiness,
            kinds=KINDS,
            novel=novel,
        )

    return Training(
        network=Transformer(width=sizes.width, depth=2, heads=1),
        task=source(burstiness, zipf=zipf),
        training=FitSettings(
            steps=sizes.steps,
            batch=sizes.batch,
            length=2 * sizes.points,
            learning_rate=sizes.rate,
        ),
        sources={NOVEL: source(1.0, novel=True), KNOWN: source(0.0, zipf=zipf)},
        looks=sizes.looks,
        look_sequences=sizes.sequences,
        sequences=sizes.sequences,
        length=2 * sizes.points,
    )
