"""The loop against hand-written steps; resuming, diverging, compiling, reporting."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.judges import build, same

from promptax import FitSettings, predict, pretrain
from promptax.fit import loop as loop
from promptax.fit import updates as compiled
from promptax.predictors import LSTM, Transformer
from promptax.protocol import Prediction, Predictor
from promptax.steering import EmbeddingWeights, FullWeights, SoftPrompt
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical
from promptax.tasks.batches import sample_batch

KEY = jax.random.key(11)
COIN, COINS = Categorical((0.2, 0.8)), DirichletCategorical()


@functools.cache
def transformer():
    return build(Transformer(width=8, heads=2), 1, 2)


def run(settings, tuner=None, key=KEY, task=COIN, **more):
    tuner = tuner or SoftPrompt(length=2)
    return tuner.tune(key, transformer(), task, settings, **{"callbacks": ()} | more)


def batch(step, settings, repetition=0, task=COIN, key=KEY):
    """The tokens [sequence, time] of one step, from the key and the step's number alone."""
    own = jax.random.fold_in(jax.random.fold_in(key, 1), repetition)
    keys = jax.random.split(jax.random.fold_in(own, step), settings.batch)
    return sample_batch(task, keys, settings.length).tokens


# --- learning -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_network_learns_a_coin():
    settings = FitSettings(steps=150, batch=32, length=10, learning_rate=1e-2)
    fitted = pretrain(KEY, LSTM(width=6), COIN, settings, callbacks=())
    entropy = float(COIN.oracle_entropy(10).sum())
    spread = np.sqrt(10) * 0.4 * np.log(4) / np.sqrt(32 * 30)  # one standard error of 30 steps
    late = fitted.loss[0, -30:].mean()
    assert entropy - 4 * spread < late < entropy + 0.15 + 4 * spread, (late, entropy, spread)
    assert fitted.loss[0, :5].mean() > late + 0.5
    losses = fitted.losses
    assert losses.dims == ("repetition", "step") and losses.attrs["unit"] == "nats"
    assert losses.step[0] == 1 and losses.shape == (1, 150)


def by_hand(tuner, settings):
    """The same steps with jax.grad and optax, written for one repetition and read naively."""
    start = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    predictor = tuner.steer(start, transformer())
    tuned, frozen = eqx.partition(predictor, tuner.where(predictor))
    watched = settings.clip_over == "all" and not isinstance(tuner, SoftPrompt)

    def loss(parts, tokens):
        rows = jax.vmap(lambda row: predict(eqx.combine(*parts), row))(tokens)
        return -jnp.take_along_axis(rows, tokens[..., None], -1).sum() / len(tokens)

    gradient = jax.jit(jax.value_and_grad(loss))
    adam, losses = optax.adam(settings.learning_rate), []
    moments, move = adam.init(tuned), jax.jit(adam.update)
    for step in range(settings.steps):
        value, (own, other) = gradient((tuned, frozen), batch(step, settings))
        norm = optax.tree.norm((own, other) if watched else own)
        if settings.clip is not None and norm > settings.clip:
            own = jax.tree.map(lambda g, norm=norm: g * settings.clip / norm, own)
        update, moments = move(own, moments)
        tuned = optax.apply_updates(tuned, update)
        losses.append(value)
    return eqx.combine(tuned, frozen), np.array(losses)


