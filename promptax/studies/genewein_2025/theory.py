"""The paper's claims about exact predictors, and what follows from them, without any network.

Regret is expected cumulative regret to the oracle in nats, over 50 steps where nothing else is
said. Every expectation is a sum over all sequences (`enumeration`), every best prompt is
the best of all. Expected values were computed apart from this library, from closed forms.
"""

import functools
import itertools
import math

import jax.numpy as jnp
import numpy as np
import scipy

from promptax.analysis import promptability
from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.expectations import Expectations
from promptax.protocol.entries import condition
from promptax.specs import traced
from promptax.studies.genewein_2025 import posteriors
from promptax.studies.genewein_2025.posteriors import equals, exact
from promptax.studies.judging import Claim
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Task

STEPS = 50
COINS, COIN, TWO = DirichletCategorical(), Categorical(), CategoricalMixture()


@functools.cache
def claims() -> tuple[Claim, ...]:
    """All of them; a few seconds, once."""
    return (
        long_prompts_suffice(),
        posteriors.variance_vanishes(),
        posteriors.variance_as_printed(),
        posteriors.one_peak(),
        posteriors.mirrored_coins_stay(),
        posteriors.gap_stays(),
        posteriors.entropy_falls_on_average(),
        posteriors.every_candidate_is_promptable(),
        novel_targets_are_out_of_reach(),
        two_coins_are_no_beta(),
        demonstrations_are_not_the_best(),
        typical_is_not_the_best(),
        optimal_for_the_target(),
        best_of_all_words(),
        prompts_hurt_on_two_coins(),
    )


def long_prompts_suffice(target: Categorical = COIN) -> Claim:
    """T01: the target is one of the prior's coins."""
    by_length = promptability(COINS, target, 1000, STEPS).table["regret"].values
    tenfold = max(by_length[10 * n] / by_length[n] for n in range(1, 101))
    return Claim(
        "T01",
        "If the target is one task that the prior holds possible, the best of all prompts of up to "
        "L symbols takes regret towards 0 as L grows. Of exactly L symbols, one more can hurt.",
        "§3, Eq. 8-9",
        (
            *(
                equals(f"best regret, exactly {n} symbols", by_length[n], expected, 1e-4)
                for n, expected in ((3, 0.7959), (4, 0.7980), (100, 0.0368), (1000, 0.0006))
            ),
            exact("best regret, up to 100 symbols", by_length[:101].min(), most=0.0368),
            exact("best regret, up to 1000 symbols", by_length.min(), most=0.0006),
            exact("largest share that exactly ten times the symbols leave", tenfold, most=0.5),
        ),
    )


def novel_targets_are_out_of_reach(target: Categorical = Categorical((0.1, 0.9))) -> Claim:
    """T08: a prior over two coins, and a target beyond both."""
    prior = CategoricalMixture(((0.3, 0.7), (0.7, 0.3)))
    theta = np.array(target.probabilities)
    nearest = min(np.sum(theta * np.log(theta / row)) for row in np.array(prior.probabilities))
    best = promptability(prior, target, 200, STEPS).best_up_to
    return Claim(
        "T08",
        "A coin beyond all of the prior's stays out of reach of every prompt: its regret is no "
        "less than the divergence to the nearest of them, at every step.",
        "§3, second limitation; no experiment in the paper",
        (
            exact("divergence to the nearest coin times 50, nats", nearest * STEPS, least=1.0),
            exact(
                "best regret of all prompts of up to 200 symbols minus that",
                best - nearest * STEPS,
                least=-1e-9,
            ),
        ),
    )


def two_coins_are_no_beta(target: Task = TWO) -> Claim:
    """D01, its exact half: the best priors of two families, pseudo-counts and truncation free."""
    expectations = Expectations(target, STEPS)

    def regret_of(task: Task) -> float:
        with enumeration.double_precision():
            predictor = traced(task).bayes()
        return float(expectations.regret(predictor).sum())

    def beta(logs: np.ndarray) -> float:
        return regret_of(DirichletCategorical(tuple(np.exp(logs))))

    def truncated(logits: np.ndarray) -> float:
        low, high = sorted(1 / (1 + np.exp(-logits)))
        return regret_of(uniform_between(low, high))

    accuracy = {"xatol": 1e-4, "fatol": 1e-7}
    betas = [
        scipy.optimize.minimize(beta, start, method="Nelder-Mead", options=accuracy)
        for start in ([0.0, 0.0], [1.5, -0.5], [2.0, 2.0])
    ]
    best = min(betas, key=lambda result: result.fun)
    cut = scipy.optimize.minimize(truncated, [-1.5, 2.0], method="Nelder-Mead", options=accuracy)
    return Claim(
        "D01 exact",
        "Whatever its pseudo-counts, a Beta prior leaves about twice the log 2 that two coins "
        "need, and a uniform prior hardly less, wherever it is cut off. A prompted network that "
        "does better has left both families.",
        "not in the paper; follows from its Eq. 10",
        (
            equals("regret of the best Beta prior", best.fun, 1.4624, 1e-3),
            equals("its smaller pseudo-count", math.exp(min(best.x)), 1.25, 1e-2),
            equals("its larger pseudo-count", math.exp(max(best.x)), 1.25, 1e-2),
            equals("regret of the best truncated uniform prior", cut.fun, 1.3315, 1e-3),
        ),
    )


