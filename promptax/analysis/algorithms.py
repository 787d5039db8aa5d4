"""Which algorithm does a predictor carry out? Its distance from named ones, step by step.

A network that was trained on many tasks may predict as one algorithm after few observations and as
another after many: as ridge regression or as least squares (Akyürek et al. 2022, arXiv 2211.15661),
as the posterior over the tasks of its training or as that over all tasks (Raventós et al. 2023,
arXiv 2306.15063). To see it, let all of them predict the same sequences and measure how far apart
their predictions are.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float

from promptax import platforms
from promptax.axes import NATS, AnyKey, labelled
from promptax.doors import door
from promptax.protocol.entries import check_sound
from promptax.protocol.outcomes import Episode, Gaussian, Outcome, Points
from promptax.protocol.predictions import AnyPrediction, Mixed
from promptax.protocol.predictor import Predictor
from promptax.specs import as_key, check, check_kind, check_whole_numbers, traced
from promptax.tasks.base import Task
from promptax.tasks.batches import batch_to_measure


@door
def algorithm_distances(
    judged: Mapping[str, Predictor],
    algorithms: Mapping[str, Predictor],
    source: Task,
    key: AnyKey,
    *,
    length: int,
    sequences: int = 256,
    symmetric: bool = False,
) -> xr.Dataset:
    """How far predictors are from named algorithms, at each step of the same sampled sequences.

    Of symbols it is the divergence from the algorithm's prediction a to the judged one p,

        KL(a || p) = Σ_x a(x) log(a(x) / p(x))        nats,

    infinite where p rules out what a expects. Of numbers it is the squared difference of means, in
    the square of y's unit (Akyürek et al. 2022, Eq. 13), at steps that are scored.

    Args:
        judged: predictors by name, such as networks of several depths.
        algorithms: predictors by name, such as `ridge` and `least squares`, of the same outcome.
        source: where the sequences come from.
        key: makes the sequences.
        length: steps of each sequence.
        sequences: how many to sample.
        symmetric: of symbols, (KL(a || p) + KL(p || a)) / 2 (Wurgaft et al. 2025).

    Returns:
        A Dataset over predictor, algorithm and time: `distance`, its `standard_error` over
        sequences (both NaN at steps that are not scored), and `closest` [predictor, time], the name
        of the nearest algorithm, "" where none is at a finite distance.

    Raises:
        TypeError: what is given is no predictor.
        ValueError: nothing given, outcomes that differ, sizes below 1, or NaN.

    Example:

        algorithm_distances(
            {"network": fitted.predictor},
            {"this pool": pool.bayes(), "all coins": pool.source.bayes()},
            pool,
            jax.random.key(0),
            length=50,
        )
    """
    check_whole_numbers(length=length, sequences=sequences)
    check(min(length, sequences) >= 1, f"Expected sizes of at least 1; got {length}, {sequences}.")
    check_kind(source, Task, "source")
    width = source.outcome.input_width() + source.outcome.parameter_width()
    platforms.expect_numbers(
        sequences * length * width * (1 + len(algorithms)),
        "the sequences, and what is predicted of them",
        "Choose fewer sequences or a smaller length.",
    )
    for word, predictors in (("judged", judged), ("algorithms", algorithms)):
        check(len(predictors) > 0, f"Expected at least one predictor by name as {word}; got none.")
        for name, predictor in predictors.items():
            check_kind(predictor, Predictor, f"{word}[{name!r}]")
            check_sound(predictor, name)
            check(
                predictor.outcome == source.outcome,
                f"Expected {name!r} to predict {source.outcome.words()}, as the source has them; "
                f"it predicts {predictor.outcome.words()}.",
            )
    held = hold_algorithms(
        algorithms, source, key, length=length, sequences=sequences, symmetric=symmetric
    )
    distances = np.array([held.distances(predictor) for predictor in judged.values()])
    check(
        not np.isnan(distances[..., held.scored]).any(),
        "Expected predictions that are numbers; some are NaN on the sequences of the source.",
    )
    values = np.where(held.scored, distances, np.nan)
    return _dataset(values, list(judged), list(algorithms))


class HeldAlgorithms(NamedTuple):
    """Sequences of a source, and what each algorithm predicts on them: whoever looks at one network
    again and again reads them with the algorithms once.

    `scored` [sequence, time]: which steps count; `predicted`: [sequence, time, parameter] of each
    algorithm.
    """

    outcome: Outcome
    episodes: Episode
    scored: Bool[np.ndarray, "sequence time"]
    predicted: dict[str, np.ndarray]
    symmetric: bool

    def distances(self, predictor: Predictor) -> Float[np.ndarray, "algorithm sequence time"]:
        """How far a predictor is from each algorithm, as in `algorithm_distances`."""
        if not self.predicted:
            return np.zeros((0, *self.scored.shape))
        numbers = np.asarray(_predictions(traced(predictor), self.episodes.inputs))
        rows = [
            _distances(self.outcome, numbers, algorithm, self.symmetric)
            for algorithm in self.predicted.values()
        ]
        return np.array(rows)

    def variations(
        self, predictor: Predictor, first: str, second: str, weights: Float[np.ndarray, " weight"]
    ) -> Float[np.ndarray, " weight"]:
        """How far a predictor of symbols is from mixtures of two algorithms M and G: with p its
        prediction, for each weight w

            TV(w) = 1/2 Σ_x |p(x) - w M(x) - (1 - w) G(x)|,

        from 0 to 1, mean over the scored steps. It is convex in w, so that a line between two
        weights never lies below it."""
        numbers = np.asarray(_predictions(traced(predictor), self.episodes.inputs))
        p, m, g = (
            np.exp(shown[self.scored].astype(float))
            for shown in (numbers, self.predicted[first], self.predicted[second])
        )
        return np.array([np.abs(p - w * m - (1 - w) * g).sum(axis=-1).mean() / 2 for w in weights])

    def squared_errors(self, predictor: Predictor) -> Float[np.ndarray, "sequence time"]:
        """The squared difference of the predicted mean from the answer, in the square of y's unit.
        Of points answered by numbers alone; where a step is not scored it means nothing."""
        means = np.asarray(_predictions(traced(predictor), self.episodes.inputs))[..., 0]
        answers = np.asarray(self.episodes.observations)[..., -2]
        return (means.astype(float) - answers) ** 2


def hold_algorithms(
    algorithms: Mapping[str, Predictor],
    source: Task,
    key: AnyKey,
    *,
    length: int,
    sequences: int = 256,
    symmetric: bool = False,
) -> HeldAlgorithms:
    """Sample sequences of a source, and let named algorithms read them. Arguments as in
    `algorithm_distances`."""
    episodes = batch_to_measure(source, as_key(key), sequences, length)
    predicted = {
        name: np.asarray(_predictions(traced(predictor), episodes.inputs))
        for name, predictor in algorithms.items()
    }
    scored = _scored(source.outcome, episodes)
    return HeldAlgorithms(source.outcome, episodes, scored, predicted, symmetric)


@eqx.filter_jit
def _predictions(predictor: Predictor, inputs: Array) -> Float[Array, "sequence time parameter"]:
    prediction = predictor.advance_batch(predictor.start(), inputs)[1]
    return _numbers(prediction, _speaks_of_numbers(predictor.outcome))


def _numbers(prediction: AnyPrediction, are_means: bool) -> Float[Array, "*batch time parameter"]:
    """The mean first, where the outcome is numbers; else log probabilities."""
    if not isinstance(prediction, Mixed):
        return prediction.shown()
    parts = jnp.stack([_numbers(part, are_means) for part in prediction.parts], axis=-2)
    log_weights = prediction.log_weights[..., None]
    if are_means:
        return jnp.sum(jnp.exp(log_weights) * parts[..., :1], axis=-2)
    return jax.nn.logsumexp(log_weights + parts, axis=-2)


def _distances(
    outcome: Outcome,
    judged: Float[np.ndarray, "sequence time _"],
    algorithm: Float[np.ndarray, "sequence time _"],
    symmetric: bool,
) -> Float[np.ndarray, "sequence time"]:
    """Of the numbers that predictions show: log probabilities, or the mean first."""
    p, a = judged.astype(float), algorithm.astype(float)
    if _speaks_of_numbers(outcome):
        return (p[..., 0] - a[..., 0]) ** 2
    divergence = _divergence(a, p)
    return (divergence + _divergence(p, a)) / 2 if symmetric else divergence


def _divergence(
    p: Float[np.ndarray, "*batch symbol"], q: Float[np.ndarray, "*batch symbol"]
) -> Float[np.ndarray, "*batch"]:
    """KL(p || q) of log probabilities, nats."""
    expected = np.where(p > -np.inf, np.exp(p), 0.0)
    with np.errstate(invalid="ignore"):
        terms = np.where(expected > 0, expected * (p - q), 0.0)
    return np.maximum(terms.sum(axis=-1), 0.0)  # rounding alone makes it negative


def _speaks_of_numbers(outcome: Outcome) -> bool:
    return isinstance(outcome.answer if isinstance(outcome, Points) else outcome, Gaussian)


def _scored(outcome: Outcome, episodes: Any) -> np.ndarray:
    """Which steps count [sequence, time]."""
    shape = episodes.observations.shape[:2]
    scored = np.ones(shape, bool) if episodes.scored is None else np.asarray(episodes.scored)
    if isinstance(outcome, Points):
        scored = scored & (np.asarray(episodes.observations)[..., -1] > 0)
    return scored


def _dataset(
    distances: Float[np.ndarray, "predictor algorithm sequence time"],
    judged: list[str],
    algorithms: list[str],
) -> xr.Dataset:
    counts = np.sum(np.isfinite(distances) | np.isposinf(distances), axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts > 0, np.nansum(distances, axis=2) / counts, np.nan)
        apart = np.nansum((distances - means[:, :, None]) ** 2, axis=2) / np.maximum(counts - 1, 1)
        errors = np.where(counts > 1, np.sqrt(apart / counts), np.nan)
    nearest = np.where(np.isnan(means), np.inf, means).argmin(axis=1)
    names = np.array(algorithms)[nearest]
    closest = np.where(np.isfinite(means).any(axis=1), names, "")
    axes = ("predictor", "algorithm", "time")
    return labelled(
        {
            "distance": (axes, means, {"unit": f"{NATS}, or the square of y's unit"}),
            "standard_error": (axes, errors),
            "closest": (("predictor", "time"), closest),
        },
        coords={
            "predictor": judged,
            "algorithm": algorithms,
            "time": np.arange(1, distances.shape[-1] + 1),
        },
    )