BY_HAND = dict(steps=3, batch=4, length=5, learning_rate=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuner", "changes"),
    [
        (SoftPrompt(length=2), {}),
        (SoftPrompt(length=2), {"micro_batch": 2, "clip": None}),
        (FullWeights(), {"micro_batch": 2}),
        (EmbeddingWeights(), {"clip_over": "all"}),
    ],
)
def test_steps_equal_steps_by_hand(tuner, changes):
    settings = FitSettings(**BY_HAND, **changes)
    fitted, (expected, losses) = run(settings, tuner), by_hand(tuner, settings)
    np.testing.assert_allclose(fitted.loss[0], losses, rtol=1e-5)
    same(fitted.predictor, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_what_the_clipped_norm_covers():
    over = lambda what, tuner: run(FitSettings(**BY_HAND, clip_over=what), tuner).predictor  # noqa: E731
    for tuner in (SoftPrompt(length=2), FullWeights()):  # nothing frozen to watch
        same(over("tuned", tuner), over("all", tuner))
    tuned, everything = (over(what, EmbeddingWeights()) for what in ("tuned", "all"))
    assert not eqx.tree_equal(tuned, everything)
    same(tuned.torso, transformer().torso)
    same(everything.torso, transformer().torso)


@pytest.mark.slow
def test_micro_batches_change_nothing():
    parts, whole = (
        run(FitSettings(steps=3, batch=4, length=5, learning_rate=1e-3, micro_batch=micro))
        for micro in (1, 4)
    )
    np.testing.assert_allclose(parts.loss, whole.loss, rtol=1e-5)
    np.testing.assert_allclose(parts.prompt, whole.prompt, atol=1e-5)


@pytest.mark.slow
def test_a_learning_rate_for_each_repetition():
    """One program for all; each repetition is what it would be if all had its rate."""
    changes = dict(steps=4, batch=4, length=5, repetitions=3, schedule="linear")
    each = run(FitSettings(learning_rate=(1e-3, 1e-2, 0.1), **changes))
    for repetition, rate in enumerate((1e-3, 1e-2, 0.1)):
        alike = run(FitSettings(learning_rate=rate, **changes))
        same(each.loss[repetition], alike.loss[repetition])
        same(each.prompt[repetition], alike.prompt[repetition])


# --- one compilation ------------------------------------------------------------------------


def test_other_numbers_compile_nothing(monkeypatch):
    traces, samples = [], []
    gradient, sample = compiled.loss_and_gradient, Categorical.sample
    monkeypatch.setattr(compiled, "loss_and_gradient", lambda *a: traces.append(1) or gradient(*a))
    monkeypatch.setattr(Categorical, "sample", lambda *a: samples.append(1) or sample(*a))
    shape = dict(batch=3, length=9)
    run(FitSettings(steps=2, **shape))
    assert len(traces) == 1
    traced, drawn = len(traces), len(samples)
    run(FitSettings(steps=120, **shape))  # several blocks of data
    run(FitSettings(steps=5, learning_rate=0.3, clip=7.0, **shape), key=jax.random.key(5))
    run(FitSettings(steps=3, schedule="cosine", warmup=2, clip=None, **shape))
    run(FitSettings(steps=3, **shape), SoftPrompt(length=2, initial="zeros", learning_rate=0.1))
    run(FitSettings(steps=3, **shape), task=Categorical((0.5, 0.5)))
    assert len(samples) == drawn, "sampling was compiled again"
    run(FitSettings(steps=3, **shape), task=COINS)
    run(FitSettings(steps=3, **shape), task=CategoricalMixture())
    assert len(traces) == traced, "the step was compiled again"


class InMemory:
    """A checkpoint that keeps its state here, for tests to look at and to change."""

    def __init__(self, change=lambda state: state):
        self.state, self.change, self.identity = None, change, None

    def restore(self, identity, like):
        assert self.identity in (None, identity)
        if self.state is None:
            return None
        assert jax.tree.structure(like) == jax.tree.structure(self.state)
        return self.change(self.state)

    def save(self, identity, state):
        self.identity, self.state = identity, state

    def due(self):
        return False


# --- diverging ------------------------------------------------------------------------------


def with_one_lost(settings, lost):
    """A soft prompt whose start is infinite in one repetition."""
    tuner = SoftPrompt(length=2)
    bad = jax.random.key_data(jax.random.fold_in(jax.random.fold_in(KEY, 0), lost))

    def make(key):
        prompted = tuner.steer(key, transformer())
        here = jnp.all(jax.random.key_data(key) == bad)
        values = jnp.where(here, jnp.inf, prompted.context.values)
        return eqx.tree_at(lambda p: p.context.values, prompted, values)

    return loop.fit(KEY, make, tuner.where, COIN, settings, callbacks=())


@pytest.mark.slow
def test_a_diverging_repetition_leaves_its_siblings_alone():
    settings = FitSettings(steps=5, batch=4, length=5, learning_rate=5e-3, repetitions=10)
    with pytest.warns(UserWarning, match="Diverged: repetition 1 at step 1 of 10 repetitions"):
        fitted = with_one_lost(settings, lost=1)
    np.testing.assert_array_equal(fitted.diverged, [-1, 0, *[-1] * 8])
    assert np.isnan(fitted.loss[1]).all() and np.isinf(fitted.prompt[1]).all()
    clean = run(settings)
    for sibling in (0, *range(2, 10)):
        np.testing.assert_array_equal(fitted.loss[sibling], clean.loss[sibling])
        np.testing.assert_array_equal(fitted.prompt[sibling], clean.prompt[sibling])


@pytest.mark.slow
def test_a_repetition_that_diverges_later_keeps_what_it_had():
    settings = FitSettings(steps=30, batch=4, length=5, repetitions=2)

    def poison(state):
        tuned = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), state.tuned)
        return state._replace(tuned=tuned)

    checkpoint = InMemory(poison)
    run(settings, checkpoint=checkpoint, callbacks=[lambda done, total, note: done >= 5])
    step, notes = int(checkpoint.state.step), []
    assert 5 <= step < 30
    with pytest.warns(UserWarning, match=f"repetition 1 at step {step + 1} of 2 repetitions"):
        fitted = run(
            settings,
            checkpoint=checkpoint,
            callbacks=[lambda done, total, note: notes.append(note)],
        )
    np.testing.assert_array_equal(fitted.diverged, [-1, step])
    assert np.isfinite(fitted.loss[1, :step]).all() and np.isnan(fitted.loss[1, step:]).all()
    assert np.isfinite(fitted.loss[0]).all() and "1 diverged" in notes[-1]
    np.testing.assert_array_equal(fitted.prompt[0], run(settings).prompt[0])


