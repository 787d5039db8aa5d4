"""How good searches are at any cost, each number against its definition."""

import numpy as np
import pytest

from promptax.analysis import anytime

RUNS = np.array([[9.0, 5.0, 2.0, 0.0], [9.0, 9.0, 9.0, 9.0], [1.0, 1.0, 0.5, 0.5]])
BUDGETS = np.array([1.0, 2.0, 4.0, 8.0])


def mean(runs):
    return np.mean(runs, axis=-1)


def test_a_gap_counts_once_its_step_is_paid():
    gaps, spent = np.array([[5.0, 3.0, 1.0]]), np.array([[2.0, 4.0, 4.0]])
    at = anytime.gaps_at_budgets(gaps, spent, np.array([1.0, 2.0, 3.9, 4.0, 9.0]), np.array([7.0]))
    assert at.tolist() == [[7.0, 5.0, 5.0, 1.0, 1.0]]


def test_running_times_and_their_expectation():
    times = anytime.running_times(RUNS, BUDGETS, 2.0)
    assert times.tolist() == [4.0, np.inf, 1.0]
    spent = np.array([8.0, 3.0, 8.0])  # the second run stopped at 3, and costs no more than that
    assert anytime.expected_running_time(times, spent) == (4 + 3 + 1) / 2
    assert anytime.expected_running_time(np.array([np.inf]), spent[:1]) == np.inf


def test_restarts_add_what_failed_runs_spent():
    """Of a run that succeeds at 2 and one that fails at 3, k failures come first with probability
    2^-(k+1), and 3 k + 2 is spent."""
    times, spent = np.array([2.0, np.inf]), np.array([9.0, 3.0])
    drawn = anytime.simulated_restarts(times, spent, most=8.0, draws=4000)
    assert set(drawn.tolist()) == {2.0, 5.0, 8.0, np.inf}
    for budget, share in {2.0: 1 / 2, 5.0: 3 / 4, 8.0: 7 / 8}.items():
        error = np.sqrt(share * (1 - share) / len(drawn))
        assert abs(np.mean(drawn <= budget) - share) < 4 * error
    assert np.isinf(anytime.simulated_restarts(times[1:], spent[1:], most=8.0)).all()
    nothing = anytime.simulated_restarts(times[1:], np.zeros(1), most=8.0)
    assert np.isinf(nothing).all(), "a run that spends nothing ends as well"


def test_aims_that_were_reached_once_stay_reached():
    lost = np.array([[9.0, 1.0, 7.0, 7.0]])  # 1 at a budget of 2, worse from then on
    shares = anytime.share_reached([RUNS[:1], lost], [np.array([8.0])] * 2, BUDGETS, [5.0, 0.5])
    first, second = [0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 0.5]
    assert shares.tolist() == [(one + other) / 2 for one, other in zip(first, second, strict=True)]


def test_a_profile_counts_the_runs_that_end_there():
    ends = anytime.profile(RUNS[:, -1], np.array([0.0, 0.5, 8.0, 9.0]))
    assert ends.tolist() == [1 / 3, 2 / 3, 2 / 3, 1.0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 20])
def test_the_interquartile_mean_is_that_of_four_copies(count):
    """Of four copies of each value, the middle half is a whole number of them."""
    values = np.random.default_rng(count).normal(size=count)
    copies = np.sort(np.repeat(values, 4))
    expected = copies[count : 3 * count].mean()
    assert anytime.interquartile_mean(values) == pytest.approx(expected, abs=1e-12)
    together = anytime.interquartile_mean(np.stack([values, values + 1]))
    np.testing.assert_allclose(together, [expected, expected + 1], atol=1e-12)


def test_no_value_has_no_mean():
    with pytest.raises(ValueError, match="Expected at least one value; got none"):
        anytime.interquartile_mean(np.zeros(0))


def test_the_probability_of_improvement_counts_pairs_of_an_instance():
    ours = [np.array([0.0, 1.0]), np.array([2.0, 2.0, 0.0])]
    theirs = [np.array([1.0, 3.0]), np.array([2.0, 1.0])]
    shares = [
        np.mean([1.0 if a < b else 0.5 if a == b else 0.0 for a in mine for b in other])
        for mine, other in zip(ours, theirs, strict=True)
    ]
    assert anytime.probability_of_improvement(ours, theirs) == np.mean(shares)
    both = anytime.probability_of_improvement(theirs, ours)
    assert both == pytest.approx(1 - np.mean(shares))


def test_intervals_contain_what_they_speak_of_as_often_as_they_say():
    """Of means of 20 normal runs, the percentile interval covers 93 % (small samples: a little
    below 95 %); of equal searches, that of the probability of improvement contains one half."""
    generator, covered, told_apart, trials = np.random.default_rng(0), 0, 0, 200
    for _ in range(trials):
        ours, theirs = ([generator.normal(size=20)] for _ in range(2))
        low, high = anytime.stratified_interval(ours, mean, replications=200)
        covered += low <= 0 <= high
        low, high = anytime.improvement_interval(ours, theirs, replications=200)
        told_apart += not low <= 0.5 <= high
    error = np.sqrt(0.06 * 0.94 / trials)
    assert abs(covered / trials - 0.94) < 4 * error
    assert told_apart / trials < 0.06 + 4 * error


def test_an_interval_resamples_within_instances():
    """Two instances without spread have no interval, however far apart they are."""
    strata = [np.full(5, 1.0), np.full(5, 100.0)]
    assert anytime.stratified_interval(strata, mean) == (50.5, 50.5)
    assert anytime.improvement_interval(strata, strata) == (0.5, 0.5)


def test_the_front_is_what_nothing_beats():
    generator = np.random.default_rng(1)
    cost, gap = (
        generator.integers(0, 6, 40).astype(float),
        generator.integers(0, 6, 40).astype(float),
    )
    points = list(zip(cost, gap, strict=True))
    expected = [
        not any(c <= x and g <= y and (c, g) != (x, y) for c, g in points) for x, y in points
    ]
    assert anytime.on_front(cost, gap).tolist() == expected
