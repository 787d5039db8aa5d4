"""Prompts of keys and values, and what else stands before the begin row."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import FitSettings, condition, mix, predict
from promptax.predictors import LSTM, Llama, Transformer
from promptax.protocol import Embedded, KeyValues
from promptax.protocol.prompted import Prompted
from promptax.steering import KeyValuePrompt, PromptMixture, SoftPrompt
from promptax.tasks import Categorical

KEY = jax.random.key(5)
DIE = Categorical((0.5, 0.3, 0.2))
SHORT = FitSettings(steps=3, batch=4, length=5)
TOKENS, DATA = jnp.array([2, 0, 2]), jnp.array([0, 1, 1, 2, 0])
ARCHITECTURES = {
    "Transformer": Transformer(width=8, depth=2, heads=2),
    "Llama": Llama(width=8, heads=2, key_heads=1, head_width=4, hidden=12),
    "Llama that opens with a symbol": Llama(
        width=8, heads=2, key_heads=2, head_width=4, hidden=12, tied=False, opens_with=1
    ),
}
each_network = pytest.mark.parametrize("name", ARCHITECTURES)


@functools.cache
def network(name):
    return laws.build(ARCHITECTURES[name], 1, 3)


@eqx.filter_jit
def read_before_begin(predictor):
    """What is predicted where the tokens come before the begin row."""
    state = predictor.begin(predictor.advance(predictor.blank(), TOKENS)[0])
    return predictor.advance(state, DATA)[1].log_probs


@pytest.mark.slow
@each_network
@pytest.mark.parametrize(
    "tuner",
    [
        KeyValuePrompt(length=3, initial_tokens=(2, 0)),  # repeated: 2 0 2
        SoftPrompt(length=3, initial="tokens", initial_tokens=(2, 0, 2, 1), before_begin=True),
    ],
    ids=type,
)
def test_a_prompt_of_read_tokens_predicts_as_if_they_were_read_before_the_begin_row(tuner, name):
    base = network(name)
    found = predict(eqx.filter_jit(tuner.steer)(KEY, base), DATA)
    np.testing.assert_allclose(found, read_before_begin(base), atol=1e-5)
    assert np.abs(found - predict(condition(base, TOKENS), DATA)).max() > 1e-4


@pytest.mark.slow
@each_network
def test_it_stands_before_a_prompt_of_tokens_whichever_was_put_there_first(name):
    base = network(name)
    rows = KeyValuePrompt(length=2, initial="normal").prompt(KEY, base)
    inside = condition(Prompted(base, rows), TOKENS)
    outside = Prompted(condition(base, TOKENS), rows)
    np.testing.assert_allclose(predict(inside, DATA), predict(outside, DATA), atol=1e-6)


@pytest.mark.slow
@each_network
def test_single_steps_in_a_fixed_shape_are_the_same(name):
    prompted = KeyValuePrompt(length=2, initial="normal").steer(KEY, network(name))

    def step(state, token):
        state, prediction = prompted.advance(state, token[None])
        return state, prediction.log_probs[0]

    rows = jax.lax.scan(step, prompted.start(capacity=len(DATA)), DATA)[1]
    np.testing.assert_allclose(rows, predict(prompted, DATA), atol=1e-5)


def test_without_attention_there_are_no_keys():
    text = "Expected a network with attention; LSTM has no keys and values. SoftPrompt works"
    with pytest.raises(TypeError, match=text):
        KeyValuePrompt().tune(KEY, LSTM(width=4).build(KEY, 3), DIE, SHORT)


OTHER_SHAPES = {  # of a Transformer's [2, 2, time, 4]
    "another depth": ((3, 2, 3, 4), (3, 2, 3, 4)),
    "other heads": ((2, 1, 3, 4), (2, 1, 3, 4)),
    "another width": ((2, 2, 3, 2), (2, 2, 3, 2)),
    "unlike lengths": ((2, 2, 3, 4), (2, 2, 5, 4)),
    "a batch": ((2, 2, 1, 3, 4), (2, 2, 1, 3, 4)),
}


def _unchecked(inputs, *parts):
    """The same with other parts, whatever they are: tests look at the types of arguments."""
    return eqx.tree_at(lambda whole: tuple(vars(whole).values()), inputs, parts)


@pytest.mark.parametrize("shapes", OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_those_of_another_network_are_refused(shapes):
    keys, values = map(jnp.zeros, shapes)
    given = _unchecked(KeyValues(jnp.zeros((1,) * 4), jnp.zeros((1,) * 4)), keys, values)
    with pytest.raises(ValueError, match=r"keys and values \[layer, .*\] alike.*; got \("):
        predict(condition(network("Transformer"), given), DATA)


def test_what_is_no_prompt_is_refused_and_lists_are_rows():
    base = network("Transformer")
    wrong = eqx.tree_at(lambda steered: steered.context, condition(base, DATA), DATA)
    with pytest.raises(TypeError, match=r"Expected a prompt, .* promptax.condition\("):
        wrong.__check_init__()
    rows = [[0.5] * 8, [0.25] * 8]
    same = Embedded(jnp.array(rows))
    given, same = condition(base, _unchecked(same, rows)), condition(base, same)
    np.testing.assert_array_equal(predict(given, DATA), predict(same, DATA))
    with pytest.raises(ValueError, match="rows of one sequence"):
        condition(base, _unchecked(Embedded(jnp.zeros((2, 8))), jnp.zeros((1, 2, 8))))


@pytest.mark.slow
def test_a_mixture_of_them_is_tuned_and_nothing_stands_before_one():
    base = network("Transformer")
    tuner = PromptMixture(KeyValuePrompt(length=2, initial="normal"))
    fitted = tuner.tune(KEY, base, DIE, SHORT, callbacks=())
    assert fitted.prompt.shape == (2, 2, 2, 2, 2, 4)  # component, part, layer, head, prompt, each
    assert np.isfinite(fitted.loss).all() and fitted.predictor.predictor is not None
    before = KeyValuePrompt(initial="zeros").steer(KEY, mix(base, [[0], [1]]))
    with pytest.raises(TypeError, match=r"got keys and values, which say nothing for one prompt"):
        before.start()


@pytest.mark.slow
def test_numbers_at_the_start_are_as_named():
    base = network("Llama")
    of = lambda **how: KeyValuePrompt(length=4, **how).prompt(KEY, base).shown()  # noqa: E731
    assert not of(initial="zeros").any()
    assert 0.01 < np.std(of(initial="normal")) < 0.03
    # equal symbols have equal values, and in the first layer keys that only their position turns
    np.testing.assert_allclose(
        of(initial_tokens=(1,))[1, 0, :, 0], of(initial_tokens=(1, 2))[1, 0, :, 0]
    )
    assert len(np.unique(of()[0, 0], axis=-2)) == 1 and KeyValuePrompt().initial == "tokens"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: KeyValuePrompt(length=-1), "Expected a prompt length of at least 0; got -1."),
        (
            lambda: KeyValuePrompt(initial="zeros", initial_tokens=(1,)),
            "Expected initial_tokens with initial='tokens' alone; got them with initial='zeros'.",
        ),
        (
            lambda: SoftPrompt(initial="one_hot", initial_tokens=(1,)),
            "Expected initial_tokens with initial='tokens' alone; got them with initial='one_hot'",
        ),
        (
            lambda: KeyValuePrompt(initial_tokens=(1, 3)).steer(KEY, network("Llama")),
            r"Expected initial_tokens from 0 to 2; got \(1, 3\). The predictor's alphabet has 3",
        ),
    ],
)
def test_texts_of_errors(make, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        make()
