"""Where networks stand between memorising and generalising, and the model of it."""

import numpy as np
import pytest

from promptax.analysis import compressed_bits, hierarchical_fit, relative_position

SIZES, STEPS = np.array([4.0, 16.0, 64.0, 256.0]), np.linspace(100, 3000, 12)
ADVANTAGE, CODE = np.array([3.0, 1.5, 0.8, 0.4]), 8000.0
BITS = CODE + 200 * SIZES


def weight(sensitivity, discount, simplicity):
    """The model's formula, number by number."""
    rows = []
    for advantage, bits in zip(ADVANTAGE, BITS, strict=True):
        price = np.log(2) * (bits**simplicity - CODE**simplicity)
        odds = [sensitivity * n ** (1 - discount) * advantage - price for n in STEPS]
        rows.append([1 / (1 + np.exp(-odd)) for odd in odds])
    return np.array(rows)


def fit(position):
    return hierarchical_fit(position, ADVANTAGE, BITS, CODE, SIZES, STEPS)


def test_numbers_that_made_the_positions_are_found_again():
    truth = weight(0.05, 0.3, 0.4)
    assert truth.std() > 0.2, "it varies"
    model = fit(truth)
    np.testing.assert_allclose(model["weight"], truth, atol=1e-3)
    assert model.attrs["correlation"] > 0.9999 and model.attrs["held_out_correlation"] > 0.999
    np.testing.assert_allclose(
        [model.attrs[name] for name in ("sensitivity", "discount", "simplicity")],
        [0.05, 0.3, 0.4],
        rtol=0.05,
    )


def test_positions_that_no_such_learner_takes_are_not_explained():
    """Where the two larger pools are memorised and the smaller ones are not. (In full reverse the
    best weight is the same everywhere, and has no correlation.)"""
    correlation = fit(weight(0.05, 0.3, 0.4)[[2, 3, 0, 1]]).attrs["correlation"]
    assert np.isfinite(correlation) and correlation < 0.5


def test_a_position_is_one_at_what_memorises_and_never_beyond():
    near, far = np.array([0.0, 2.0, 1.0, 0.0]), np.array([2.0, 0.0, 1.0, 9.0])
    assert relative_position(near, far, 2.0).tolist() == [1, 0, 0.5, 1]
    assert np.isnan(relative_position(near[:1], near[:1], 0.0)), "the two are nowhere apart"


def test_a_larger_pool_takes_more_bits():
    numbers = np.random.default_rng(0).dirichlet(np.ones(8), 64)
    few, many = compressed_bits(numbers[:8]), compressed_bits(numbers)
    assert compressed_bits(np.zeros(0)) == 0 and 16 * 64 < few < many < 40 * numbers.size


@pytest.mark.usefixtures("as_users_see_it")
def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"Expected finite positions .* \(4, 12\); got \(4, 11\)"):
        fit(np.zeros((4, 11)))
    with pytest.raises(ValueError, match="Expected a finite advantage and bits for each of 4"):
        hierarchical_fit(np.zeros((4, 12)), ADVANTAGE[:3], BITS, CODE, SIZES, STEPS)
    grid = np.zeros((4, 12))
    with pytest.raises(ValueError, match=r"at least one step, and finite ones above 0; got \[0.0"):
        hierarchical_fit(grid, ADVANTAGE, BITS, CODE, SIZES, np.arange(12.0))
    with pytest.raises(ValueError, match=r"at least one step, .*; got \[\]"):
        hierarchical_fit(grid[:, :0], ADVANTAGE, BITS, CODE, SIZES, STEPS[:0])
    for bits, code in ((-BITS, CODE), (BITS, -1.0), (BITS, float("nan"))):
        with pytest.raises(ValueError, match="Expected bits that are finite and at least 0"):
            hierarchical_fit(grid, ADVANTAGE, bits, code, SIZES, STEPS)
    with pytest.raises(ValueError, match="Expected finite sizes"):
        hierarchical_fit(grid, ADVANTAGE, BITS, CODE, SIZES * np.inf, STEPS)
