"""The order of what is read or tuned on, and states that share a statistic: known by hand."""

import jax
import numpy as np
import pytest

from promptax.analysis import order_sensitivity, state_clusters, tuning_order_sensitivity
from promptax.predictors import RNN
from promptax.tasks import Categorical, DirichletCategorical, KnownChain, LinearRegression

KEY = jax.random.key(0)
TOKENS = np.random.default_rng(0).integers(0, 2, (6, 4))


def test_exchangeable_predictors_do_not_care_for_the_order():
    spread = order_sensitivity(DirichletCategorical().bayes(), TOKENS, KEY).spread
    assert spread.dims == ("sequence",) and float(spread.max()) < 1e-6


def test_a_chain_cares_by_what_can_be_computed():
    """Behind 0 1 it says what follows the last symbol: two orders, one divergence."""
    rows = np.array([[0.9, 0.1], [0.3, 0.7]])
    chain = KnownChain((tuple(rows[0]), tuple(rows[1]))).bayes()
    spread = order_sensitivity(chain, np.array([[0, 1]]), KEY, orders=400).spread
    mean = rows.mean(axis=0)
    expected = np.mean(np.sum(rows * np.log(rows / mean), axis=1))
    np.testing.assert_allclose(spread, [expected], rtol=0.05)  # shares of orders are near ½
    assert float(order_sensitivity(chain, np.array([[1, 1]]), KEY).spread[0]) < 1e-6


def test_what_remembers_the_last_example_alone_depends_on_their_order():
    examples = np.array([[0, 0], [1, 1]])

    def last_alone(used):
        return Categorical((0.9, 0.1) if used[-1, 0] == 0 else (0.1, 0.9)).bayes()

    def all_alike(used):
        share = float(used.mean())
        return Categorical((1 - share, share)).bayes()

    spreads = [
        float(tuning_order_sensitivity(tune, examples, TOKENS, KEY, orders=16).spread.max())
        for tune in (last_alone, all_alike)
    ]
    assert spreads[0] > 0.2 and spreads[1] < 1e-6


def test_states_that_hold_the_statistic_are_clusters():
    """Counts are found in the states of a cell that counts, and not in those of another."""
    network = RNN(width=2).build(KEY, 2)
    counts = np.cumsum(np.eye(2)[TOKENS], axis=1)
    last = TOKENS[..., None].astype(float)
    first = state_clusters(network, TOKENS[:, :1], counts[:, :1])
    assert (first.within < 1e-6).all() and (first.between > 0).all(), "one symbol is one state"
    assert (first.together == 1).all() and (first.expected < 1).all()
    assert state_clusters(network, TOKENS, last).sizes["time"] == 4
    alone = state_clusters(network, TOKENS, np.arange(24.0).reshape(6, 4, 1))
    assert alone.within.isnull().all(), "nobody shares a statistic"


@pytest.mark.usefixtures("as_users_see_it")
def test_what_cannot_be_compared_is_named():
    bayes = DirichletCategorical().bayes()
    with pytest.raises(ValueError, match="Expected 2 to 10,000 orders; got 1"):
        order_sensitivity(bayes, TOKENS, KEY, orders=1)
    with pytest.raises(ValueError, match="Expected a predictor of symbols"):
        order_sensitivity(LinearRegression().bayes(), TOKENS, KEY)
    coin, used = (lambda _: bayes), np.array([[0], [1]])
    with pytest.raises(ValueError, match="Expected tokens from 0 to 1; got 0 to 2"):
        order_sensitivity(bayes, np.array([[0, 2]]), KEY)
    with pytest.raises(ValueError, match=r"whole numbers as tokens; got shape .* float"):
        order_sensitivity(bayes, TOKENS + 0.5, KEY)
    with pytest.raises(ValueError, match="Expected tokens from 0 to 1; got 0 to 2"):
        tuning_order_sensitivity(coin, used, np.array([[0, 2]]), KEY)
    with pytest.raises(ValueError, match=r"Expected tokens \[sequence, time\]"):
        tuning_order_sensitivity(coin, used, TOKENS[0], KEY)
    with pytest.raises(ValueError, match=r"a statistic \[6, 4, quantity\]; got shape \(6, 4\)"):
        state_clusters(RNN(width=2).build(KEY, 2), TOKENS, TOKENS)
