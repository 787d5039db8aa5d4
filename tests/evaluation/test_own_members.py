"""What tasks and predictors of the user's own must keep is looked at before a number is made."""

import contextlib
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float

import promptax as px
from promptax.analysis import algorithm_distances, effective_prior, order_sensitivity
from promptax.fit import fit, replay
from promptax.predictors import RNN
from promptax.protocol import own_predictors
from promptax.protocol.outcomes import Episode
from promptax.protocol.prompted import GivenPrompt, Prompted
from promptax.steering import HardPrompt
from promptax.tasks import Categorical, Mixture, Task

KEY, DIE = jax.random.key(2), Categorical((0.2, 0.3, 0.5))
SHORT = px.FitSettings(steps=1, batch=4, length=5)


class DrawnAsTold(Task):
    """Draws symbols as it is told."""

    how: str = "from 1"

    @property
    def symbols(self):
        return 3

    def sample(self, key, length):
        if self.how == "by NumPy":
            return Episode(jnp.asarray(np.random.default_rng(0).integers(0, 3, length)))
        length += self.how == "too long"
        drawn = jax.random.randint(key, (length,), 1, 4)
        return Episode(drawn - 1.0 if self.how == "floats" else drawn)


TASKS = {
    "from 1": r"DrawnAsTold.sample to draw symbols from 0 to 2; got 1 to 3. If yours count from 1",
    "too long": r"DrawnAsTold.sample\(key, 5\) to draw whole numbers of shape \(5,\).* \(6,\)",
    "floats": r"DrawnAsTold.sample\(key, 5\) to draw whole numbers .* got float32",
}


@pytest.mark.parametrize("how", TASKS)
def test_what_a_task_draws_is_of_its_outcome(how):
    network = RNN(width=2).build(KEY, 3)
    with pytest.raises(ValueError, match=TASKS[how]):
        px.pretrain(KEY, RNN(width=2), DrawnAsTold(how=how), SHORT, callbacks=())
    with pytest.raises(ValueError, match=TASKS[how]):
        px.evaluate(KEY, {"network": network}, DrawnAsTold(how=how), sequences=4, length=5)


class Shifted(DrawnAsTold):
    """Draws from `least` on, which is data: the same structure."""

    least: int = 0

    def sample(self, key, length):
        return Episode(jax.random.randint(key, (length,), 0, 3) + self.least)


def test_every_task_of_ones_own_is_looked_at_and_not_its_class_alone():
    px.evaluate(KEY, {"a": SaysAsTold()}, Shifted(), sequences=4, length=5)
    with pytest.raises(ValueError, match=r"Shifted.sample to draw symbols from 0 to 2; got 5 to 7"):
        px.evaluate(KEY, {"a": SaysAsTold()}, Shifted(least=5), sequences=4, length=5)


def test_what_stands_in_a_mixture_is_looked_at_too():
    fine = Mixture((DIE, DIE))  # says nothing of other mixtures
    px.evaluate(KEY, {"a": SaysAsTold()}, fine, sequences=4, length=5)
    with pytest.raises(ValueError, match=r"Mixture.sample to draw symbols from 0 to 2; got . to 3"):
        px.evaluate(KEY, {"a": SaysAsTold()}, Mixture((DrawnAsTold(), DIE)), sequences=16, length=5)


def test_who_draws_without_the_key_is_warned():
    with pytest.warns(UserWarning, match="DrawnAsTold.sample does not use its key"):
        px.evaluate(KEY, {"a": SaysAsTold()}, DrawnAsTold(how="by NumPy"), sequences=4, length=5)


class SaysAsTold(px.Predictor):
    """SaysAsTold what it is told of each symbol."""

    what: str = "thirds"
    symbols: int = 3
    weight: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(()))

    def start(self, capacity=None):
        return jnp.zeros(())

    def advance(self, state, inputs):
        even = jnp.full((len(inputs), 3), 1 / 3)
        if self.what == "an array":
            return even
        rows = {
            "thirds": jnp.log(even),
            "probabilities": even,
            "scores": 0.0 * even,
            "a row more": jnp.log(jnp.full((len(inputs) + 1, 3), 1 / 3)),
            "what comes": jnp.log(0.7 * jax.nn.one_hot(inputs, 3) + 0.1),
        }
        return state, px.Prediction(rows[self.what])


class OracleTold(Categorical):
    """An oracle that knows what comes."""

    def oracle(self, latent, inputs):
        return jnp.log(0.7 * jax.nn.one_hot(inputs, 3) + 0.1)


PREDICTORS = {
    "probabilities": "log probabilities of SaysAsTold, .* of step 1 sum to 4.187. .* take jnp.log",
    "scores": "log probabilities of SaysAsTold, .* of step 1 sum to 3. .* jax.nn.log_softmax",
    "what comes": r"row t of SaysAsTold to predict inputs\[t\] .*; row 4 changes with inputs\[4\]",
    "an array": "Expected SaysAsTold.advance to return its state and a prediction, .* got an array",
}


@pytest.mark.parametrize("what", PREDICTORS)
def test_what_a_predictor_says_are_predictions(what):
    with pytest.raises((TypeError, ValueError), match=PREDICTORS[what]):
        px.evaluate(KEY, {"own": SaysAsTold(what)}, DIE, sequences=4, length=5)


DOORS = {
    "predict": lambda own: px.predict(own, [0, 1]),
    "condition": lambda own: px.condition(own, [0]),
    "code_length": lambda own: px.code_length(own, [0, 1]),
    "generate": lambda own: px.generate(KEY, own, 2),
    "effective_prior": lambda own: effective_prior(own, DIE, key=KEY, sequences=4),
    "order_sensitivity": lambda own: order_sensitivity(own, np.array([[0, 1]]), KEY),
    "algorithm_distances": lambda own: algorithm_distances(
        {"own": own}, {"bayes": DIE.bayes()}, DIE, KEY, length=5, sequences=4
    ),
    "fit": lambda own: fit(
        KEY,
        lambda key: own,
        lambda own: jax.tree.map(eqx.is_inexact_array, own),
        DIE,
        SHORT.filled(length=5, learning_rate=0.1),
        callbacks=(),
    ),
    "replay": lambda own: replay(KEY, own, DIE, SHORT),
    "tune": lambda own: HardPrompt(length=1).tune(KEY, own, DIE, SHORT, callbacks=()),
}
AT_DOORS = PREDICTORS | {
    "what comes": r"row t of SaysAsTold to predict inputs\[t\] .*; row 7 changes with inputs\[7\]",
    "a row more": r"each of 2 inputs, with log probabilities of 3 symbols; got shape \(3, 3\)",
}


@pytest.mark.parametrize("door", DOORS)
def test_they_are_looked_at_wherever_they_come_in(door):
    DOORS[door](SaysAsTold())
    for what, words in AT_DOORS.items():
        with pytest.raises((TypeError, ValueError), match=words):
            DOORS[door](SaysAsTold(what))


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


def test_an_oracle_does_not_know_what_comes():
    with pytest.raises(ValueError, match="row t of OracleTold to predict"):
        px.evaluate(KEY, {"own": SaysAsTold()}, OracleTold((0.2, 0.3, 0.5)), sequences=4, length=5)
