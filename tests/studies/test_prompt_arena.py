"""The prompt arena: its instances by brute force, its judge, and what its page says."""

import itertools

import numpy as np
import pytest

from promptax.studies.prompt_arena.conditions import EASY, HARD, SHORT, conditions
from promptax.studies.prompt_arena.instances import (
    Instance,
    Shape,
    easy_instance,
    hard_instance,
    is_hard,
    truth_of,
)
from promptax.tasks import Categorical, CategoricalMixture

SMALL = Instance(
    CategoricalMixture([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], [0.9, 0.1]),
    Categorical([0.2, 0.3, 0.5]),
    Shape(3, 2, 3),
)


def probability(instance, tokens):
    """The chance that the prior gives to a sequence, component by component."""
    rows = np.asarray(instance.prior.probabilities)
    return sum(
        weight * np.prod(row[list(tokens)])
        for weight, row in zip(np.asarray(instance.prior.weights), rows, strict=True)
    )


def loss_behind(instance, prompt):
    """The expected loss behind a prompt, over all sequences one by one."""
    target = np.asarray(instance.target.probabilities)
    if probability(instance, prompt) == 0:
        return np.inf
    return -sum(
        np.prod(target[list(tokens)])
        * np.log(probability(instance, prompt + tokens) / probability(instance, prompt))
        for tokens in itertools.product(range(3), repeat=instance.shape.length)
    )


def test_the_truth_is_that_of_all_sequences():
    truth = truth_of(SMALL)
    prompts = list(itertools.product(range(3), repeat=2))
    losses = np.array([loss_behind(SMALL, prompt) for prompt in prompts])
    np.testing.assert_allclose(truth.of(np.array(prompts)), losses, rtol=1e-12)
    assert truth.best == pytest.approx(losses.min(), abs=1e-12)
    assert truth.number.sum() == len(prompts)
    assert truth.typical == pytest.approx(np.sort(losses)[4] - losses.min(), abs=1e-12)


def test_other_names_of_the_symbols_are_the_same_question():
    order = np.array([2, 0, 1])
    relabelled = truth_of(SMALL.relabelled(order))
    prompts = np.array(list(itertools.product(range(3), repeat=2)))
    there = np.argsort(order)[prompts]
    np.testing.assert_allclose(relabelled.of(there), truth_of(SMALL).of(prompts), rtol=1e-12)


def test_the_kept_seeds_are_the_first_hard_ones():
    first = HARD[SHORT][:2]
    hard = [seed for seed in range(first[-1] + 1) if is_hard(hard_instance(SHORT, seed))]
    assert tuple(hard) == first
    assert not any(is_hard(easy_instance(SHORT, seed)) for seed in EASY)


def test_races_stay_out_of_the_track_without_noise():
    labels = {name.split(" · ")[2] for name in conditions("smoke")}
    assert len(labels) > 20
    assert not any(label.startswith("Raced ") for label in labels)
    sampled = conditions("small", "Raced ")
    assert sampled
    assert all(name.startswith("sampled") for name in sampled)
