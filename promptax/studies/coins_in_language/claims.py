"""What a Bayes predictor would do, asked of a language model, as numbers with bounds.

Bounds come from exact predictors and from what Genewein et al. 2025 found of networks pretrained on
coins; they were set before the model was measured, and stay. Names: L for what it does in context,
S for the single coin, T for two coins, X for what is exact. Regret is cumulative regret to the
oracle in nats, over 50 flips where nothing else is said.
"""

from collections.abc import Mapping

import xarray as xr

from promptax.experiments.groups import UNTUNED
from promptax.studies.coins_in_language.conditions import (
    HARD,
    KEY_VALUE,
    LOW_RANK,
    RANDOM_COINS,
    SINGLE,
    SOFT,
    SPELLINGS,
    STEPS,
    TUNED_STEPS,
    TWO,
)
from promptax.studies.coins_in_language.reading import (
    Reader,
    best,
    equals,
    exact,
    fit_error,
    heads_found,
    prior_mean,
    regret,
    strength,
)
from promptax.studies.judging import Check, Checks, Claim, ClaimList

PROMPTS = (HARD, SOFT, KEY_VALUE)
BEST_BETA = 1.4624  # least regret of any Beta prior on two coins (claim "D01 exact" of the paper's)
NEAR = 0.15  # nats: as far from exact Bayes as the paper's networks are on their own task
GAIN = 0.3  # nats by which soft prompts beat hard ones at least in the paper

CLAIMS = ClaimList[Reader]()


