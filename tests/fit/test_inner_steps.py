"""MAML, first-order MAML and Reptile against hand-written steps and exact coins."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judges import same
from support.logits import Logits, OneLogit

import promptax as px
from promptax.evaluation import expected_losses
from promptax.evaluation.exact import enumeration
from promptax.fit import MAML, Adapting, FirstOrderMAML, Reptile
from promptax.fit.updates import Program, loss_and_gradient
from promptax.predictors import LSTM, Constant, FeedForward
from promptax.protocol.outcomes import Episode
from promptax.specs import traced
from promptax.tasks import (
    Categorical,
    DirichletCategorical,
    LinearRegression,
    LiveAndDie,
    MarkovChain,
)

KEY = jax.random.key(3)
TOKENS = jnp.array([[0, 1, 1, 1, 0, 1], [1, 1, 0, 0, 0, 0]])


def gradient_of(objective, predictor):
    leaves, others = eqx.partition(predictor, eqx.is_inexact_array)
    program = Program(*eqx.partition(others, False), jnp.float32(1.0), traced(objective))
    outcome = Categorical().outcome
    compute = eqx.filter_jit(loss_and_gradient)
    loss, (gradient, _) = compute(leaves, program, Episode(TOKENS), outcome, 2)
    return loss, gradient


def log_loss(leaves, others, tokens):
    rows = px.predict(eqx.combine(leaves, others), tokens)
    return -jnp.sum(jnp.take_along_axis(rows, tokens[:, None], -1))


def by_hand(leaves, others, tokens, rate):
    """φ after two plain gradient steps on one sequence, step by step."""
    for _ in range(2):
        slope = jax.grad(log_loss)(leaves, others, tokens)
        leaves = jax.tree.map(lambda w, g: w - rate * g, leaves, slope)
    return leaves


@eqx.filter_jit
def expected_of_each(start, others, tokens):
    """Loss and gradient of MAML, of first-order MAML and of Reptile for one sequence, by hand."""

    def query(leaves):
        return log_loss(by_hand(leaves, others, tokens[:3], 0.1), others, tokens[3:])

    end = by_hand(start, others, tokens[:3], 0.1)
    away = jax.tree.map(jnp.subtract, start, by_hand(start, others, tokens, 0.1))
    return (
        jax.value_and_grad(query)(start),
        jax.value_and_grad(log_loss)(end, others, tokens[3:]),
        (log_loss(start, others, tokens), away),
    )


@pytest.mark.slow
def test_each_member_is_what_its_formula_says():
    """Two steps on an LSTM, float64; the mean of 3 symbols at rate 0.3 is their sum at rate 0.1."""
    with enumeration.double_precision():
        network = LSTM(width=3).build(KEY, 2)
        parts = eqx.partition(network, eqx.is_inexact_array)
        by_sequence = [expected_of_each(*parts, tokens) for tokens in TOKENS]
        expected = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *by_sequence)
        members = (
            MAML(support=3, inner_steps=2, inner_rate=0.3),
            FirstOrderMAML(support=3, inner_steps=2, inner_rate=0.1, inner_loss="sum"),
            Reptile(inner_steps=2, inner_rate=0.1, inner_loss="sum"),
        )
        ours = [gradient_of(member, network) for member in members]
    for mine, right in zip(ours, expected, strict=True):
        same(mine, right, rtol=1e-9, atol=1e-12)
    second, constant = (jax.tree.leaves(ours[i][1]) for i in (0, 1))
    apart = [
        np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(second, constant, strict=True)
    ]
    assert max(apart) > 1e-3, "the second order is missing"


def test_the_head_alone_can_adapt():
    network = LSTM(width=3).build(KEY, 2)
    adapted = MAML(inner_steps=3, adapts=("unembedding",)).adapt(network, TOKENS)
    same(adapted.torso, network.torso)
    same(adapted.embedding, network.embedding)
    assert np.abs(adapted.unembedding.weight - network.unembedding.weight).max() > 1e-4
    one, other = (MAML().adapt(network, tokens) for tokens in (TOKENS[0], TOKENS[1]))
    assert np.abs(px.predict(one, TOKENS[0]) - px.predict(other, TOKENS[0])).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("in_context", [False, True])
def test_adapting_predicts_as_steps_on_what_was_read(in_context):
    network, steps = LSTM(width=3).build(KEY, 2), MAML(inner_steps=2, inner_rate=0.5)
    adapting, tokens = Adapting(network, steps, in_context), TOKENS[0]
    rows = px.predict(adapting, tokens)
    np.testing.assert_allclose(rows[0], px.predict(network, tokens)[0], atol=1e-6)
    for time in (4,):
        adapted = steps.adapt(network, tokens[:time])
        expected = px.predict(adapted, tokens)[time if in_context else 0]
        np.testing.assert_allclose(rows[time], expected, atol=1e-5)
    for capacity in (None, 6):  # in pieces, with and without room of its own
        state, parts = adapting.start(capacity), []
        for piece in (tokens[:2], tokens[2:2], tokens[2:5], tokens[5:]):
            state, prediction = adapting.advance(state, piece)
            parts.append(prediction.log_probs)
        np.testing.assert_allclose(jnp.concatenate(parts), rows, atol=1e-5)
    beyond = adapting.advance(state, tokens[:1])[1].log_probs
    assert np.isnan(beyond).all()
    with pytest.raises(TypeError, match="Expected tokens, which Adapting can take inner steps on"):
        adapting.advance(adapting.start(), jnp.ones((2, 2)))


def regret_on_coins(adapting, length=50):
    """Expected regret to the oracle on Beta(1, 1) coins: a model without memory sees counts alone,
    and all counts of a number of symbols are equally likely; the oracle loses ½ a symbol."""
    sequences = jnp.array([[1] * n + [0] * (length - n) for n in range(length)])
    ones = np.asarray(jax.vmap(lambda row: px.predict(adapting, row))(sequences), float)
    regret = 0.0
    for read in range(length):
        count = np.arange(read + 1)
        share, rows = (count + 1) / (read + 2), ones[count, read]
        regret += np.mean(-(1 - share) * rows[:, 0] - share * rows[:, 1]) - 0.5
    return regret


@pytest.mark.parametrize(
    ("steps", "rate", "inner_loss", "expected"),
    [
        (1, 0.1574, "sum", 2.8779),
        (2, 0.1781, "sum", 2.0294),
        (5, 0.1615, "sum", 1.6580),
        (1, 4.1697, "mean", 2.0383),
    ],
)
def test_steps_from_a_fair_coin_have_known_regrets(steps, rate, inner_loss, expected):
    """Rates are those for one logit; a step moves the difference of two logits twice as far."""
    fair = Logits(jnp.zeros(2))
    member = MAML(inner_steps=steps, inner_rate=rate / 2, inner_loss=inner_loss)
    np.testing.assert_allclose(regret_on_coins(Adapting(fair, member)), expected, atol=2e-4)


def test_support_and_query_can_be_sequences_of_one_latent():
    """Three sequences of 8 symbols: each begins anew, all have the query's chain. What
    comes less what the chain expects is noise, also where it is weighed by what is expected."""
    chains = MarkovChain(concentration=(0.5, 0.5))
    steps = MAML(support_sequences=2, support=8)
    drawn = steps.draw(traced(chains), jax.random.split(KEY, 500), 24)
    oracle = jax.jit(jax.vmap(chains.oracle))
    for tokens in np.split(np.asarray(drawn.tokens), 3, axis=1):
        ones = np.exp(np.asarray(oracle(drawn.latent, tokens)[..., 1], float))
        for weight in (np.ones_like(ones), ones - 0.5):
            noise = np.sum(weight * (tokens - ones))
            error = np.sqrt(np.sum(weight**2 * ones * (1 - ones)))
            assert abs(noise) < 4 * error, noise / error
    assert (drawn.tokens[:, :8] != drawn.tokens[:, 8:16]).any()


def test_tasks_without_a_latent_to_share_are_refused():
    """By the loop, which asks the objective for the sequences of an update."""
    settings, steps = px.FitSettings(steps=1, batch=2, length=6), MAML(support_sequences=1)
    with pytest.raises(ValueError, match="got 1 sequence of 10 for MAML"):
        px.pretrain(KEY, OneLogit(), Categorical(), settings, objective=steps)
    steps = MAML(support_sequences=1, support=2)
    with pytest.raises(NotImplementedError, match="LiveAndDie has no way to draw an episode of a"):
        px.pretrain(KEY, OneLogit(), LiveAndDie(), settings, objective=steps, callbacks=())
    with pytest.raises(ValueError, match="which no query goes on from"):
        MAML(support_sequences=1, in_context=True)


def test_adapting_answers_points_as_steps_on_those_before():
    """A perceptron sees the question alone: what it learned of other points are its weights."""
    task, steps = LinearRegression(2), MAML(inner_steps=2, inner_rate=0.1)
    network = FeedForward(width=3).build(KEY, task.outcome)
    rows = task.sample(KEY, 6).inputs
    adapting = Adapting(network, steps, in_context=True)
    said = np.asarray(px.predict(adapting, rows))
    adapted = steps.adapt(network, rows[:5])  # with the question
    np.testing.assert_allclose(said[5], px.predict(adapted, rows[4:])[1], rtol=1e-5)
    assert np.abs(said[5] - px.predict(network, rows)[5]).max() > 1e-3
    np.testing.assert_allclose(said[1], px.predict(network, rows)[1], rtol=1e-5)
    state, _ = adapting.advance(adapting.start(6), rows[:3])
    pieces = adapting.advance(state, rows[3:])[1].shown()
    np.testing.assert_allclose(pieces, said[3:], rtol=1e-4)
    with pytest.raises(ValueError, match="Expected in_context=True for a predictor of points"):
        Adapting(network, steps)


def test_what_says_the_same_at_every_step_has_exact_expectations():
    """Two logits that start equal, and one summed step at the best rate: 2.8779 nats of regret."""
    coins, fair = DirichletCategorical((1.0, 1.0)), Constant().build(KEY, 2)
    fair = eqx.tree_at(lambda model: model.values, fair, jnp.zeros(2))
    steps = MAML(inner_rate=0.1574 / 2, inner_loss="sum")
    losses = expected_losses(Adapting(fair, steps), coins, 50)
    np.testing.assert_allclose(losses.sum() - sum(coins.oracle_entropy(50)), 2.8779, atol=2e-4)
    np.testing.assert_allclose(expected_losses(fair, coins, 3), np.log(2), rtol=1e-6)
