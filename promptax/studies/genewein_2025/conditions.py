"""Genewein et al. 2025, Understanding Prompt Tuning and In-Context Learning via Meta-Learning.

Networks pretrained on random coins, steered to a single coin and to a mixture of two.
"""

from collections.abc import Mapping

import xarray as xr

from promptax.experiment import METHODS, Experiment
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.settings import FitSettings
from promptax.specs import check
from promptax.steering import HardPrompt
from promptax.studies.base import Claim, Study
from promptax.studies.genewein_2025 import theory
from promptax.sweeps import Condition


class Genewein2025(Study):
    """Prompts and weights of pretrained networks, on one coin and on two (Figures 1 and 3)."""

    pretraining_seeds: int = 5
    """Networks that are pretrained, each from its own seed (the paper has one)."""
    repetitions: int = 10
    """Repetitions of each tuning."""
    as_published: bool = False
    """With the quirks of the authors' code: one update more, clipping over frozen weights too,
    hard prompts scored on 256 distinct sequences."""

    @classmethod
    def examples(cls) -> "tuple[Genewein2025, ...]":
        return (cls(pretraining_seeds=2, repetitions=2),)

    def conditions(self, scale: str) -> dict[str, Condition]:
        check(scale in self.scales, f"Expected a scale from {self.scales}; got {scale!r}.")
        paper = scale == "paper"
        sizes = {
            "smoke": (8, 5, 4, 16),
            "small": (32, 400, 64, 512),
            "paper": (128, 1000, 256, 2048),
        }
        width, steps, batch, sequences = sizes[scale]
        networks: dict[str, Architecture] = {
            "Transformer": Transformer(width=width, heads=4 if paper else 2),
            "LSTM": LSTM(width=width),
        }
        tuning = FitSettings(
            steps=steps + int(self.as_published),
            batch=batch,
            repetitions=self.repetitions,
            clip_over="all" if self.as_published else "tuned",
        )
        search = HardPrompt.as_published() if self.as_published else HardPrompt()
        search = search if paper else HardPrompt(sequences=sequences)
        length = 20 if scale == "smoke" else 200
        return {
            f"{name}, seed {seed}": Condition(
                Experiment(
                    network=network,
                    methods={**METHODS, "hard prompt": search},
                    pretraining=FitSettings(steps=steps, batch=batch),
                    tuning=tuning,
                    sequences=sequences,
                    length=length,
                ),
                seed,
            )
            for name, network in networks.items()
            for seed in range(self.pretraining_seeds)
        }

    def claims(self, results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
        del results
        return theory.claims()
