"""Measures of heads: on an induction head that is built by hand, and on what a network shows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from promptax import analysis
from promptax.analysis.induction_heads import copying, prefix_matching, previous_token, score_heads
from promptax.predictors import LSTM, Transformer
from promptax.predictors.torso import Attended
from promptax.report.figures import attention_heads
from promptax.tasks import DirichletCategorical

SYMBOLS, HALF = 12, 6
TOKENS = np.tile(np.random.default_rng(0).permutation(SYMBOLS)[:HALF], 2)


def attend(scores):
    """Weights of causal attention to sharp scores [row, other]."""
    weights = np.tril(np.exp(50.0 * scores))
    return weights / weights.sum(axis=1, keepdims=True)


def two_layers():
    """Behind an opening row: a head that finds the row before by place, and one whose query is the
    token and whose keys are what the first one found. The second writes the token it attends to."""
    rows = np.concatenate([np.zeros((1, SYMBOLS)), np.eye(SYMBOLS)[TOKENS]])
    first = attend(np.eye(len(rows), k=-1))
    before = first @ rows
    second = attend(rows @ before.T)
    weights, writes = np.stack([first, second]), np.stack([before, second @ rows])
    return Attended(jnp.array(weights[:, None]), jnp.array(writes[:, None]))


def test_an_induction_head_built_by_hand_scores_1():
    scores = eqx.filter_jit(score_heads)(two_layers(), jnp.array(TOKENS), jnp.eye(SYMBOLS))
    finder, induction = ([np.asarray(score)[layer, 0] for score in scores] for layer in (0, 1))
    np.testing.assert_allclose(finder[:2], (0.0, 1.0), atol=1e-6)
    np.testing.assert_allclose(induction[0], 1.0, atol=1e-6)
    # in the first half nothing matches: row i attends to all of its i + 1 rows alike
    alike = [1 / (row + 1) for row in range(2, HALF + 1)] + [0.0] * HALF
    np.testing.assert_allclose(induction[1], np.mean(alike), atol=1e-6)
    # the first row finds only the one that opens the sequence, and raises nothing
    np.testing.assert_allclose(finder[2], 11 / 12, atol=1e-6)
    assert induction[2] > 0.6


@jax.jit
def measure(weights, scores, tokens):
    return (
        prefix_matching(weights, tokens),
        previous_token(weights),
        copying(weights, scores, tokens),
    )


def test_measures_of_patterns_written_by_hand():
    tokens, weights, scores = np.array([0, 1, 0, 0, 1, 0]), np.zeros((6, 6)), np.zeros((6, 2))
    weights[[1, 3, 3, 4], [0, 1, 3, 2]] = 0.5, 0.5, 0.25, 1.0
    scores[3] = 1.0, 3.0
    # Row 3 is a 0. Zeros at 0 and 2 were followed by rows 1 and 3. Row 4 is a 1, as row 1 before
    # row 2. Row 3 raises symbol 1 alone, on which its weight is ½; the others raise both alike.
    expected = (0.75 + 1.0) / 3, 0.5 / 5, (0.5 + 0.5 * 0.5 + 0.5 * 1.0) / 6
    np.testing.assert_allclose(measure(weights, scores, tokens), expected, rtol=1e-6)


@eqx.filter_jit
def read(network, tokens):
    prediction = network.advance(network.start(), tokens)[1]
    return network.attended(tokens), prediction.internals


def test_what_heads_write_is_what_attention_adds():
    spec = Transformer(width=8, depth=2, heads=2, positions="rotary", window=5)
    network, tokens = spec.build(jax.random.key(1), 3), jnp.array([0, 2, 1, 1, 0, 2, 2])
    shown, internals = read(network, tokens)
    np.testing.assert_allclose(jnp.sum(shown.weights, axis=-1), 1.0, atol=1e-6)
    apart = np.arange(8)[:, None] - np.arange(8)
    assert not np.asarray(shown.weights)[..., (apart < 0) | (apart >= 5)].any()
    for layer in range(2):
        added = jnp.sum(shown.writes[layer], axis=0)[1:]
        np.testing.assert_allclose(added, internals[f"block{layer}.attention"], atol=1e-5)


def test_a_dataset_of_all_heads_and_its_figure():
    network = Transformer(width=8, depth=2, heads=2).build(jax.random.key(1), 3)
    table = analysis.induction_heads(network, jax.random.key(2), sequences=4, length=5)
    assert table.prefix_matching.shape == table.copying.shape == (2, 2)
    assert float(table.repetition_effect) == pytest.approx(
        float(table.log_loss[5:].mean() - table.log_loss[:5].mean())
    )
    assert table.repetition_effect.attrs["sign"] == "below 0 where what was read helps"
    assert 0 < float(table.uniform_prefix_matching) < 1
    assert len(attention_heads(table).axes) >= 3
    with pytest.raises(TypeError, match="LSTM does not"):
        analysis.induction_heads(LSTM(width=4).build(jax.random.key(0), 3), jax.random.key(2))
    with pytest.raises(TypeError, match="without a prompt"):
        analysis.induction_heads(DirichletCategorical().bayes(), jax.random.key(2))


def test_learning_in_context_is_the_late_loss_minus_the_early_one():
    losses = np.array([[[[3.0, 2.0, 1.0], [3.0, 1.0, 2.0]]]])
    axes = "predictor", "repetition", "sequence", "time"
    results = xr.Dataset(
        {"log_loss": (axes, losses)}, {"predictor": ["a"], "repetition": [0], "time": [1, 2, 3]}
    )
    changed = results.transpose("time", "sequence", "repetition", "predictor")
    for stored in (results, changed):
        table = analysis.in_context_learning(stored, 1, 3)
        assert table.score.item() == -1.5 and table.score.attrs["sign"].startswith("below 0")
        # changes of -2 and -1: a deviation of √½ over 2 - 1, of a mean of 2
        assert table.error.item() == pytest.approx(np.sqrt(0.5) / np.sqrt(2))
    alone = analysis.in_context_learning(results.isel(sequence=[0]), 1, 3)
    assert alone.score.item() == -2.0 and np.isnan(alone.error.item())
    for early, late in ((1, 4), (0, 2), (3, 1)):
        with pytest.raises(ValueError, match="1 ≤ early < late ≤ 3"):
            analysis.in_context_learning(results, early, late)
    with pytest.raises(ValueError, match="4 ≤ early < late ≤ 6"):
        analysis.in_context_learning(results.assign_coords(time=[4, 5, 6]), 1, 3)
    for other in (results.isel(sequence=0), results.rename(log_loss="regret")):
        with pytest.raises(ValueError, match=r"log losses .*promptax\.evaluate.*; got"):
            analysis.in_context_learning(other, 1, 3)
