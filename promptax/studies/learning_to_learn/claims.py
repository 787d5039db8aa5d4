"""What is claimed of memory and of gradient steps, as numbers with bounds.

All bounds are ours, written before anything was measured. 1 nat for a single gradient step is from
the exact optimum: 2.878 nats of regret after 50 flips, where exact Bayes has 1.568.
"""

import itertools
from typing import NamedTuple

import numpy as np

from promptax.experiments.groups import slug
from promptax.experiments.training import NETWORK, UNADAPTED
from promptax.studies.judging import Check, Checks, ClaimList, positive
from promptax.studies.trainings import Number, Reader, Results

COINS, TWO, SWITCHING = "coins", "two coins", "switching coins"
LINES, SINES = "lines", "sines"
SYMBOLS, POINTS = (COINS, TWO, SWITCHING), (LINES, SINES)
SOURCES = (*SYMBOLS, *POINTS)
MEMORY, GRADIENT, BOTH = "memory", "gradient steps", "both"  # the three kinds
LONGER = "gradient steps trained longer"  # as memory reads, whatever that costs
ONE, COUNTS = "one gradient step", "a rate for each count"  # on coins alone
COUNTS_LONGER = "a rate for each count trained longer"
FIRST_ORDER, REPTILE, START = "first order", "Reptile", "pretrained start"  # on sines alone
FIRST_ORDER_LONGER, REPTILE_LONGER = "first order trained longer", "Reptile trained longer"
SINE_ORDER = (GRADIENT, FIRST_ORDER, REPTILE, START)  # as the literature has it, best first
SINE_ORDER_LONGER = (LONGER, FIRST_ORDER_LONGER, REPTILE_LONGER, START)
"""The same on as many sequences, as the literature compares them."""
BAYES = "bayes"
MOST = 10.0
"""Nats an answer above exact Bayes. Who knows nothing of the sequence loses one or two, so that a
mean above this is that of few sequences on which inner steps diverged: it counts as no number."""
CLAIMS = ClaimList[Reader]()


def name_of(kind: str, source: str) -> str:
    """The name of a training."""
    return f"{kind} on {source}"


def source_of(results: Results) -> str:
    """On what it was trained and judged."""
    return next(source for source in SOURCES if slug(source) in results.tree.children)


def excess(results: Results, row: str = NETWORK) -> float:
    """Nats above exact Bayes, of symbols after all observations, of points over the answers behind
    half of them, where all learners of points were trained to answer."""
    source = source_of(results)
    if source in POINTS:
        return late_excess(results, row)
    return results.regret(source, row) - results.regret(source, BAYES)


def late_excess(results: Results, row: str = NETWORK) -> float:
    """Nats above exact Bayes, summed over the second half of the steps; NaN where inner steps
    diverged there. The sum is of steps, so that what diverged in front of them does not count."""
    steps = results.final(source_of(results))["per_step"]
    half = steps.sizes["time"] // 2
    late = steps.isel(time=slice(half, None)).sum("time", skipna=False)
    total = float(late.sel(predictor=row) - late.sel(predictor=BAYES))
    return total if abs(total) <= MOST * half / 2 else np.nan


