"""Classification in context: what is drawn, predictors against plain densities, and bad fields."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from support import judges as laws

from promptax import predict
from promptax.evaluation.exact import enumeration
from promptax.tasks import Mixture, PrototypeClassification
from promptax.tasks.batches import sample_batch

KEY = jax.random.key(2)
TASK = PrototypeClassification(3, 6, 3, noise=0.8, zipf=1.0, burstiness=0.6)


def rows_of(task, length):
    return np.asarray(task.sample(KEY, length).inputs, float)


@pytest.mark.slow
def test_classes_come_by_zipf_and_in_bursts():
    plain = TASK.__class__(2, 4, 2, zipf=1.0, burstiness=0.0)
    classes = np.asarray(sample_batch(plain, jax.random.split(KEY, 4_000), 8).latent)
    expected = np.array([12, 6, 4, 3]) / 25
    for number, frequency in enumerate(expected):
        laws.assert_zero((classes == number).mean(axis=1) - frequency, f"class {number}")
    bursty = PrototypeClassification(2, 16, 4, burstiness=1.0, kinds=3)
    classes = np.asarray(sample_batch(bursty, jax.random.split(KEY, 500), 40).latent)
    shown = [len(set(row.tolist())) for row in classes]
    assert max(shown) == 3


def test_points_have_variance_one_in_all_and_the_label_of_their_class():
    task = PrototypeClassification(4, 16, 4, noise=0.5, novel=True)
    episodes = sample_batch(task, jax.random.split(KEY, 4_000), 4)
    inputs, classes = np.asarray(episodes.inputs), np.asarray(episodes.latent)
    laws.assert_zero((inputs[:, 0, :4] ** 2).sum(axis=1) - 1, "squared length of x")
    labels = inputs[:, 1::2, 4:-1].argmax(axis=2)
    np.testing.assert_array_equal(labels, classes % 4)
    again = [task.prototypes() for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert not np.array_equal(again[0], PrototypeClassification(4, 16, 4, seed=1).prototypes())


@pytest.mark.slow
def test_memory_is_the_posterior_of_the_pool_given_the_question():
    rows = rows_of(TASK, 12)
    with enumeration.double_precision():
        said = np.exp(np.asarray(predict(TASK.by_memory(), rows)))
        prototypes, prior = np.asarray(TASK.prototypes()), np.asarray(TASK.frequencies())
    share = 1 + TASK.noise**2
    cover = TASK.noise**2 / share / 3 * np.eye(3)
    for row in range(1, 12, 2):
        means = prototypes / np.sqrt(share)
        density = [
            scipy.stats.multivariate_normal.pdf(rows[row, :3], mean, cover) for mean in means
        ]
        by_label = (prior * density).reshape(2, 3).sum(axis=0)
        np.testing.assert_allclose(said[row], by_label / by_label.sum(), atol=1e-6)


def test_copying_weighs_answers_by_the_joint_density_of_two_points_of_a_class():
    rows = rows_of(TASK, 12)
    with enumeration.double_precision():
        said = np.exp(np.asarray(predict(TASK.by_copying(), rows)))
    np.testing.assert_allclose(said[1], 1 / 3)  # nothing to copy
    shared, eye = 1 / (1 + TASK.noise**2), np.eye(3) / 3
    pair = scipy.stats.multivariate_normal(
        np.zeros(6), np.block([[eye, shared * eye], [shared * eye, eye]])
    )
    alone = scipy.stats.multivariate_normal(np.zeros(3), eye)
    for row in range(3, 12, 2):
        x, context = rows[row, :3], rows[1:row:2]
        weights = [pair.pdf([*x, *old[:3]]) / alone.pdf(old[:3]) for old in context]
        by_label = context[:, 3:6].T @ weights
        np.testing.assert_allclose(said[row], by_label / by_label.sum(), atol=1e-9)


@pytest.mark.slow
def test_an_answer_that_nothing_allows_is_followed_by_uniform_ones():
    """A sequence of one class has one label. Its questions cost nothing, whatever was answered."""
    task = PrototypeClassification(1, 3, 3, noise=0.3, burstiness=1.0, kinds=1)
    first, second, question = [0.2, 1, 0, 0, 1], [0.1, 0, 1, 0, 1], [0.2, 0, 0, 0, 0]
    rows = np.array([question, first, question, second, question, second, question, first])
    said = np.asarray(predict(task.bayes(), rows))
    np.testing.assert_array_equal(said[3], [0.0, -np.inf, -np.inf])
    np.testing.assert_allclose(said[4:], np.log(1 / 3), rtol=1e-6)
    both = Mixture((task, dataclasses.replace(task, seed=1)))
    prediction = laws.predictions(both.bayes(), jnp.asarray(rows, jnp.float32)[None])
    costs = -np.asarray(prediction.of(task.outcome.decode(jnp.asarray(rows, jnp.float32)[None])))[0]
    assert costs[3] == np.inf
    np.testing.assert_allclose(costs[4:], [0, np.log(3), 0, np.log(3)], atol=1e-6)


@pytest.mark.slow
def test_without_bursts_the_context_says_nothing():
    task = PrototypeClassification(3, 6, 3, noise=0.8, burstiness=0.0)
    rows = rows_of(task, 10)
    np.testing.assert_allclose(
        predict(task.bayes(), rows)[1::2], predict(task.by_memory(), rows)[1::2], atol=1e-5
    )


@pytest.mark.slow
def test_two_readings_are_one():
    rows = jnp.asarray(rows_of(TASK, 10), jnp.float32)
    advance = eqx.filter_jit(lambda predictor, state, rows: predictor.advance(state, rows))
    for predictor in (TASK.bayes(), TASK.by_memory(), TASK.by_copying()):
        whole = predict(predictor, rows)
        for state in (predictor.start(), predictor.start(10)):
            state, first = advance(predictor, state, rows[:5])
            state, second = advance(predictor, state, rows[5:])
            both = np.concatenate([first.shown(), second.shown()])
            np.testing.assert_allclose(both, whole, atol=1e-5)
    full = TASK.by_copying()
    said = full.advance(full.start(3), rows[:5])[1].shown()  # row 3 is said before it is read
    np.testing.assert_array_equal(np.isnan(said), np.arange(5)[:, None] > np.full(3, 3))


@pytest.mark.slow
def test_pool_and_context_together_lose_least():
    episodes = sample_batch(TASK, jax.random.split(KEY, 2_000), 16)
    losses = {
        name: np.asarray(
            TASK.outcome.log_loss(laws.predictions(predictor, episodes.inputs), episodes)
        )
        for name, predictor in (("bayes", TASK.bayes()), ("memory", TASK.by_memory()))
    }
    gap = (losses["bayes"] - losses["memory"])[:, 1::2]
    laws.assert_zero(gap[:, 0], "loss of Bayes minus that of memory at the first answer")
    assert gap[:, 4:].mean() < -10 * gap[:, 4:].mean(axis=1).std() / np.sqrt(len(gap))


@pytest.mark.slow
def test_new_classes_are_copied_and_not_remembered():
    task = PrototypeClassification(16, 16, 4, burstiness=1.0, novel=True)
    assert not task.has_bayes
    with pytest.raises(NotImplementedError, match="learned by heart; got novel=True"):
        task.by_memory()
    old = dataclasses.replace(task, novel=False)
    episodes = sample_batch(task, jax.random.split(KEY, 1_000), 20)
    label = np.asarray(episodes.inputs)[:, -1, 16:-1].argmax(axis=1)
    hits = [
        np.asarray(laws.predictions(predictor, episodes.inputs).shown())[:, -1].argmax(1) == label
        for predictor in (task.by_copying(), old.by_memory())
    ]
    assert hits[0].mean() > 0.9 and hits[1].mean() < 0.6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": 6, "labels": 4}, "that 4 labels divide; got 6"),
        ({"noise": 0.0}, "a noise above 0, a standard deviation; got 0.0"),
        ({"burstiness": 1.2}, "a burstiness, a probability from 0 to 1; got 1.2"),
        ({"zipf": -1.0}, "a zipf exponent of at least 0; got -1.0"),
        ({"kinds": 0}, "kinds, a whole number of at least 1; got 0"),
    ],
)
def test_fields_that_do_not_fit(fields, message, as_users_see_it):
    with pytest.raises(ValueError, match=message):
        PrototypeClassification(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"novel": True}, "a pool that is known"),
        ({"classes": 128, "kinds": 4}, "sets of 4 of 128 classes that a sequence may show; got 1,"),
    ],
)
def test_tasks_without_an_exact_predictor(fields, message):
    task = PrototypeClassification(**fields)
    assert not task.has_bayes
    with pytest.raises(NotImplementedError, match=message):
        task.bayes()