def uniform_between(low: float, high: float) -> CategoricalMixture:
    """A coin uniform between two biases: Gauss-Legendre nodes, exact for up to 50 symbols."""
    points, weights = np.polynomial.legendre.leggauss(STEPS // 2 + 1)
    biases = low + (high - low) * (points + 1) / 2
    return CategoricalMixture(tuple(zip(biases, 1 - biases, strict=True)), weights / 2)


def demonstrations_are_not_the_best(target: Categorical = COIN, length: int = 6) -> Claim:
    """D02: the prompt is a sample of the target itself."""
    prompts = enumeration.compositions(length, 2)
    expectations = Expectations(target, STEPS)
    regrets = expectations.regrets_after_counts(COINS.bayes(), prompts)
    drawn = enumeration.count_table(target.bayes(), length + 1)
    chances = drawn.joint[drawn.length == length].sum(axis=1)
    demonstrated = float(chances @ regrets)
    by_step = expectations.at(STEPS + length).regret(COINS.bayes())
    return Claim(
        "D02",
        "Symbols of the target itself are not its best prompt: on average they leave more regret "
        "than the best one, exactly what is still to come after that many steps.",
        "not in the paper; follows from its Eq. 10",
        (
            equals(f"regret after {length} symbols of the target", demonstrated, 0.9280, 1e-4),
            equals(f"regret after the best {length} symbols", regrets.min(), 0.5711, 1e-4),
            exact(
                f"distance to the regret of steps {length + 1} to {length + STEPS} unprompted",
                abs(demonstrated - by_step[length:].sum()),
                most=1e-9,
            ),
        ),
    )


def typical_is_not_the_best(target: Categorical = COIN) -> Claim:
    """D03: the typical prompt has the target's own share of symbols 0."""
    table = promptability(COINS, target, 100, STEPS).table
    typical = [(1, 3), (20, 80)]
    expectations = Expectations(target, STEPS)
    after = expectations.regrets_after_counts(COINS.bayes(), np.array(typical))
    zeros = {n: float(table["counts"].sel(prompt_length=n)[0]) for n in (4, 100)}
    lost = {
        n: float(value - table["regret"].sel(prompt_length=n))
        for n, value in zip((4, 100), after, strict=True)
    }
    return Claim(
        "D03",
        "The best prompt is not the most typical one: for a coin that shows symbol 0 once in five, "
        "it has fewer of them.",
        "not in the paper; follows from its Eq. 10",
        (
            equals("symbols 0 in the best 4 (typical: 1)", zeros[4], 0.0, 0.0),
            equals("symbols 0 in the best 100 (typical: 20)", zeros[100], 19.0, 0.0),
            exact("what the typical 4 lose to the best, nats", lost[4], least=1e-9),
            exact("what the typical 100 lose to the best, nats", lost[100], least=1e-9),
        ),
    )


def optimal_for_the_target(single: Task = COIN, mixture: Task = TWO) -> Claim:
    """M10: what the target's own exact predictor leaves."""

    def sums(target: Task) -> np.ndarray:
        return Expectations(target, 200).regret(target.bayes()).cumsum()[[49, 199]]

    return Claim(
        "M10",
        "The best predictor for the target has no regret on one coin, and on two the log 2 that it "
        "takes to tell them apart.",
        "Figures 1 and 3, TargetBayes",
        tuple(
            equals(f"regret on {name}, {steps} steps", value, expected, 1e-3)
            for name, target, expected in (
                ("one coin", single, 0.0),
                ("two coins", mixture, math.log(2)),
            )
            for steps, value in zip((50, 200), sums(target), strict=True)
        ),
    )


def best_of_all_words(target: Categorical = COIN) -> Claim:
    """M07, its exact half: every order of every prompt by itself, read symbol by symbol."""
    words = list(itertools.product(range(2), repeat=6))
    expectations = Expectations(target, STEPS)
    regrets = np.array(
        [expectations.regret(condition(COINS.bayes(), jnp.array(word))).sum() for word in words]
    )
    best = {word for word, value in zip(words, regrets, strict=True) if value < min(regrets) + 1e-6}
    expected = {word for word in words if word.count(0) == 1}
    return Claim(
        "M07 exact",
        "Of all 64 prompts of six symbols, the best for the exact predictor are those with a "
        "single symbol 0, in any order, and no others.",
        "the published code's ranking of prompts; not in the paper",
        (
            equals("prompts that are the best, to 1e-6 nats", len(best), 6.0, 0.0),
            exact("of these and the expected six, in one set only", len(best ^ expected), 0.0, 0.0),
            equals("their regret", regrets.min(), 0.5711, 1e-3),
        ),
    )


def prompts_hurt_on_two_coins(target: Task = TWO) -> Claim:
    """M13, the half that can be computed: hard prompts hurt on two coins."""
    answer = promptability(COINS, target, 6, STEPS)
    return Claim(
        "M13 exact",
        "On two coins hard prompts hurt: even the best six symbols leave more regret than none.",
        "Figure 3, PreBayes and PreBayesPT",
        (
            equals("regret after the best 6 symbols", answer.best_regret, 1.958, 1e-3),
            equals("symbols 0 among them", answer.best_prompt.count(0), 3.0, 0.0),
            equals("regret without a prompt", answer.table["regret"].values[0], 1.4772, 1e-3),
            equals("symbols in the best prompt of up to 6", answer.best_length, 0.0, 0.0),
        ),
    )
