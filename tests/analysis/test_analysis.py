"""Promptability against known values and brute force; internal states against plain reading."""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from promptax import store
from promptax.analysis import internal_states, principal_components, promptability, state_map
from promptax.evaluation import Expectations
from promptax.evaluation.exact import enumeration
from promptax.predictors import LSTM, Embedded, Transformer
from promptax.protocol.entries import condition
from promptax.protocol.exchangeable import Uniform
from promptax.protocol.prompted import Prompt, Prompted
from promptax.protocol.repeated import Repeated
from promptax.report import figures
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Recorded

EXACT = json.loads((Path(__file__).parent.parent / "data" / "exact_values.json").read_text())
COINS, COIN, TWO = DirichletCategorical(), Categorical(), CategoricalMixture()


def close(got, expected):
    np.testing.assert_allclose(got, expected, atol=1e-5)


# --- promptability --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "predictor", "target"),
    [
        ("dirichlet(1,1) bayes on random coins", COINS, COINS),
        ("dirichlet(1,1) bayes on coin 0.2", COINS, COIN),
        ("two-coin bayes on two-coin (0.2/0.8, 1/2 each)", TWO, TWO),
    ],
)
def test_known_regrets_without_a_prompt(name, predictor, target):
    for steps, value in zip(EXACT["steps"], EXACT[name], strict=True):
        close(Expectations(target, steps).regret(predictor.bayes()).sum(), value)
        close(promptability(predictor, target, 0, steps).best_regret, value)


@pytest.mark.parametrize(
    ("name", "target", "prompt"),
    [
        (
            "best hard prompt, length 6 (one token 0, five token 1), dirichlet(1,1), coin 0.2",
            COIN,
            (0, 1, 1, 1, 1, 1),
        ),
        (
            "best hard prompt, length 6 (three and three), dirichlet(1,1), two-coin",
            TWO,
            (0, 0, 0, 1, 1, 1),
        ),
    ],
)
def test_known_best_prompts(name, target, prompt):
    for steps, value in zip(EXACT["steps"], EXACT[name], strict=True):
        found = promptability(COINS, target, 6, steps)
        close(found.best_regret, value)
        assert found.best_prompt == prompt
        best = Expectations(target, steps).best_prompt(COINS.bayes(), 6)
        close(best.regret, value)
        assert best.tokens == prompt


def test_known_best_prompts_of_every_length():
    (name,) = [name for name in EXACT if name.startswith("best hard prompt by length")]
    found = promptability(COINS, COIN, length=1000, steps=50)
    for length, (zeros, regret) in EXACT[name].items():
        row = found.table.sel(prompt_length=int(length))
        close(row["regret"], regret)
        assert row["counts"].values.tolist() == [zeros, int(length) - zeros]
    assert found.best_up_to == found.table["regret"].min()
    assert found.best_regret == found.table["regret"][-1]


def test_the_table_is_labelled_and_no_length_is_worse_than_promised():
    found = promptability(COINS, TWO, length=6, steps=10)
    assert dict(found.table.sizes) == {"prompt_length": 7, "symbol": 2}
    assert found.table.attrs["unit"] == found.table["regret"].attrs["unit"] == "nats"
    assert found.best_length == 0  # no hard prompt helps towards a mixture
    assert found.best_up_to < found.best_regret and len(found.best_prompt) == 6


PAIRS = [
    (DirichletCategorical((1.0, 2.0, 0.7)), Categorical((0.2, 0.3, 0.5))),
    (DirichletCategorical((1.0, 0.0, 2.0)), Categorical((0.2, 0.3, 0.5))),  # some prompts lose inf
    (CategoricalMixture(((1.0, 0.0), (0.2, 0.8)), (0.5, 0.5)), COIN),
    (COINS, TWO),
]


