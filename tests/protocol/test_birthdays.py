"""Birthdays: what few draws tell of how many different things there are."""

import numpy as np
import pytest

from promptax.protocol.birthdays import DRAWS, least_number, random_words

MOST = 10_000


def told(chances, seed):
    values = np.random.default_rng(seed).choice(len(chances), DRAWS, p=chances)
    return least_number(DRAWS, len(np.unique(values)), MOST)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_as_many_as_allowed_are_never_refused(power):
    """Equally likely ones are the closest case; others meet earlier draws more often."""
    chances = np.arange(1.0, MOST + 1) ** power
    assert all(told(chances / chances.sum(), seed) is None for seed in range(20))


def test_far_more_are_told_and_how_many():
    numbers = [told(np.full(5 * MOST, 1 / (5 * MOST)), seed) for seed in range(20)]
    assert all(MOST < number < 6 * MOST for number in numbers), numbers


def test_few_draws_tell_nothing():
    assert [least_number(draws, draws, MOST) for draws in (0, 1, 100)] == [None] * 3


def test_words_are_the_same_at_every_call():
    words = random_words(3, 5)
    np.testing.assert_array_equal(words, random_words(3, 5))
    assert words.shape == (DRAWS, 5) and set(np.unique(words)) == {0, 1, 2}