@pytest.mark.slow
def test_an_exploding_step_is_not_taken():
    settings = FitSettings(steps=4, batch=4, length=5, learning_rate=1e38, clip=None)
    with pytest.warns(UserWarning, match="A lower learning_rate or clip usually helps"):
        fitted = run(settings, FullWeights())
    assert fitted.diverged[0] > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.predictor))


@pytest.mark.slow
def test_repetitions_side_by_side_as_on_accelerators(monkeypatch):
    def both(length):
        settings = FitSettings(steps=3, batch=3, length=6, repetitions=3)
        return run(settings, SoftPrompt(length=length))

    in_turn = both(2)
    monkeypatch.setattr(loop.platforms, "repetitions_at_once", lambda repetitions: repetitions)
    # the platform is asked when the step is compiled, so it has to be compiled again
    run_updates = compiled.run_updates.__wrapped__
    monkeypatch.setattr(loop, "run_updates", eqx.filter_jit(lambda *a: run_updates(*a)))
    traces, gradient = [], compiled.loss_and_gradient
    monkeypatch.setattr(compiled, "loss_and_gradient", lambda *a: traces.append(1) or gradient(*a))
    same(both(2), in_turn, rtol=1e-5, atol=1e-5)
    assert len(traces) == 1 and np.isfinite(both(0).loss).all()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_have_the_precision_that_was_asked_for(precision, monkeypatch):
    asked, run_updates = [], loop.run_updates

    def listening(*given):
        asked.append(jax.config.jax_default_matmul_precision)
        return run_updates(*given)

    monkeypatch.setattr(loop, "run_updates", listening)
    run(FitSettings(steps=1, batch=2, length=3, precision=precision))
    assert asked == [precision]


# --- any predictor --------------------------------------------------------------------------


class Clock(Predictor):
    """Predicts from how many symbols it read, which it counts in whole numbers."""

    slope: jax.Array

    @property
    def symbols(self):
        return 2

    def start(self, capacity=None):
        return {"read": jnp.int32(0), "slope": self.slope * 1.0}

    def advance(self, state, inputs):
        times = state["read"] + jnp.arange(inputs.shape[0])
        logits = jnp.stack([jnp.zeros(times.shape), state["slope"] * (1 + 0 * times)], -1)
        state = {"read": state["read"] + inputs.shape[0], "slope": state["slope"]}
        return state, Prediction(jax.nn.log_softmax(logits))


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_a_state_may_hold_whole_numbers(micro_batch):
    settings = FitSettings(
        steps=200, batch=8, length=10, learning_rate=0.05, micro_batch=micro_batch
    )
    every = lambda predictor: jax.tree.map(lambda _: True, predictor)  # noqa: E731
    fitted = loop.fit(KEY, lambda key: Clock(jnp.zeros(())), every, COIN, settings, callbacks=())
    assert abs(float(fitted.predictor.slope) - np.log(4)) < 0.3


# --- callbacks ------------------------------------------------------------------------------


def test_callbacks_hear_of_progress_and_stop():
    heard = []
    settings = FitSettings(steps=40, batch=3, length=9)  # as above: it is compiled
    run(settings, callbacks=[lambda *each: heard.append(each)])
    done = [each[0] for each in heard]
    assert done == sorted(set(done)) and done[-1] == 40 and {each[1] for each in heard} == {40}
    assert all(re.fullmatch(r"loss \d+\.\d{3}", each[2]) for each in heard)
    stopped = run(settings, callbacks=[lambda *_: True, lambda *each: heard.append("second")])
    assert stopped.loss.shape == (1, 1) and heard[-1] == "second"


def test_no_steps_is_the_start():
    fitted = run(FitSettings(steps=0, batch=3, length=9))
    start = jax.random.fold_in(jax.random.fold_in(KEY, 0), 0)
    same(fitted.predictor, SoftPrompt(length=2).steer(start, transformer()))
    assert fitted.loss.shape == (1, 0)


def test_only_architectures_are_pretrained(as_users_see_it):
    with pytest.raises(TypeError, match=r"Expected an architecture such as .* use FullWeights"):
        pretrain(KEY, transformer(), COIN)


def test_a_fit_without_a_terminal_is_silent(capfd):
    loop.fit(
        KEY,
        lambda key: Clock(jnp.zeros(())),
        lambda p: jax.tree.map(lambda _: True, p),
        COIN,
        FitSettings(steps=2, batch=8, length=10, learning_rate=0.05),
    )
    assert capfd.readouterr() == ("", "")
