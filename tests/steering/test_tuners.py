"""Single tuners: the search over hard prompts, low-rank changes, and what they refuse."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import FitSettings, condition, platforms, predict, specs
from promptax.experiments.plan import METHODS
from promptax.predictors import LSTM, Transformer
from promptax.predictors.parts.layers import Dense
from promptax.protocol.exchangeable import Uniform
from promptax.steering import (
    EmbeddingWeights,
    FullWeights,
    HardPrompt,
    KeyValuePrompt,
    LowRank,
    PromptMixture,
    RandomPrompt,
    RealPrompt,
    SimplexPrompt,
    SoftPrompt,
)
from promptax.steering.gradient import mark
from promptax.steering.weights.low_rank import LowRankDense
from promptax.tasks import Categorical, DirichletCategorical
from promptax.tasks.batches import sample_batch

KEY = jax.random.key(7)
COIN, DIE = Categorical(), Categorical((0.5, 0.3, 0.2))
SHORT = FitSettings(steps=3, batch=4, length=5, repetitions=3)
NETWORKS = {"LSTM": LSTM(width=8), "Transformer": Transformer(width=8, heads=2)}


def base(architecture, symbols):
    return NETWORKS[architecture].build(jax.random.key(1), symbols)


def rows_of(predictor):
    return np.asarray(predict(predictor, jnp.array([0, 1, 1, 0, 1, 1])))


def test_copies_of_the_weights_larger_than_memory_are_refused(monkeypatch):
    monkeypatch.setattr(platforms, "free_bytes", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"3 repetitions need up to .* Use fewer repetitions, or"):
        FullWeights().tune(KEY, base("LSTM", 2), Categorical(), SHORT)


@pytest.mark.parametrize(
    ("select", "told"),
    [
        (lambda network: None, "marks none."),
        (lambda network: network.head.bias, "fails: .*'head'."),
    ],
)
def test_leaves_that_are_nowhere_are_told_with_the_tuner(select, told, monkeypatch):
    monkeypatch.setattr(FullWeights, "where", lambda self, steered: mark(steered, select))
    with pytest.raises(TypeError, match=f"FullWeights.where .* in this LSTM it {told} Let FullWe"):
        FullWeights().tune(KEY, base("LSTM", 2), COIN, SHORT)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SoftPrompt(length=-1), "Expected a prompt length of at least 0; got -1."),
        (lambda: HardPrompt(length=-1), "Expected a prompt length of at least 0; got -1."),
        (lambda: RandomPrompt(length=-1), "Expected a prompt length of at least 0; got -1."),
        (lambda: HardPrompt(sequences=0), "Expected at least 1 sequence; got 0."),
        (lambda: SoftPrompt(learning_rate=0.0), "Expected a learning_rate above 0; got 0.0."),
        (lambda: FullWeights(learning_rate=-1.0), "Expected a learning_rate above 0; got -1.0."),
        (lambda: LowRank(rank=0), "Expected a rank of at least 1; got 0."),
        (
            lambda: EmbeddingWeights(embedding=False, unembedding=False),
            "Expected embedding, unembedding or both to be tuned; got neither.",
        ),
    ],
)
def test_texts_of_errors(make, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
        make()


@pytest.mark.parametrize("cls", [SoftPrompt, RealPrompt, SimplexPrompt])
def test_an_unknown_start_is_named(cls, as_users_see_it):
    with pytest.raises(
        ValueError, match=rf"Expected one of .*'zeros'.* as {cls.__name__}.initial; got 'ones'"
    ):
        cls(initial="ones")


def test_fields_that_came_later_leave_a_soft_prompt_what_it_was():
    """Studies know their results by the JSON of what was run."""
    described = {"class": "SoftPrompt", "length": 6, "initial": "one_hot", "learning_rate": 0.005}
    assert specs.to_json(METHODS["soft prompt"]) == described
    assert specs.to_json(METHODS["full weights"])["learning_rate"] == 0.005
    rows = SoftPrompt(length=1).prompt(KEY, base("LSTM", 2))
    assert set(specs.to_json(rows)) == {"class", "values"}


def test_what_nobody_chose_suits_the_predictor():
    """The main paper's numbers on networks like its own; others on an alphabet of a language."""
    small, large = base("LSTM", 2), base("Transformer", 1_000)
    chosen = {SoftPrompt(): 2e-2, KeyValuePrompt(): 2e-2, LowRank(): 2e-3, FullWeights(): 2e-4}
    chosen |= {PromptMixture(SoftPrompt()): 2e-2, RealPrompt(): 1e-3, SimplexPrompt(): 3.0}
    for tuner, rate in chosen.items():
        assert (tuner.rate_on(small), tuner.rate_on(large)) == (5e-3, rate)
        assert tuner.rate_on(condition(large, jnp.array([3]))) == rate
    assert FullWeights(learning_rate=5e-3).rate_on(large) == 5e-3
    assert set(np.asarray(SoftPrompt().prompt(KEY, small).values).ravel()) == {0.0, 1.0}
    for network, given in ((large, ()), (small, (1, 0))):
        rows = SoftPrompt(initial_tokens=given).prompt(KEY, network).values
        table = np.asarray(network.embed(jnp.arange(network.symbols)))
        assert all((row == table).all(axis=1).any() for row in np.asarray(rows))


