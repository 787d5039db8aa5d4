"""What is claimed of memory and of gradient steps, as numbers with bounds.

All bounds are ours, written before anything was measured. 1 nat for a single gradient step is from
the exact optimum: 2.878 nats of regret after 50 flips, where exact Bayes has 1.568.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from promptax.experiments.groups import slug
from promptax.experiments.training import NETWORK
from promptax.studies.judging import Check, Checks, ClaimList, positive
from promptax.studies.trainings import Reader, Results

COINS, TWO, SWITCHING = "coins", "two coins", "switching coins"
LINES, SINES = "lines", "sines"
SYMBOLS, POINTS = (COINS, TWO, SWITCHING), (LINES, SINES)
SOURCES = (*SYMBOLS, *POINTS)
MEMORY, GRADIENT, BOTH = "memory", "gradient steps", "both"  # the three kinds
ONE, COUNTS = "one gradient step", "a rate for each count"  # on coins alone
FIRST_ORDER, REPTILE, START = "first order", "Reptile", "pretrained start"  # on sines alone
SINE_ORDER = (GRADIENT, FIRST_ORDER, REPTILE, START)  # as the literature has it, best first
BAYES = "bayes"
CLAIMS = ClaimList[Reader]()


def name_of(kind: str, source: str) -> str:
    """The name of a training."""
    return f"{kind} on {source}"


def source_of(results: Results) -> str:
    """On what it was trained and judged."""
    return next(source for source in SOURCES if slug(source) in results.tree.children)


def excess(results: Results) -> float:
    """Nats above exact Bayes after all observations."""
    source = source_of(results)
    return results.regret(source) - results.regret(source, BAYES)


def late_excess(results: Results) -> float:
    """Nats above exact Bayes for an answer, mean over those behind half of the points."""
    source = source_of(results)
    steps = results.final(source)["per_step"]
    apart = steps.sel(predictor=NETWORK) - steps.sel(predictor=BAYES)
    answers = apart.values[1::2]
    return float(np.mean(answers[len(answers) // 2 :]))


def differences(reader: Reader, worse: str, better: str, source: str) -> tuple[float, ...]:
    """Of each seed that has both: by how many nats the first is further from Bayes."""
    names = [name_of(worse, source), name_of(better, source)]
    pairs = [[excess(results) for results in pair.values()] for pair in reader.of_all(names)]
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
    "of flips repair most of it, and nothing falls below exact Bayes.",
    "exact optima of one-logit models",
)
def _one_step_is_not_enough(reader: Reader) -> Checks:
    name = name_of(ONE, COINS)
    yield reader.check(f"{name}: nats above exact Bayes", name, excess, least=1.0, printed=1.31)
    for kind, printed in ((GRADIENT, 0.09), (COUNTS, 0.13)):
        name = name_of(kind, COINS)
        yield reader.check(f"{name}: nats above exact Bayes", name, excess, 0.0, 0.5, printed)


@CLAIMS.enter(
    "memory wins",
    "At equal training tokens memory is nearer to exact Bayes than gradient steps.",
    "ours; sign alone",
)
def _memory_wins(reader: Reader) -> Checks:
    for source in SOURCES:
        values = differences(reader, GRADIENT, MEMORY, source)
        yield positive(f"{source}: nats that gradient steps lose more than memory", values)


@CLAIMS.enter(
    "switching",
    "Where coins switch, gradient steps on all that was seen cannot forget: they cost at least a "
    "nat more than memory.",
    "ours",
)
def _steps_cannot_forget(reader: Reader) -> Checks:
    values = differences(reader, GRADIENT, MEMORY, SWITCHING)
    yield Check("nats that gradient steps lose more than memory", values, least=1.0)


@CLAIMS.enter(
    "both",
    "Where memory suffices, gradient steps beside it gain nothing at equal training tokens.",
    "ours; sign alone",
)
def _steps_add_nothing_to_memory(reader: Reader) -> Checks:
    for source in SYMBOLS:
        values = differences(reader, BOTH, MEMORY, source)
        yield positive(f"{source}: nats that both lose more than memory alone", values)


@CLAIMS.enter(
    "sines",
    "After the same steps from four starts: MAML is ahead of its first order, that of Reptile, and "
    "Reptile of a network trained on all sines together.",
    "Finn et al. 2017, Figure 3; Nichol et al. 2018, section 6; signs alone",
)
def _order_on_sines(reader: Reader) -> Checks:
    for better, worse in itertools.pairwise(SINE_ORDER):
        pairs = reader.of_all([name_of(kind, SINES) for kind in (better, worse)])
        values = [[late_excess(results) for results in pair.values()] for pair in pairs]
        what = f"nats an answer that {worse} loses more than {better}"
        yield positive(what, tuple(second - first for first, second in values))


def means(reader: Reader, source: str) -> Iterator[tuple[str, float, float]]:
    """Of each kind on a source: the median excess over seeds, and half the spread between them, NaN
    where there is one seed or a loss was not finite."""
    for kind, trainings in kinds_on(reader, source).items():
        values = [excess(results) for results in trainings]
        told = len(values) > 1 and bool(np.isfinite(values).all())
        yield kind, float(np.median(values)), float(np.ptp(values) / 2) if told else np.nan
