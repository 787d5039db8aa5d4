"""How claims are judged: checks with numbers, expectations and tolerances."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np

Verdict = Literal["holds", "fails", "undecided", "not run"]
VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "undecided", "not run")

ENOUGH_SEEDS = 5
"""Pretraining seeds below which nothing is certain."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One number that a claim speaks of, and the bounds in which it must lie.

    `what`: the number in words. `least`, `most`: the bounds.
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
    is_strict: bool = False
    """Whether a bound itself is a tie, which decides nothing."""

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
            return f"{'below' if self.is_strict else 'at most'} {self.most:g}"
        if math.isinf(self.most):
            return f"{'above' if self.is_strict else 'at least'} {self.least:g}"
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
        if self.is_strict and self.number in (self.least, self.most):
            return "undecided"
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


def positive(what: str, values: tuple[float, ...]) -> Check:
    """A difference that is claimed to be above 0; at 0, where two are alike, it is undecided."""
    return Check(what, values, least=0.0, is_strict=True)


def negative(what: str, values: tuple[float, ...]) -> Check:
    """A difference that is claimed to be below 0; at 0, where two are alike, it is undecided."""
    return Check(what, values, most=0.0, is_strict=True)


def verdict_of(verdicts: set[Verdict]) -> Verdict:
    """A claim's verdict from those of its checks."""
    for verdict in ("fails", "undecided"):
        if verdict in verdicts:
            return verdict
    return "holds" if verdicts == {"holds"} else "not run"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of a paper, and the numbers that it stands or falls with.

    `name`: what it is called, such as "S3". `text`: the sentence. `source`: where the paper has it.
    `checks`: the numbers, each with its bounds.
    """

    name: str
    text: str
    source: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """Fails if any check fails; holds if all do; a claim without measurement is not run."""
        return verdict_of({check.verdict for check in self.checks})

    @property
    def tentative(self) -> bool:
        """Whether it holds, and some of its checks tentatively."""
        return self.verdict == "holds" and any(check.tentative for check in self.checks)


def in_words(judged: Check | Claim) -> str:
    """A verdict, and whether it is tentative."""
    return f"{judged.verdict}{', tentatively' if judged.tentative else ''}"


# --- the claims of a study ------------------------------------------------------------------

Checks = Iterator[Check]
Reader = TypeVar("Reader")  # what a study reads its results with


class Entry(NamedTuple, Generic[Reader]):
    """A claim before anything is measured: its sentence, where it stands, and its checks."""

    text: str
    source: str
    checks: Callable[[Reader], Checks]


class ClaimList(Generic[Reader]):
    """The claims of a study, in the order in which they are entered.

    A claim is a function that makes its checks from the study's reader of results:

        CLAIMS = ClaimList[Reader]()

        @CLAIMS.enter("S3", "To a single coin weights suffice.", "Figure 1")
        def _weights_suffice(reader: Reader) -> Checks:
            yield Check("low rank", reader.tuned(SINGLE, LOW_RANK), most=0.1)
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry[Reader]] = {}

    def enter(self, name: str, text: str, source: str) -> Callable:
        """Make a decorator that enters a function of checks as the claim of that name."""

        def enter_checks(checks: Callable[[Reader], Checks]) -> Callable[[Reader], Checks]:
            self.entries[name] = Entry(text, source, checks)
            return checks

        return enter_checks

    def claim(self, name: str, reader: Reader) -> Claim:
        """The claim of that name, with the numbers that the reader finds."""
        entry = self.entries[name]
        return Claim(name, entry.text, entry.source, tuple(entry.checks(reader)))

    def claims(self, reader: Reader) -> tuple[Claim, ...]:
        """All claims, with the numbers that the reader finds."""
        return tuple(self.claim(name, reader) for name in self.entries)
