r"""What prompts of any length can do: where long ones lead, and below what none can go.

Prompts cannot all be tried. Where the prior's posterior is known in closed form, they need not be.

**A mixture of finitely many sources.** A long prompt with the shares of one source leaves belief in
that source alone. Every prompt makes some belief p over the sources, and so does every mixture of
prompts; regret is convex in p, and the least of all beliefs, found by expectation maximisation, is
a bound for all of them:  R(p) - R(any) ≤ log max_k E[P_k(x) / Σ_j p_j P_j(x)].

**A Dirichlet prior.** A long prompt leaves belief in one source, any that it chooses. If the target
has several, a short prompt may be better; but all prompts that bring the total of the pseudo-counts
to A or more predict so nearly one source that, over N steps (Jensen's and Gibbs's inequalities),

    R  ≥  N (H(P) - H)  -  Σ_{t<N} log(1 + (E - 1) t / (A + t))

with P(i) the target's chance of symbol i, H the oracle's entropy, and E = Σ_i P(i, after an i).
Only prompts for which this bound is too low to decide need to be tried.
"""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.special import xlogy

from promptax.analysis.prompt_or_tune.best_prompts import (
    behind,
    best_tokens,
    table_of_best,
)
from promptax.analysis.prompt_or_tune.longer_prompts import affordable
from promptax.analysis.prompt_or_tune.prompt_mixtures import best_components
from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.expectations import Expectations
from promptax.evaluation.exact.final_counts import Finals, finals, mixed_regret
from promptax.protocol.exchangeable import Exchangeable
from promptax.protocol.predictor import Predictor
from promptax.tasks.base import Task
from promptax.tasks.independent.categorical import KnownDistribution

MOST_PAIRS = 1_000_000
ROUNDS = 10_000  # of expectation maximisation; fewer leave a lower bound, which is true as well
SURE = 1e-7  # nats


class Limits(NamedTuple):
    """All in nats of expected cumulative regret; infinite or the floor where nothing is known.

    `approached`: prompts come as near to it as one likes, or reach it; `predictor`: predicts as
    those do; `least`: no prompt of any length leaves less; `mixture_approached`, `mixture_least`:
    the same for Bayes mixtures of prompts.
    """

    approached: float
    predictor: Predictor
    least: float
    mixture_approached: float
    mixture_least: float


def limits(
    prior: Task, expectations: Expectations, table: xr.Dataset, components: int = 1
) -> Limits:
    """What is known of prompts of any length, beside those in a table of `longer_prompts`."""
    bayes, target, length = prior.bayes(), expectations.target, expectations.length
    floor = float(expectations.regret(expectations.bayes).sum())
    best = float(table["regret"].min()), behind(bayes, best_tokens(table))
    ends = _ends(bayes, target) if expectations.counts_suffice(bayes) else None
    if ends is None:
        return Limits(*best, floor, np.inf, floor)
    final = finals(target, length)
    chances = xlogy(final.counts, ends[:, None]).sum(axis=-1)
    regrets = mixed_regret(chances[:, None], final)
    first = int(np.argmin(np.round(regrets, 9)))
    if regrets[first] < best[0] - SURE:
        best = float(regrets[first]), KnownDistribution(tuple(ends[first].tolist()))
    mixed = chances[best_components(chances, final, components, MOST_PAIRS)]
    prior_counts = _pseudo_counts(bayes)
    if prior_counts is None:
        least = max(floor, _least_of_beliefs(_with_uniform(chances, ends, final), final))
        return Limits(*best, least, float(mixed_regret(mixed, final)), least)
    tried = int(np.argmin([*table["exhaustive"].values, False]))  # all shorter ones were
    needed = _needed(prior_counts, target, length, tried, best[0])
    if needed > tried and best[0] > floor + SURE:
        longer = table_of_best(prior, expectations, needed - 1)
        if longer.best_up_to < best[0] - SURE:
            best = longer.best_up_to, behind(bayes, best_tokens(longer.table))
    least = max(floor, min(best[0], _least_of_long_prompts(prior_counts, target, length, needed)))
    return Limits(*best, least, float(mixed_regret(mixed, final)), floor)


