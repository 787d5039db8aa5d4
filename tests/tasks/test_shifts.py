"""Segments by rules that are no predictor's prior: when they begin, and what they cost others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax.tasks import LiveAndDie, PartitionTree, RandomShifts, RegularShifts, UniformShifts
from promptax.tasks.batches import sample_batch

KEY = jax.random.key(3)


def begins_of(task, length, sequences=20_000):
    draw = jax.jit(jax.vmap(lambda key: task.sample(key, length).latent.begins))
    return np.asarray(draw(jax.random.split(KEY, sequences)), float)


def test_segments_begin_by_their_rule():
    regular = begins_of(RegularShifts(period=3), 8, 2)
    np.testing.assert_array_equal(regular, [[1, 0, 0, 1, 0, 0, 1, 0]] * 2)
    random, uniform = begins_of(RandomShifts(period=4.0), 6), begins_of(UniformShifts(2, 5), 7)
    assert (random[:, 0] == 1).all() and (uniform[:, 0] == 1).all()
    laws.assert_zero(random[:, 1:].mean(axis=1) - 0.25, "random shifts at a step")
    assert (uniform[:, 1:5].sum(axis=1) == 2).all() and (uniform[:, 5:] == 0).all()
    for step in range(1, 5):
        laws.assert_zero(uniform[:, step] - 0.5, f"uniform shifts at step {step}")


@pytest.mark.slow
def test_predictors_of_another_prior_lose_most_behind_a_shift():
    """Regret by step around shifts every 12 steps, of predictors that do not know the period."""
    task, length = RegularShifts(period=12), 96
    episodes = sample_batch(task, jax.random.split(KEY, 4_000), length)
    oracle = jax.jit(jax.vmap(task.oracle))(episodes.latent, episodes.tokens)

    def regret(predictor):
        rows = laws.read(predictor, episodes.tokens)
        lost = laws.of_tokens(oracle, episodes.tokens) - laws.of_tokens(rows, episodes.tokens)
        return lost[:, 12:].reshape(len(lost), -1, 12)  # [sequence, segment, step in it]

    knows, live, cut = map(regret, (task.bayes(), LiveAndDie().bayes(), PartitionTree(7).bayes()))
    for lost in (live, cut):
        laws.assert_at_most_zero((knows - lost).mean(axis=(1, 2)), "known period minus not known")
        laws.assert_at_most_zero(
            (lost[:, :, 6:] - lost[:, :, :6]).mean(axis=(1, 2)), "regret late minus early"
        )
    # Segments 4 and 8 begin at 48 and 96: at 48 a half of 32 is cut in halves, others lie askew
    aligned, askew = cut[:, 3].sum(axis=1), cut[:, 4].sum(axis=1)
    laws.assert_at_most_zero(aligned - askew, "regret of partitions behind step 48 minus 60")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RegularShifts(period=0), "a period, a whole number of at least 1; got 0"),
        (lambda: RandomShifts(period=0.5), "a period of at least 1 step; got 0.5"),
        (lambda: UniformShifts(8, 8), "fewer shifts than the 8 steps of the horizon; got 8"),
    ],
)
def test_fields_that_do_not_fit(build, message, as_users_see_it):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_period_of_one_forgets_everything():
    rows = laws.read(RegularShifts(period=1).bayes(), jnp.array([[0, 0, 1]]))
    np.testing.assert_allclose(np.exp(rows), 0.5, rtol=1e-6)