def late_answers(results: Results) -> float:
    """Nats above exact Bayes for an answer, mean over those behind half of the points."""
    return late_excess(results) / (results.final(source_of(results)).sizes["time"] // 4)


def differences(
    reader: Reader, worse: str, better: str, source: str, number: Number = excess
) -> tuple[float, ...]:
    """Of each seed that has both: by how many nats the first is further from Bayes."""
    names = [name_of(worse, source), name_of(better, source)]
    pairs = [[number(results) for results in pair.values()] for pair in reader.of_all(names)]
    return tuple(first - second for first, second in pairs)


def kinds_on(reader: Reader, source: str) -> dict[str, list[Results]]:
    """What was measured on a source, by its kind."""
    ending = f" on {source}"
    return {
        name.removesuffix(ending): list(reader.of(name).values())
        for name in reader.names()
        if name.endswith(ending)
    }


@CLAIMS.enter("memory", "A network that remembers predicts coins as exact Bayes does.", "ours")
def _memory_reaches_bayes(reader: Reader) -> Checks:
    for source in (COINS, TWO):
        name = name_of(MEMORY, source)
        yield reader.check(f"{name}: nats above exact Bayes", name, excess, -0.05, 0.1)


@CLAIMS.enter(
    "one step",
    "A single gradient step on coins costs at least a nat, several steps or a rate for each number "
    "of flips repair most of it, nearly all if trained on as many sequences as memory, and nothing "
    "falls below exact Bayes.",
    "exact optima of models of one logit",
)
def _one_step_is_not_enough(reader: Reader) -> Checks:
    name = name_of(ONE, COINS)
    yield reader.check(f"{name}: nats above exact Bayes", name, excess, least=1.0, printed=1.31)
    for kind, printed in ((GRADIENT, 0.09), (COUNTS, 0.13)):
        name = name_of(kind, COINS)
        yield reader.check(f"{name}: nats above exact Bayes", name, excess, 0.0, 0.5, printed)
    for kind, printed in ((LONGER, 0.09), (COUNTS_LONGER, 0.13)):
        name = name_of(kind, COINS)
        yield reader.check(f"{name}: nats above exact Bayes", name, excess, 0.0, 0.2, printed)


@CLAIMS.enter(
    "memory wins",
    "At equal training tokens memory is nearer to exact Bayes than gradient steps, and so it is if "
    "these are trained on as many sequences. Points count behind half of them.",
    "ours; sign alone",
)
def _memory_wins(reader: Reader) -> Checks:
    for source, kind in itertools.product(SOURCES, (GRADIENT, LONGER)):
        values = differences(reader, kind, MEMORY, source)
        yield positive(f"{source}: nats that {kind} lose more than memory", values)


@CLAIMS.enter(
    "switching",
    "Where coins switch, gradient steps on all that was seen cannot forget: they cost at least a "
    "nat more than memory.",
    "ours",
)
def _steps_cannot_forget(reader: Reader) -> Checks:
    for kind in (GRADIENT, LONGER):
        values = differences(reader, kind, MEMORY, SWITCHING)
        yield Check(f"nats that {kind} lose more than memory", values, least=1.0)


@CLAIMS.enter(
    "both",
    "Where memory suffices, gradient steps beside it gain nothing at equal training tokens, over "
    "the second half of a sequence, for which they were trained.",
    "ours; sign alone",
)
def _steps_add_nothing_to_memory(reader: Reader) -> Checks:
    for source in SYMBOLS:
        values = differences(reader, BOTH, MEMORY, source, late_excess)
        yield positive(f"{source}: nats that both lose more than memory alone", values)


@CLAIMS.enter(
    "sines",
    "After as many steps from four starts, each at the best of three rates: MAML is ahead of its "
    "first order, that of Reptile, and Reptile of a network trained on all sines together.",
    "after Finn et al. 2017, section 5.1; Nichol et al. 2018, section 6; signs alone",
)
def _order_on_sines(reader: Reader) -> Checks:
    yield from _in_order(reader, SINE_ORDER)


@CLAIMS.enter(
    "sines longer",
    "The same if all four are trained on as many sequences, and not on as many tokens.",
    "after Finn et al. 2017, section 5.1; Nichol et al. 2018, section 6; signs alone",
)
def _order_on_as_many_sines(reader: Reader) -> Checks:
    yield from _in_order(reader, SINE_ORDER_LONGER)


def _in_order(reader: Reader, kinds: tuple[str, ...]) -> Checks:
    for better, worse in itertools.pairwise(kinds):
        values = differences(reader, worse, better, SINES, late_answers)
        yield positive(f"nats an answer that {worse} loses more than {better}", values)


class Means(NamedTuple):
    """Of a kind on a source, in nats above exact Bayes: the median over seeds, half the spread
    between them (NaN where there is one seed, or inner steps diverged), the median over the second
    half, and that of the same networks without their inner steps (None: they take none)."""

    median: float
    spread: float
    late: float
    unadapted: float | None


def means(reader: Reader, source: str) -> dict[str, Means]:
    """What each kind loses on a source, by its name."""
    return {kind: _means(trainings) for kind, trainings in kinds_on(reader, source).items()}


def _means(trainings: list[Results]) -> Means:
    values = [excess(results) for results in trainings]
    told = len(values) > 1 and bool(np.isfinite(values).all())
    plain = [late_excess(results, UNADAPTED) for results in trainings if _adapts(results)]
    return Means(
        float(np.median(values)),
        float(np.ptp(values) / 2) if told else np.nan,
        float(np.median([late_excess(results) for results in trainings])),
        float(np.median(plain)) if plain else None,
    )


def _adapts(results: Results) -> bool:
    return UNADAPTED in results.final(source_of(results)).predictor
