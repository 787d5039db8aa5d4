"""The study: its fields, and where its parts are."""

from collections.abc import Mapping
from typing import ClassVar

import xarray as xr

from promptax.checks import as_tuple
from promptax.experiments.conditions import Condition
from promptax.experiments.plan import METHODS
from promptax.report.pages.study import Part
from promptax.specs import check, later
from promptax.studies.base import Study
from promptax.studies.genewein_2025 import claims, conditions, figures, reading, theory
from promptax.studies.judging import Claim


class Genewein2025(Study):
    """When does a prompt suffice, when must weights move? Coins, by Transformers and LSTMs."""

    title: ClassVar[str] = "Prompt tuning and in-context learning: Genewein et al. 2025, run again"
    counts: ClassVar[tuple[str, ...]] = ("pretraining_seeds", "repetitions")

    pretraining_seeds: int | None = None
    """Networks that are pretrained, each from its own seed (the paper has one; None: 5)."""
    repetitions: int | None = None
    """Repetitions of each tuning (None: 10 at the paper's scale, 2 at the small one)."""
    as_published: bool = False
    """With the quirks of the authors' code: one update more, clipping over frozen weights too,
    hard prompts scored on 256 distinct sequences."""
    methods: tuple[str, ...] = later((), converter=as_tuple)
    """Methods to tune by, as tables name them: `"soft prompt" "full weights"`. Empty: all that the
    paper has. Conditions that have none of them are left out. Random numbers go by a method's
    place among those that are tuned: a soft prompt alone starts elsewhere than beside others."""

    def __check_init__(self) -> None:
        check(
            set(self.methods) <= METHODS.keys() and len(set(self.methods)) == len(self.methods),
            f"Expected methods, each once, from {tuple(METHODS)}; got {self.methods}.",
        )

    @classmethod
    def examples(cls) -> "tuple[Genewein2025, ...]":
        few = cls(pretraining_seeds=2, repetitions=2, as_published=True)
        return few, cls(pretraining_seeds=1, methods=("soft prompt",))

    def conditions(self, scale: str) -> dict[str, Condition]:
        return conditions.conditions(self, scale)

    def claims(self, results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
        every = (*claims.claims(results), *theory.claims())
        kinds = {"M": 0, "T": 1, "D": 2}  # measured, theory, discussion: the order of the page
        return tuple(sorted(every, key=lambda claim: (kinds[claim.name[0]], claim.name)))

    def comparison(self, results: Mapping[str, xr.DataTree]) -> list[dict[str, object]]:
        return reading.comparison(results)

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        return figures.parts(results)