@pytest.mark.parametrize(("prior", "target"), PAIRS)
def test_all_prompts_at_once_equal_one_after_the_other(prior, target):
    table, bayes = enumeration.count_table(target.bayes(), 7), prior.bayes()
    layers = [enumeration.compositions(total, target.symbols) for total in range(6)]
    prompts = np.concatenate(layers)
    single = np.array([enumeration._loss_after(bayes, prompt, table) for prompt in prompts])
    together = enumeration._losses_together(bayes, prompts, table, 12)
    np.testing.assert_allclose(together, single, atol=1e-10)
    found = promptability(prior, target, 5, 7).table
    for length, layer in enumerate(np.split(single, np.cumsum([len(x) for x in layers])[:-1])):
        regret = layer.min() - Expectations(target, 7).oracle_loss.sum()
        np.testing.assert_allclose(found["regret"][length], regret, atol=1e-10)


def test_the_best_of_a_length_is_the_best_of_all_words():
    target, prior = Categorical((0.2, 0.3, 0.5)), DirichletCategorical((1.0, 1.0, 1.0))
    expectations = Expectations(target, 4)
    regrets = [
        expectations.regret(condition(prior.bayes(), jnp.array(word))).sum()
        for word in itertools.combinations_with_replacement(range(3), 3)
    ]
    close(promptability(prior, target, 3, 4).best_regret, min(regrets))


@pytest.mark.parametrize(
    ("prior", "target", "arguments", "message"),
    [
        (COINS, Categorical((0.2, 0.3, 0.5)), {}, "over one alphabet; got 2 and 3"),
        (Recorded(sequences=((0, 1),)), COIN, {}, "Expected a prior .* got Recorded"),
        (COINS, Recorded(sequences=((0, 1),)), {}, "Expected a target .* got Recorded"),
        (COINS, COIN, {"length": -1}, "at least 0"),
        (COINS, COIN, {"steps": 0}, "at least 1 step"),
        (
            DirichletCategorical((1.0,) * 5),
            Categorical((0.2,) * 5),
            {"length": 30, "steps": 25},
            "Choose fewer steps or shorter prompts",
        ),
    ],
)
def test_what_cannot_be_searched_says_so(prior, target, arguments, message):
    with pytest.raises(ValueError, match=message):
        promptability(prior, target, **arguments)


# --- internal states ------------------------------------------------------------------------


class Rows(Prompt):
    rows: jax.Array

    def inputs(self):
        return Embedded(self.rows)


@pytest.fixture(scope="module")
def network():
    return LSTM(width=4).build(jax.random.key(0), 2)


TOKENS = np.array([[0, 1, 1, 0, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])


@pytest.mark.slow
def test_states_are_those_after_reading_each_token(network):
    rows = jax.random.normal(jax.random.key(1), (2, 4))
    prompted = Prompted(condition(network, jnp.array([1, 0, 0])), Rows(rows))  # nested
    states = internal_states(prompted, TOKENS)
    assert set(states) == {
        "layer0.cell",
        "layer0.hidden",
        "prompt.layer0.cell",
        "prompt.layer0.hidden",
    }
    assert states["layer0.cell"].dims == ("sequence", "time", "state")
    assert states["prompt.layer0.cell"].dims == ("prompt", "state")
    assert states["time"].values.tolist() == [1, 2, 3, 4, 5]
    whole = jnp.concatenate(
        [network.embed(jnp.array([1, 0, 0])), rows, network.embed(jnp.asarray(TOKENS[1]))]
    )
    read = network.advance(network.start(), Embedded(whole))[1].internals["layer0.cell"]
    np.testing.assert_allclose(states["prompt.layer0.cell"], read[:5], atol=1e-6)
    np.testing.assert_allclose(states["layer0.cell"][1], read[5:], atol=1e-6)


def test_without_a_prompt_there_are_no_prompt_states(network):
    assert not any(str(name).startswith("prompt") for name in internal_states(network, TOKENS))
    counts = internal_states(COINS.bayes(), TOKENS)["counts"]
    np.testing.assert_array_equal(counts[:, -1, 1], TOKENS.sum(axis=1))


def test_widths_that_differ_have_dimensions_of_their_own():
    class Two(Uniform):
        def advance(self, state, inputs):
            state, prediction = super().advance(state, inputs)
            wide = jnp.zeros((inputs.shape[0], 3))
            return state, type(prediction)(prediction.log_probs, {"a": wide, "b": wide[:, :2]})

    states = internal_states(Two(2), TOKENS)
    assert states["a"].dims[-1] == "state_3" and states["b"].dims[-1] == "state_2"


def test_what_cannot_be_read_says_so(network):
    with pytest.raises(TypeError, match="Repeated"):
        internal_states(Repeated(network, None, 1), TOKENS)
    for tokens in (TOKENS[0], TOKENS.astype(float), TOKENS[:0]):
        with pytest.raises(ValueError, match=r"Expected tokens \[sequence, time\]"):
            internal_states(network, tokens)
    with pytest.raises(ValueError, match="Expected tokens from 0 to 1; got 0 to 2"):
        internal_states(network, TOKENS * 2)


# --- principal components -------------------------------------------------------------------


def test_components_are_the_eigenvectors_of_the_covariance():
    mix = np.random.default_rng(0).normal(size=(200, 5)) @ np.diag([5.0, 3.0, 1.0, 0.1, 0.0]) + 7
    found = principal_components(mix, components=3)
    values, vectors = np.linalg.eigh(np.cov(mix.T, bias=True))
    np.testing.assert_allclose(found.scale**2, values[::-1][:3])
    np.testing.assert_allclose(found.explained_variance, values[::-1][:3] / values.sum())
    np.testing.assert_allclose(np.abs(found.directions), np.abs(vectors.T[::-1][:3]), atol=1e-9)
    points = found.project(mix.reshape(20, 10, 5)).reshape(200, 3)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(points.T, bias=True), np.eye(3), atol=1e-9)


