"""Facts that inner steps write into weights: a table of logits, computed by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.fit import Reckoning
from promptax.fit.settings import FitSettings
from promptax.protocol import Prediction, Predictor
from promptax.protocol.outcomes import Episode
from promptax.tasks import NamedCoins

COINS = NamedCoins(2)
FACTS = [2, 0, 3, 1, 2, 0, 3, 1]  # coin 2 shows 0, coin 3 shows 1, twice
STEPS = Reckoning(inner_steps=2, inner_rate=0.5, support=8, reproduce=0.25)


class Table(Predictor):
    """Logits [symbol, symbol] of the next symbol given the last one; 0 comes before all."""

    logits: jax.Array

    @property
    def symbols(self):
        return len(self.logits)

    def start(self, capacity=None):
        return jnp.zeros((), jnp.int32)

    def advance(self, state, inputs):
        read = jnp.concatenate([state[None], inputs]).astype(jnp.int32)
        return read[-1], Prediction(jax.nn.log_softmax(self.logits[read[:-1]]))


def table():
    """A table, with rates for both steps."""
    logits = jax.random.normal(jax.random.key(0), (4, 4))
    paced = STEPS.equip(Table(logits), FitSettings())
    return dataclasses.replace(paced, factors={"logits": jnp.array([1.0, 0.6])})


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def losses(logits, tokens):
    before = [0, *tokens[:-1]]
    return -log_softmax(logits)[before, tokens]


def stepped(logits, tokens, rate):
    """A gradient step on the mean loss of the tokens: softmax minus what came."""
    slope = np.zeros_like(logits)
    for before, token in zip([0, *tokens[:-1]], tokens, strict=True):
        slope[before] += np.exp(log_softmax(logits)[before]) - np.eye(4)[token]
    return logits - rate * slope / len(tokens)


def test_the_loss_is_that_of_question_and_facts_at_the_adapted_weights():
    predictor = table()
    logits = np.asarray(predictor.predictor.logits, np.float64)
    for factor in (1.0, 0.6):
        logits = stepped(logits, FACTS, 0.5 * factor)
    question = [2, 0]
    wanted = losses(logits, question).sum() + 0.25 * losses(logits, FACTS).mean()
    episodes = Episode(jnp.array([FACTS + question]))
    got = STEPS.losses(jax.random.key(0), predictor, predictor.start(), episodes, predictor.outcome)
    np.testing.assert_allclose(got, [wanted], rtol=1e-5)


def test_distractors_do_not_move_what_a_table_answers():
    before = np.asarray(table().predictor.logits)

    def answer(facts):
        adapted = dataclasses.replace(STEPS, support=len(facts)).adapt(table(), jnp.array(facts))
        return np.asarray(adapted.predictor.logits)[2]

    np.testing.assert_array_equal(answer([3, 1, 3, 1]), before[2])
    wanted = stepped(stepped(before, [3, 1, 2, 0], 0.5), [3, 1, 2, 0], 0.3)
    np.testing.assert_allclose(answer([3, 1, 2, 0]), wanted[2], rtol=1e-5)


def test_facts_that_the_question_could_read_are_refused():
    with pytest.raises(ValueError, match="the question cannot read them; got support=None"):
        Reckoning(support=None)
    with pytest.raises(ValueError, match="reproduce of at least 0; got -1"):
        Reckoning(reproduce=-1.0)


def test_what_is_asked_of_one_coin_is_known_exactly():
    """Distractors change nothing for Bayes: counts of the coin that is named decide."""
    bayes = COINS.bayes()
    _, prediction = bayes.advance(bayes.start(), jnp.array([*FACTS, 3, 1, 2, 0]))
    row = np.exp(np.asarray(prediction.log_probs))[len(FACTS) + 3]
    np.testing.assert_allclose(row, [3 / 4, 1 / 4, 0, 0], rtol=1e-6)  # two heads of two
