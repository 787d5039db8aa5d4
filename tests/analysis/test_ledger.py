"""The terms of regret: each against its definition, and all together against what was measured."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import promptax as px
from promptax.analysis import ledger, promptability
from promptax.evaluation import Expectations
from promptax.evaluation.control_variates import regret_of_spans
from promptax.predictors import LSTM, Embedded
from promptax.protocol.entries import condition
from promptax.protocol.exchangeable import Uniform
from promptax.protocol.prompted import Prompt, Prompted
from promptax.protocol.repeated import Repeated
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

COINS, COIN, TWO = DirichletCategorical(), Categorical(), CategoricalMixture()
KEY = jax.random.key(0)
TOKENS = [
    "floor",
    "prior mismatch",
    "prompt too short",
    "search gap",
    "amortisation",
    "extrapolation",
]
OTHERS = ["floor", "prior mismatch", "beyond any prompt of tokens", "extrapolation"]


class Rows(Prompt):
    rows: jax.Array

    def inputs(self):
        return Embedded(self.rows)


@pytest.fixture(scope="module")
def network():
    return LSTM(width=4).build(jax.random.key(0), 2)


def terms(found):
    return {str(term): float(found["nats"].sel(term=term)) for term in found["term"].values}


def adds_up(found):
    np.testing.assert_allclose(found["nats"].sum(), found["regret"], atol=1e-9)


def test_the_terms_of_an_exact_predictor_are_exact():
    found = ledger(KEY, COINS.bayes(), COINS, COIN, prompt=[0, 0, 1, 1, 1, 1], sequences=32)
    assert found["term"].values.tolist() == TOKENS and not found["standard_error"].any()
    expected = [0, 0, 0.5711, 1.0039 - 0.5711, 0, 0]
    np.testing.assert_allclose(found["nats"], expected, atol=1e-4)
    assert found.attrs["best_prompt"] == [0, 1, 1, 1, 1, 1]
    adds_up(found)


def test_a_mixture_s_mismatch_is_that_of_no_prompt():
    found = terms(ledger(KEY, COINS.bayes(), COINS, TWO, prompt=[0, 0, 0, 1, 1, 1], sequences=32))
    np.testing.assert_allclose(found["floor"], np.log(2), atol=1e-4)
    np.testing.assert_allclose(found["floor"] + found["prior mismatch"], 1.4772, atol=1e-4)
    np.testing.assert_allclose(found["search gap"], 1.9580 - 1.4772, atol=1e-4)
    np.testing.assert_allclose(found["prompt too short"], 0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [1.0, 10_000.0])
@pytest.mark.parametrize("prompt", [None, [1, 1, 1]])
def test_what_a_longer_prompt_removes_is_no_mismatch(strength, prompt):
    """Long prompts lead from a Dirichlet prior to any coin, however strong the prior."""
    prior = DirichletCategorical((strength, strength))
    found = terms(ledger(KEY, prior.bayes(), prior, COIN, 20, prompt=prompt, sequences=32))
    best = promptability(prior, COIN, len(prompt or []), 20).best_up_to
    np.testing.assert_allclose(found["prior mismatch"], 0, atol=1e-9)
    np.testing.assert_allclose(found["prompt too short"], best, atol=1e-9)


def test_the_mismatch_of_a_prior_over_other_coins():
    """Long prompts lead to the nearer of two coins, which no prompt can improve upon."""
    prior, target = CategoricalMixture(((0.3, 0.7), (0.7, 0.3))), Categorical((0.1, 0.9))
    found = terms(ledger(KEY, prior.bayes(), prior, target, 20, sequences=32, longest=0))
    nearest = 20 * (0.1 * np.log(0.1 / 0.3) + 0.9 * np.log(0.9 / 0.7))
    np.testing.assert_allclose(found["prior mismatch"], nearest, atol=1e-9)
    assert found["prompt too short"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("target", [COIN, TWO])
@pytest.mark.parametrize("prompt", [None, [0, 1, 1]])
def test_terms_of_a_network_add_up_to_its_regret(network, target, prompt):
    found = ledger(KEY, network, COINS, target, 20, 12, prompt, sequences=200)
    adds_up(found)
    read = len(prompt or [])
    assert found["term"].values.tolist() == TOKENS and found.attrs["judged_length"] == 12 - read
    behind = condition(network, jnp.array(prompt)) if prompt else network
    exact = condition(COINS.bayes(), jnp.array(prompt)) if prompt else COINS.bayes()
    results = px.evaluate(KEY, {"it": behind, "exact": exact}, target, 200, 20)
    regret = px.regret(results).sel(predictor="it", repetition=0, time=20)
    np.testing.assert_allclose(found["regret"], regret["regret"], atol=1e-9)
    np.testing.assert_allclose(found["regret_standard_error"], regret["standard_error"], atol=1e-9)
    gap = float(Expectations(target, 20).regret(exact).sum())
    sampled = found["nats"].sel(term=["amortisation", "extrapolation"]).sum()
    np.testing.assert_allclose(sampled, regret["regret"] - gap, atol=1e-9)
    errors = found["standard_error"].values
    assert not errors[:4].any() and (errors[4:] > 0).all()
    np.testing.assert_allclose(found["high"] - found["low"], 4 * errors, atol=1e-12)


@pytest.mark.slow
def test_a_prompt_it_has_read_is_found(network):
    nested = condition(condition(network, jnp.array([0, 1])), jnp.array([1]))
    one = ledger(KEY, nested, COINS, COIN, 10, 100, sequences=64)
    other = ledger(KEY, network, COINS, COIN, 10, 100, prompt=[0, 1, 1], sequences=64)
    assert one.attrs["prompt"] == [0, 1, 1]
    np.testing.assert_allclose(one["nats"], other["nats"], atol=1e-5)


@pytest.mark.slow
def test_soft_prompts_and_tuned_weights_have_no_exact_counterpart(network):
    soft = Prompted(network, Rows(jnp.ones((3, 4))))
    found = ledger(KEY, soft, COINS, COIN, 10, 8, sequences=64)
    assert found["term"].values.tolist() == OTHERS and found.attrs["judged_length"] == 5
    assert "best_prompt" not in found.attrs and "prompt" not in found.attrs
    adds_up(found)
    tuned = ledger(KEY, network, COINS, COIN, 10, 100, tuned_weights=True, sequences=64)
    assert tuned["term"].values.tolist() == OTHERS
    np.testing.assert_allclose(tuned["nats"].sel(term="extrapolation"), 0, atol=1e-12)
    adds_up(tuned)
    better = ledger(KEY, COIN.bayes(), COINS, COIN, 10, tuned_weights=True, sequences=64)
    np.testing.assert_allclose(terms(better)["prior mismatch"], 0, atol=1e-9)
    np.testing.assert_allclose(terms(better)["beyond any prompt of tokens"], 0, atol=1e-6)
    mixed = terms(ledger(KEY, TWO.bayes(), COINS, TWO, tuned_weights=True, sequences=64))
    np.testing.assert_allclose(mixed["prior mismatch"], 1.4772 - np.log(2), atol=1e-4)
    np.testing.assert_allclose(
        mixed["beyond any prompt of tokens"], -mixed["prior mismatch"], atol=1e-6
    )


@pytest.mark.slow
def test_prompts_side_by_side_are_beyond_any_one():
    both = px.mix(COINS.bayes(), [[0, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]])
    found = ledger(KEY, both, COINS, TWO, 50, sequences=2048)
    assert found["term"].values.tolist() == OTHERS and found.attrs["judged_length"] == 50
    gain, error = found["nats"].sel(term=OTHERS[2]), found["standard_error"].sel(term=OTHERS[2])
    assert abs(float(gain) - (1.2493 - 1.4772)) < 1e-4 and error == 0  # exactly, by its beliefs
    adds_up(found)


def test_spans_are_of_the_same_design(network):
    results = px.evaluate(KEY, {"it": network}, COIN, 200, 20)
    whole, error = regret_of_spans(results, "it", [20])
    for ends in ([5, 20], [0, 20], [1, 2, 20], [20, 20]):
        parts, errors = regret_of_spans(results, "it", ends)
        np.testing.assert_allclose(parts.sum(), whole[0], atol=1e-9)
        assert errors.shape == parts.shape
    assert parts[1] == 0 and errors[1] == 0 and error[0] > 0
    exact, errors = regret_of_spans(results, "bayes", [5, 20])
    np.testing.assert_allclose(exact, 0, atol=1e-9)
    assert not errors.any()
    plain = results.drop_vars("expected_log_loss")
    paired = results["log_loss"].sel(predictor="it") - results["log_loss"].sel(predictor="oracle")
    np.testing.assert_allclose(
        regret_of_spans(plain, "it", [20])[0], paired.sum("time").mean("sequence")[0], rtol=1e-5
    )


def test_a_guess_of_how_a_network_was_trained_is_told(network):
    with pytest.warns(UserWarning, match="pretrained on sequences of 100 symbols"):
        guessed = ledger(KEY, condition(network, [1]), COINS, COIN, 5, sequences=8, longest=1)
    said = ledger(KEY, condition(network, [1]), COINS, COIN, 5, 100, sequences=8, longest=1)
    np.testing.assert_array_equal(guessed["nats"], said["nats"])


def test_what_has_no_ledger_says_so(network):
    with pytest.raises(ValueError, match="has read a prompt already"):
        ledger(KEY, condition(network, jnp.array([0])), COINS, COIN, prompt=[0])
    with pytest.raises(ValueError, match="at least 1 step"):
        ledger(KEY, network, COINS, COIN, steps=0)
    with pytest.raises(ValueError, match="symbols"):
        ledger(KEY, Uniform(3), COINS, COIN)


@pytest.mark.usefixtures("as_users_see_it")
def test_one_predictor_at_a_time(network):
    with pytest.raises(TypeError, match=r"predictor\[0\]"):
        ledger(KEY, Repeated(network, None, 1), COINS, COIN)