def claims(results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
    """All claims, judged on what was measured so far."""
    return CLAIMS.claims(Reader(results))


# --- in context -----------------------------------------------------------------------------


@CLAIMS.enter(
    "L1",
    "In context the model learns the bias of a coin: regret grows ever slower.",
    "Genewein et al. 2025, §2: Bayes' regret grows with log n",
)
def _learns(reader: Reader) -> Checks:
    optimum = exact()
    growth = optimum.laplace_far / optimum.laplace[RANDOM_COINS]
    for spelling in SPELLINGS:
        far = reader.by_seed(spelling, RANDOM_COINS, lambda r: regret(r, UNTUNED, STEPS))
        values = reader.by_seed(
            spelling, RANDOM_COINS, lambda r: regret(r, UNTUNED, STEPS) / regret(r, UNTUNED)
        )
        share = tuple(value / optimum.half_far for value in far)
        yield Check(
            f"{spelling}: regret after {STEPS} flips over that after {TUNED_STEPS}",
            values,
            most=1.5,
            printed=round(growth, 3),
        )
        yield Check(
            f"{spelling}: regret after {STEPS} flips as a share of that of always predicting 1/2",
            share,
            most=0.5,
            printed=round(optimum.laplace_far / optimum.half_far, 3),
        )


@CLAIMS.enter(
    "L2",
    "It predicts random coins as exact Bayes does, which is Laplace's rule.",
    "Genewein et al. 2025, Eq. 6, of networks pretrained on coins",
)
def _like_laplace(reader: Reader) -> Checks:
    for spelling in SPELLINGS:
        above = reader.by_seed(
            spelling,
            RANDOM_COINS,
            lambda r: regret(r, UNTUNED, STEPS) - regret(r, "bayes", STEPS),
        )
        yield Check(f"{spelling}: regret above Laplace's over {STEPS} flips", above, most=1.0)


@CLAIMS.enter(
    "L3", "Its predictions are those of some Beta prior.", "de Finetti: flips have no order"
)
def _some_beta(reader: Reader) -> Checks:
    for spelling in SPELLINGS:
        errors = reader.by_seed(spelling, RANDOM_COINS, fit_error)
        yield Check(f"{spelling}: distance from the closest Beta prior, nats", errors, most=0.5)


@CLAIMS.enter(
    "L4",
    "That prior is the same whichever way outcomes are spelled, and prefers none of them.",
    "a Bayes predictor knows symbols by their order alone",
)
def _any_spelling(reader: Reader) -> Checks:
    sizes = []
    for spelling in SPELLINGS:
        means = reader.by_seed(spelling, RANDOM_COINS, prior_mean)
        yield Check(f"{spelling}: share of the first outcome in the prior", means, 0.4, 0.6)
        sizes.append(reader.by_seed(spelling, RANDOM_COINS, strength))
    ratios = tuple(
        max(seeds) / min(seeds)
        for seeds in zip(*(values for values in sizes if values), strict=False)
        if len(seeds) > 1
    )
    yield Check("strength of the strongest prior over that of the weakest", ratios, most=2.0)


# --- single coin ----------------------------------------------------------------------------


@CLAIMS.enter("S1", "To a single coin a hard prompt helps as it helps exact Bayes.", "§3, Figure 1")
def _hard_helps(reader: Reader) -> Checks:
    optimum = exact()
    gain = optimum.laplace[SINGLE] - optimum.prompted[SINGLE]
    gains = reader.tuned(SINGLE, lambda r: regret(r, UNTUNED) - regret(r, HARD))
    yield Check("untuned above the best hard prompt", gains, gain / 2, printed=round(gain, 3))
    heads = reader.tuned(SINGLE, lambda r: heads_found(r, HARD))
    yield Check("heads among the 6 flips of the best hard prompt", heads, 0.0, 1.0)


@CLAIMS.enter("S2", "To a single coin a prompt suffices.", "§3, Figure 1")
def _prompt_suffices(reader: Reader) -> Checks:
    least = reader.tuned(SINGLE, lambda r: best(r, PROMPTS))
    bound = exact().prompted[SINGLE]
    yield Check(
        "best of all prompts; at most exact Bayes behind its best hard prompt",
        least,
        most=bound,
        printed=0.0,
    )
    beaten = reader.tuned(SINGLE, lambda r: regret(r, HARD) - best(r, (SOFT, KEY_VALUE)))
    yield Check("best hard prompt above the best soft or key/value prompt", beaten, least=GAIN)


@CLAIMS.enter("S3", "To a single coin weights suffice.", "Figure 1")
def _weights_suffice(reader: Reader) -> Checks:
    yield Check("low rank", reader.tuned(SINGLE, lambda r: regret(r, LOW_RANK)), most=0.1)


@CLAIMS.enter("S4", "What was tuned to it knows its bias.", "a prompt is worth observations")
def _knows_the_bias(reader: Reader) -> Checks:
    for method in (SOFT, KEY_VALUE, LOW_RANK):
        means = reader.tuned(SINGLE, lambda r, m=method: prior_mean(r, m))
        yield Check(f"{method}: share of heads in its prior", means, 0.15, 0.25, printed=0.2)
        ratios = reader.tuned(SINGLE, lambda r, m=method: strength(r, m) / strength(r))
        yield Check(f"{method}: strength of its prior over the untuned one's", ratios, least=1.0)


# --- two coins ------------------------------------------------------------------------------


@CLAIMS.enter(
    "T1", "To two coins no hard prompt suffices: none is better than none.", "§3, Figure 3"
)
def _no_hard_prompt(reader: Reader) -> Checks:
    optimum = exact()
    above = optimum.prompted[TWO] - optimum.laplace[TWO]
    least = reader.tuned(TWO, lambda r: regret(r, HARD))
    yield Check("best hard prompt; at least what any Beta prior leaves", least, BEST_BETA)
    losses = reader.tuned(TWO, lambda r: regret(r, HARD) - regret(r, UNTUNED))
    yield Check("best hard prompt above untuned", losses, 0.0, printed=round(above, 3))


@CLAIMS.enter("T2", "To two coins soft prompts do not suffice either.", "Figure 3, M15 to M17")
def _no_soft_prompt(reader: Reader) -> Checks:
    floor = exact().bayes[TWO]
    for method in (SOFT, KEY_VALUE):
        values = reader.tuned(TWO, lambda r, m=method: regret(r, m))
        yield Check(method, values, floor + NEAR, printed=round(floor, 4))


@CLAIMS.enter("T3", "To two coins weights suffice.", "Figure 3")
def _low_rank(reader: Reader) -> Checks:
    floor = exact().bayes[TWO]
    values = reader.tuned(TWO, lambda r: regret(r, LOW_RANK))
    yield Check(LOW_RANK, values, most=floor + NEAR, printed=round(floor, 4))
    ahead = reader.tuned(TWO, lambda r: best(r, PROMPTS) - regret(r, LOW_RANK))
    yield Check("best of all prompts above low rank", ahead, least=0.0)


@CLAIMS.enter(
    "T4", "What keeps two coins apart is explained by no Beta prior.", "Eq. 10: posteriors collapse"
)
def _no_beta(reader: Reader) -> Checks:
    least = exact().two_coins_fit_error
    errors = reader.tuned(TWO, lambda r: fit_error(r, LOW_RANK))
    yield Check(
        "low rank: distance from the closest Beta prior, nats",
        errors,
        least=least / 2,
        printed=round(least, 3),
    )


@CLAIMS.enter(
    "X1",
    "Of exact Bayes on random coins: a hard prompt helps on a single coin, and hurts on two.",
    "§3; sums over all sequences",
)
def _exactly(reader: Reader) -> Checks:
    del reader
    optimum = exact()
    yield equals("single coin, no prompt", optimum.laplace[SINGLE], 1.4772)
    yield equals("single coin, best prompt of 6 flips", optimum.prompted[SINGLE], 0.5711)
    yield equals("two coins, no prompt", optimum.laplace[TWO], 1.4772)
    yield equals("two coins, best prompt of 6 flips", optimum.prompted[TWO], 1.9580)
    yield equals("two coins, their own predictor", optimum.bayes[TWO], 0.6931)
