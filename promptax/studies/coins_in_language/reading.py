"""Numbers out of the results of the conditions, one for each seed, and what is known exactly."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from promptax.analysis import effective_prior
from promptax.evaluation.exact.expectations import Expectations
from promptax.experiments.groups import UNTUNED, target_groups
from promptax.protocol.predictor import Predictor
from promptax.studies.coins_in_language.conditions import (
    LENGTH,
    MAIN,
    RANDOM_COINS,
    SINGLE,
    STEPS,
    TARGETS,
    TUNED_STEPS,
    TWO,
    name_of,
)
from promptax.studies.judging import Check

PROMPTABLE = (SINGLE, TWO)


class Reader:
    """Reads the results of conditions by what they are; what is not there is empty."""

    def __init__(self, results: Mapping[str, xr.DataTree]) -> None:
        self.results = results
        self.seeds = sorted({int(name.rsplit(" ", 1)[1]) for name in results})

    def groups(self, spelling: str, target: str) -> dict[int, xr.Dataset]:
        """The results on a target, by seed."""
        by_seed = {}
        for seed in self.seeds:
            name = name_of(spelling, target, seed)
            if name in self.results:
                (group,) = target_groups(self.results[name])
                by_seed[seed] = self.results[name][group].to_dataset()
        return by_seed

    def by_seed(
        self, spelling: str, target: str, number: Callable[[xr.Dataset], float]
    ) -> tuple[float, ...]:
        """A number of each seed's results; NaN where what it speaks of diverged."""
        values = []
        for results in self.groups(spelling, target).values():
            with contextlib.suppress(KeyError):  # not measured
                values.append(number(results))
        return tuple(values)

    def tuned(self, target: str, number: Callable[[xr.Dataset], float]) -> tuple[float, ...]:
        """The same where the model was steered."""
        return self.by_seed(MAIN, target, number)


def regret(results: xr.Dataset, predictor: str, steps: int = TUNED_STEPS) -> float:
    """Cumulative regret to the oracle, nats; NaN where tuning diverged."""
    return float(results["regret"].sel(predictor=predictor, time=steps)[0])


def best(results: xr.Dataset, predictors: Iterable[str]) -> float:
    """The least regret of some predictors, nats; NaN if one diverged."""
    return float(np.min([regret(results, predictor) for predictor in predictors]))


def prior_mean(results: xr.Dataset, predictor: str = UNTUNED) -> float:
    """The share of the first outcome in the prior that a predictor behaves like."""
    counts = results["pseudo_counts"].sel(predictor=predictor)[0].values
    return float(counts[0] / counts.sum())


def strength(results: xr.Dataset, predictor: str = UNTUNED) -> float:
    """How many flips the prior is worth that a predictor behaves like."""
    return float(results["pseudo_counts"].sel(predictor=predictor)[0].sum())


def fit_error(results: xr.Dataset, predictor: str = UNTUNED) -> float:
    """Divergence from that prior's exact predictor over the steps of tuning, nats."""
    return float(results["fit_error"].sel(predictor=predictor)[0])


def heads_found(results: xr.Dataset, predictor: str) -> float:
    """How many of the best hard prompt's symbols are the first outcome."""
    return float(str(results["found"].sel(predictor=predictor).item()).split().count("0"))


# --- what is known exactly ------------------------------------------------------------------


class Exact(NamedTuple):
    """Expected regret of exact predictors, nats; over the steps of tuning where nothing is said.

    `laplace`: Beta(1, 1), by target; `laplace_far`: on random coins, over all steps; `half_far`: of
    predicting 1/2, on random coins, over all steps; `prompted`: Beta(1, 1) behind the best hard
    prompt of the length that is searched, by target; `bayes`: the target's own, by target;
    `two_coins_fit_error`: how far two coins' own predictor is from every Beta prior.
    """

    laplace: dict[str, float]
    laplace_far: float
    half_far: float
    prompted: dict[str, float]
    bayes: dict[str, float]
    two_coins_fit_error: float


@functools.cache
def exact() -> Exact:
    """The optimum of every target: expectations in nats, summed over all sequences."""
    laplace = TARGETS[RANDOM_COINS].bayes()

    expectations = {name: Expectations(target, TUNED_STEPS) for name, target in TARGETS.items()}
    far = expectations[RANDOM_COINS].at(STEPS)

    def regret(predictor: Predictor, expectations: Expectations) -> float:
        return float(expectations.regret(predictor).sum())

    return Exact(
        laplace={name: regret(laplace, of) for name, of in expectations.items()},
        laplace_far=regret(laplace, far),
        half_far=math.fsum(np.log(2) - far.oracle_loss),
        prompted={n: expectations[n].best_prompt(laplace, LENGTH).regret for n in PROMPTABLE},
        bayes={name: regret(of.bayes, of) for name, of in expectations.items()},
        two_coins_fit_error=effective_prior(
            TARGETS[TWO].bayes(), TARGETS[TWO], TUNED_STEPS
        ).fit_error,
    )


def equals(what: str, number: float, expected: float) -> Check:
    """A check that a computed number is the expected one, to the digits that are given."""
    return Check(
        what, (float(number),), expected - 1e-3, expected + 1e-3, exact=True, printed=expected
    )
