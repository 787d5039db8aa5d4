"""The verdicts of diagnoses where the truth is known, and bounds on prompts of any length."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from support.exact_tasks import COIN, COINS, DICE, THIRDS, TWO, Sticky, gap, plain_regret

from promptax.analysis import diagnose, promptability
from promptax.analysis.prompt_or_tune.limits import _least_of_long_prompts
from promptax.evaluation import Expectations
from promptax.evaluation.exact import enumeration
from promptax.evaluation.exact.final_counts import finals
from promptax.protocol.entries import predict
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical


def at(found, length, name="regret"):
    return float(found.table[name].sel(prompt_length=length))


@pytest.mark.slow
def test_a_prompt_suffices_for_one_coin():
    found = diagnose(COINS, COIN)
    assert found.status == "a prompt suffices" and found.remedy == ""
    np.testing.assert_allclose(at(found, 6), 0.5711, atol=1e-4)
    np.testing.assert_allclose(at(found, 1000), 0.0006, atol=1e-4)
    assert "0.0006" in found.verdict and "0.5711" in found.verdict
    assert at(found, 4) > at(found, 3) == at(found, 4, "best_up_to")  # not monotone
    assert found.table.attrs["limit"] == "reaches the floor of 0.0000"


def test_two_coins_need_two_prompts():
    found = diagnose(COINS, TWO)
    assert found.status == "a prompt cannot suffice"
    assert found.remedy == "a mixture of 2 prompts would suffice"
    np.testing.assert_allclose(found.best_regret, 1.4772, atol=1e-4)
    np.testing.assert_allclose(found.floor, math.log(2), atol=1e-4)
    np.testing.assert_allclose(at(found, 6, "mixture"), 1.2493, atol=1e-4)
    assert "1.4772" in found.verdict and "stays 0.7841 above" in found.table.attrs["limit"]


def test_a_prior_of_two_coins_is_its_own_optimum_and_balanced_prompts_keep_it():
    found = diagnose(THIRDS, THIRDS, longest=10)
    assert found.status == "already optimal"
    even = found.table["regret"].sel(prompt_length=[2, 4, 6, 8, 10])
    np.testing.assert_allclose(even, found.floor, atol=1e-9)
    assert at(found, 3) > found.floor + 0.01
    assert "5×0 5×1 keeps it so" in found.verdict


@pytest.mark.slow
def test_a_prior_with_a_gap_keeps_two_modes_and_can_be_prompted_to_two_coins():
    prior = gap(30)
    with enumeration.double_precision():
        joint = np.asarray(prior.bayes().log_joint(jnp.array([20.0, 20.0])))
        posterior = joint - np.log(prior.weights)  # density: nodes stand for more or less of it
    biases = np.asarray(prior.probabilities)[:, 0]
    order = np.argsort(biases)
    rising = np.diff(posterior[order]) > 0
    assert rising[:29].all() and not rising[30:].any()  # up to 1/3; down from 2/3
    sizes = {"steps": 30, "longest": 80, "tolerance": 0.02}
    found = diagnose(gap(56), THIRDS, **sizes)
    assert found.status == "a prompt suffices"
    assert found.table["counts"].sel(prompt_length=80).values.tolist() == [40, 40]
    assert diagnose(COINS, THIRDS, **sizes).status == "a prompt helps but cannot suffice"
    assert diagnose(prior, prior, longest=6, steps=10).status == "already optimal"


@pytest.mark.slow
def test_what_the_prior_excludes_is_out_of_reach():
    prior = CategoricalMixture(((0.3, 0.7), (0.7, 0.3)))
    found = diagnose(prior, Categorical((0.1, 0.9)))
    assert found.status == "a prompt helps but cannot suffice" and found.remedy == "only weights"
    nearest = 50 * (0.1 * math.log(0.1 / 0.3) + 0.9 * math.log(0.9 / 0.7))
    np.testing.assert_allclose(found.best_regret, nearest, atol=1e-4)
    assert f"{nearest:.4f}" in found.verdict
    impossible = diagnose(Categorical((1.0, 0.0)), COIN, longest=6)
    assert impossible.remedy == "only weights" and "∞" in impossible.verdict


LONGER, CANNOT = "a longer prompt suffices", "a prompt cannot suffice"
HELPS, OPEN = "a prompt helps but cannot suffice", "no prompt that was tried suffices"
NONE = {"length": 0, "longest": 0}
FAR = CategoricalMixture(((0.3, 0.7), (0.7, 0.3))), Categorical((0.1, 0.9))
THREE = CategoricalMixture(((0.1, 0.9), (0.5, 0.5), (0.9, 0.1)), (1 / 3, 1 / 3, 1 / 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prior", "target", "sizes", "status", "remedy"),
    [
        (COINS, COIN, {"length": 4, "longest": 0}, LONGER, ""),
        (COINS, COIN, {"longest": 100}, LONGER, ""),
        (COINS, COIN, NONE, LONGER, ""),
        (DirichletCategorical((1e4, 1e4)), COIN, {"longest": 100}, LONGER, ""),
        (FAR[0], Categorical((0.3, 0.7)), NONE, LONGER, ""),
        (COINS, TWO, NONE, CANNOT, "a mixture of 2 longer prompts would suffice"),
        (COINS, TWO, {"longest": 100}, CANNOT, "a mixture of 2 longer prompts would suffice"),
        (COINS, THREE, {"longest": 50}, CANNOT, "only weights suffice for sure"),
        (*FAR, NONE, HELPS, "only weights"),
        (
            DirichletCategorical((1.0, 0.0)),
            COIN,
            {"longest": 9},
            HELPS,
            "only weights suffice for sure",
        ),
    ],
)
def test_the_verdict_is_true_whatever_was_tried(prior, target, sizes, status, remedy):
    """Known from theory: any coin can be prompted for within a Dirichlet prior; two coins cannot;
    a prior over two coins leads to one of the two, to the nearer one at best."""
    found = diagnose(prior, target, **sizes)
    assert (found.status, found.remedy) == (status, remedy)
    assert found.verdict.startswith(status.capitalize()) and remedy in found.verdict.lower()
    assert "one likes" in found.verdict or "of any length" in found.verdict
    assert float(found.table["least"]) <= float(found.table["approached"]) + 1e-6
    assert float(found.table["approached"]) <= found.best_regret
    never = 0.0 in getattr(prior, "concentration", ())
    assert ("which the prior never produces" in found.verdict) == never


def test_what_is_not_known_is_not_said():
    """Balanced prompts keep a half for each of two coins; others change their odds by powers of
    two. Odds of 0.41 to 0.59 lie between, out of reach, which is not seen from prompts alone."""
    unequal = CategoricalMixture(THIRDS.probabilities, (0.41, 0.59))
    found = diagnose(THIRDS, unequal, longest=50)
    assert found.status == OPEN and found.remedy == "a mixture of 2 prompts would suffice"
    assert "of up to 50 symbols" in found.verdict and "is not known" in found.verdict
    assert found.table.attrs["limit"].endswith("at 50 symbols, its limit not known")


def test_where_order_matters_there_is_a_verdict_without_mixtures():
    found = diagnose(Sticky(), Sticky(), length=3, steps=4)
    assert found.status == "already optimal" and math.isnan(found.mixture_regret)
    found = diagnose(Sticky(), Sticky((0.01, 0.01)), length=4, steps=4, longest=10)
    assert found.status == OPEN and found.remedy == "only weights suffice for sure"
    assert found.verdict.endswith(
        "Mixtures of prompts were not tried: only weights suffice for sure."
    )


def test_where_order_matters_short_words_are_repeated():
    """Alternating symbols leave no doubt of the source that alternates; four of them leave some."""
    prior, target = Sticky((0.5, 0.2)), Sticky((0.2, 0.2))
    sizes = {"length": 2, "steps": 5, "tolerance": 1e-3}
    assert diagnose(prior, target, longest=2, **sizes).status == OPEN
    found = diagnose(prior, target, longest=40, **sizes)
    assert found.status == "a prompt suffices" and found.table.attrs["shown"] == [0, 1, 2, 10, 40]
    tokens = found.table["tokens"].sel(prompt_length=10).values
    assert tokens[:10].tolist() in ([0, 1] * 5, [1, 0] * 5) and (tokens[10:] == -1).all()
    assert found.table["exhaustive"].values.tolist() == [True, True, True, False, False]
    np.testing.assert_allclose(
        at(found, 10), plain_regret(prior, target, tokens[:10], 5), atol=1e-9
    )


@pytest.mark.parametrize("prior", [COINS, DirichletCategorical((0.5, 3.0))])
@pytest.mark.parametrize("target", [COIN, TWO, THREE, DirichletCategorical((5.0, 5.0))])
def test_no_long_prompt_is_below_its_bound(prior, target):
    regrets = promptability(prior, target, 60, 12).table["regret"].values
    for length in (0, 1, 5, 20, 60):
        bound = _least_of_long_prompts(prior.bayes().pseudo_counts, target, 12, length)
        assert bound <= regrets[length:].min() + 1e-9
    far = _least_of_long_prompts(prior.bayes().pseudo_counts, target, 12, 10**9)
    mean = Categorical(np.exp(predict(target.bayes(), [0])[0]))
    np.testing.assert_allclose(far, Expectations(target, 12).regret(mean.bayes()).sum(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("target", [COIN, TWO, Categorical((0.5, 0.5)), FAR[1]])
def test_the_least_of_all_beliefs_in_two_sources(target):
    prior, steps = FAR[0], 12
    shares = np.concatenate([[1e-9], np.linspace(0.001, 0.999, 999), [1 - 1e-9]])
    beliefs = [CategoricalMixture(prior.probabilities, (p, 1 - p)) for p in shares]
    expectations = Expectations(target, steps)
    regrets = [expectations.regret(belief.bayes()).sum() for belief in beliefs[::50]]
    final = finals(target, steps)
    chances = final.counts @ np.log(prior.probabilities).T
    every = np.logaddexp(chances[:, :1] + np.log(shares), chances[:, 1:] + np.log1p(-shares))
    best = min(-final.chance @ every) - final.oracle_loss
    least = float(diagnose(prior, target, steps=steps, **NONE).table["least"])
    np.testing.assert_allclose(least, best, atol=1e-5)
    assert least <= min(regrets) + 1e-9


@pytest.mark.slow
def test_long_prompts_over_more_symbols_are_improved_upon():
    found = diagnose(DICE, Categorical((0.2, 0.3, 0.5)), steps=12, longest=250)
    assert found.status == "a prompt suffices"
    rows = found.table.sel(prompt_length=[6, 250])
    assert rows["exhaustive"].values.tolist() == [True, False]
    assert rows["counts"].sum("symbol").values.tolist() == [6, 250]
    assert (np.diff(found.table["best_up_to"]) <= 0).all()
    assert set(found.table.attrs["shown"]) <= set(found.table["prompt_length"].values.tolist())


def test_what_cannot_be_diagnosed_says_so():
    with pytest.raises(ValueError, match="tolerance above 0"):
        diagnose(COINS, COIN, tolerance=0.0)
    with pytest.raises(ValueError, match="over one alphabet"):
        diagnose(COINS, Categorical((0.2, 0.3, 0.5)))
