"""What is a study? A paper's conditions as data, its claims as checks, and its figures.

A claim about networks is judged over networks that were pretrained from different seeds. Inside its
bounds it holds; tentatively, while there are fewer than five seeds or two standard errors between
them reach a bound. Outside, it fails only if there are enough seeds to say so: below five, or while
two standard errors still reach the bound, it is undecided, and says how many seeds would decide it.
Where a sign alone is claimed, a difference of exactly 0 is undecided. A network all of whose
repetitions diverged counts as outside. What was not measured is "not run".
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import xarray as xr

from promptax.experiments.conditions import Condition
from promptax.report.pages.study import JUDGED, Part
from promptax.specs import Spec, check
from promptax.studies.judging import Claim

MOST_SEEDS = 10_000  # of a condition: all are named before the first one is measured


class Study(Spec, open_as="study", default="Genewein2025"):
    """A paper that is run again.

    To implement one:

    - `title` of its page, and its fields.
    - `conditions`: what is measured at each scale, by name.
    - `claims`: the paper's claims, judged on what was measured so far (`judging.ClaimList`).
    - `examples`: small ones, for the contract tests.

    Optional:

    - `counts`: its fields that count seeds or repetitions, if not `seeds` alone.
    - `parts`: the paper's figures.
    - `tables`: tables of its own beside the page.
    - `comparison`: printed numbers beside ours.
    - `judged`: how claims are judged, in words, if not as usual.
    """

    title: ClassVar[str] = ""  # of its page
    judged: ClassVar[str] = JUDGED  # how its claims are judged, in words
    counts: ClassVar[tuple[str, ...]] = ("seeds",)
    """Fields that say how many of something are measured, where they are: from 1 to 10,000."""
    scales: ClassVar[tuple[str, ...]] = ("smoke", "small", "paper")
    """The sizes that it can be run at, from the smallest on."""

    def __check_init__(self) -> None:
        fields = {field.name for field in dataclasses.fields(self)}
        for name in [name for name in self.counts if name in fields]:
            count = getattr(self, name)
            if isinstance(count, int):
                check(count >= 1, f"Expected {name} of at least 1; got {count}.")
                check(
                    count <= MOST_SEEDS,
                    f"Expected {name} of at most {MOST_SEEDS:,}; got {count:,}.",
                )

    @abc.abstractmethod
    def conditions(self, scale: str) -> dict[str, Condition]:
        """The conditions to measure at that scale, by name. The scale "smoke" takes seconds."""

    @abc.abstractmethod
    def claims(self, results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
        """The paper's claims, judged on the conditions that were measured, by name."""

    def comparison(self, results: Mapping[str, xr.DataTree]) -> list[dict[str, object]]:
        """Printed numbers beside ours, a row each. First come columns that say what is compared.

        The other columns are `printed` and `ours`; the standard deviations `between_repetitions`
        and `between_pretrainings`; `pretrainings`, how many there are; `diverged`, how many of
        their repetitions; `tolerance`; and `agrees`: "exact" where no network is involved,
        "close", "within the spread" of pretrainings only, or "no".
        """
        del results
        return []

    def tables(self, results: Mapping[str, xr.DataTree]) -> dict[str, list[dict[str, object]]]:
        """Tables beside the page, by name: NAME.csv. Every study has claims, numbers and printed:
        these names are taken."""
        del results
        return {}

    def parts(self, results: Mapping[str, xr.DataTree]) -> list[Part]:
        """The paper's figures, part by part, as far as there are results for them."""
        del results
        return []
