"""A shared prompt and prompts of tasks: a family with a planted shared part."""

import jax
import numpy as np
import pytest

from promptax.steering import MetaSPO
from promptax.tasks import Categorical, DirichletCategorical, Recorded

KEY = jax.random.key(11)
BASE = DirichletCategorical((1.0,) * 4).bayes()  # a prompt is how often each symbol came


def die(private):
    """Half of all symbols are 0, which all tasks share; most of the others are the task's own."""
    chances = [0.5, 0.04, 0.04, 0.04]
    chances[private] = 0.42
    return Categorical(tuple(chances))


TASKS = [die(private) for private in (1, 2, 3)]
SEARCH = MetaSPO(length=2, task_length=2, rounds=12, candidates=6, task_candidates=6)


def test_the_planted_parts_are_found_and_serve_a_new_task():
    found = SEARCH.search(KEY, BASE, TASKS)
    assert list(found.shared) == [0, 0]
    np.testing.assert_array_equal(found.prompts, [[1, 1], [2, 2], [3, 3]])
    assert np.all(np.diff(found.loss.mean(axis=1)) < 1e-6), "a round never loses"
    assert found.readings == 12 * 3 * (7 + 7)
    control = MetaSPO(length=0, rounds=12, task_candidates=SEARCH.task_candidates + 6 + 1)
    assert control.search(KEY, BASE, TASKS).readings == found.readings
    one_round = MetaSPO(length=2, task_length=2, rounds=2, task_candidates=6)
    starts = [[0, 0], [1, 2], [2, 3]]  # the shared prompt, and others
    good, *others = (
        one_round.search(KEY, BASE, TASKS, shared=start).loss[-1].mean() for start in starts
    )
    assert good < min(others) - 0.1
    np.testing.assert_array_equal(one_round.search(KEY, BASE, TASKS, shared=[2, 3]).shared, [2, 3])


@pytest.mark.usefixtures("as_users_see_it")
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="rounds of at least 1"):
        MetaSPO(rounds=0)
    with pytest.raises(ValueError, match="at least one task"):
        SEARCH.search(KEY, BASE, [])
    with pytest.raises(ValueError, match="tasks over the predictor's symbols"):
        SEARCH.search(KEY, BASE, [Categorical((0.2, 0.8))])
    with pytest.raises(ValueError, match="Expected tokens from 0 to 3; got 4"):
        SEARCH.search(KEY, BASE, TASKS, shared=[4])
    for shared in ([0.7, 0.2], [[0, 1]]):
        with pytest.raises(
            ValueError, match=r"a shared prompt \[prompt\] of symbols \(int\); got shape"
        ):
            SEARCH.search(KEY, BASE, TASKS, shared=shared)
    with pytest.raises(ValueError, match="prompt to search"):
        MetaSPO(length=0, task_length=0)
    with pytest.raises(ValueError, match="nothing is searched"):
        MetaSPO(task_length=0).search(KEY, BASE, TASKS, shared=[0])


def test_what_is_not_scored_is_no_loss():
    """Sequences of one step in a file, read as three: the other two are padding."""
    short = Recorded(sequences=[[0], [1], [2], [3]])
    one, three = (
        MetaSPO(length=1, task_length=0, rounds=1, candidates=1, sequences=4, steps_of_time=steps)
        for steps in (1, 3)
    )
    losses = [search.search(KEY, BASE, [short]).loss for search in (one, three)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
