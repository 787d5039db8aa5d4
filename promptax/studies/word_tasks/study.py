"""The study: its fields, and where its parts are."""

from collections.abc import Mapping
from typing import ClassVar

import xarray as xr

from promptax.experiments.conditions import Condition
from promptax.report.pages.study import Part
from promptax.studies.base import Study
from promptax.studies.judging import Claim
from promptax.studies.word_tasks import claims, conditions, figures


class WordTasks(Study):
    """Four tasks on words: a language model that is shown pairs, or tuned to them."""

    title: ClassVar[str] = "Word tasks: shown to a language model, or tuned"
    judged: ClassVar[str] = (
        "The model is given and always the same; a seed splits the pairs, draws the demonstrations "
        "and initialises what is tuned. A number is the median over seeds. Where it lies outside "
        "its bounds, five seeds and two standard errors between them are needed to say that the "
        "claim fails; until then it is undecided. Bounds are what the papers' sentences say, the "
        "same for every task. What is compared with each other has the same held-out inputs."
    )

    weights: str = "smollm2"
    """The language model: "smollm2", a folder in the Hugging Face format, or a GGUF file."""
    seeds: int | None = None
    """Seeds of splits and tunings (None: 1 at the small scale, 5 at the paper's)."""

    @classmethod
    def examples(cls) -> "tuple[WordTasks, ...]":
        return (cls(seeds=2),)

    def conditions(self, scale: str) -> dict[str, Condition]:
        return conditions.conditions(scale, self.weights, self.seeds)

    def claims(self, results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
        return claims.claims(results)

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(results)
