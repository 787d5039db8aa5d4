"""The study: its fields, and where its parts are."""

from collections.abc import Mapping
from typing import ClassVar

import xarray as xr

from promptax.experiments.conditions import Condition
from promptax.report.pages.study import Part
from promptax.studies.base import Study
from promptax.studies.judging import Claim
from promptax.studies.prompt_arena import claims, conditions, page
from promptax.studies.prompt_arena.reading import Reader, leaderboard


class PromptArena(Study):
    """Every search over prompts, at equal cost, where the best prompt is known."""

    title: ClassVar[str] = "Prompt arena: searches against the best prompt"
    judged: ClassVar[str] = (
        "Exact Bayes predictors read the prompts, so that the best one is known by exhaustion. A "
        "number is that of the worst instance. Bounds were set beforehand, and stay."
    )

    search: str = ""
    """Only searches whose labels have this word in them; all if empty."""

    @classmethod
    def examples(cls) -> "tuple[PromptArena, ...]":
        return (cls(search="Annealing"),)

    def conditions(self, scale: str) -> dict[str, Condition]:
        return conditions.conditions(scale, self.search)

    def claims(self, results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
        return claims.claims(results)

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return page.parts(results)

    def tables(self, results: Mapping[str, xr.DataTree]) -> dict[str, list[dict[str, object]]]:
        return {"leaderboard": leaderboard(Reader(results))}
