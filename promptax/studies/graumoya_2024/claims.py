"""What Grau-Moya et al. 2024 claim of networks on variable-order Markov sources.

Signs alone, and a bound of ours, 10 % in b2, written before anything was measured: the list of
claims has no number. Programs are not part of it.
"""

from promptax.studies.judging import Checks, ClaimList, negative, positive
from promptax.studies.trainings import Reader, Results

LSTM_NAME, TRANSFORMER = "LSTM", "Transformer"
SMALL, LARGER = "small", "larger"
TREES, WEIGHTING = "context trees", "context-tree weighting"  # the source and the algorithm
NETWORKS = (LSTM_NAME, TRANSFORMER)
CLAIMS = ClaimList[Reader]()


def name_of(network: str, size: str) -> str:
    """The name of a training."""
    return f"{size} {network}"


def trained_length(results: Results) -> int:
    """Distances are measured on sequences as long as those of training."""
    return results.distances(TREES).sizes["time"]


def excess(results: Results, beyond: bool = False) -> float:
    """Nats above context-tree weighting over the length of training, or from there on."""
    return results.excess(TREES, WEIGHTING, trained_length(results), beyond)


@CLAIMS.enter(
    "b2",
    "Networks approach the regret of context-tree weighting.",
    "section 4, variable-order Markov sources",
)
def _approach(reader: Reader) -> Checks:
    """Within 10 % is ours, written before anything was measured."""
    for network in NETWORKS:
        name = name_of(network, LARGER)

        def share(results: Results) -> float:
            return excess(results) / results.regret(TREES, WEIGHTING, trained_length(results))

        yield reader.check(f"{name}: share above context-tree weighting", name, share, most=0.1)


@CLAIMS.enter("b2 size", "Larger networks come nearer.", "section 4, scaling; sign alone")
def _larger_is_nearer(reader: Reader) -> Checks:
    for network in NETWORKS:
        names = [name_of(network, size) for size in (SMALL, LARGER)]
        pairs = [
            [excess(results) for results in by_name.values()] for by_name in reader.of_all(names)
        ]
        gains = tuple(small - larger for small, larger in pairs)
        yield positive(f"{network}: nats that the small one loses more", gains)


@CLAIMS.enter(
    "b2 length",
    "Transformers are the best at the length of training; LSTMs generalise better to longer ones.",
    "section 4, length generalisation; signs alone",
)
def _lengths(reader: Reader) -> Checks:
    names = [name_of(network, LARGER) for network in NETWORKS]
    for beyond, word in ((False, "at the length of training"), (True, "beyond it")):
        pairs = [
            [excess(results, beyond) for results in by_name.values()]
            for by_name in reader.of_all(names)
        ]
        values = tuple(lstm - transformer for lstm, transformer in pairs)
        claimed = negative if beyond else positive
        yield claimed(f"{word}: nats that the LSTM loses more", values)
