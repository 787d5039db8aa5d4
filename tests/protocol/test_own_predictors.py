"""Predictors of the user's own: what is looked at, when, and how often."""

import contextlib
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float

import promptax as px
from promptax.protocol import own_predictors
from promptax.protocol.prompted import GivenPrompt, Prompted
from promptax.tasks import Categorical

KEY = jax.random.key(2)


class OfNumbers(px.Predictor):
    """Says the same of every symbol; reads as many as it has room for."""

    said: Float[jax.Array, " symbol"]
    most: int | None = eqx.field(default=None, static=True)
    symbols: int = eqx.field(default=2, static=True)
    reads = frozenset({"tokens"})

    def start(self, capacity=None):
        return jnp.zeros((self.most or 9,))

    def advance(self, state, inputs):
        assert len(inputs) <= (self.most or 9)
        inputs = eqx.error_if(inputs, jnp.any(inputs < 0), "no symbols")
        state = jax.lax.dynamic_update_slice(state, inputs.astype(float), (0,))
        return state, px.Prediction(jnp.broadcast_to(self.said, (len(inputs), self.symbols)))

    def most_inputs(self, behind=()):
        return None if self.most is None else self.most - sum(map(len, behind))


ROWS = jnp.eye(2, dtype=int)
HALVES = jnp.log(jnp.full((2,), 0.5))
TRANSFORMED = {
    "jit": lambda own: jax.jit(lambda tokens: px.predict(own, tokens))(jnp.array([0, 1])),
    "scan": lambda own: jax.lax.scan(lambda _, read: (0, px.predict(own, read)), 0, ROWS),
    "vmap": lambda own: jax.vmap(lambda tokens: px.predict(own, tokens))(ROWS),
    "jit of numbers": lambda own: jax.jit(lambda own: px.predict(own, [0, 1]))(own),
    "grad": lambda own: jax.grad(lambda own: px.predict(own, [0, 1]).sum())(own),
    "condition": lambda own: jax.jit(lambda tokens: px.predict(px.condition(own, [0]), tokens))(
        jnp.array([0, 1])
    ),
}


@pytest.mark.parametrize("how", TRANSFORMED)
def test_a_predictor_of_ones_own_is_transformed_as_any_other(how):
    TRANSFORMED[how](OfNumbers(HALVES))
    if how not in ("jit of numbers", "grad"):  # whose numbers are not known
        with pytest.raises(ValueError, match="log probabilities of OfNumbers"):
            TRANSFORMED[how](OfNumbers(jnp.exp(HALVES)))


def test_every_predictor_of_ones_own_is_looked_at_and_not_its_class_alone():
    px.predict(OfNumbers(HALVES), [0, 1])
    with pytest.raises(ValueError, match=r"sum to 3\.297\. Where it returns probabilities"):
        px.predict(OfNumbers(jnp.exp(HALVES)), [0, 1])


asked = []


class Counting(OfNumbers):
    """Notes how many symbols it is given."""

    fails_at: tuple[int, ...] = eqx.field(default=(), static=True)

    def advance(self, state, inputs):
        asked.append(len(inputs))
        assert len(inputs) not in self.fails_at
        return super().advance(state, inputs)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {8, 4, 1}),
        ({"most": 5}, {5, 2, 3, 1}),
        ({"most": 2}, {2, 1}),
        ({"most": 1}, {1}),
        ({"fails_at": (8,)}, {8, 2, 1}),
        ({"fails_at": (8, 2)}, {8, 2, 1}),
    ],
)
def test_a_predictor_is_asked_for_no_more_than_it_can_read_and_once(
    settings, expected, monkeypatch
):
    asked.clear()
    own = Counting(HALVES, **settings)
    assert px.predict(own, [0]).shape == (1, 2)
    assert set(asked) == expected
    asked.clear()
    monkeypatch.setattr(own_predictors, "_try", lambda *_: pytest.fail("it is looked at again"))
    px.predict(own, [0])
    assert asked == []


def test_what_was_seen_from_a_closure_is_left_to_what_is_made_of_it():
    class Applied(OfNumbers):
        apply: Callable = eqx.field(default=lambda: HALVES, static=True)

        def advance(self, state, inputs):
            said = jax.nn.log_softmax(self.apply())
            return state, px.Prediction(jnp.broadcast_to(said, (len(inputs), 2)))

    def loss(weights):
        return -px.predict(Applied(HALVES, apply=lambda: weights), [0, 1])[0, 0]

    slopes = jax.jit(jax.grad(loss))(jnp.zeros(2))
    np.testing.assert_allclose(slopes, [-0.5, 0.5])


@pytest.mark.parametrize("symbols", [2, 256, 20_000])
def test_numbers_of_16_bits_are_warned_of_and_others_refused(symbols):
    even = jnp.full(symbols, -np.log(symbols), jnp.float32)
    px.predict(OfNumbers(even, symbols=symbols), [0, 1])
    with pytest.warns(UserWarning, match=r"had 16 bits or were not scaled.* sum to 1\.006\."):
        px.predict(OfNumbers(even + 0.006, symbols=symbols), [0, 1])
    with pytest.raises(ValueError, match=r"sum to 1\.1"):
        px.predict(OfNumbers(even + 0.1, symbols=symbols), [0, 1])
    rounded = even.astype(jnp.bfloat16)
    is_off = abs(np.logaddexp.reduce(np.asarray(rounded, float))) > 1e-3
    with pytest.warns(UserWarning) if is_off else contextlib.nullcontext():
        px.predict(OfNumbers(rounded, symbols=symbols), [0, 1])


