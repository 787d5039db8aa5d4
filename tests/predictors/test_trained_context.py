"""No reading is longer than the context that a llama was trained with, whoever reads."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import promptax as px
from promptax.evaluation import expected_losses
from promptax.language.spelled import spelled
from promptax.predictors import LSTM, Llama, llama
from promptax.streaming import sampling
from promptax.tasks import DirichletCategorical

KEY = jax.random.key(0)
SYMBOLS = 11
TOKENS = np.array([3, 1, 4, 1, 5, 9, 2, 6])
SHORT = Llama(
    width=8, depth=2, heads=4, key_heads=2, head_width=4, hidden=12, opens_with=1, context_length=12
)
LIMITED = {  # what reads, and how many inputs at most
    "by itself": (lambda net: net, 11),
    "behind prompts": (lambda net: px.condition(px.condition(net, TOKENS[:3]), TOKENS[:1]), 7),
    "a mixture": (lambda net: px.mix(net, [TOKENS[:4], TOKENS[:6]]), 5),
    "a mixture behind a prompt": (lambda net: px.mix(px.condition(net, [1]), [[1], [1, 2]]), 8),
    "in words": (lambda net: spelled(net, [[2, 5], [3, 5]], [4]), 5),
    "in words, behind a word": (lambda net: px.condition(spelled(net, [[2, 5], [3, 5]]), [0]), 4),
    "in words, behind rows": (
        lambda net: px.condition(spelled(net, [[2, 5], [3, 5]]), np.ones((3, 8), "f")),
        4,
    ),
}


@pytest.mark.parametrize(("make", "limit"), LIMITED.values(), ids=LIMITED)
def test_every_door_refuses_more_than_the_trained_context_at_the_same_number(make, limit):
    """Nothing is compiled: readings are traced, and a stream is not asked for its token."""
    predictor, zeros = make(SHORT.build(KEY, SYMBOLS)), np.zeros(20, np.int32)

    def advance(tokens):
        return predictor.advance(predictor.start(), jnp.asarray(tokens))[1].log_probs

    def predict(tokens):
        return jax.eval_shape(lambda: px.predict(predictor, tokens))

    def sample(tokens):
        return sampling.stream(KEY, predictor, 1, tokens)

    assert predictor.most_inputs() == limit
    for read in (predict, sample, lambda tokens: jax.eval_shape(lambda: advance(tokens))):
        read(zeros[:limit])
        with pytest.raises(ValueError, match=r"Expected at most .*llama\.longer\(predictor\)"):
            read(zeros[: limit + 1])
    for read in (sample, predict):
        with pytest.raises(ValueError, match=f"at most {limit} inputs, .*; got {limit + 1}"):
            read(zeros[: limit + 1])
    assert llama.longer(predictor).most_inputs() is None
    assert llama.longer(predictor, 13).most_inputs() - limit in (0, 1)  # a word may have two tokens
    inner = llama.opened_by(predictor, 3)
    while isinstance(inner, px.protocol.Wrapper):
        inner = inner.predictor
    assert inner.architecture == inner.torso.spec == dataclasses.replace(SHORT, opens_with=3)


def test_refusals_say_what_was_too_long_and_what_helps(as_users_see_it):
    net = SHORT.build(KEY, SYMBOLS)
    lstm = LSTM(width=8).build(KEY, SYMBOLS)
    for refuse, error, words in (
        (lambda: px.generate(KEY, net, 9, TOKENS[:4]), ValueError,
         "got 12: 4 of the prompt and 8 of the 9 to sample, .*Ask for a smaller length"),
        (lambda: px.generate_batch(KEY, net, 6, [[1], TOKENS[:7]]), ValueError,
         "got 12: 7 of prompt 1 .counted from 0. and 5 of the 6 to sample"),
        (lambda: px.compress(net, np.zeros(12, int)), ValueError, "at most 11 .* Give context="),
        (lambda: px.condition(net, np.zeros(12, int)), ValueError, "at most 11 inputs.*got 12"),
        (lambda: expected_losses(net, DirichletCategorical((1.0,) * SYMBOLS), 12), ValueError,
         "at most 11 inputs.*got 12"),
        (lambda: dataclasses.replace(SHORT, context_length=1), ValueError, "at least 2, or None"),
        (lambda: llama.longer(net, 1), ValueError, "at least 2, or None; got 1"),
        (lambda: llama.opened_by(px.condition(net, [1]), 11), ValueError, "from 0 to 10; got 11"),
        (lambda: llama.longer(lstm), TypeError, "Expected a llama, .*; got LSTM"),
        (lambda: llama.opened_by(px.condition(lstm, [1]), 1), TypeError, "a llama, .*; got LSTM"),
    ):  # fmt: skip
        with pytest.raises(error, match=words):
            refuse()
