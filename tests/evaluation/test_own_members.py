"""What tasks and predictors of the user's own must keep is looked at before a number is made."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import promptax as px
from promptax.analysis import algorithm_distances, effective_prior, order_sensitivity
from promptax.fit import fit, replay
from promptax.predictors import RNN
from promptax.protocol.outcomes import Episode
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


def test_an_oracle_does_not_know_what_comes():
    with pytest.raises(ValueError, match="row t of OracleTold to predict"):
        px.evaluate(KEY, {"own": SaysAsTold()}, OracleTold((0.2, 0.3, 0.5)), sequences=4, length=5)
