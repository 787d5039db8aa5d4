"""Which algorithm does a predictor carry out? Its distance from named ones, step by step.

A network that was trained on many tasks may predict as one algorithm after few observations and as
another after many: as ridge regression or as least squares (Akyürek et al. 2022, arXiv 2211.15661),
as the posterior over the tasks of its training or as that over all tasks (Raventós et al. 2023,
arXiv 2306.15063). To see it, let all of them predict the same sequences and measure how far apart
their predictions are.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from promptax.axes import NATS, AnyKey, labelled
from promptax.checks import door
from promptax.protocol.entries import check_no_nan
from promptax.protocol.outcomes import Gaussian, Outcome, Points
from promptax.protocol.predictions import AnyPrediction, Mixed
from promptax.protocol.predictor import Predictor
from promptax.specs import as_key, check, check_kind, check_whole_numbers, traced
from promptax.tasks.base import Task, sample_batch


@door
def algorithm_distances(
    judged: Mapping[str, Predictor],
    algorithms: Mapping[str, Predictor],
    source: Task,
    key: AnyKey,
    *,
    length: int,
    sequences: int = 256,
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
    for word, predictors in (("judged", judged), ("algorithms", algorithms)):
        check(len(predictors) > 0, f"Expected at least one predictor by name as {word}; got none.")
        for name, predictor in predictors.items():
            check_kind(predictor, Predictor, f"{word}[{name!r}]")
            check_no_nan(predictor, name)
            check(
                predictor.outcome == source.outcome,
                f"Expected {name!r} to predict {source.outcome.words()}, as the source has them; "
                f"it predicts {predictor.outcome.words()}.",
            )
    keys = jax.random.split(as_key(key), sequences)
    episodes = sample_batch(traced(source), keys, length)
    scored = _scored(source.outcome, episodes)
    predicted, named = (
        {name: _predictions(traced(p), episodes.inputs) for name, p in predictors.items()}
        for predictors in (judged, algorithms)
    )
    distances = np.array(
        [
            [_distances(source.outcome, numbers, others) for others in named.values()]
            for numbers in predicted.values()
        ]
    )
    check(
        not np.isnan(distances[..., scored]).any(),
        "Expected predictions that are numbers; some are NaN on the sequences of the source.",
    )
    values = np.where(scored, distances, np.nan)
    return _dataset(values, list(judged), list(algorithms))


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
    outcome: Outcome, judged: Array, algorithm: Array
) -> Float[np.ndarray, "sequence time"]:
    """Of the numbers that predictions show: log probabilities, or the mean first."""
    p, a = np.asarray(judged, float), np.asarray(algorithm, float)
    if _speaks_of_numbers(outcome):
        return (p[..., 0] - a[..., 0]) ** 2
    expected = np.where(a > -np.inf, np.exp(a), 0.0)
    with np.errstate(invalid="ignore"):
        terms = np.where(expected > 0, expected * (a - p), 0.0)
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
