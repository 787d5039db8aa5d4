"""Evaluation: paired losses in chunks, and regret against exact values, in standard errors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import xarray as xr

from promptax.evaluation import Expectations
from promptax.evaluation.evaluate import evaluate, regret
from promptax.evaluation.exact import enumeration
from promptax.evaluation.losses import as_rows
from promptax.predictors import Transformer
from promptax.protocol.entries import condition, predict
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.steering import RealPrompt, SimplexPrompt, SoftPrompt
from promptax.tasks import (
    Categorical,
    CategoricalMixture,
    DirichletCategorical,
    Mixture,
    Recorded,
)

KEY = jax.random.key(11)
COINS, COIN, TWO = DirichletCategorical(), Categorical(), CategoricalMixture()
IMPERFECT = DirichletCategorical((1.3, 0.8)).bayes()
traces = []


class Opaque(Predictor):
    """A predictor that nobody knows to be exchangeable; counts how often it is compiled."""

    merges = False  # its losses shall be estimated

    inside: Predictor
    power: jax.Array | float = 1.0

    @property
    def symbols(self):
        return self.inside.symbols

    def start(self, capacity=None):
        return self.inside.start(capacity)

    def advance(self, state, inputs):
        traces.append(1)
        state, prediction = self.inside.advance(state, inputs)
        sharpened = jax.nn.log_softmax(self.power * prediction.log_probs)
        return state, type(prediction)(sharpened)


class Sure(Predictor):
    """Gives symbol 0 probability zero: an infinite loss sooner or later."""

    symbols: int = 2

    def start(self, capacity=None):
        return jnp.zeros(())

    def advance(self, state, inputs):
        prediction = IMPERFECT.advance(IMPERFECT.start(), inputs)[1]
        row = jnp.array([-jnp.inf, 0.0])
        return state, type(prediction)(jnp.broadcast_to(row, prediction.log_probs.shape))


def repeated(powers):
    tuned = Opaque(None, jnp.asarray(powers))
    return Repeated(tuned, Opaque(IMPERFECT, None), len(powers))


def known_regret(predictor, target, length):
    return np.cumsum(Expectations(target, length).regret(predictor))


# --- evaluate -------------------------------------------------------------------------------


@pytest.mark.slow
def test_rows_axes_and_attributes():
    network = Transformer(width=8, heads=2).build(KEY, 2)
    results = evaluate(KEY, {"network": network}, COIN, 6, 4, prior=COINS, prior_prompt_length=2)
    assert list(results["predictor"].values) == [
        "network", "oracle", "bayes", "prior bayes", "prior bayes, best prompt",
    ]  # fmt: skip
    assert results["log_loss"].dims == ("predictor", "repetition", "sequence", "time")
    assert results["log_loss"].shape == (5, 1, 6, 4) and results["log_loss"].dtype == np.float32
    assert list(results["time"].values) == [1, 2, 3, 4]
    assert results.attrs["unit"] == "nats" and '"Categorical"' in results.attrs["target"]
    assert (results.attrs["sequences"], results.attrs["length"]) == (6, 4)
    assert np.isnan(results["expected_log_loss"].sel(predictor="network")).all()
    assert np.isfinite(results["expected_log_loss"].sel(predictor="oracle")).all()
    assert "scored" not in results
    assert np.isfinite(results["log_loss"]).all()


def test_losses_predict_each_symbol_from_those_before_it():
    results = evaluate(KEY, {}, COINS, 3, 5)
    tokens = COINS.sample(jax.random.fold_in(KEY, 2), 5).tokens
    read = [0, 0]
    for time, token in enumerate(np.asarray(tokens)):
        expected = -np.log((read[token] + 1) / (time + 2))
        found = results["log_loss"].sel(predictor="bayes", repetition=0, time=time + 1)
        np.testing.assert_allclose(found[2], expected, rtol=1e-5)
        read[token] += 1


@pytest.mark.slow
def test_chunks_do_not_matter_and_the_key_does():
    network = Transformer(width=8, heads=2).build(KEY, 2)
    whole = evaluate(KEY, {"network": network}, COIN, 21, 6)
    for chunk in (8, 21):
        parts = evaluate(KEY, {"network": network}, COIN, 21, 6, chunk=chunk)
        np.testing.assert_allclose(parts["log_loss"], whole["log_loss"], atol=2e-6)
    more = evaluate(KEY, {"network": network}, COIN, 30, 6)
    np.testing.assert_allclose(more["log_loss"][:, :, :21], whole["log_loss"], atol=2e-6)
    assert evaluate(KEY, {"network": network}, COIN, 21, 6).identical(whole)
    assert not evaluate(jax.random.key(1), {"network": network}, COIN, 21, 6).equals(whole)


def test_one_compilation_for_all_chunks_repetitions_values_and_targets():
    traces.clear()
    evaluate(KEY, {"opaque": Opaque(IMPERFECT, jnp.ones(()))}, COIN, 19, 7, chunk=8)
    once = len(traces)
    assert once >= 1
    others = {"several": repeated([0.5, 2.0, 3.0]), "one": Opaque(IMPERFECT, jnp.zeros(()))}
    for target in (Categorical((0.5, 0.5)), TWO, COINS):
        evaluate(KEY, others, target, 30, 7, chunk=8)
        assert len(traces) == once, f"traced {len(traces)} times for one structure, not {once}"


def test_one_structure_for_all_prompts_of_a_length_whoever_found_them():
    """So that one program reads them. They predict what they did."""
    network, tokens = Transformer(width=4, heads=1).build(KEY, 2), np.array([0, 1, 1])
    tuners = SimplexPrompt(length=2), RealPrompt(length=2), SoftPrompt(length=2)
    prompted = [condition(network, [0, 1]), *(tuner.steer(KEY, network) for tuner in tuners)]
    ready = [as_rows(predictor) for predictor in prompted]
    for before, after in zip(prompted, ready, strict=True):
        np.testing.assert_allclose(predict(before, tokens), predict(after, tokens), atol=1e-6)
    shapes = [jax.eval_shape(lambda tree: tree, eqx.filter(tree, eqx.is_array)) for tree in ready]
    assert all(shape == shapes[0] for shape in shapes)
    first = SoftPrompt(length=2, before_begin=True).steer(KEY, network)
    for other in (first, network, COINS.bayes(), condition(COINS.bayes(), [0])):
        assert as_rows(other) is other


def test_fewer_repetitions_are_padded():
    results = evaluate(KEY, {"three": repeated([0.5, 1.0, 2.0])}, COIN, 40, 6)
    assert list(results["repetitions"].values) == [3, 1, 1]
    missing = np.isnan(results["log_loss"]).all(("sequence", "time"))
    assert missing.values.tolist() == [[False] * 3, [False, True, True], [False, True, True]]
    found = regret(results)
    assert np.isfinite(found["regret"].sel(predictor="three")).all()
    assert np.isnan(found["regret"].sel(predictor="bayes", repetition=1)).all()
    three = found.sel(predictor="three")
    np.testing.assert_allclose(three["median"], three["regret"].median("repetition"))
    np.testing.assert_allclose(three["low"], three["regret"].quantile(0.25, "repetition"))
    assert np.isfinite(found["median"]).all()


def test_prompted_and_given_exact_predictors_are_controls():
    prompted = condition(COINS.bayes(), jnp.array([1, 1, 0]))
    results = evaluate(KEY, {"prior bayes": COINS.bayes(), "prompted": prompted}, COIN, 64, 9)
    found = regret(results)
    for name, predictor in (("prior bayes", COINS.bayes()), ("prompted", prompted)):
        expected = known_regret(predictor, COIN, 9)
        mine = found["regret"].sel(predictor=name, repetition=0)
        np.testing.assert_allclose(mine, expected, atol=1e-7)
    assert found.attrs["controls"] == '["prior bayes", "prompted", "oracle", "bayes"]'


def test_masked_steps_do_not_count():
    task = Recorded(sequences=((0, 1, 1), (1, 0), (1, 1, 1, 0)))
    given = {"a": COINS.bayes(), "b": Opaque(IMPERFECT)}
    results = evaluate(KEY, given, task, 30, 5)
    assert list(results["predictor"].values) == ["a", "b"]
    assert results["scored"].dims == ("sequence", "time") and results["scored"].dtype == bool
    assert results["scored"].sum("time").values.tolist() == [3, 2, 4]  # each once, in their order
    assert not results["log_loss"].where(~results["scored"], 0).any()
    found = regret(results, "a")
    paired = (results["log_loss"][1, 0] - results["log_loss"][0, 0]).astype(float).cumsum("time")
    np.testing.assert_allclose(found["regret"][1, 0], paired.mean("sequence"), atol=1e-6)
    error = paired.std("sequence", ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(found["standard_error"][1, 0], error, atol=1e-6)


@pytest.mark.parametrize("chunk", [2, 5, None])
def test_no_recorded_sequence_is_measured_twice(chunk):
    rows = [[0] * index + [1] * (20 - index) for index in range(20)]
    task, model = Recorded(sequences=rows), {"a": COINS.bayes()}
    some, whole = (evaluate(KEY, model, task, count, chunk=chunk) for count in (12, 999))
    assert some.sizes["sequence"] == some.attrs["sequences"] == 12 and some.sizes["time"] == 20
    assert len(np.unique(np.cumsum(some["log_loss"][0, 0], axis=1), axis=0)) == 12
    assert whole.sizes["sequence"] == 20
    read = np.asarray(predict(COINS.bayes(), jnp.array(rows[7])))[:20]
    by_hand = -np.take_along_axis(read, np.array(rows[7])[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(whole["log_loss"][0, 0, 7], by_hand, atol=1e-6)
    long = Recorded(sequences=np.zeros((1, 3000), int))
    with pytest.raises(ValueError, match=r"Expected a length, since the longest .* 3,000 steps"):
        evaluate(KEY, model, long)
    assert evaluate(KEY, model, long, length=30).sizes["time"] == 30


def test_what_draws_from_a_list_says_that_errors_are_those_of_draws():
    lines = Recorded(sequences=((0, 1, 1), (1, 0)))
    with pytest.warns(UserWarning, match="draws from a Recorded of 2 sequences"):
        evaluate(KEY, {"a": IMPERFECT}, Mixture((COIN, lines), (0.5, 0.5)), 8, 3)


def test_callbacks_see_every_unit_of_work():
    seen = []
    given = {"two": repeated([0.5, 1.0])}
    evaluate(KEY, given, COIN, 20, 3, chunk=8, callbacks=[lambda *progress: seen.append(progress)])
    assert seen == [(done, 12) for done in range(1, 13)]  # 3 chunks of 2 + oracle + bayes


@pytest.mark.parametrize(
    ("predictors", "settings", "words"),
    [
        ([COINS.bayes()], {}, "Expected a dict from names to predictors; got list"),
        ({"a": COINS}, {}, "got DirichletCategorical. Pass the task's exact predictor"),
        ({"a": Transformer()}, {}, "got Transformer. Build it: architecture.build"),
        (
            {"a": DirichletCategorical((1, 1, 1)).bayes()},
            {},
            "over 2 symbols.*got 3 symbols in 'a'",
        ),
        ({"oracle": COINS.bayes()}, {}, "got 'oracle'. Leave it out"),
        ({"prior bayes": COINS.bayes()}, {"prior": COINS}, "got 'prior bayes'"),
        ({}, {"sequences": 0}, "at least 1; got 0, 4"),
        ({}, {"length": 0}, "at least 1; got 8, 0"),
        ({}, {"prior_prompt_length": 3}, "Pass the pretraining task"),
        ({}, {"prior": Recorded(sequences=((0, 1),))}, "with an exact predictor; got Recorded"),
        (
            {},
            {"prior": DirichletCategorical((1, 1, 1))},
            r'take {"class": "DirichletCategorical", "concentration": \[1.0, 1.0\]}',
        ),
        ({"a": Transformer}, {}, "got the class Transformer"),
    ],
)
def test_errors_come_before_any_work(predictors, settings, words):
    jaxtyping.config.update("jaxtyping_disable", True)  # as users run it
    try:
        with pytest.raises((TypeError, ValueError), match=words):
            evaluate(KEY, predictors, COIN, **{"sequences": 8, "length": 4, **settings})
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


# --- regret ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("target", [COIN, TWO, COINS], ids=lambda task: type(task).__name__)
def test_plain_regret_of_exact_rows_is_within_errors(target):
    results = evaluate(KEY, {"imperfect": IMPERFECT}, target, 2048, 50, prior=COINS)
    found = regret(results, controls=False)
    rows = {"imperfect": IMPERFECT, "bayes": target.bayes(), "prior bayes": COINS.bayes()}
    for name, predictor in rows.items():
        at = found.sel(predictor=name, repetition=0)
        off = np.abs(at["plain"] - known_regret(predictor, target, 50)).values
        # 3e-4 nats: on two coins what is left after a while comes from one sequence in thousands
        sigmas = off / (at["plain_standard_error"].values + 3e-4)
        assert sigmas.max() < 3.5, f"{name}: {sigmas.max():.2f} standard errors off"
        assert sigmas[-1] < 3
        np.testing.assert_array_equal(at["regret"], at["plain"])


@pytest.mark.slow
# On a symmetric target the controls are symmetric too: they cannot know which side is favoured.
@pytest.mark.parametrize(("target", "share"), [(COIN, 0.1), (TWO, 0.6), (COINS, 0.6)])
def test_controls_sharpen_the_regret_of_an_unknown_predictor(target, share):
    results = evaluate(KEY, {"opaque": Opaque(IMPERFECT)}, target, 2048, 50, prior=COINS)
    found = regret(results).sel(predictor="opaque", repetition=0)
    exact = known_regret(IMPERFECT, target, 50)
    off = np.abs(found["regret"].values - exact)
    errors = found["standard_error"].values
    assert np.all(off < 3 * errors + 1e-5), f"off by {off.max()}, errors {errors.max()}"
    assert errors[-1] < share * found["plain_standard_error"].values[-1]
    steps = found["per_step"].values
    off = np.abs(steps - np.diff(exact, prepend=0))
    assert np.all(off < 4 * found["per_step_standard_error"].values + 1e-5)


def test_another_reference():
    given = {"opaque": Opaque(IMPERFECT), "prior bayes": COINS.bayes()}
    results = evaluate(KEY, given, TWO, 512, 20)
    found = regret(results, "opaque")
    exact = known_regret(COINS.bayes(), TWO, 20) - known_regret(IMPERFECT, TWO, 20)
    at = found.sel(predictor="prior bayes", repetition=0)
    assert np.all(np.abs(at["regret"] - exact) < 3 * at["standard_error"] + 1e-5)
    assert not found["regret"].sel(predictor="opaque").any()
    assert not found["standard_error"].sel(predictor="opaque").any()


@pytest.mark.slow
def test_errors_are_calibrated():
    """Over 32 keys, deviations in standard errors have a standard deviation of about one."""
    judged = Opaque(DirichletCategorical((0.1, 3.0)).bayes(), 0.6)  # not nearly a control
    given = {"judged": judged, "prior bayes": COINS.bayes()}
    results = [evaluate(jax.random.key(seed), given, COIN, 200, 30) for seed in range(32)]
    exact = _sharpened_regret(judged, COIN, 30)
    scores, gains = {"regret": [], "plain": []}, []
    for result in results:
        at = regret(result).sel(predictor="judged", repetition=0, time=30)
        for kind, error in (("regret", "standard_error"), ("plain", "plain_standard_error")):
            scores[kind].append(float((at[kind] - exact) / at[error]))
        gains.append(float(at["plain_standard_error"] / at["standard_error"]))
    for kind, values in scores.items():
        deviation, mean = np.sqrt(np.mean(np.square(values))), np.mean(values)
        assert 0.7 < deviation < 1.35, f"{kind}: z-scores have deviation {deviation:.2f}"
        assert abs(mean) < 3 / np.sqrt(32), f"{kind}: z-scores have mean {mean:.2f}"
    assert np.median(gains) > 2, f"errors shrink by {np.median(gains):.2f}"


def _sharpened_regret(opaque, target, length):
    """Exact regret of a sharpened exchangeable predictor: from its rows after every count."""
    table = enumeration.count_table(target.bayes(), length)
    rows = opaque.power * enumeration.log_probs_after(opaque.inside, table.counts)
    rows = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
    return -np.sum(table.joint * rows) - Expectations(target, length).oracle_loss.sum()


def test_few_sequences_fall_back_to_the_plain_estimate():
    results = evaluate(KEY, {"opaque": Opaque(IMPERFECT)}, TWO, 6, 5)
    at = regret(results).sel(predictor="opaque")
    np.testing.assert_array_equal(at["regret"], at["plain"])
    np.testing.assert_array_equal(at["standard_error"], at["plain_standard_error"])
    one = regret(evaluate(KEY, {}, TWO, 1, 5), controls=False)
    assert np.isfinite(one["plain"]).all() and np.isnan(one["standard_error"]).all()


def test_infinite_and_missing_losses_stay_where_they_are():
    given = {"sure": Sure(), "opaque": Opaque(IMPERFECT), "broken": Opaque(IMPERFECT, jnp.nan)}
    with pytest.warns(UserWarning, match="got NaN of 'broken'"):
        results = evaluate(KEY, given, COIN, 256, 10)
        found = regret(results)
    alone = regret(results.sel(predictor=["opaque", "oracle", "bayes"]))
    assert np.isposinf(found["plain"].sel(predictor="sure", time=10)).all()
    assert np.isposinf(found["regret"].sel(predictor="sure", time=10)).all()
    assert np.isposinf(found["median"].sel(predictor="sure", time=10)).all()
    assert np.isnan(found["standard_error"].sel(predictor="sure", time=10)).all()
    assert np.isnan(found["regret"].sel(predictor="broken")).all()
    for name in ("regret", "standard_error", "plain"):
        mine = found[name].sel(predictor="opaque")
        np.testing.assert_allclose(mine, alone[name].sel(predictor="opaque"), rtol=1e-6)


def test_regret_needs_all_steps_once_and_of_one_evaluation_or_of_several_joined():
    given = {"it": Opaque(IMPERFECT)}
    one, other = (evaluate(jax.random.key(k), given, COIN, 64, 6) for k in (0, 1))
    with pytest.raises(ValueError, match=r"steps from 1 on.* got 2 steps: 1, 6\. .* then select"):
        regret(one.sel(time=[1, 6]))
    for selected in (one.isel(time=slice(2, None)), one.isel(time=slice(None, None, -1))):
        with pytest.raises(ValueError, match="Expected all steps from 1 on"):
            regret(selected)
    first = regret(one.isel(time=slice(None, 3)))  # the beginning is whole
    np.testing.assert_array_equal(first["time"], [1, 2, 3])
    with pytest.raises(ValueError, match="names of their own"):
        regret(xr.concat([one, other], "predictor", data_vars="minimal"))
    with pytest.raises(ValueError, match="data_vars='minimal'"):
        regret(xr.concat([one, other], "sequence", data_vars="all"))
    joined = regret(xr.concat([one, other], "sequence", data_vars="minimal"))
    errors = [r["standard_error"].sel(predictor="it")[0, -1] for r in (regret(one), joined)]
    assert 0 < errors[1] < errors[0]
    with pytest.raises(ValueError, match=r"got 0 steps\. Take the regret of all"):
        regret(one.isel(time=slice(0, 0)))
    for name in ("time", "predictor"):
        with pytest.raises(ValueError, match=f"the coordinate {name} of promptax.evaluate"):
            regret(one.drop_vars(name))
    with pytest.raises(ValueError, match=r"names of their own; got \[\]"):
        regret(one.isel(predictor=[]))
    for name in ("sequence", "repetition"):
        with pytest.raises(ValueError, match=f"Expected at least one {name}; got a table without"):
            regret(one.isel({name: []}))
    again = evaluate(jax.random.key(0), {"other": Categorical((0.5, 0.5)).bayes()}, COIN, 64, 6)
    several = xr.concat([one, again.sel(predictor=["other"])], "predictor", data_vars="minimal")
    assert regret(several).sizes["predictor"] == one.sizes["predictor"] + 1


@pytest.mark.slow
def test_references_that_cannot_be_used():
    given = {"sure": Sure(), "several": repeated([0.5, 1.0])}
    results = evaluate(KEY, given, COIN, 32, 6)
    with pytest.raises(ValueError, match=r"got 'orcle'\. Did you mean 'oracle'"):
        regret(results, "orcle")
    with pytest.raises(
        ValueError, match=r"finite losses; got .* in 'sure' that are not, the first at"
    ):
        regret(results, "sure")
    with pytest.raises(ValueError, match="one repetition; got 'several' with 2"):
        regret(results, "several")
    recorded = evaluate(KEY, {"a": IMPERFECT}, Recorded(sequences=((0, 1, 1), (1, 0))), 4, 3)
    with pytest.raises(ValueError, match="The target has no oracle"):
        regret(recorded)
