"""What Genewein et al. 2023 claim of networks on sources that switch, as numbers with bounds.

Bounds are those of our list of claims, written before anything was measured: within a tenth of
exact Bayes after long training; signs for what is said in words.
"""

import functools
import math

from promptax.evaluation.exact.expectations import Expectations
from promptax.studies.judging import Checks, ClaimList, positive
from promptax.studies.trainings import Reader, Results, exactly
from promptax.tasks import DirichletCategorical

LSTM_NAME, TRANSFORMER = "LSTM", "Transformer"
PARTITIONS, LIVE_AND_DIE, SHIFTS = "partition tree", "live and die", "regular shifts"
SOURCES = (PARTITIONS, LIVE_AND_DIE)
NETWORKS = (LSTM_NAME, TRANSFORMER)
LENGTHS = {50: 1.7579, 100: 2.0816, 256: 2.5313}  # regret of Krichevsky and Trofimov's estimator
CLAIMS = ClaimList[Reader]()


def name_of(network: str, source: str) -> str:
    """The name of a training."""
    return f"{network} on {source}"


def other(source: str) -> str:
    """The source that a network was not trained on."""
    return LIVE_AND_DIE if source == PARTITIONS else PARTITIONS


def trained_length(results: Results, source: str) -> int:
    """Sequences are judged over twice the length of training."""
    return results.final(source).sizes["time"] // 2


def excess(results: Results, source: str, beyond: bool = False) -> float:
    """Nats above the source's exact predictor, over the length of training or over as much again
    `beyond` it."""
    return results.excess(source, source, trained_length(results, source), beyond)


@functools.cache
def estimator_regrets() -> dict[int, float]:
    """Regret of Krichevsky and Trofimov's estimator on its own prior, summed over all counts."""
    coins = DirichletCategorical((0.5, 0.5))
    losses = Expectations(coins, max(LENGTHS)).regret(coins.bayes()).cumsum()
    return {length: float(losses[length - 1]) for length in LENGTHS}


def segments_of_partitions(depth: int) -> float:
    """E[segments] = 1 + E[splits]: of the 2^j blocks of level j each exists with 2^-j, and splits
    with ½."""
    return 1 + sum(2**level * 0.5**level * 0.5 for level in range(depth))


@CLAIMS.enter(
    "a2",
    "A partition tree of depth 8 has 5 segments on average; live-and-die switches in all but 3.5 % "
    "of sequences of 256.",
    "section 3, the two priors; arithmetic, which samples nothing",
)
def _priors(reader: Reader) -> Checks:
    """It is arithmetic: it holds that the paper's definitions have these numbers, and says nothing
    of what `PartitionTree` and `LiveAndDie` draw. To sample both takes seven seconds of processor
    time, for compilation."""
    del reader  # nothing is measured
    yield exactly("segments of a partition tree of depth 8", segments_of_partitions(8), 5.0, 1e-12)
    lasts = math.prod(1 - 1 / (2 * m) for m in range(1, 256))
    yield exactly("probability of no switch in 256 steps", lasts, 0.0353, 1e-4)


@CLAIMS.enter(
    "a5", "Without switches the estimator of each segment is exact Bayes.", "section 3; exact"
)
def _estimator(reader: Reader) -> Checks:
    del reader  # nothing is measured
    for length, expected in LENGTHS.items():
        value = estimator_regrets()[length]
        yield exactly(f"its regret after {length} steps, nats", value, expected, 1e-3)


@CLAIMS.enter(
    "a3",
    "Trained networks reach the regret of exact Bayes on the source that they were trained on.",
    "Figure 3, abstract",
)
def _near_bayes(reader: Reader) -> Checks:
    for source in SOURCES:
        for network in NETWORKS:

            def share(results: Results, source: str = source) -> float:
                length = trained_length(results, source)
                return excess(results, source) / results.regret(source, source, length)

            name = name_of(network, source)
            yield reader.check(f"{name}: share above exact Bayes", name, share, most=0.1)


@CLAIMS.enter(
    "a4",
    "On other sources a network keeps the prior that it was trained on.",
    "Figure 5, off-distribution comparison; sign alone",
)
def _keeps_its_prior(reader: Reader) -> Checks:
    for source in SOURCES:
        for network in NETWORKS:

            def nearer(results: Results, source: str = source) -> float:
                return results.distance(SHIFTS, other(source)) / results.distance(SHIFTS, source)

            name = name_of(network, source)
            what = f"{name}: on {SHIFTS}, distance from {other(source)} over that from its own"
            yield reader.check(what, name, nearer, least=1.0)


@CLAIMS.enter(
    "a4 length",
    "On longer sequences Transformers degrade more than LSTMs.",
    "section 5, length generalisation; sign alone",
)
def _longer(reader: Reader) -> Checks:
    for source in SOURCES:
        names = [name_of(network, source) for network in (TRANSFORMER, LSTM_NAME)]
        pairs = [
            [excess(results, source, beyond=True) for results in by_name.values()]
            for by_name in reader.of_all(names)
        ]
        values = tuple(transformer - lstm for transformer, lstm in pairs)
        what = f"{source}: excess beyond the length of training, {TRANSFORMER} above {LSTM_NAME}"
        yield positive(what, values)
