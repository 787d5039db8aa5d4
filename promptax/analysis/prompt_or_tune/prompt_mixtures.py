"""Several prompts at once: the exact predictor behind each of K hard prompts, mixed by Bayes.

A single prompt cannot leave a mixture of tasks in the posterior, but K prompts can, one for each
part: start with equal weights, read the sequence behind every prompt, and weight the predictions by
how well each did so far. Since that mixture is Bayes's rule, its probability of a whole sequence is
the average over the K prompts, which for exchangeable predictors depends on the final counts alone:

    regret(N) = -Σ_k P(k) log( 1/K Σ_i P_i(x_k) ) - N·H

with k the count vectors of N symbols, P(k) their probability under the target, x_k any one
sequence with counts k, P_i(x_k) its probability behind prompt i, and H the oracle's entropy. No
sampling. The idea of mixing prompts is from Qin & Eisner 2021, *Learning How to Ask*;
`promptax.mix` makes the predictor.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from promptax.axes import NATS, labelled
from promptax.doors import door
from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.best_set import best_set
from promptax.evaluation.exact.final_counts import Finals, finals, log_chances, mixed_regret
from promptax.protocol.mixture import check_components
from promptax.protocol.predictor import Predictor
from promptax.specs import check, check_kind, check_whole_numbers
from promptax.tasks.base import Task

MOST_PAIRED = 120_000_000  # pairs times final counts: a few seconds
MOST_TRIED = 8_000_000  # predictions for all prompts of one length; longer ones are improved upon


class BestMixture(NamedTuple):
    """K prompts, as counts [component, symbol], and the regret of their mixture in nats.

    `exhaustive`: whether all choices of that length were tried; if not, none that differs in one
    prompt is better, or (beyond `MOST_TRIED`) none that differs in one symbol.
    """

    counts: Int[np.ndarray, "component symbol"]
    regret: float
    exhaustive: bool


def best_mixture(
    prior: Predictor, final: Finals, prompt_length: int, components: int = 2
) -> BestMixture | None:
    """The best mixture of prompts of exactly `prompt_length` symbols; None if there are too many.

    Pairs are all tried where they are few enough. Otherwise, and for more than two, none that is
    exchanged makes it better.
    """
    symbols = final.counts.shape[1]
    candidates = math.comb(prompt_length + symbols - 1, symbols - 1)
    if candidates * enumeration.size(symbols, final.length) > MOST_TRIED:
        return None
    prompts = enumeration.compositions(prompt_length, symbols)
    chances = log_chances(prior, prompts, final.length)
    pairs = MOST_PAIRED // len(final.counts)
    chosen = best_components(chances, final, components, pairs)
    regret = float(mixed_regret(chances[chosen], final))
    every = components == 1 or (components == 2 and candidates * (candidates + 1) // 2 <= pairs)
    return BestMixture(prompts[chosen], regret, every)


def best_components(
    chances: Float[np.ndarray, "candidate final"], final: Finals, components: int, pairs: int
) -> list[int]:
    """The candidates whose mixture has the least regret, by `best_set`."""
    comes = final.chance > 0
    return best_set(chances[:, comes], components, pairs, final.chance[comes], same=1e-10)


def improved_mixture(
    prior: Predictor, final: Finals, start: Int[np.ndarray, "component symbol"]
) -> BestMixture:
    """A mixture that no exchange of one symbol in one prompt improves, from `start` on.

    Moves of many symbols come first, then fewer. What it finds is an upper bound of the best.
    """
    counts, size = start.copy(), max(1, int(start[0].sum()) // 16)
    chances = log_chances(prior, counts, final.length)
    regret = float(mixed_regret(chances, final))
    while size:
        moves = _moves(counts, size)
        least = np.inf
        if moves:
            near = log_chances(prior, np.array([row for _, row in moves]), final.length)
            tried = np.repeat(chances[None], len(moves), axis=0)
            tried[np.arange(len(moves)), [place for place, _ in moves]] = near
            regrets = mixed_regret(tried, final)
            best = int(np.argmin(regrets))
            least = float(regrets[best])
        if least < regret - 1e-9:
            place, row = moves[best]
            counts[place], chances, regret = row, tried[best], least
        else:
            size //= 2
    return BestMixture(counts, regret, False)


def _moves(counts: np.ndarray, size: int) -> list[tuple[int, np.ndarray]]:
    """Prompts with `size` symbols exchanged for another, and which one of the mixture they are."""
    moves = []
    for place, row in enumerate(counts):
        for taken, given in itertools.permutations(range(len(row)), 2):
            if row[taken] >= size:
                moved = row.copy()
                moved[taken] -= size
                moved[given] += size
                moves.append((place, moved))
    return moves


def _scaled(counts: np.ndarray, prompt_length: int) -> np.ndarray:
    """The same shares of the symbols in prompts of another length."""
    exact = counts * (prompt_length / counts.sum(axis=1, keepdims=True))
    whole = np.floor(exact).astype(int)
    for row, fraction in zip(whole, exact - whole, strict=True):
        row[np.argsort(-fraction, kind="stable")[: prompt_length - row.sum()]] += 1
    return whole


@door
def prompt_mixtures(
    prior: Task,
    target: Task,
    prompt_lengths: Sequence[int],
    length: int = 50,
    components: int = 2,
) -> xr.Dataset:
    """The best Bayes mixture of K hard prompts of each length, exactly.

    Args:
        prior: the pretraining task; its exact predictor must depend on counts alone.
        target: the task that is prompted for; it needs an oracle and such a predictor too.
        prompt_lengths: symbols in each of the prompts, from 0 up.
        length: steps of a target sequence over which regret is summed.
        components: K, how many prompts; 1 is a single prompt.

    Returns:
        `regret` [prompt_length], expected cumulative regret to the target's oracle in nats;
        `counts` [prompt_length, component, symbol]; `exhaustive` [prompt_length]: whether all
        choices were tried, or the best one found is an upper bound (`BestMixture`).

    Raises:
        ValueError: order matters to a task, the alphabets differ, or there is too much to try.

    Example: `prompt_mixtures(DirichletCategorical(), CategoricalMixture(), [6]).regret` is 1.2493.
    """
    check_kind(prior, Task, "DirichletCategorical()")
    check_kind(target, Task, "CategoricalMixture()")
    check_whole_numbers(components=components, length=length)
    check_components(components)
    check(
        len(prompt_lengths) > 0 and min(prompt_lengths) >= 0,
        f"Expected prompt lengths from 0 up; got {list(prompt_lengths)}.",
    )
    check(
        prior.symbols == target.symbols and prior.has_bayes and prior.bayes().exchangeable,
        f"Expected a prior over {target.symbols} symbols whose exact predictor depends on counts "
        f"alone; got {type(prior).__name__} over {prior.symbols} symbols.",
    )
    bayes, final = prior.bayes(), finals(target, length)
    prompt_lengths, mixtures = sorted(set(prompt_lengths)), []
    for prompt_length in prompt_lengths:
        mixture = best_mixture(bayes, final, prompt_length, components)
        if mixture is None:
            longer = bool(mixtures) and mixtures[-1].counts.sum() > 0
            even = np.full((components, target.symbols), 1)
            start = _scaled(mixtures[-1].counts if longer else even, prompt_length)
            mixture = improved_mixture(bayes, final, start)
        mixtures.append(mixture)
    return labelled(
        {
            "regret": ("prompt_length", np.array([m.regret for m in mixtures]), {"unit": NATS}),
            "counts": (
                ("prompt_length", "component", "symbol"),
                np.stack([m.counts for m in mixtures]),
            ),
            "exhaustive": ("prompt_length", np.array([m.exhaustive for m in mixtures])),
        },
        coords={"prompt_length": prompt_lengths, "symbol": np.arange(target.symbols)},
        attrs={"unit": NATS, "steps": length},
    )