class Laplace(OfNumbers):
    """Counts what it reads, and says it as `how` tells."""

    how: str = eqx.field(default="right", static=True)

    def start(self, capacity=None):
        return jnp.zeros(2)

    def advance(self, state, inputs):
        came = jax.nn.one_hot(inputs, 2)
        before = (state if self.how != "begins anew" else 0.0) + jnp.cumsum(came, axis=0) - came
        if self.how == "knows":
            before = before + 9 * came.at[-1].set(0.0)
        said = jnp.log((before + 1) / (before + 1).sum(axis=-1, keepdims=True))
        kept = state if self.how == "forgets" else state + came.sum(axis=0)
        return kept, px.Prediction(said)


@pytest.mark.parametrize("how", ["forgets", "begins anew", "knows"])
def test_what_was_read_is_in_the_state(how):
    coin = Categorical((0.2, 0.8))
    assert px.evaluate(KEY, {"own": Laplace(HALVES)}, coin, sequences=4, length=5) is not None
    with pytest.raises(
        ValueError, match=r"Expected Laplace to predict the same .* begins at row 2"
    ):
        px.evaluate(KEY, {"own": Laplace(HALVES, how=how)}, coin, sequences=4, length=5)


def test_what_was_never_judged_is_not_believed():
    own = OfNumbers(jnp.exp(HALVES), most=4)
    px.predict(Prompted(own, GivenPrompt(jnp.array([0, 1, 0]))), [0])  # there is no room to look
    with pytest.raises(ValueError, match="log probabilities of OfNumbers"):
        px.predict(own, [0, 1])


class OfADict(OfNumbers):
    """Its numbers are in a dict, as in a framework's models."""

    weights: dict = eqx.field(default_factory=lambda: {"said": HALVES})

    def advance(self, state, inputs):
        return state, px.Prediction(jnp.broadcast_to(self.weights["said"], (len(inputs), 2)))


def test_who_is_written_to_is_looked_at_again():
    own = OfADict(HALVES)
    px.predict(own, [0, 1])
    own.weights["said"] = jnp.exp(HALVES)
    with pytest.raises(ValueError, match="log probabilities of OfADict"):
        px.predict(own, [0, 1])


@jax.tree_util.register_pytree_node_class
class Packed:
    """Numbers that are unpacked whenever somebody asks for the leaves."""

    def __init__(self, number):
        self.number = number

    def tree_flatten(self):
        return (self.number * 1.0,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


class OfPacked(OfNumbers):
    packed: Packed = eqx.field(default_factory=lambda: Packed(jnp.ones(2)))


def test_leaves_that_are_made_anew_are_looked_at_once(monkeypatch):
    own = OfPacked(HALVES)
    px.predict(own, [0, 1])
    monkeypatch.setattr(own_predictors, "_try", lambda *_: pytest.fail("it is looked at again"))
    px.predict(own, [0, 1])


def test_a_row_is_empty_behind_what_never_comes_alone():
    with pytest.raises(ValueError, match="those of step 1 sum to 0"):
        px.predict(OfNumbers(jnp.full(2, -jnp.inf)), [0, 1])

    class Never(OfNumbers):
        """Says that 0 comes first, and nothing of what comes behind a 1."""

        def advance(self, state, inputs):
            ones = state[0] + jnp.cumsum(inputs)
            first = jnp.array([0.0, -jnp.inf])
            said = jnp.where((ones - inputs > 0)[:, None], -jnp.inf, first)
            return state.at[0].set(ones[-1]), px.Prediction(said)

    px.predict(Never(HALVES), [0, 0])


class Scaled(OfNumbers):
    """Has a number of Python, which is data."""

    by: float = 1.0

    def advance(self, state, inputs):
        asked.append(len(inputs))
        said = jax.nn.log_softmax(self.by * jnp.arange(2.0))
        return state, px.Prediction(jnp.broadcast_to(said, (len(inputs), 2)))


def test_other_numbers_compile_nothing():
    for by in (1.0, 2.0):
        asked.clear()
        px.predict(Scaled(HALVES, by=by), [0, 1])
        px.evaluate(KEY, {"own": Scaled(HALVES, by=by)}, Categorical(), sequences=4, length=5)
    assert asked == []
    jax.jit(lambda tokens: px.predict(Scaled(HALVES, by=3.0), tokens))(jnp.array([0, 1]))
    assert asked == []


def test_no_symbol_is_shown_that_the_target_never_makes():
    class OfTwo(OfNumbers):
        merges = False  # beliefs are not enumerated, which takes every symbol

        def advance(self, state, inputs):
            inputs = eqx.error_if(inputs, jnp.any(inputs == 2), "there is no such symbol")
            return super().advance(state, inputs)

    thirds = jnp.log(jnp.full(3, 1 / 3))
    for seed in range(4):
        key, coin = jax.random.key(seed), Categorical((0.5, 0.5, 0.0))
        px.evaluate(key, {"own": OfTwo(thirds, symbols=3)}, coin, sequences=4, length=5)
