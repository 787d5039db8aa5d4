"""The study: classification whose classes are few or many, come in bursts or not, equally often or
not, are narrow or wide, and keep their labels or not."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import xarray as xr

from promptax.experiments.training import Training
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM, Transformer
from promptax.report.pages.study import Part
from promptax.studies.judging import ClaimList
from promptax.studies.reddy_2023 import claims, figures
from promptax.studies.reddy_2023.claims import KINDS, KNOWN, LSTM_NAME, MANY, NOISE, NOVEL, Kind
from promptax.studies.trainings import Reader, TrainingStudy
from promptax.tasks import Mixture, PrototypeClassification, Task


class Scale(NamedTuple):
    """Sizes of everything. `classes`: few and many; `points` of a sequence, the last of which is
    asked; `recurrent`: width of the LSTM, with about as many weights as the Transformer has."""

    dimensions: int
    classes: tuple[int, int]
    labels: int
    points: int
    width: int
    recurrent: int
    steps: int
    batch: int
    rate: float
    looks: int
    sequences: int


SCALES = {
    "smoke": Scale(4, (4, 8), 2, 4, 8, 8, 10, 8, 5e-3, 2, 16),
    "small": Scale(16, (128, 2048), 4, 8, 32, 56, 3000, 32, 2e-3, 30, 256),
    "paper": Scale(63, (128, 2048), 32, 8, 128, 224, 100_000, 128, 1e-3, 100, 1000),
}
"""`paper`: the dimensions, labels and points of Reddy 2023, whose networks have no perceptron in
between and are trained by plain gradient descent; these here are Transformers, trained by Adam.
`small`: as many classes, and as many updates as are needed to learn them in context. Zipf's law
matters while many classes that are equally frequent are not yet in the weights."""
SHOWN = 2  # classes of a bursty sequence
UNUSED = 4  # the same of a source without bursts, so that no exact Bayes sums over sets for nothing


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
        return {str(kind): _training(SCALES[scale], kind) for kind in KINDS}

    def claim_list(self) -> ClaimList[Reader]:
        return claims.CLAIMS

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(Reader(results))


def _training(sizes: Scale, kind: Kind) -> Training:
    """A network on one kind of data; judged on classes that it cannot know, and on those of its
    training: the first answer to these has no context."""

    def source(
        burstiness: float,
        novel: bool = False,
        zipf: float = kind.zipf,
        noise: float = kind.noise,
        kinds: int = SHOWN,
        relabelling: int = 0,
    ) -> PrototypeClassification:
        return PrototypeClassification(
            dimensions=sizes.dimensions,
            classes=sizes.classes[kind.classes == MANY],
            labels=sizes.labels,
            noise=noise,
            zipf=zipf,
            burstiness=burstiness,
            kinds=kinds,
            novel=novel,
            relabelling=relabelling,
        )

    task: Task = source(kind.burstiness)
    if kind.labellings > 1:
        parts = [source(kind.burstiness, relabelling=which) for which in range(kind.labellings)]
        task = Mixture(tuple(parts), (1 / kind.labellings,) * kind.labellings)
    transformer = Transformer(width=sizes.width, depth=2, heads=1)
    return Training(
        network=LSTM(width=sizes.recurrent) if kind.network == LSTM_NAME else transformer,
        task=task,
        training=FitSettings(
            steps=sizes.steps,
            batch=sizes.batch,
            length=2 * sizes.points,
            learning_rate=sizes.rate,
        ),
        sources={
            NOVEL: source(1.0, novel=True, zipf=0.0),
            KNOWN: source(0.0, noise=NOISE, kinds=UNUSED),
        },
        looks=sizes.looks,
        look_sequences=sizes.sequences,
        sequences=sizes.sequences,
        length=2 * sizes.points,
    )
