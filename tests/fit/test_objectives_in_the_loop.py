"""Objectives in the loop: keys, penalties, identities, programs; and what is refused."""

import dataclasses
import importlib
import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.judges import same

from promptax import Checkpoint, FitSettings, pretrain
from promptax.files import StoreError
from promptax.fit import MAML, Bootstrapped, LogLoss, Objective
from promptax.fit import updates as compiled
from promptax.fit.code import code_of
from promptax.fit.identity import identity_of
from promptax.fit.loop import fit as run_fit
from promptax.predictors import LSTM
from promptax.steering import SoftPrompt, VariationalPrompt
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(11)
COIN, COINS = Categorical((0.2, 0.8)), DirichletCategorical()
SETTINGS = FitSettings(steps=3, batch=4, length=5, learning_rate=1e-2, repetitions=2)


class Noisy(Objective):
    """Log loss, with a penalty that is a random number."""

    scale: float = 1.0

    def prepare(self, key, predictor):
        return predictor, self.scale * jax.random.uniform(key)


class Pulled(Objective):
    """Log loss with weights that are pulled to zero."""

    weight: float = 0.5

    def prepare(self, key, predictor):
        leaves = jax.tree.leaves(eqx.filter(predictor, eqx.is_inexact_array))
        return predictor, self.weight * sum(jnp.sum(leaf**2) for leaf in leaves)


def run(objective, settings=SETTINGS, **more):
    given = {"callbacks": ()} | more
    return pretrain(KEY, LSTM(width=3), COINS, settings, objective=objective, **given)


@pytest.mark.slow
def test_a_penalty_counts_once_and_its_key_is_that_of_the_step_and_repetition():
    plain, noisy = run(LogLoss()), run(Noisy(2.0))
    same(plain.predictor, noisy.predictor)  # noise that no leaf feels moves nothing
    drawn = (noisy.loss - plain.loss) / 2
    assert ((drawn > 0) & (drawn < 1)).all() and len(np.unique(drawn.round(4))) == drawn.size
    pieces = run(Noisy(2.0), FitSettings(**vars_of(SETTINGS) | {"micro_batch": 2}))
    np.testing.assert_allclose(pieces.loss, noisy.loss, rtol=1e-5)


def vars_of(settings):
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}


@pytest.mark.slow
def test_a_penalty_is_differentiated():
    size = lambda fitted: sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(fitted.predictor))  # noqa: E731
    settings = FitSettings(steps=30, batch=4, length=5, learning_rate=1e-2)
    assert size(run(Pulled(5.0), settings)) < 0.7 * size(run(LogLoss(), settings))


@pytest.mark.slow
def test_other_floats_compile_nothing(monkeypatch):
    traces, gradient = [], compiled.loss_and_gradient
    monkeypatch.setattr(compiled, "loss_and_gradient", lambda *a: traces.append(1) or gradient(*a))
    settings = FitSettings(steps=2, batch=3, length=7)
    run(Pulled(0.25), settings), run(Pulled(0.125), settings)
    assert len(traces) == 1
    run(LogLoss(), settings)
    assert len(traces) == 2


@pytest.mark.slow
def test_an_objective_is_part_of_what_a_run_is(tmp_path):
    one, other = (Checkpoint(tmp_path / "checkpoint") for _ in range(2))
    run(Pulled(), checkpoint=one)
    with pytest.raises(StoreError, match=r"objective.*weight.* was 0.5 and is 0.25 now"):
        run(Pulled(0.25), checkpoint=other)
    given = KEY, (), COIN, SETTINGS
    assert "objective" not in json.loads(identity_of(*given))
    assert identity_of(*given) == identity_of(*given, LogLoss()) != identity_of(*given, Pulled())


def test_code_outside_of_promptax_is_part_of_what_is_kept(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "import dataclasses\n@dataclasses.dataclass\nclass Guest:\n    size: int = 3\n"

    def code(more):
        (tmp_path / "guest_of_a_test.py").write_text(text + more)
        monkeypatch.delitem(sys.modules, "guest_of_a_test", raising=False)
        importlib.invalidate_caches()
        guest = importlib.import_module("guest_of_a_test").Guest()
        return code_of({"inside": [LogLoss(), (guest,)]})

    assert code("") == code("") != code("    more: int = 3\n")
    assert list(code("")) == ["guest_of_a_test"] and code_of(FitSettings()) == {}


def test_a_tuner_has_an_objective():
    assert SoftPrompt().objective == LogLoss()
    assert VariationalPrompt(kl_weight=0.5).objective.kl_weight == 0.5


def test_a_predictor_without_leaves_is_refused(as_users_see_it):
    everything = lambda p: jax.tree.map(eqx.is_inexact_array, p)  # noqa: E731
    given = KEY, lambda key: COINS.bayes(), everything, COIN, SETTINGS
    with pytest.raises(TypeError, match="Expected a predictor with leaves that LogLoss can move"):
        run_fit(*given, callbacks=())
    with pytest.raises(TypeError, match="leaves that the inner steps of MAML can move; got"):
        run_fit(*given, objective=MAML(support=2), callbacks=())
    with pytest.raises(TypeError, match="Expected a predictor that reads a Gaussian prompt"):
        run(VariationalPrompt().objective)


def test_what_does_not_fit_an_inner_step_is_refused(as_users_see_it):
    with pytest.raises(ValueError, match="Expected a support shorter than the sequence of 5 step"):
        run(MAML(support=5))
    with pytest.raises(
        ValueError, match=r"Expected MAML.adapts to name fields of Network, .*'top'"
    ):
        run(MAML(support=2, adapts=("top",)))
    for changes in ({"support": 0}, {"inner_steps": 0}, {"inner_rate": 0.0}, {"inner_loss": "max"}):
        with pytest.raises(ValueError, match="Expected"):
            MAML(**changes)
    with pytest.raises(ValueError, match=r"inner_optimiser='sgd' for Bootstrapped.*got 'adam'"):
        Bootstrapped(inner_optimiser="adam")


@pytest.mark.parametrize(
    ("objective", "got"), [(MAML, "the class MAML"), (SoftPrompt(), "SoftPrompt")]
)
def test_what_is_no_objective_is_named(objective, got, as_users_see_it):
    with pytest.raises(TypeError, match=rf"an Objective, such as LogLoss\(\); got {got}"):
        pretrain(jax.random.key(0), LSTM(width=2), COINS, FitSettings(steps=1), objective=objective)
