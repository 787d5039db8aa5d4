"""Searches for several prompts at once, against all sets of prompts."""

import itertools

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

import promptax as px
from promptax.evaluation.exact.best_set import best_set
from promptax.protocol.exchangeable import Uniform
from promptax.steering import HardPrompt, HardPromptMixture
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

KEY = jax.random.key(7)
TWO_COINS, LAPLACE = CategoricalMixture(), DirichletCategorical().bayes()


@pytest.mark.slow
def test_the_search_finds_the_mirrored_prompts():
    fitted = HardPromptMixture(sequences=1024).tune(KEY, LAPLACE, TWO_COINS, callbacks=())
    assert sorted(fitted.prompt.sum(1).tolist()) == [1, 5]  # ones in each
    single = HardPrompt(sequences=1024).tune(KEY, LAPLACE, TWO_COINS, callbacks=())
    np.testing.assert_array_equal(fitted.scores, single.scores)


def value(log_likelihoods, chosen):
    return logsumexp(log_likelihoods[list(chosen)], axis=0).mean()


@pytest.mark.parametrize("components", [1, 2, 3])
@pytest.mark.parametrize("pairs", [1, 1000])
def test_the_best_set_against_all_sets(components, pairs):
    for seed in range(3):
        given = np.random.default_rng(seed).normal(0, 3, (9, 40)).astype(np.float32)
        chosen = best_set(given, components, pairs)
        every = itertools.combinations_with_replacement(range(9), components)
        best = max(every, key=lambda some: value(given, some))
        if components == 1 or (components == 2 and pairs > 1):
            assert tuple(chosen) == best
        assert len(chosen) == components and chosen == sorted(chosen)
        for place, other in itertools.product(range(components), range(9)):  # no better neighbour
            neighbour = [*chosen[:place], other, *chosen[place + 1 :]]
            assert value(given, neighbour) <= value(given, chosen) + 1e-4


@pytest.mark.parametrize("components", [1, 2, 3])
def test_the_best_set_of_weighted_sequences_is_that_of_repeated_ones(components):
    given = np.random.default_rng(0).normal(0, 3, (9, 12)).astype(np.float32)
    times = np.array([40, 30, *[1] * 10])
    weights = times / times.sum()
    repeated = np.repeat(given, times, axis=1)
    chosen = best_set(given, components, weights=weights)
    assert chosen == best_set(repeated, components)
    assert chosen != best_set(given, components)


def test_a_search_that_is_stopped_uses_what_it_tried():
    settings = px.FitSettings(length=5)
    tuner = HardPromptMixture(length=4, sequences=4)
    fitted = tuner.tune(KEY, Uniform(2), Categorical(), settings, callbacks=[lambda *_: True])
    assert np.isnan(fitted.scores).sum() == 8 and fitted.prompt.shape == (2, 4)
    assert (fitted.prompt[:, 0] == 0).all()  # the first eight of sixteen