def test_components_of_odd_clouds():
    flat = principal_components(np.ones((5, 3)))
    assert np.all(flat.project(np.ones((5, 3))) == 0) and np.all(flat.explained_variance == 0)
    with pytest.raises(ValueError, match="at least 2 of each"):
        principal_components(np.ones((5, 1)))
    with pytest.raises(ValueError, match="may have diverged"):
        principal_components(np.full((5, 3), np.nan))


# --- the map --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def states(network):
    predictors = {
        "untuned": network,
        "hard prompt": condition(network, jnp.array([0, 1])),
        "soft prompt": Prompted(network, Rows(jnp.ones((3, 4)))),
    }
    background = np.random.default_rng(0).integers(0, 2, (6, 7))
    return state_map(predictors, network, background, TOKENS)


def test_the_map_has_the_report_s_schema(states, network):
    dims = {name: variable.dims for name, variable in states.items()}
    assert dims == {
        "trajectory": ("predictor", "sequence", "time", "component"),
        "prompt_trajectory": ("predictor", "prompt", "component"),
        "background": ("sample", "component"),
        "distance": ("predictor", "time"),
        "prompt_distance": ("predictor", "prompt"),
        "ordinary_distance": (),
        "tracks": ("component", "quantity"),
    }
    sizes = {"predictor": 3, "sequence": 3, "time": 5, "component": 2, "prompt": 3, "sample": 42}
    assert dict(states.sizes) == sizes | {"quantity": 3}
    assert states.attrs["what"] == "cell state of layer 0" and states.attrs["target"] == ""
    shares = states.attrs["explained_variance"]
    assert len(shares) == 2 and 1 >= shares[0] >= shares[1] >= 0
    read = np.isfinite(states["prompt_trajectory"]).all("component").sum("prompt")
    assert read.values.tolist() == [0, 2, 3]
    np.testing.assert_allclose(states["background"].std("sample"), 1, atol=1e-6)
    assert np.isfinite(states["trajectory"]).all()


