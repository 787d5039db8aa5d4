"""The prior that predictions reveal, against priors that are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.analysis import effective_prior, effective_priors
from promptax.analysis.effective_prior import divergences, fit
from promptax.predictors import LSTM
from promptax.protocol.entries import condition
from promptax.protocol.exchangeable import Uniform
from promptax.protocol.repeated import Repeated, cut
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Recorded

COINS, COIN, TWO = DirichletCategorical(), Categorical(), CategoricalMixture()


class Opaque(type(COINS.bayes())):
    """A Dirichlet predictor that does not say that order is free: its divergence is sampled."""

    exchangeable = False


@pytest.mark.parametrize(
    ("prior", "prompt", "target"),
    [
        (COINS, [], COIN),
        (COINS, [0, 1, 1, 1, 1, 1], COIN),
        (COINS, [0] * 7 + [1] * 28, TWO),
        (DirichletCategorical((0.3, 2.0, 5.0)), [2, 0], Categorical((0.2, 0.3, 0.5))),
    ],
)
def test_an_exact_prompted_predictor_has_its_own_pseudo_counts(prior, prompt, target):
    predictor = condition(prior.bayes(), jnp.array(prompt, int)) if prompt else prior.bayes()
    expected = np.array(prior.concentration) + np.bincount(prompt, minlength=prior.symbols)
    found = effective_prior(predictor, target, length=20)
    np.testing.assert_allclose(found.pseudo_counts, expected, atol=1e-2)
    np.testing.assert_allclose(found.strength, expected.sum(), atol=1e-2)
    np.testing.assert_allclose(found.mean, expected / expected.sum(), atol=1e-3)
    assert found.explains and found.standard_error == 0 and 0 <= found.fit_error < 1e-6
    assert f"worth {expected.sum():.3g} observations" in found.words()


def test_sampled_sequences_find_the_same():
    found = effective_prior(Opaque((2.0, 6.0)), COIN, 20, key=jax.random.key(0), sequences=64)
    np.testing.assert_allclose(found.pseudo_counts, [2, 6], atol=1e-2)
    assert 0 < found.standard_error < 1e-4 and "±" in found.words()


def test_the_fit_error_of_two_coins_is_how_far_the_best_beta_is_from_bayes():
    found = effective_prior(TWO.bayes(), TWO, length=50)
    np.testing.assert_allclose(found.pseudo_counts, [1.25, 1.25], atol=1e-2)
    np.testing.assert_allclose(found.fit_error, 1.4624 - 0.6931, atol=1e-4)
    assert not found.explains and found.words().startswith("no Beta prior explains it")
    assert dataclasses.replace(found, tolerance=1.0).explains


def test_what_does_not_learn_is_worth_any_number_of_observations():
    found = effective_prior(COIN.bayes(), TWO, length=10)
    np.testing.assert_allclose(found.mean, [0.2, 0.8], atol=1e-3)
    assert found.explains and "no number of observations moves it, 20%" in found.words()


def test_a_network_is_read_by_sampling():
    network = LSTM(width=4).build(jax.random.key(0), 2)
    found = effective_prior(network, COIN, 6, key=jax.random.key(1), sequences=32)
    again = effective_prior(network, COIN, 6, key=jax.random.key(1), sequences=32)
    assert found == again and np.isfinite(found.fit_error) and found.standard_error > 0
    behind = condition(network, jnp.array([0, 0, 0]))
    assert effective_prior(behind, COIN, 6, key=jax.random.key(1), sequences=32) != found


def test_the_fit_is_where_no_other_pseudo_counts_are_better():
    rng = np.random.default_rng(0)
    counts, probs = rng.integers(0, 9, (40, 3)), rng.dirichlet(np.ones(3), 40)
    weights = rng.uniform(size=40)
    found = fit(counts, probs, weights)
    least = weights @ divergences(found, counts, probs)
    for factor in rng.uniform(0.8, 1.25, (200, 3)):
        assert weights @ divergences(found * factor, counts, probs) >= least - 1e-9
    certain = divergences(np.ones(3), np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(certain, np.log(3))


def test_steps_past_the_end_of_a_sequence_do_not_count():
    lines, model = Recorded(sequences=((0, 1, 1, 1), (1, 0), (1, 1, 1))), Opaque((1.0, 3.0))
    key = jax.random.key(0)
    whole, padded = (effective_prior(model, lines, steps, key=key) for steps in (4, 40))
    np.testing.assert_allclose(padded.pseudo_counts, whole.pseudo_counts, rtol=1e-4)
    np.testing.assert_allclose(padded.pseudo_counts, (1.0, 3.0), rtol=1e-2)


def test_what_cannot_be_read_out_says_so():
    with pytest.raises(ValueError, match=r"key=jax\.random\.key"):
        effective_prior(Opaque((1.0, 1.0)), COIN)
    with pytest.raises(ValueError, match="Expected a key"):
        effective_prior(Uniform(2), Recorded(sequences=((0, 1),)))
    with pytest.raises(ValueError, match="over 3 symbols"):
        effective_prior(Uniform(2), Categorical((0.2, 0.3, 0.5)))
    with pytest.raises(ValueError, match="at least 1 step"):
        effective_prior(Uniform(2), COIN, 0)


@pytest.mark.usefixtures("as_users_see_it")
def test_one_predictor_at_a_time():
    with pytest.raises(TypeError, match=r"predictor\[0\]"):
        effective_prior(Repeated(COINS.bayes(), None, 1), COIN)


def test_priors_of_many_are_one_labelled_dataset():
    pair = cut([condition(COINS.bayes(), jnp.array([s, 1])) for s in (0, 1)], True)
    seen = []
    found = effective_priors(
        {"coins": COINS.bayes(), "prompted": pair},
        COIN,
        20,
        callbacks=(lambda done, total: seen.append((done, total)),),
    )
    assert found["pseudo_counts"].dims == ("predictor", "repetition", "symbol")
    expected = [[[1, 1], [np.nan, np.nan]], [[2, 2], [1, 3]]]
    np.testing.assert_allclose(found["pseudo_counts"], expected, atol=1e-2)
    assert np.isnan(found["fit_error"].values).tolist() == [[False, True], [False, False]]
    assert seen == [(1, 3), (2, 3), (3, 3)] and found.attrs["steps"] == 20
    assert effective_priors({}, COIN).sizes["predictor"] == 0
