"""Interpolation of tasks: what a mixture is, and that its gradient is that of its loss."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judges import same

import promptax as px
from promptax.evaluation.exact import enumeration
from promptax.fit.objectives import MAML, MLTI, support_and_query
from promptax.fit.objectives.mlti import mix
from promptax.predictors import RNN
from promptax.protocol.outcomes import Episode, Gaussian, Points, Symbols
from promptax.tasks import Categorical, DirichletCategorical, FinitePool

KEYS = jax.random.split(jax.random.key(7), 3)
COINS = FinitePool(DirichletCategorical(), size=4)


def test_a_mixture_is_linear_and_a_share_of_one_is_the_first_task():
    points = np.random.default_rng(0).normal(size=(2, 3, 6, 3))
    tokens = np.random.default_rng(1).integers(0, 2, (2, 3, 6))
    shares = jnp.array([1.0, 0.25, 0.0])
    for outcome, rows in ((Points(1, Gaussian()), points), (Symbols(2), np.eye(2)[tokens])):
        given = tokens if outcome.alphabet else points
        first, second = (Episode(jnp.asarray(part)) for part in given)
        expected = np.einsum("s,st...->st...", shares, rows[0])
        expected += np.einsum("s,st...->st...", 1 - shares, rows[1])
        same(mix(first, second, shares, outcome).observations, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_a_sequence_has_one_share():
    drawn = np.asarray(MLTI(mixed=1.0).draw(COINS, KEYS, 6).observations)
    same(drawn.sum(-1), np.ones((3, 6)), rtol=1e-6)
    between = [np.unique(rows[(rows > 0) & (rows < 1)]) for rows in drawn]
    assert all(len(values) in (0, 2) for values in between)
    assert max(map(len, between)) == 2, "nothing was mixed"


def test_the_second_sequence_has_a_key_that_no_task_makes_of_the_firsts(monkeypatch):
    """Tasks split the key of a sequence, and fold small numbers into it."""
    keys = []

    def note(task, key, length):
        keys.append(key)
        return task.sample(key, length)

    monkeypatch.setattr(support_and_query, "sample_batch", note)
    MLTI(mixed=1.0).draw(COINS, KEYS[0], 4)
    first, second = (np.asarray(jax.random.key_data(key)) for key in keys)
    made = [jax.random.key_data(jax.random.fold_in(keys[0], number)) for number in range(9)]
    assert not np.any(np.all(np.asarray([first, *made]) == second, axis=1))


def test_weights_over_symbols_take_room_for_each_of_them():
    settings = px.FitSettings(steps=1, batch=2**10, length=2**10)
    many = Categorical((2.0**-9,) * 2**9)
    with pytest.raises(ValueError, match="the sequences of an update"):
        px.pretrain(KEYS[0], RNN(width=2), many, settings, objective=MLTI(support=3))


@pytest.mark.slow
def test_gradients_of_mixed_symbols_are_finite_differences():
    """In float64, through two inner steps; without mixtures the loss is that of MAML."""
    with enumeration.double_precision():
        network = RNN(width=2).build(jax.random.key(1), 2)
        network = jax.tree.map(lambda leaf: leaf.astype(float), network)
        tokens = MAML().draw(COINS, jax.vmap(jax.random.split, (0, None))(KEYS, 3)[:, 0], 6)
        whole = MLTI(inner_steps=2, support=3, mixed=0.0).draw(COINS, KEYS, 6)
        mixed = MLTI(inner_steps=2, support=3, mixed=1.0).draw(COINS, KEYS, 6)

        @eqx.filter_jit
        def compute(objective, by, episodes):
            def lose(by):
                moved = jax.tree.map(lambda leaf: leaf + by, network)
                given = KEYS[0], moved, None, episodes, COINS.outcome
                return jnp.sum(objective.losses(*given))

            return jax.value_and_grad(lose)(by)

        mlti = MLTI(inner_steps=2, support=3)
        by = jnp.array(1e-5)
        maml = MAML(inner_steps=2, support=3)
        ours, theirs = (
            compute(mlti, 0 * by, whole),
            compute(maml, 0 * by, tokens),
        )
        same(ours, theirs, rtol=1e-9)
        value, slope = compute(mlti, 0 * by, mixed)
        difference = (compute(mlti, by, mixed)[0] - compute(mlti, -by, mixed)[0]) / 2e-5
        assert abs(value - theirs[0]) > 1e-3
        np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_what_has_no_mixture_is_refused():
    settings, key = px.FitSettings(steps=1, batch=2, length=6), jax.random.key(0)
    labelled = RNN(width=2).build(key, Points(1, Symbols(2)))
    with pytest.raises(ValueError, match="symbols, numbers, or points answered by numbers"):
        MLTI(support=3).verify(labelled, settings)
    with pytest.raises(ValueError, match="support shorter than the sequence of 6 steps"):
        px.pretrain(key, RNN(width=2), Categorical(), settings, objective=MLTI(support=6))
