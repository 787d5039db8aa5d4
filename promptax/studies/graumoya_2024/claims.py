"""What Grau-Moya et al. 2024 claim of networks on variable-order Markov sources.

Signs alone, and a bound of ours, 10 % in b2 and b3, written before anything was measured: the list
of claims has no number.
"""

from promptax.studies.judging import Checks, ClaimList, negative, positive
from promptax.studies.trainings import Reader, Results

LSTM_NAME, TRANSFORMER = "LSTM", "Transformer"
SMALL, LARGER = "small", "larger"
TREES, WEIGHTING = "context trees", "context-tree weighting"  # the source and the algorithm
PROGRAMS, MIXTURE = "programs", "mixture of all programs"  # another source, and its exact predictor
NETWORKS = (LSTM_NAME, TRANSFORMER)
CLAIMS = ClaimList[Reader]()


def name_of(network: str, size: str) -> str:
    """The name of a training on context trees."""
    return f"{size} {network}"


def on_programs(network: str) -> str:
    """The name of the training of the larger network on what programs write."""
    return f"{name_of(network, LARGER)} on {PROGRAMS}"


def trained_length(results: Results, source: str = TREES) -> int:
    """Distances are measured on sequences as long as those of training."""
    return results.distances(source).sizes["time"]


def excess(results: Results, beyond: bool = False) -> float:
    """Nats above context-tree weighting over the length of training, or from there on."""
    return results.excess(TREES, WEIGHTING, trained_length(results), beyond)


def share_above_mixture(results: Results) -> float:
    """How much more a network loses on programs than the mixture of all programs, as a share."""
    length = trained_length(results, PROGRAMS)
    return results.excess(PROGRAMS, MIXTURE, length) / results.regret(PROGRAMS, MIXTURE, length)


def transfer(results: Results) -> float:
    """Nats for each symbol of context trees that training on programs has saved."""
    losses = results.learning(TREES)["log_loss"]
    return float(losses[0] - losses[-1])


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


@CLAIMS.enter(
    "b3",
    "Networks approach the mixture of all programs on what programs write.",
    "section 4, universal data",
)
def _programs(reader: Reader) -> Checks:
    """Within 10 % is ours, written before anything was measured."""
    for network in NETWORKS:
        name, what = on_programs(network), f"{name_of(network, LARGER)}: share above the mixture"
        yield reader.check(what, name, share_above_mixture, most=0.1)


@CLAIMS.enter(
    "b3 transfer",
    "What is learned from programs helps on context trees.",
    "section 4, transfer from universal data; sign alone",
)
def _transfer(reader: Reader) -> Checks:
    for network in NETWORKS:
        what = f"{name_of(network, LARGER)}: nats saved for each symbol, against no training"
        yield positive(what, reader.numbers(on_programs(network), transfer))