def _ends(bayes: Predictor, target: Task) -> Float[np.ndarray, "source symbol"] | None:
    """Sources that long prompts can leave belief in: all of them, or the best; None: not known."""
    prior_counts = _pseudo_counts(bayes)
    if prior_counts is None:
        return _sources(bayes)
    mean = np.exp(enumeration.log_probs_after(target.bayes(), np.zeros((1, target.symbols), int)))
    sources = _sources(target.bayes())
    every = mean if sources is None else np.concatenate([mean, sources])
    never = prior_counts == 0
    if mean[0, never].any():  # all is lost, save behind an impossible prompt
        return np.full((1, target.symbols), 1 / target.symbols)
    return every[(every[:, never] == 0).all(axis=1)]


def _sources(bayes: Predictor) -> Float[np.ndarray, "source symbol"] | None:
    return bayes.sources if isinstance(bayes, Exchangeable) else None


def _pseudo_counts(bayes: Predictor) -> Float[np.ndarray, " symbol"] | None:
    return bayes.pseudo_counts if isinstance(bayes, Exchangeable) else None


def _with_uniform(chances: np.ndarray, sources: np.ndarray, final: Finals) -> np.ndarray:
    """If some prompts are impossible under every source, they are followed by the uniform one."""
    if not (sources == 0).any(axis=1).all():
        return chances
    uniform = np.full(chances.shape[1], -final.length * np.log(sources.shape[1]))
    return np.concatenate([chances, uniform[None]])


def _least_of_beliefs(chances: Float[np.ndarray, "source final"], final: Finals) -> float:
    """No more than the regret of any belief over the sources, and within `SURE` of the best's if
    the rounds suffice."""
    comes = final.chance > 0
    chance, chances = final.chance[comes], chances[:, comes]
    highest = chances.max(axis=0)
    if np.isneginf(highest).any():
        return np.inf
    likelihood = np.exp(chances - highest)
    belief = np.full(len(chances), 1 / len(chances))
    for _ in range(ROUNDS):
        mixed = belief @ likelihood
        gain = likelihood @ (chance / mixed)
        if np.log(gain.max()) < SURE:
            break
        belief = belief * gain
    loss = -float(chance @ (np.log(mixed) + highest))
    return loss - final.oracle_loss - float(np.log(gain.max()))


def _least_of_long_prompts(
    prior_counts: Float[np.ndarray, " symbol"], target: Task, length: int, prompt_length: int
) -> float:
    """No more than the regret behind any prompt of that many symbols or more."""
    first_and_second = np.concatenate([np.zeros((1, target.symbols)), np.eye(target.symbols)])
    rows = np.exp(enumeration.log_probs_after(target.bayes(), first_and_second.astype(int)))
    chance, again = rows[0], np.diagonal(rows[1:])[rows[0] > 0].sum()
    with enumeration.double_precision():
        oracle_loss = np.asarray(target.oracle_entropy(length))
    if chance[prior_counts == 0].any():
        return math.fsum(np.log(target.symbols) - oracle_loss)
    information, read = -xlogy(chance, chance).sum() - oracle_loss, np.arange(length)
    total = np.sum(prior_counts) + prompt_length
    return math.fsum(information) - float(np.log1p((again - 1) * read / (total + read)).sum())


def _needed(
    prior_counts: Float[np.ndarray, " symbol"], target: Task, length: int, tried: int, best: float
) -> int:
    """Beyond how many symbols no prompt is better than the best, as far as all can be tried."""
    prompt_length = tried
    while _least_of_long_prompts(
        prior_counts, target, length, prompt_length
    ) < best - SURE and affordable(target, 2 * prompt_length, length):
        prompt_length *= 2
    return prompt_length