def test_steps_past_an_end_are_left_out_of_the_map(network, states):
    """What stands behind an end changes nothing; without ends all steps count."""
    background = np.random.default_rng(0).integers(0, 2, (6, 7))
    steps = {"background_steps": [7, 7, 3, 7, 2, 7], "target_steps": [5, 1, 2]}
    found, other = (
        state_map({"it": network}, network, past[0], past[1], **steps)
        for past in (
            (background, TOKENS),
            [
                np.where(np.arange(rows.shape[1]) < np.array(count)[:, None], rows, 1 - rows)
                for rows, count in zip((background, TOKENS), steps.values(), strict=True)
            ],
        )
    )
    xr.testing.assert_allclose(found, other)
    assert found.sizes["sample"] == sum(steps["background_steps"])
    read = np.isfinite(found["trajectory"][0, :, :, 0]).sum("time")
    assert read.values.tolist() == steps["target_steps"]
    everything = state_map({"untuned": network}, network, background, TOKENS, target_steps=[5] * 3)
    xr.testing.assert_allclose(everything, states.sel(predictor=["untuned"]).isel(prompt=[]))
    with pytest.raises(ValueError, match="3 sequences a whole number from 1 to 5; got"):
        state_map({"it": network}, network, background, TOKENS, target_steps=[0, 1, 2])


def test_a_prompt_of_tokens_stays_among_ordinary_states(states):
    """Some sequences of the background begin with the prompt's first symbol; rows of ones are no
    symbol's."""
    away = states["prompt_distance"]
    assert float(away.sel(predictor="hard prompt")[0]) < 1e-3  # 0, but for rounding
    assert float(away.sel(predictor="soft prompt").min()) > 2 * float(away[1].max())
    assert np.isnan(away.sel(predictor="untuned")).all()
    assert float(states["ordinary_distance"]) > 0 and np.isfinite(states["distance"]).all()


def test_what_a_component_tracks_and_how_far_a_state_is():
    """Exact counts: one direction is how many were read, the other how many more of one kind."""
    coins = DirichletCategorical().bayes()
    background = np.random.default_rng(1).integers(0, 2, (40, 30))
    prompted = condition(coins, [0] * 60)
    found = state_map({"it": coins, "prompted": prompted}, coins, background, background[:2])
    tracks = np.abs(found["tracks"].values)
    assert tracks[0, 0] > 0.9 and tracks[1, 1:].max() > 0.7
    counts = np.stack([np.cumsum(background == s, axis=1) for s in (0, 1)], axis=-1)
    cloud, last = counts.reshape(-1, 2), np.array([60, 0])
    nearest = np.sqrt(((cloud - last) ** 2).sum(axis=1)).min()
    others, some = counts[4:].reshape(-1, 2), counts[:4].reshape(-1, 2)
    usual = np.sqrt(((some[:, None] - others) ** 2).sum(-1)).min(1)
    usual = np.median(usual) if np.median(usual) > 0 else 1.0
    got = found["prompt_distance"].sel(predictor="prompted")[-1]
    np.testing.assert_allclose(got, nearest / usual, rtol=1e-5)


def test_the_map_can_be_drawn_and_saved(states, tmp_path):
    assert isinstance(figures.internal_states(states), Figure)
    store.save(tmp_path / "states.nc", states)
    got = store.load(tmp_path / "states.nc")
    xr.testing.assert_identical(got, states)


@pytest.mark.slow
def test_a_map_names_what_is_shown(network):
    attention = Transformer(width=4, heads=2).build(jax.random.key(0), 2)
    found = state_map({"it": attention}, attention, TOKENS, TOKENS)
    assert found.attrs["what"] == "attention output of block 0"
    assert found.sizes["prompt"] == 0
    found = state_map({"it": network}, network, TOKENS, TOKENS, name="layer0.hidden")
    assert found.attrs["what"] == "hidden state of layer 0"
    with pytest.raises(ValueError, match=r"an internal state that every predictor has; .*block0"):
        state_map({"it": attention}, network, TOKENS, TOKENS)
    with pytest.raises(ValueError, match=r"'cell' that every predictor has"):
        state_map({"it": network}, network, TOKENS, TOKENS, name="cell")
    with pytest.raises(ValueError, match="it: counts"):
        state_map({"it": COINS.bayes()}, network, TOKENS, TOKENS)
    wider = LSTM(width=5).build(jax.random.key(0), 2)
    with pytest.raises(ValueError, match="of one width"):
        state_map({"it": wider}, network, TOKENS, TOKENS)
    with pytest.raises(ValueError, match="at least one predictor"):
        state_map({}, network, TOKENS, TOKENS)
