"""Looks at a network while it is trained: how far from algorithms it is, and what it loses."""

from typing import Any

import equinox as eqx
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from promptax.analysis.algorithms import HeldAlgorithms
from promptax.analysis.internal_states import internal_states
from promptax.analysis.linear_probes import linear_probes
from promptax.analysis.sensitivities import answer_gradients, mean_cosine
from promptax.axes import NATS, labelled
from promptax.protocol.outcomes import Episode, Gaussian, Outcome, Points, Symbols
from promptax.protocol.predictor import Predictor
from promptax.specs import traced

MIXED = np.linspace(0.0, 1.0, 21)
"""Weights of the first of two algorithms in the mixtures that a network is held against."""


class Look:
    """What a probe does: how far a network is from the algorithms, and what it loses; also how far
    it is from mixtures of two algorithms, where two are named."""

    def __init__(self, held: dict[str, HeldAlgorithms], mixed: tuple[str, ...] = ()) -> None:
        self.held = held
        self.mixed = mixed

    def __call__(self, network: Predictor) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name, held in self.held.items():
            scored = held.scored
            for algorithm, values in zip(held.predicted, held.distances(network), strict=True):
                numbers[_word(name, "distance", algorithm)] = float(values[scored].mean())
            if self.mixed:
                first, second = self.mixed
                values = held.variations(network, first, second, MIXED)
                numbers |= {
                    _word(name, "variation", f"{weight:.2f}"): float(value)
                    for weight, value in zip(MIXED, values, strict=True)
                }
            losses, right = _losses_and_hits(traced(network), held.outcome, held.episodes)
            losses = np.asarray(losses)
            last = np.max(np.where(scored, np.arange(scored.shape[1]), 0), axis=1)
            rows = np.arange(len(scored)), last
            numbers[_word(name, "log_loss")] = float(losses[scored].mean())
            numbers[_word(name, "last_log_loss")] = float(losses[rows].mean())
            if right is not None:
                first = np.arange(len(scored)), scored.argmax(axis=1)
                numbers[_word(name, "last_accuracy")] = float(np.asarray(right)[rows].mean())
                numbers[_word(name, "first_accuracy")] = float(np.asarray(right)[first].mean())
        return numbers


def _word(source: str, *parts: str) -> str:
    """The name under which a probe keeps a number: it has no "/"."""
    return "|".join((source, *parts)).replace("/", "∕")


@eqx.filter_jit
def _losses_and_hits(
    network: Predictor, outcome: Outcome, episodes: Episode
) -> tuple[Float[Array, "sequence time"], Array | None]:
    """Losses in nats, and whether the likeliest symbol came [sequence, time]; None in its place
    where answers are numbers."""
    prediction = network.advance_batch(network.start(), episodes.inputs)[1]
    losses = outcome.log_loss(prediction, episodes)
    answer = outcome.answer if isinstance(outcome, Points) else outcome
    if not isinstance(answer, Symbols):
        return losses, None
    read = episodes.inputs
    symbols = outcome.answers(read) if isinstance(outcome, Points) else outcome.decode(read)
    return losses, prediction.shown().argmax(axis=-1) == symbols


def _answers_numbers(outcome: Outcome) -> bool:
    return isinstance(outcome, Points) and isinstance(outcome.answer, Gaussian)


def label_looks(probes: xr.Dataset, source: str, algorithms: list[str]) -> xr.Dataset:
    """The looks at one source, by step."""
    looks = probes.isel(repetition=0, drop=True)
    variables: dict[str, Any] = {
        word: ("step", looks[_word(source, word)].values)
        for word in ("log_loss", "last_log_loss", "last_accuracy", "first_accuracy")
        if _word(source, word) in looks
    }
    for word in ("log_loss", "last_log_loss"):
        variables[word] = (*variables[word], {"unit": NATS})
    rows = [looks[_word(source, "distance", name)].values for name in algorithms]
    if rows:
        variables["distance"] = (("algorithm", "step"), np.array(rows))
    coords = {"step": looks["step"].values} | ({"algorithm": algorithms} if rows else {})
    if _word(source, "variation", "0.00") in looks:
        columns = [looks[_word(source, "variation", f"{weight:.2f}")].values for weight in MIXED]
        variables["variation"] = (("weight", "step"), np.array(columns))
        coords["weight"] = MIXED
    return labelled(variables, coords)


def mean_distances(held: HeldAlgorithms, judged: dict[str, Predictor]) -> xr.Dataset:
    """Mean distance over the sequences at every scored step [predictor, algorithm, time]."""
    rows = np.array([held.distances(predictor) for predictor in judged.values()])
    counts = held.scored.sum(axis=0)
    sums = np.where(held.scored, rows, 0.0).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    variables: dict[str, Any] = {"distance": (("predictor", "algorithm", "time"), means)}
    if _answers_numbers(held.outcome) and means.shape[-1] % 2 == 0:
        read = held.episodes.inputs
        slopes = {name: answer_gradients(predictor, read) for name, predictor in judged.items()}
        cosines = [
            [mean_cosine(ours, slopes[a]) for a in held.predicted] for ours in slopes.values()
        ]
        variables["cosine"] = (("predictor", "algorithm"), np.array(cosines))
    if _answers_numbers(held.outcome):
        errors = np.array([held.squared_errors(predictor) for predictor in judged.values()])
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = np.where(held.scored, errors, 0.0).sum(axis=1) / counts
        variables["squared_error"] = (("predictor", "time"), np.where(counts > 0, errors, np.nan))
    return labelled(
        variables,
        {
            "predictor": list(judged),
            "algorithm": list(held.predicted),
            "time": np.arange(1, means.shape[-1] + 1),
        },
    )


def probe_weights(held: HeldAlgorithms, network: Predictor, algorithm: Predictor) -> xr.Dataset:
    """How much of what a linear algorithm keeps can be read off a network's internal states.

    The quantities are XᵀY, the sum of y x over the answers so far, and the weights that the
    algorithm makes of them, each number by itself: "XᵀY 1", "weight 1", … They are read at
    questions behind at least one answer, where the network has to know them.

    Args:
        held: sequences of points answered by numbers.
        network: whose internal states.
        algorithm: a `LinearReference`, such as `Ridge`.

    Returns:
        `linear_probes`: `explained`, `control` and `selectivity` [internal, quantity].
    """
    rows = np.asarray(held.episodes.inputs)
    x, y, counts = rows[..., :-2], rows[..., -2:-1], rows[..., -1:] > 0
    products = np.cumsum(np.where(counts, x * y, 0.0), axis=1)
    kept = {"XᵀY": products, "weight": internal_states(algorithm, rows)["weights"].values}
    statistics = {
        f"{word} {feature + 1}": values[..., feature]
        for word, values in kept.items()
        for feature in range(values.shape[-1])
    }
    return linear_probes(network, rows, statistics, steps=range(3, rows.shape[1] + 1, 2))
