"""How an answer depends on its question: derivatives known by hand."""

import jax
import numpy as np
import pytest

from promptax.analysis import answer_gradients, mean_cosine
from promptax.tasks import DirichletCategorical, LinearRegression
from promptax.tasks.batches import sample_batch
from promptax.tasks.regression.references import GradientDescent

TASK = LinearRegression(2)
ROWS = sample_batch(TASK, jax.random.split(jax.random.key(0), 3), 6).tokens


def test_of_a_gradient_step_they_are_its_weights():
    """w = rate · Σ y x over the answers before the last question."""
    rate = 0.25
    slopes = answer_gradients(GradientDescent(2, steps=1, rate=rate), ROWS)
    answered = np.asarray(ROWS)[:, 1:4:2]
    expected = rate * np.sum(answered[..., 2:3] * answered[..., :2], axis=1)
    np.testing.assert_allclose(slopes, expected, rtol=1e-5)
    assert mean_cosine(slopes, 3 * slopes) == pytest.approx(1)
    assert mean_cosine(slopes, -slopes) == pytest.approx(-1)


def test_vectors_of_size_zero_have_no_direction():
    ones = np.ones((2, 2))
    assert mean_cosine(ones, np.array([[0.0, 0.0], [1.0, -1.0]])) == pytest.approx(0)
    assert np.isnan(mean_cosine(ones, np.zeros((2, 2))))


@pytest.mark.usefixtures("as_users_see_it")
def test_what_answers_no_question_is_named():
    with pytest.raises(ValueError, match="Expected a predictor of points answered by numbers"):
        answer_gradients(DirichletCategorical().bayes(), ROWS)
    with pytest.raises(ValueError, match="as many answers as questions; got shape"):
        answer_gradients(TASK.bayes(), ROWS[:, :5])
