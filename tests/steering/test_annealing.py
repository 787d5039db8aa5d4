"""Simulated annealing: what it accepts, and where it ends."""

import itertools

import jax
import numpy as np
import pytest

from promptax import FitSettings
from promptax.steering import Annealing, HardPrompt
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(3)
DIE, DICE = Categorical((0.2, 0.3, 0.5)), DirichletCategorical((1.0, 1.0, 1.0))
COINS, ONES = DirichletCategorical((1.0, 1.0)), Categorical((0.0, 1.0))


def anneal(search, target, prior, **settings):
    return search.tune(KEY, prior.bayes(), target, FitSettings(**settings), callbacks=())


@pytest.mark.slow
def test_at_temperature_0_it_is_hill_climbing():
    """Where all sequences are the same, no step is backwards; where it is hot, some are."""
    settings = {"steps": 40, "batch": 1, "length": 6, "repetitions": 3}
    cold = Annealing(length=4, start_temperature=0.0, end_temperature=0.0)
    climbing = anneal(cold, ONES, COINS, **settings)
    assert (np.diff(climbing.loss, axis=1) <= 1e-6).all() and (climbing.prompt == 1).all()
    hot = Annealing(length=4, start_temperature=1e6, end_temperature=1e6)
    assert (np.diff(anneal(hot, ONES, COINS, **settings).loss, axis=1) > 0.1).any()


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["geometric", "linear"])
def test_at_a_constant_temperature_prompts_follow_boltzmann(schedule):
    """Metropolis' rule leaves P(prompt) ∝ exp(-loss / T) as it is, and leads there."""
    temperature, repetitions = 0.5, 600
    search = Annealing(2, temperature, temperature, schedule)
    settings = {"steps": 40, "batch": 1, "length": 3, "repetitions": repetitions}
    prompts = np.asarray(anneal(search, ONES, COINS, **settings).prompt)
    every = list(itertools.product((0, 1), repeat=2))
    # Laplace's rule: p(1) = (ones + 1) / (symbols + 2), three times
    losses = [-sum(np.log((sum(p) + 1 + n) / (4 + n)) for n in range(3)) for p in every]
    expected = np.exp(-np.array(losses) / temperature)
    expected /= expected.sum()
    share = np.array([(prompts == prompt).all(axis=1).mean() for prompt in every])
    errors = np.sqrt(expected * (1 - expected) / repetitions)
    apart = np.abs(share - expected) / errors
    assert apart.max() < 4, f"shares {share}, expected {expected}, {apart.max():.1f} errors apart"


@pytest.mark.slow
def test_it_finds_as_good_a_prompt_as_trying_them_all():
    """81 prompts of length 4, whose losses differ by more than 2 nats."""
    settings = {"steps": 150, "batch": 128, "length": 16, "repetitions": 3}
    annealed = anneal(Annealing(length=4), DIE, DICE, **settings)
    every = anneal(HardPrompt(length=4, sequences=512), DIE, DICE, length=16)
    prompts = list(itertools.product(range(3), repeat=4))
    for prompt in np.asarray(annealed.prompt).tolist():
        behind = every.scores[0][prompts.index(tuple(prompt))] - every.scores.min()
        assert behind < 0.1 and np.ptp(every.scores) > 2, f"{behind:.3f} nats behind the best"
    assert annealed.cost.final()["sequences"].tolist() == [2 * 150 * 128] * 3


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: Annealing(start_temperature=0.1, end_temperature=0.2),
            "that do not rise; got 0.1",
        ),
        (lambda: Annealing(end_temperature=-1.0), "of at least 0 that do not rise"),
        (lambda: Annealing(end_temperature=0.0), "above 0, which a geometric schedule can reach"),
    ],
)
def test_temperatures_that_do_not_fit_are_named(make, text):
    with pytest.raises(ValueError, match=text):
        make()
