"""One experiment: a network is pretrained, and steered to some targets in every way.

It is the measurement of Genewein et al. 2025. Its fields are those of a `Plan`, and
`promptax.experiments.stages` does the work. The demo runs an experiment, studies are made of them;
neither is known here.
"""

from collections.abc import Iterator

import xarray as xr

from promptax.experiments.groups import regret_rows
from promptax.experiments.measurement import Announce, Keep, Stage, keep_nothing, silent
from promptax.experiments.plan import Plan
from promptax.experiments.stages import measure_experiment
from promptax.fit.settings import FitSettings
from promptax.predictors import LSTM
from promptax.steering import SoftPrompt
from promptax.tasks import Categorical


class Experiment(Plan):
    """What to pretrain, what to steer it to, how, and how to measure."""

    @classmethod
    def examples(cls) -> "tuple[Experiment, ...]":
        short = FitSettings(steps=2, batch=4, length=4)
        small = cls(
            network=LSTM(width=4),
            targets={"single coin": Categorical()},
            methods={"soft prompt": SoftPrompt(length=1)},
            pretraining=short,
            tuning=short,
            sequences=4,
            length=4,
        )
        return (small,)

    def stages(
        self, seed: int, announce: Announce = silent, keep: Keep = keep_nothing
    ) -> Iterator[Stage]:
        """The pretraining; then each target's regret, and what belongs to it (`groups_of`)."""
        return measure_experiment(self, seed, announce, keep)

    def shared(self) -> "Experiment":
        """The pretraining."""
        return Experiment(
            network=self.network,
            prior=self.prior,
            pretraining=self.pretraining,
            targets={},
            methods={},
        )

    def numbers(self, results: xr.DataTree) -> list[dict[str, object]]:
        """Regret of every repetition of every predictor (`regret_rows`)."""
        return regret_rows(results)
