"""What Genewein et al. 2025 claim of networks, as numbers with bounds.

Bounds were set before anything was measured here, and stay: from the printed values, or, where the
paper has pictures or words alone (M26 to M30, M33) and for what we add (D01), from what those say.
Claims keep the names of our list: M for what is measured, D for what we add. `theory` has those
that need no network.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from promptax.experiments.groups import UNTUNED
from promptax.experiments.plan import RANDOM
from promptax.studies.genewein_2025.conditions import (
    BAYES,
    BOTH,
    EMBEDDING,
    FULL,
    HARD,
    LARGE,
    LONG,
    LOW_RANK,
    LSTM_NAME,
    MORE_STEPS,
    NARROW,
    PRIOR,
    RANDOM_COINS,
    REAL,
    SIMPLEX,
    SINGLE,
    SOFT,
    TRANSFORMER,
    TWO,
    UNEMBEDDING,
    kind,
)
from promptax.studies.genewein_2025.reading import FAR, SHORT, Checker, Place, Reader, made
from promptax.studies.judging import Checks, Claim, ClaimList

NETWORKS = (TRANSFORMER, LSTM_NAME)
PROMPTS, OTHERS = (HARD, SIMPLEX, REAL, SOFT), (HARD, SIMPLEX, REAL)
WEIGHTS = {  # the paper has no low rank of an LSTM
    TRANSFORMER: (FULL, LOW_RANK, EMBEDDING, UNEMBEDDING, BOTH),
    LSTM_NAME: (FULL, EMBEDDING, UNEMBEDDING, BOTH),
}
REACHING = (  # exact Bayes, as claims M03, M08, M15 and M16 say
    *((network, SINGLE, method) for network in NETWORKS for method in (SOFT, *WEIGHTS[network])),
    *((TRANSFORMER, TWO, method) for method in (FULL, LOW_RANK)),
    *((LSTM_NAME, TWO, method) for method in (FULL, EMBEDDING, BOTH)),
)


def claims(results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
    """All claims about networks, judged on what was measured so far."""
    return CLAIMS.claims(Checker(Reader(results)))


CLAIMS = ClaimList[Checker]()


@CLAIMS.enter(
    "M01", "Pretrained networks predict like exact Bayes on their pretraining task.", "Eq. 6"
)
def _like_bayes(checker: Checker) -> Checks:
    for network, most in ((TRANSFORMER, 0.15), (LSTM_NAME, 0.1)):
        place = Place(network, kind(True), SINGLE, UNTUNED, 100)
        values = checker.reader.regret(place, on_prior=True)
        yield made(f"{network}: regret to exact Bayes over 100 random flips", values, most=most)


@CLAIMS.enter(
    "M02",
    "Beyond the length of pretraining the Transformer degrades more than the LSTM.",
    "Figures 1, 3",
)
def _longer_than_trained(checker: Checker) -> Checks:
    for target in (SINGLE, TWO):
        gaps = [
            checker.at(n, target, UNTUNED, FAR) - checker.at(n, target, PRIOR, FAR)
            for n in NETWORKS
        ]
        what = f"{target}, 200 steps, untuned above exact Bayes"
        yield made(f"{what}: Transformer's excess over LSTM's", gaps[0] - gaps[1], least=0.0)
        yield made(f"{what}: LSTM", gaps[1], -0.1, 0.1)


@CLAIMS.enter(
    "M03",
    "On the single coin a soft prompt of 6 rows reaches the target's exact Bayes.",
    "Figure 1",
)
def _soft_reaches(checker: Checker) -> Checks:
    for network, far in ((TRANSFORMER, 0.5), (LSTM_NAME, 0.2)):
        yield checker.number(network, SINGLE, SOFT, most=0.05)
        yield checker.number(network, SINGLE, SOFT, FAR, most=far)


@CLAIMS.enter("M04", "No other prompt does: soft before real before hard and simplex.", "Figure 1")
def _order(checker: Checker) -> Checks:
    for network in NETWORKS:
        hard, simplex, real, soft = (checker.at(network, SINGLE, method) for method in PROMPTS)
        yield made(f"{network}: real above soft prompt", real - soft, least=0.1)
        best = xr.apply_ufunc(np.minimum, hard, simplex, join="inner")
        yield made(f"{network}: best of hard and simplex above real", best - real, least=0.1)


@CLAIMS.enter("M05", "A soft prompt beats the best of all hard prompts of its length.", "Figure 1")
def _soft_beats_hard(checker: Checker) -> Checks:
    for network in NETWORKS:
        gain = checker.at(network, SINGLE, HARD) - checker.at(network, SINGLE, SOFT)
        yield made(f"{network}: best of all 64 hard prompts above soft", gain, least=0.3)


@CLAIMS.enter(
    "M06", "The best hard prompt takes networks as far as the exact predictor.", "Figure 1"
)
def _hard_like_bayes(checker: Checker) -> Checks:
    for network in NETWORKS:
        yield checker.number(network, SINGLE, HARD, least=0.571 - 0.12, most=0.571 + 0.12)


@CLAIMS.enter("M07", "On networks too, the best hard prompt has no or one symbol 0.", "notebook")
def _hard_found(checker: Checker) -> Checks:
    for network in NETWORKS:
        zeros = checker.reader.zeros_found(network, SINGLE)
        yield made(f"{network}: symbols 0 among the 6 of the best hard prompt", zeros, 0.0, 1.0)


@CLAIMS.enter(
    "M08", "All ways of tuning weights are nearly optimal on the single coin.", "Figures 1, A5"
)
def _weights_on_single(checker: Checker) -> Checks:
    for network in NETWORKS:
        for method in WEIGHTS[network]:
            yield checker.number(network, SINGLE, method, most=0.1)
            yield checker.number(network, SINGLE, method, FAR, most=0.5)


@CLAIMS.enter("M09", "What was tuned on 50 steps degrades little up to 200.", "Figure 1")
def _generalises(checker: Checker) -> Checks:
    yield checker.number(TRANSFORMER, SINGLE, SOFT, FAR, most=0.5)
    yield checker.number(LSTM_NAME, SINGLE, SOFT, FAR, most=0.2)


@CLAIMS.enter("M11", "On two coins no prompt reaches the target's exact Bayes.", "Figure 3")
def _no_prompt_reaches(checker: Checker) -> Checks:
    for network in NETWORKS:
        for method in PROMPTS:
            yield checker.number(network, TWO, method, least=0.69 + 0.15)


@CLAIMS.enter("M12", "There a soft prompt still improves on the untuned network.", "Figure 3")
def _soft_helps(checker: Checker) -> Checks:
    bounds = {TRANSFORMER: {SHORT: 0.15, FAR: 0.0}, LSTM_NAME: {SHORT: 0.15, FAR: 0.3}}
    for network, bound in bounds.items():
        for steps, least in bound.items():
            gain = checker.at(network, TWO, UNTUNED, steps) - checker.at(network, TWO, SOFT, steps)
            yield made(f"{network}: soft prompt below untuned, {steps} steps", gain, least=least)


@CLAIMS.enter("M13", "There hard prompts do harm.", "Figure 3")
def _hard_hurts(checker: Checker) -> Checks:
    for network in NETWORKS:
        loss = checker.at(network, TWO, HARD) - checker.at(network, TWO, UNTUNED)
        yield made(f"{network}: best hard prompt above untuned", loss, least=0.2)


@CLAIMS.enter("M14", "There simplex and real prompts do not help.", "Figure 3")
def _simplex_and_real_do_not_help(checker: Checker) -> Checks:
    for network in NETWORKS:
        for method in (SIMPLEX, REAL):
            change = checker.at(network, TWO, method) - checker.at(network, TWO, UNTUNED)
            yield made(f"{network}: {method} above untuned", change, -0.2, 0.2)


@CLAIMS.enter(
    "M15",
    "Full weights, and low rank for the Transformer, reach exact Bayes on two coins.",
    "Figures 3, A6",
)
def _weights_reach(checker: Checker) -> Checks:
    for network, method in ((TRANSFORMER, FULL), (LSTM_NAME, FULL), (TRANSFORMER, LOW_RANK)):
        yield checker.number(network, TWO, method, most=0.78)
        yield checker.number(network, TWO, method, FAR, most=0.95)


@CLAIMS.enter(
    "M16", "So do an LSTM's embedding and both embeddings; its unembedding does not.", "Figure A6"
)
def _lstm_embeddings(checker: Checker) -> Checks:
    for method in (EMBEDDING, BOTH):
        yield checker.number(LSTM_NAME, TWO, method, most=0.78)
        yield checker.number(LSTM_NAME, TWO, method, FAR, most=0.9)
    yield checker.number(LSTM_NAME, TWO, UNEMBEDDING, FAR, least=1.0)


@CLAIMS.enter(
    "M17",
    "A Transformer's embeddings do not, and its unembedding fails on longer sequences.",
    "Figure A6",
)
def _transformer_embeddings(checker: Checker) -> Checks:
    for method in (EMBEDDING, UNEMBEDDING, BOTH):
        yield checker.number(TRANSFORMER, TWO, method, least=0.8, most=1.4)
    yield checker.number(TRANSFORMER, TWO, UNEMBEDDING, FAR, least=4.0)


@CLAIMS.enter("M18", "Prompts of 25 rows do not rescue prompting on two coins.", "Figure A10")
def _longer_prompts(checker: Checker) -> Checks:
    variant = kind(True, LONG)
    for network in NETWORKS:
        yield checker.number(network, TWO, SOFT, variant=variant, least=0.84)
        change = checker.at(network, TWO, SOFT, variant=variant) - checker.at(network, TWO, SOFT)
        yield made(f"{network}: soft prompt of 25 rows above that of 6", change, -0.3, 0.3)
    for method in (REAL, SIMPLEX):
        longer = checker.at(TRANSFORMER, TWO, method, variant=variant)
        change = longer - checker.at(TRANSFORMER, TWO, method)
        yield made(f"Transformer: {method} of 25 rows above that of 6", change, least=0.0)


def _untrained(checker: Checker, network: str, target: str, method: str, steps: int = SHORT):
    return checker.at(network, target, method, steps, kind(False))


@CLAIMS.enter("M19", "A soft prompt brings an untrained Transformer near exact Bayes.", "Figure 4")
def _untrained_soft(checker: Checker) -> Checks:
    for target in (TWO, RANDOM_COINS):
        soft = _untrained(checker, TRANSFORMER, target, SOFT)
        share = soft / _untrained(checker, TRANSFORMER, target, UNTUNED)
        yield made(f"{target}: soft prompt as a share of untuned", share, most=0.25)
        above = soft - _untrained(checker, TRANSFORMER, target, BAYES)
        yield made(f"{target}: soft prompt above exact Bayes", above, 0.2, 1.5)


@CLAIMS.enter("M20", "It breaks down beyond the steps it was tuned on.", "Figure 4")
def _untrained_collapse(checker: Checker) -> Checks:
    for target in (TWO, RANDOM_COINS):
        far, near = (_untrained(checker, TRANSFORMER, target, SOFT, n) for n in (FAR, SHORT))
        yield made(
            f"{target}: soft prompt after 200 steps over that after 50", far / near, least=8.0
        )


@CLAIMS.enter("M21", "No other prompt moves an untrained Transformer.", "Figure 4")
def _untrained_others(checker: Checker) -> Checks:
    for target in (TWO, RANDOM_COINS):
        base = _untrained(checker, TRANSFORMER, target, UNTUNED)
        for method in OTHERS:
            share = _untrained(checker, TRANSFORMER, target, method) / base
            yield made(f"{target}: {method} as a share of untuned", share, least=0.8)


@CLAIMS.enter("M22", "Soft prompts do little for an untrained LSTM.", "Figures A8, A9")
def _untrained_lstm(checker: Checker) -> Checks:
    for target in (TWO, RANDOM_COINS):
        for network, bounds in ((LSTM_NAME, {"most": 0.2}), (TRANSFORMER, {"least": 0.7})):
            soft = _untrained(checker, network, target, SOFT)
            gain = 1 - soft / _untrained(checker, network, target, UNTUNED)
            yield made(f"{network}, {target}: share that a soft prompt removes", gain, **bounds)


@CLAIMS.enter("M23", "Low rank makes an untrained Transformer nearly optimal.", "Figure 4")
def _untrained_low_rank(checker: Checker) -> Checks:
    for target in (TWO, RANDOM_COINS):
        low = _untrained(checker, TRANSFORMER, target, LOW_RANK)
        above = low - _untrained(checker, TRANSFORMER, target, BAYES)
        yield made(f"{target}: low rank above exact Bayes", above, most=0.15)


@CLAIMS.enter("M24", "So do embeddings, nearly.", "Figures A8, A9")
def _untrained_embeddings(checker: Checker) -> Checks:
    for network, most in ((TRANSFORMER, 0.4), (LSTM_NAME, 0.1)):
        for method in (EMBEDDING, BOTH):
            above = _untrained(checker, network, TWO, method) - _untrained(
                checker, network, TWO, BAYES
            )
            yield made(f"{network}: {method} above exact Bayes", above, most=most)


@CLAIMS.enter("M25", "More steps would not change that of the untrained LSTM.", "Figure A8")
def _more_steps(checker: Checker) -> Checks:
    yield checker.number(LSTM_NAME, TWO, SOFT, variant=kind(False, MORE_STEPS), least=5.0)


@CLAIMS.enter(
    "M26", "With embeddings of width 4 soft prompts stay ahead of real ones.", "Figure A11"
)
def _narrow_single(checker: Checker) -> Checks:
    yield from _soft_below_real(checker, NARROW, SINGLE)


@CLAIMS.enter("M27", "The same on two coins, where they still do not suffice.", "Figure A11")
def _narrow_two(checker: Checker) -> Checks:
    yield from _soft_below_real(checker, NARROW, TWO)
    for network in NETWORKS:
        yield checker.number(network, TWO, SOFT, variant=kind(True, NARROW), least=0.84)


def _soft_below_real(checker: Checker, change: str, target: str) -> Checks:
    for network in NETWORKS:
        real, soft = (
            checker.at(network, target, m, variant=kind(True, change)) for m in (REAL, SOFT)
        )
        yield made(f"{network}, {change}, {target}: real above soft", real - soft, least=0.0)


@CLAIMS.enter("M28", "Larger networks lead to the same conclusions.", "Figure A12")
def _large(checker: Checker) -> Checks:
    yield from _soft_below_real(checker, LARGE, SINGLE)
    for network in NETWORKS:
        variant = kind(True, LARGE)
        yield checker.number(network, SINGLE, SOFT, variant=variant, most=0.05)
        for method in PROMPTS:
            yield checker.number(network, TWO, method, variant=variant, least=0.84)
        yield checker.number(network, TWO, FULL, variant=variant, most=0.78)


@CLAIMS.enter(
    "M29",
    "Of two components of the states one tracks the step, the other the share of heads.",
    "Figure A7",
)
def _axes(checker: Checker) -> Checks:
    for network in NETWORKS:
        time, share = checker.reader.tracked(network)
        yield made(f"{network}: one component and the step", time, least=0.8)
        yield made(f"{network}: the other and the share of heads", share, least=0.8)


@CLAIMS.enter(
    "M30",
    "Real and soft prompts take a Transformer where no data do; it is back within 10 steps.",
    "Figure 2",
)
def _off_manifold(checker: Checker) -> Checks:
    for method in (REAL, SOFT):
        prompt, later, finite = checker.reader.away(TRANSFORMER, method)
        name = f"Transformer, {method}"
        yield made(f"{name}: its distance over the hard prompt's or the usual", prompt, least=2.0)
        kept = f"{name}: distance 10 steps later, over what 95 % of ordinary states keep"
        yield made(kept, later, most=1.0)
        yield made(f"{name}: share of states that are finite", finite, least=1.0)


@CLAIMS.enter("M31", "A random prompt is worse than none.", "Figures 1, 3")
def _random_hurts(checker: Checker) -> Checks:
    for target in (SINGLE, TWO):
        for network in NETWORKS:
            loss = checker.at(network, target, RANDOM) - checker.at(network, target, UNTUNED)
            yield made(f"{network}, {target}: random prompt above untuned", loss, least=0.2)


@CLAIMS.enter("M32", "Tuning losses converge to those of exact Bayes.", "Figures A5, A6")
def _converge(checker: Checker) -> Checks:
    for network, target, method in REACHING:
        above = checker.reader.last_loss(network, target, method)
        yield made(f"{network}, {target}: last losses of {method} above Bayes", above, -0.3, 0.3)


@CLAIMS.enter("M33", "Tuning weights spoils the pretraining task.", "§5")
def _forget(checker: Checker) -> Checks:
    for network in NETWORKS:
        full, base = (
            checker.reader.regret(Place(network, kind(True), SINGLE, m, 100), on_prior=True)
            for m in (FULL, UNTUNED)
        )
        yield made(
            f"{network}: tuned to one coin, on random coins, above untuned", full - base, 1.0
        )


@CLAIMS.enter(
    "D01",
    "On two coins a soft prompt is clearly (by .06) below what any Beta prior could reach (1.46).",
    "ours",
)
def _beyond_every_prior(checker: Checker) -> Checks:
    for network in NETWORKS:
        yield checker.number(network, TWO, SOFT, most=1.40)
