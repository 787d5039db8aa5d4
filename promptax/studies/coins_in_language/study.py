"""The study: its fields, and where its parts are."""

from collections.abc import Mapping
from typing import ClassVar

import xarray as xr

from promptax.experiments.conditions import Condition
from promptax.report.pages.study import Part
from promptax.studies.base import Study
from promptax.studies.coins_in_language import claims, conditions, figures
from promptax.studies.judging import Claim


class CoinsInLanguage(Study):
    """Coin flips written as text: a language model's regret, its prior, and what prompts can do."""

    title: ClassVar[str] = "Coins in language: a language model against exact Bayes"
    counts: ClassVar[tuple[str, ...]] = ("tuning_seeds",)
    judged: ClassVar[str] = (
        "The model is given and always the same; a seed makes the coins, the flips, and where a "
        "tuning begins. A number is the median over seeds. Where it lies outside its bounds, five "
        "seeds and two standard errors between them are needed to say that the claim fails; until "
        "then it is undecided. Bounds were set from exact Bayes predictors beforehand, and stay."
    )

    weights: str = "smollm2"
    """The language model: "smollm2", a folder in the Hugging Face format, or a GGUF file."""
    tuning_seeds: int | None = None
    """Seeds of the tunings (None: 1 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[CoinsInLanguage, ...]":
        return (cls(tuning_seeds=2),)

    def conditions(self, scale: str) -> dict[str, Condition]:
        return conditions.conditions(scale, self.weights, self.tuning_seeds)

    def claims(self, results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
        return claims.claims(results)

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(results)