# --- hard prompts ---------------------------------------------------------------------------


def test_hard_prompts_against_brute_force():
    """Golden values: regret of the Laplace rule on a coin of 0.2 after 6 symbols, N = 50."""
    coin, exact = Categorical((0.2, 0.8)), DirichletCategorical().bayes()
    fitted = HardPrompt(length=6, sequences=1024).tune(KEY, exact, coin, callbacks=())
    assert sorted(fitted.prompt.tolist()) == [0, 1, 1, 1, 1, 1]
    zeros = 6 - np.array(list(itertools.product((0, 1), repeat=6))).sum(1)
    scores = np.asarray(fitted.scores[0])
    by_zeros = np.array([scores[zeros == h].mean() for h in range(7)])
    np.testing.assert_allclose(scores, by_zeros[zeros], rtol=1e-5)  # the order does not matter
    keys = jax.random.split(jax.random.fold_in(KEY, 0), 1024)
    ones = np.asarray(sample_batch(coin, keys, 50).tokens).sum(1)
    oracle = -(ones * np.log(0.8) + (50 - ones) * np.log(0.2))
    expected = [0.899, 0.571, 1.004, 1.958, 3.387, 5.349, 8.095]
    # paired with the oracle, a sequence's regret has a standard deviation of up to 2.4
    np.testing.assert_allclose(by_zeros - oracle.mean(), expected, atol=4 * 2.4 / np.sqrt(1024))
    np.testing.assert_allclose((by_zeros - oracle.mean())[:3], expected[:3], atol=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", NETWORKS)
def test_scores_of_hard_prompts_are_mean_losses_of_distinct_sequences(architecture):
    tuner, network = HardPrompt(length=2, sequences=16), base(architecture, 3)
    fitted = tuner.tune(KEY, network, DIE, SHORT, callbacks=())
    assert fitted.scores.shape == (3, 9)
    for repetition in range(3):
        keys = jax.random.split(jax.random.fold_in(KEY, repetition), 16)
        tokens = sample_batch(DIE, keys, 5).tokens
        assert len(np.unique(tokens, axis=0)) > 8  # 16 draws of 243 sequences
        prompts = list(itertools.product(range(3), repeat=2))
        expected = [
            -laws.of_tokens(laws.read(condition(network, jnp.array(p)), tokens), tokens)
            .sum(1)
            .mean()
            for p in prompts
        ]
        np.testing.assert_allclose(fitted.scores[repetition], expected, rtol=1e-5)
        assert tuple(fitted.prompt[repetition].tolist()) == prompts[int(np.argmin(expected))]
    assert len(np.unique(fitted.scores[:, 0])) == 3  # each repetition has sequences of its own
    assert HardPrompt.as_published().sequences == 256 and tuner.group == "prompts"


@pytest.mark.parametrize(("length", "number"), [(40, "1,099,511,627,776"), (10**6, r"10\^301,030")])
def test_absurdly_many_hard_prompts_are_refused(length, number):
    text = rf"at most 100,000 prompts to try; 2 symbols at length {length:,} make {number}. Choose"
    with pytest.raises(ValueError, match=text):
        HardPrompt(length=length).tune(KEY, Uniform(2), Categorical(), SHORT)


def test_a_search_reports_and_stops():
    seen = []

    def callback(done, total, note):
        seen.append((done, total))
        return True

    settings = FitSettings(length=5)
    tuner = HardPrompt(length=5, sequences=4)
    fitted = tuner.tune(KEY, Uniform(2), Categorical(), settings, callbacks=[callback])
    assert seen == [(1, 4)]  # steps of 8 prompts
    assert np.isnan(fitted.scores).sum() == 24 and fitted.prompt.shape == (5,)


def test_random_prompts_are_uniform_and_independent():
    tuner = RandomPrompt(length=1000)
    settings = FitSettings(repetitions=3)
    prompt = tuner.tune(KEY, Uniform(3), DIE, settings).prompt
    assert prompt.shape == (3, 1000) and len(np.unique(prompt, axis=0)) == 3
    share = np.stack([(np.asarray(prompt) == symbol).mean() for symbol in range(3)])
    np.testing.assert_allclose(share, 1 / 3, atol=4 * np.sqrt(2 / 9 / 3000))


# --- low rank -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("architecture", NETWORKS)
def test_low_rank_changes_can_be_merged(architecture):
    network = base(architecture, 2)
    predictor = LowRank(rank=2).tune(KEY, network, COIN, SHORT, callbacks=()).predictor[0]
    is_low_rank = lambda node: isinstance(node, LowRankDense)  # noqa: E731
    layers = [n for n in jax.tree.leaves(predictor, is_leaf=is_low_rank) if is_low_rank(n)]
    assert len(layers) == {"LSTM": 2, "Transformer": 4}[architecture]
    for layer in layers:
        rows = jax.random.normal(KEY, (3, layer.shape()[0]))
        merged = Dense(layer.matrix(), layer.bias)
        np.testing.assert_allclose(layer(rows), merged(rows), rtol=1e-4, atol=1e-5)
        assert np.linalg.matrix_rank(layer.matrix() - layer.base.matrix(), tol=1e-4) <= 2
    whole = jax.tree.map(
        lambda n: Dense(n.matrix(), n.bias) if is_low_rank(n) else n, predictor, is_leaf=is_low_rank
    )
    np.testing.assert_allclose(rows_of(predictor), rows_of(whole), atol=1e-5)
    assert np.abs(rows_of(predictor) - rows_of(network)).max() > 1e-4


def test_low_rank_layers_are_chosen_by_name():
    network = base("Transformer", 2)
    steered = LowRank(rank=1, layers=("mlp_input",)).steer(KEY, network)
    block = steered.torso.blocks[0]
    assert isinstance(block.mlp_input, LowRankDense) and not isinstance(block.query, LowRankDense)
    text = r"Expected dense layers named \('quary',\) to adapt; Transformer has \['attention_output"
    with pytest.raises(TypeError, match=text):
        LowRank(layers=("quary",)).tune(KEY, network, Categorical(), SHORT)
    twice = LowRank(rank=1).steer(KEY, LowRank(rank=2).steer(KEY, network))
    np.testing.assert_allclose(rows_of(twice), rows_of(network), atol=1e-6)
