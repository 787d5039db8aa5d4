"""Which algorithm a predictor carries out: distances known by hand."""

import jax
import numpy as np
import pytest

from promptax.analysis import algorithm_distances
from promptax.predictors.fast_weights.linear_attention import one_gradient_step
from promptax.tasks import (
    Categorical,
    CategoricalMixture,
    DirichletCategorical,
    FinitePool,
    LinearRegression,
)

KEY = jax.random.key(0)


def test_distances_of_symbols_are_divergences_known_by_hand():
    """One coin's predictor beside Laplace's rule and beside a predictor that rules symbol 0 out."""
    coin, sure = Categorical((0.2, 0.8)), Categorical((0.0, 1.0))
    distances = algorithm_distances(
        {"coin": coin.bayes(), "sure": sure.bayes()},
        {"coin": coin.bayes(), "Laplace": DirichletCategorical().bayes()},
        coin,
        KEY,
        length=3,
        sequences=4,
    )
    assert distances.distance.dims == ("predictor", "algorithm", "time")
    np.testing.assert_allclose(
        distances.distance.sel(predictor="coin", algorithm="coin"), 0, atol=1e-7
    )
    first = distances.distance.sel(predictor="coin", algorithm="Laplace", time=1)
    np.testing.assert_allclose(first, 0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8), rtol=1e-5)
    assert np.isinf(distances.distance.sel(predictor="sure", algorithm="coin", time=1))
    assert distances.closest.sel(predictor="coin").values.tolist() == ["coin"] * 3


def test_a_predictor_and_an_algorithm_may_share_a_name():
    coin, laplace = Categorical((0.2, 0.8)).bayes(), DirichletCategorical().bayes()
    distances = algorithm_distances(
        {"a": laplace}, {"a": coin, "b": laplace}, Categorical((0.2, 0.8)), KEY, length=2
    )
    assert distances.closest.values.tolist() == [["b", "b"]]


def test_distances_of_numbers_are_squared_differences_of_means():
    """One step of gradient descent beside Bayes: at rate 0 it always predicts 0."""
    task = LinearRegression(dimensions=2, noise_scale=0.5)
    steps = {"none": one_gradient_step(2, 0.0, 0.5), "small": one_gradient_step(2, 0.2, 0.5)}
    distances = algorithm_distances(steps, {"Bayes": task.bayes()}, task, KEY, length=5)
    assert (distances.distance[1, 0] < distances.distance[0, 0])[3]
    distance = distances.distance.sel(predictor="none", algorithm="Bayes").values
    assert np.isnan(distance[[0, 2, 4]]).all() and distances.closest.values[0, 0] == ""
    assert distance[1] == 0  # both predict 0 before any point
    # Bayes' mean after one point (x, y) is y x·q / (|x|² + σ²): E[mean²] over x, y and q
    x = np.random.default_rng(0).normal(size=(200_000, 2))
    length = (x**2).sum(axis=1)
    expected = np.mean(length / (length + 0.25))
    error = distances.standard_error.sel(predictor="none", algorithm="Bayes").values[3]
    assert abs(distance[3] - expected) < 4 * error


@pytest.mark.usefixtures("as_users_see_it")
def test_what_cannot_be_compared_is_refused():
    coin = Categorical().bayes()
    with pytest.raises(ValueError, match=r"^Expected at least one predictor by name as algorithms"):
        algorithm_distances({"coin": coin}, {}, Categorical(), KEY, length=3)
    with pytest.raises(ValueError, match=r"^Expected 'coin' to predict 3 symbols, as the source"):
        algorithm_distances(
            {"coin": coin}, {"coin": coin}, Categorical((0.2, 0.3, 0.5)), KEY, length=3
        )
    with pytest.raises(TypeError, match="judged"):
        algorithm_distances(
            {"mix": CategoricalMixture()}, {"coin": coin}, Categorical(), KEY, length=3
        )


@pytest.mark.slow
def test_mixtures_of_numbers_have_the_mean_of_their_parts():
    """Before any point every part of a pool's hierarchical predictor has a mean of its own."""
    pool = FinitePool(LinearRegression(dimensions=2, noise_scale=0.5), size=2)
    distances = algorithm_distances(
        {"both": pool.hierarchical(0.5)},
        {"pool": pool.memorising(), "all": pool.generalising()},
        pool,
        KEY,
        length=2,
        sequences=4,
    ).distance.values[0, :, 1]
    apart = algorithm_distances(
        {"pool": pool.memorising()}, {"all": pool.generalising()}, pool, KEY, length=2, sequences=4
    ).distance.values[0, 0, 1]
    np.testing.assert_allclose(distances, apart / 4, rtol=1e-4)  # halfway between the two
