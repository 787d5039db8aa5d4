"""A prompt's start with a learned turn of its steps: against steps by hand, in float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judges import same

import promptax as px
from promptax.evaluation.exact import enumeration
from promptax.fit import Adapting
from promptax.fit.objectives import SUPMER, MetaSGD
from promptax.fit.objectives.supmer import GATE, SCALES
from promptax.predictors import RNN
from promptax.protocol.outcomes import Episode
from promptax.steering import HardPrompt, SoftPrompt, tune_start
from promptax.tasks import DirichletCategorical

KEY = jax.random.key(9)
TOKENS = jnp.array([[0, 1, 1, 1, 0, 1]])
SETTINGS = px.FitSettings(steps=1, batch=2, length=6)


def in_double(tree):
    return jax.tree.map(lambda leaf: leaf.astype(float), tree)


@pytest.mark.slow
def test_steps_of_the_prompt_are_those_by_hand():
    """gate=1 is first-order MAML on the prompt; what is learned has the slope of the loss."""
    with enumeration.double_precision():
        network = in_double(RNN(width=3).build(KEY, 2))
        rows = jax.random.normal(KEY, (2, 3))
        outcome = px.tasks.Categorical().outcome
        objective = SUPMER(support=3, inner_rate=0.3)
        plain = SUPMER(support=3, inner_rate=0.3, gate=1.0)
        steered = SoftPrompt(length=2).steer(KEY, network)
        steered = objective.equip(steered, SETTINGS)

        def behind(rows, scales, gate):
            return eqx.tree_at(
                lambda p: (p.predictor.context.values, p.factors[SCALES], p.factors[GATE]),
                steered,
                (rows, scales, gate),
            )

        def lose(rows, tokens):
            network = behind(rows, jnp.ones(3), jnp.zeros(()))
            prediction = network.advance(network.start(), tokens)[1]
            return -jnp.sum(prediction.of(tokens))

        def ours(leaves, objective):
            given = KEY, behind(*leaves), None, Episode(TOKENS), outcome
            return objective.losses(*given)[0]

        @jax.jit
        def compute(leaves):
            end = rows - 0.3 * jax.grad(lose)(rows, TOKENS[0, :3]) / 3
            by_hand = jax.value_and_grad(lose)(end, TOKENS[0, 3:])
            return (
                by_hand,
                jax.value_and_grad(ours)(leaves, plain),
                jax.value_and_grad(ours)(leaves, objective),
            )

        scales, gate = jnp.array([1.5, 0.5, -0.7]), jnp.array(0.3)
        by_hand, first_order, turned = compute((rows, scales, gate))
        same(first_order[0], by_hand[0], rtol=1e-9)
        same(first_order[1][0], by_hand[1], rtol=1e-9)
        unturned = compute((rows, jnp.ones(3), gate))[2]
        same(unturned[0], by_hand[0], rtol=1e-9)
        assert abs(turned[0] - by_hand[0]) > 1e-4, "the direction is another one"
        up = compute((rows, scales + 1e-5, gate - 2e-5))[2][0]
        down = compute((rows, scales - 1e-5, gate + 2e-5))[2][0]
        slope = jnp.sum(turned[1][1]) - 2 * turned[1][2]
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-6)


@pytest.mark.slow
def test_the_start_is_tuned_and_the_network_stays():
    network = RNN(width=3).build(KEY, 2)
    settings = px.FitSettings(steps=3, batch=4, length=8)
    told = []

    def hear(done, total, note):
        told.append((done, total))

    objective = SUPMER(support=4)
    fitted = tune_start(
        KEY, network, DirichletCategorical(), settings, objective=objective, callbacks=[hear]
    )
    assert told[-1] == (3, 3)
    same(fitted.predictor.predictor.predictor, network)
    assert np.all(np.asarray(fitted.predictor.factors[SCALES]) != 1)
    adapted = SUPMER(support=4).adapt(fitted.predictor, TOKENS)
    moved = adapted.predictor.context.values - fitted.predictor.predictor.context.values
    assert np.abs(moved).max() > 1e-4
    same(adapted.predictor.predictor, network)


def test_what_reads_no_prompt_of_numbers_is_refused():
    network = RNN(width=3).build(KEY, 2)
    with pytest.raises(TypeError, match="reads a prompt, whose rows SUPMER moves"):
        px.pretrain(KEY, RNN(width=3), DirichletCategorical(), SETTINGS, objective=SUPMER())
    with pytest.raises(ValueError, match="support shorter than the sequence of 6"):
        tune_start(KEY, network, DirichletCategorical(), SETTINGS, objective=SUPMER(support=6))
    with pytest.raises(TypeError, match="PromptTuner"):
        tune_start(KEY, network, DirichletCategorical(), SETTINGS, prompt=HardPrompt())
    steered = SoftPrompt(length=2).steer(KEY, network)
    for other in (steered, MetaSGD().equip(steered, SETTINGS)):
        with pytest.raises(TypeError, match="leaves that SUPMER learns"):
            SUPMER().adapt(other, TOKENS)
    with pytest.raises(TypeError, match="leaves that SUPMER learns"):
        Adapting(steered, SUPMER())
    with pytest.raises(ValueError, match=r"factors SUPMER learned, 0\.1; got 0\.2"):
        SUPMER(inner_rate=0.2).adapt(SUPMER().equip(steered, SETTINGS), TOKENS)
    with pytest.raises(ValueError, match="gate from 0 to 1"):
        SUPMER(gate=2.0)
