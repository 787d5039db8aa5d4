"""Answers that follow a context, or what the weights know."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.analysis import grounding, own_answers
from promptax.protocol import Prediction, Predictor
from promptax.protocol.exchangeable import Uniform
from promptax.specs import traced
from promptax.tasks import ContextFacts
from promptax.tasks.batches import sample_batch

WORLD = ContextFacts(4, 3, answers=(2, 0, 1, 1))
SUBJECTS, BLANK = range(3, 7), 7


class Answering(Predictor):
    """Says the value of the context, or the one that it knows: `follows` "context" always,
    "subject" where the context speaks of the subject, "memory" never."""

    follows: str
    symbols: int = WORLD.symbols

    def start(self, capacity=None):
        return jnp.zeros(0, jnp.int32)

    def advance(self, state, inputs):
        read = jnp.concatenate([state, inputs])
        rows = jnp.zeros((len(read), self.symbols))
        if len(read) > 3:
            first, said, asked = read[:3]
            known = jnp.asarray(WORLD.table)[asked - 3]
            uses = {"context": first != BLANK, "subject": first == asked, "memory": False}
            rows = rows.at[3, jnp.where(uses[self.follows], said, known)].set(9.0)
        return read, Prediction(jax.nn.log_softmax(rows)[len(state) :])


@pytest.mark.parametrize(
    ("follows", "expected"),
    [("memory", (1, 1, 0, 1)), ("subject", (1, 1, 1, 1)), ("context", (1, 1, 1, 1 / 3))],
)
def test_whom_an_answer_follows(follows, expected):
    predictor = Answering(follows)
    assert own_answers(predictor, WORLD) == (2, 0, 1, 1)
    np.testing.assert_allclose(grounding(predictor, WORLD), expected)


def test_each_kind_of_context_has_its_answer():
    keys = jax.random.split(jax.random.key(0), 4000)
    episodes = sample_batch(traced(WORLD), keys, 5)
    first, said, asked, answer, after = np.asarray(episodes.tokens).T
    kind, known = np.asarray(episodes.latent), WORLD.table[asked - 3]
    assert (np.abs(np.bincount(kind) - 1000) < 4.5 * np.sqrt(4000 * 0.25 * 0.75)).all()
    of_subject = first == asked
    assert of_subject[kind < 2].all() and not of_subject[kind >= 2].any()
    assert (said == known)[kind == 0].all() and (said != known)[kind == 1].all()
    assert (first == BLANK)[kind == 3].all() and (said == BLANK)[kind == 3].all()
    np.testing.assert_array_equal(answer, np.where(kind == 1, said, known))
    assert (after == BLANK).all()
    np.testing.assert_array_equal(episodes.scored, [[False, False, False, True, False]] * 4000)
    pairs = np.unique(np.stack([first, said, asked, kind]), axis=1).shape[1]
    assert pairs == 4 + 4 * 2 + 4 * 3 * 3 + 4  # every context of every kind


def test_what_is_no_world_is_refused():
    with pytest.raises(ValueError, match="for each of 4 subjects; got"):
        ContextFacts(4, 3, answers=(0, 3, 0, 0))
    with pytest.raises(ValueError, match="a share of at least 0 for each of"):
        ContextFacts(shares=(1.0,))
    with pytest.raises(ValueError, match="over the task's 8 symbols"):
        grounding(Uniform(3), WORLD)
    with pytest.raises(
        ValueError, match=r"at most [\d,]+ numbers in all contexts of all questions"
    ):
        grounding(Uniform(12_001), ContextFacts(8_000, 4_000))
