"""How claims are judged: checks with numbers, expectations and tolerances."""

import dataclasses
import math
from typing import Literal

import numpy as np

Verdict = Literal["holds", "fails", "undecided", "not run"]


VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "undecided", "not run")


ENOUGH_SEEDS = 5


"""Pretraining seeds below which nothing is certain."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One number that a claim speaks of, and the bounds in which it must lie.

    `values`: one for each pretraining seed, NaN where everything diverged; none if nothing was
    measured; a single one if `exact`.
    """

    what: str
    values: tuple[float, ...]
    least: float = -math.inf
    most: float = math.inf
    exact: bool = False
    printed: float | None = None
    """What the paper prints, or what is known exactly."""

    @property
    def number(self) -> float:
        """The median over seeds, where a diverged one lies beyond all bounds; NaN if there is
        none."""
        outside = -math.inf if math.isinf(self.most) else math.inf
        every = [outside if math.isnan(value) else value for value in self.values]
        return float(np.median(every)) if every else math.nan

    @property
    def diverged(self) -> int:
        """Seeds without a number, since everything diverged."""
        return sum(math.isnan(value) for value in self.values)

    @property
    def standard_error(self) -> float:
        """The standard error of the median over seeds. It is 0 for exact numbers, and NaN where
        fewer than two seeds are finite."""
        if self.exact:
            return 0.0
        finite = [value for value in self.values if math.isfinite(value)]
        if len(finite) < 2:
            return math.nan
        return math.sqrt(math.pi / 2) * float(np.std(finite, ddof=1)) / math.sqrt(len(finite))

    @property
    def expected(self) -> str:
        """The expected bounds in words, such as "at most 0.2"."""
        if self.least == self.most:
            return f"{self.least:g}"
        if math.isinf(self.least):
            return f"at most {self.most:g}"
        if math.isinf(self.most):
            return f"at least {self.least:g}"
        return f"{self.least:g} to {self.most:g}"

    @property
    def seeds_to_decide(self) -> int:
        """How many seeds would decide a deviation of this size."""
        if self.exact or not self.values:
            return ENOUGH_SEEDS
        beyond = max(self.least - self.number, self.number - self.most)
        if math.isnan(self.standard_error) or beyond <= 0:
            return ENOUGH_SEEDS
        needed = len(self.values) * (2 * self.standard_error / beyond) ** 2
        return max(ENOUGH_SEEDS, math.ceil(needed))

    @property
    def verdict(self) -> Verdict:
        """Whether this number holds, holds tentatively, fails, or leaves the claim undecided."""
        if not self.values:
            return "not run"
        if self.least <= self.number <= self.most:
            return "holds"
        return "fails" if self.exact or len(self.values) >= self.seeds_to_decide else "undecided"

    @property
    def tentative(self) -> bool:
        """Whether it holds, but chance could have it so: few seeds, or a bound within two standard
        errors."""
        if self.verdict != "holds" or self.exact:
            return False
        room = min(self.number - self.least, self.most - self.number)
        return len(self.values) < ENOUGH_SEEDS or not room >= 2 * self.standard_error


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of a paper, and the numbers that it stands or falls with."""

    name: str
    text: str
    source: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """Fails if any check fails; holds if all do; a claim without measurement is not run."""
        verdicts = {check.verdict for check in self.checks}
        for verdict in ("fails", "undecided"):
            if verdict in verdicts:
                return verdict
        return "holds" if verdicts == {"holds"} else "not run"

    @property
    def tentative(self) -> bool:
        """Whether it holds, and some of its checks tentatively."""
        return self.verdict == "holds" and any(check.tentative for check in self.checks)


def in_words(judged: Check | Claim) -> str:
    """A verdict, and whether it is tentative."""
    return f"{judged.verdict}{', tentatively' if judged.tentative else ''}"
