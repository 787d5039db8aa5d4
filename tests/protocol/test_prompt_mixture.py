"""Mixtures of prompts: arithmetic by brute force, searches, and the limit that they break."""

import functools
import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import betaln, gammaln, logsumexp
from support import judges as laws

import promptax as px
from promptax.cli import main
from promptax.evaluation import Expectations
from promptax.evaluation.exact import enumeration
from promptax.predictors import LSTM, Transformer
from promptax.protocol.entries import condition, predict
from promptax.protocol.mixture import PromptedMixture, mix
from promptax.protocol.predictor import Embedded
from promptax.protocol.prompted import GivenPrompt
from promptax.steering import HardPrompt, HardPromptMixture, LowRank, PromptMixture, SoftPrompt
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

KEY = jax.random.key(7)
TWO_COINS, LAPLACE = CategoricalMixture(), DirichletCategorical().bayes()
NETWORKS = {"LSTM": LSTM(width=8), "Transformer": Transformer(width=8, heads=2)}
PROMPTS = ([0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 0])
SHORT = px.FitSettings(steps=3, batch=8, length=5, repetitions=2)
every_network = pytest.mark.parametrize("name", NETWORKS)


@functools.cache
def network(name, symbols=2):
    return build(NETWORKS[name], jax.random.key(1), symbols)


@eqx.filter_jit
def build(architecture, key, symbols):
    return architecture.build(key, symbols)


@eqx.filter_jit
def read_batch(predictor, tokens):
    return predictor.advance_batch(predictor.start(), tokens)[1]


# --- the limit, exactly ---------------------------------------------------------------------


def log_mixture(zeros, steps, prompts):
    """log p(a sequence of `steps` with that many zeros) under the equally weighted mixture of the
    Laplace rule after prompts (zeros, ones): a ratio of Beta functions for each."""
    each = [betaln(1 + a + zeros, 1 + b + steps - zeros) - betaln(1 + a, 1 + b) for a, b in prompts]
    return logsumexp(each, axis=0) - math.log(len(prompts))


def two_coin_regret(log_probability, steps):
    """Expected regret to the oracle on two coins, a sum over counts."""
    zeros = np.arange(steps + 1)
    orders = gammaln(steps + 1) - gammaln(zeros + 1) - gammaln(steps - zeros + 1)
    likely, unlikely = math.log(0.8), math.log(0.2)
    given = [zeros * a + (steps - zeros) * b for a, b in ((unlikely, likely), (likely, unlikely))]
    mass = np.exp(orders + np.logaddexp(*given) - math.log(2))
    oracle = steps * -(0.8 * likely + 0.2 * unlikely)
    return float(mass @ -log_probability(zeros, steps)) - oracle


@pytest.mark.parametrize(
    ("length", "zeros", "at_50", "at_200"),
    [
        (6, 1, 1.2493, 1.8557),
        (25, 5, 0.9027, 1.3309),
        (100, 19, 0.7299, 0.9115),
        (200, 39, 0.7049, 0.7904),
    ],
)
def test_two_mirrored_prompts_break_the_limit_of_one(length, zeros, at_50, at_200):
    prompts = ((zeros, length - zeros), (length - zeros, zeros))
    of = lambda mixed: lambda h, n: log_mixture(h, n, mixed)  # noqa: E731
    found = [two_coin_regret(of(prompts), steps) for steps in (50, 200)]
    np.testing.assert_allclose(found, (at_50, at_200), atol=1e-4)
    # the best single prompt of any length is none at all
    single = min(two_coin_regret(of([(a, length - a)]), 50) for a in range(length + 1))
    nothing = two_coin_regret(of([(0, 0)]), 50)
    np.testing.assert_allclose(nothing, 1.477224, atol=1e-6)
    assert found[0] < nothing < single
    exact = Expectations(TWO_COINS, 50).best_prompt(LAPLACE, length).regret
    np.testing.assert_allclose(single, exact, atol=1e-6)


def test_the_mixture_gives_every_sequence_the_probability_of_the_formula():
    steps, tokens = 8, laws.all_sequences(2, 8)
    mixture = mix(LAPLACE, PROMPTS)
    with enumeration.double_precision():
        rows = laws.read(mixture, tokens)
        of_all = laws.of_tokens(rows, tokens).sum(1)
    zeros = steps - np.asarray(tokens).sum(1)
    np.testing.assert_allclose(of_all, log_mixture(zeros, steps, [(1, 5), (5, 1)]), atol=1e-6)
    np.testing.assert_allclose(np.exp(of_all).sum(), 1.0, atol=1e-6)
    by_count = {int(h): value for h, value in zip(zeros, of_all, strict=True)}
    mean = two_coin_regret(lambda h, n: np.array([by_count[int(each)] for each in h]), steps)
    formula = two_coin_regret(lambda h, n: log_mixture(h, n, [(1, 5), (5, 1)]), steps)
    np.testing.assert_allclose(mean, formula, atol=1e-6)


@pytest.mark.slow
def test_evaluation_measures_the_same_number():
    mixture = {"mixture": mix(LAPLACE, PROMPTS)}
    results = px.evaluate(KEY, mixture, TWO_COINS, sequences=256, length=50)
    at = px.regret(results).sel(predictor="mixture", repetition=0, time=50)
    assert abs(float(at.regret) - 1.2493) < 4 * float(at.standard_error) + 1e-4


# --- what a mixture predicts ----------------------------------------------------------------


@pytest.mark.slow
@every_network
def test_a_mixture_is_the_weighted_mean_of_its_components(name):
    below, prompts, weights = network(name), [[1, 1, 0], [0, 0, 0]], (0.3, 0.7)
    tokens = laws.all_sequences(2, 5)
    before = lambda rows: np.cumsum(laws.of_tokens(rows, tokens), 1)  # noqa: E731
    each = [before(laws.read(condition(below, jnp.array(p)), tokens)) for p in prompts]
    joint = np.stack(each) + np.log(weights)[:, None, None]
    mixture = mix(below, prompts, weights)
    np.testing.assert_allclose(before(laws.read(mixture, tokens)), logsumexp(joint, 0), atol=1e-5)
    prediction = read_batch(mixture, tokens)
    posterior = np.moveaxis(np.exp(joint - logsumexp(joint, 0)), 0, -1)
    np.testing.assert_allclose(prediction.internals["responsibility"], posterior, atol=1e-5)
    assert prediction.internals.keys() > {"responsibility"}
    assert not mixture.exchangeable and mixture.prompt.shape == (2, 3)
    np.testing.assert_allclose(mixture.weights, weights, atol=1e-6)
    # it never loses more than log 1/weight to one of its components
    for own, weight in zip(each, weights, strict=True):
        assert (logsumexp(joint, 0) >= own + math.log(weight) - 1e-5).all()


@pytest.mark.slow
@every_network
def test_one_prompt_is_a_mixture_of_one(name):
    tokens = jnp.array([0, 1, 1, 0, 1])
    alone = predict(condition(network(name), [1, 0]), tokens)
    np.testing.assert_allclose(predict(mix(network(name), [[1, 0]]), tokens), alone, atol=1e-6)
    twice = mix(network(name), [[1, 0], [1, 0]], (0.9, 0.1))
    np.testing.assert_allclose(predict(twice, tokens), alone, atol=1e-6)


def test_prompts_may_have_lengths_of_their_own_and_weights_may_be_zero():
    tokens = jnp.array([0, 1, 1])
    one = mix(LAPLACE, [[], [1, 1]], (0.0, 1.0))
    np.testing.assert_allclose(predict(one, tokens), predict(condition(LAPLACE, [1, 1]), tokens))


@pytest.mark.slow
def test_impossible_histories_predict_uniformly():
    """Coins that always show one side: after both sides no prompt's hypothesis is left."""
    sided = CategoricalMixture(((1.0, 0.0), (0.0, 1.0))).bayes()
    mixture, tokens = mix(sided, [[0], [1]]), jnp.array([0, 0, 1, 0, 1])
    rows = np.exp(predict(mixture, tokens))
    np.testing.assert_allclose(rows[:3], [[0.5, 0.5], [1, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(rows[3:], 0.5)
    state, _ = mixture.advance(mixture.start(), tokens[:4])
    assert (state.log_weights == -jnp.inf).all()
    np.testing.assert_allclose(np.exp(mixture.advance(state, tokens[4:])[1].log_probs), 0.5)


def test_posterior_weights_stay_exact_over_long_sequences():
    tokens = jax.random.bernoulli(KEY, 0.5, (5_000,)).astype(jnp.int32)
    mixture = mix(LAPLACE, PROMPTS)
    after = jax.jit(lambda tokens: mixture.advance(mixture.start(), tokens)[0].log_weights)
    with enumeration.double_precision():
        expected = after(tokens)
    found = after(tokens)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_weights_over_symbols_are_evidence():
    below, soft = network("LSTM", 3), jnp.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8]])
    prompts = ([0, 1], [2, 2])
    each = [predict(condition(below, list(p)), soft) for p in prompts]
    joint = np.cumsum([np.sum(soft * rows, axis=-1) for rows in each], axis=1)
    expected = logsumexp(joint[:, 1:2, None] + np.stack(each)[:, 2:], axis=0) - logsumexp(
        joint[:, 1]
    )
    np.testing.assert_allclose(predict(mix(below, prompts), soft)[2:], expected, atol=1e-5)


def test_large_alphabets_look_their_evidence_up():
    below, tokens = network("LSTM", 65), jnp.array([64, 0, 3, 64])
    mixture = mix(below, [[1, 2], [3, 64]])
    one_hot = jax.nn.one_hot(tokens, 65)
    np.testing.assert_allclose(predict(mixture, tokens), predict(mixture, one_hot), atol=1e-5)


@pytest.mark.slow
def test_single_symbols_of_many_are_scored_without_all():
    below = network("LSTM", 600)
    mixture = mix(below, [[1, 2], [3, 64]], weights=[0.75, 0.25])
    tokens = jnp.array([[599, 0, 3], [7, 7, 7]])
    prediction = mixture.advance_batch(mixture.start(), tokens)[1]
    assert prediction.scores is not None
    expected = laws.of_tokens(prediction.log_probs, tokens)
    np.testing.assert_allclose(prediction.of(tokens), expected, atol=1e-5)


@pytest.mark.slow
def test_embedding_rows_are_no_evidence():
    mixture = mix(network("LSTM"), [[0], [1]])
    with pytest.raises(TypeError, match=r"got embedding rows, which say nothing for one prompt"):
        mixture.advance(mixture.start(), Embedded(jnp.zeros((2, 8))))
    with pytest.raises(TypeError, match=r"got embedding rows"):
        SoftPrompt(length=2).tune(KEY, mixture, Categorical(), SHORT, callbacks=())
    with pytest.raises(ValueError, match=r"Expected weights \[time, symbol\] over 2 symbols; got"):
        mixture.advance(mixture.start(), jnp.zeros((2, 8)))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: mix(LAPLACE, []), ValueError, "Expected at least one prompt to mix; got none."),
        (lambda: mix(LAPLACE, [[0], [2]]), ValueError, "Expected tokens from 0 to 1; got 2 to 2."),
        (lambda: mix(LAPLACE, [[0], [1]], (0.5, 0.6)), ValueError, "Expected weights that are"),
        (
            lambda: mix(LAPLACE, [[0], [1]], (1.0,)),
            ValueError,
            "Expected at least one prompt and one weight for each; got 2 prompts and 1 weights.",
        ),
        (
            lambda: PromptedMixture(LAPLACE, (GivenPrompt(jnp.array([0])),), jnp.zeros(2)),
            ValueError,
            "Expected at least one prompt and one weight for each; got 1 prompts and 2 weights.",
        ),
        (
            lambda: PromptMixture(components=0),
            ValueError,
            "Expected at least 1 component; got 0.",
        ),
        (
            lambda: HardPromptMixture(components=0),
            ValueError,
            "Expected at least 1 component; got 0.",
        ),
        (
            lambda: PromptMixture(components=10**8),
            ValueError,
            "Expected a mixture of at most 256 prompts; got 100,000,000.",
        ),
        (
            lambda: PromptMixture(weights="free"),
            ValueError,
            "Expected one of 'equal', 'tuned' as PromptMixture.weights; got 'free'.",
        ),
        (
            lambda: PromptMixture(HardPrompt()),
            ValueError,
            "Expected an instance of PromptTuner as PromptMixture.prompt; got HardPrompt(). The",
        ),
        (
            lambda: HardPromptMixture(length=14).candidates(2),
            ValueError,
            "Expected at most 10,000 prompts to try; 2 symbols at length 14 make 16,384. Choose",
        ),
    ],
)
def test_texts_of_errors(make, error, text, as_users_see_it):
    with pytest.raises(error, match=f"^{re.escape(text)}"):
        make()


# --- tuning ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_micro_batches_change_nothing():
    def losses(micro):
        settings = px.FitSettings(steps=3, batch=8, length=5, repetitions=2, micro_batch=micro)
        tuner = PromptMixture(SoftPrompt(length=2), components=3, weights="tuned")
        return tuner.tune(KEY, network("LSTM"), Categorical(), settings, callbacks=())

    whole, parts = losses(8), losses(2)
    np.testing.assert_allclose(whole.loss, parts.loss, rtol=1e-5)
    np.testing.assert_allclose(whole.prompt, parts.prompt, atol=1e-4)
    assert whole.prompt.shape == (2, 3, 2, 8)


def test_prompts_that_start_alike_part():
    tuner = PromptMixture(SoftPrompt(length=2, initial="zeros"), components=3)
    steered = tuner.steer(KEY, network("LSTM"))
    first, *rest = np.asarray(steered.prompt)
    assert not first.any()
    assert 0 < np.abs(rest).max() < 0.1 and np.abs(rest[0] - rest[1]).max() > 0
    assert (steered.log_weights == 0).all()


@pytest.mark.slow
def test_weights_move_only_if_they_are_tuned():
    def tune(weights):
        tuner = PromptMixture(SoftPrompt(length=1), weights=weights)
        return tuner.tune(KEY, network("LSTM"), Categorical(), SHORT, callbacks=()).predictor

    assert (tune("equal")[0].log_weights == 0).all()
    moved = tune("tuned")
    assert moved.tuned.log_weights.shape == (2, 2) and (moved.tuned.log_weights != 0).all()


@pytest.mark.slow
def test_the_network_below_a_mixture_can_be_tuned(tmp_path):
    mixture = mix(network("LSTM"), [[0, 1], [1, 1]])
    tuned = LowRank(rank=1).tune(KEY, mixture, Categorical(), SHORT, callbacks=()).predictor[0]
    assert isinstance(tuned, PromptedMixture)
    np.testing.assert_array_equal(tuned.prompt, mixture.prompt)
    tokens = jnp.array([0, 1, 1, 0])
    assert jnp.abs(predict(tuned, tokens) - predict(mixture, tokens)).max() > 1e-4
    again = px.load(px.save(tmp_path / "mixture.safetensors", tuned))
    np.testing.assert_array_equal(predict(again, tokens), predict(tuned, tokens))


def test_too_many_prompts_for_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(px.platforms, "free_bytes", lambda: 10_000)
    settings = px.FitSettings(steps=3, batch=8, length=5)
    assert SoftPrompt(length=6).affordable(network("LSTM"), settings) is None
    with pytest.raises(MemoryError, match=r"Choose a shorter prompt or fewer repetitions"):
        PromptMixture(components=20).tune(KEY, network("LSTM"), Categorical(), settings)


@pytest.mark.slow
def test_the_command_line_makes_the_prompts_from_json(tmp_path):
    fit = ["--fit.steps", "2", "--fit.batch", "4", "--fit.length", "5"]
    base = str(tmp_path / "base")
    main(["pretrain", "--network", "lstm", "--network.width", "4", *fit, "--out", base])
    out, prompt = tmp_path / "out", '{"class": "SoftPrompt", "length": 3}'
    tuner = ["--tuner", "prompt-mixture", "--tuner.prompt", prompt, "--tuner.components", "3"]
    main(["tune", "--predictor", base, *tuner, *fit, "--out", str(out)])
    assert px.load(out / "predictor.safetensors").prompt.shape == (3, 3, 4)


# --- a network ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_mixture_of_soft_prompts_breaks_the_limit_on_a_network():
    """One prompt cannot keep two coins apart; two can, on the same small network."""
    falling = dict(batch=32, schedule="cosine")
    pretraining = px.FitSettings(steps=400, length=50, learning_rate=1e-2, warmup=20, **falling)
    base = px.pretrain(KEY, LSTM(width=16), DirichletCategorical(), pretraining, callbacks=())
    tuning = px.FitSettings(steps=250, length=50, learning_rate=6e-2, **falling)
    methods = {
        "soft": SoftPrompt(),
        "hard": HardPrompt(length=4, sequences=256),
        "soft mixture": PromptMixture(),
        "hard mixture": HardPromptMixture(length=4, sequences=256),
    }
    tuned = {
        name: tuner.tune(KEY, base.predictor, TWO_COINS, tuning, callbacks=()).predictor
        for name, tuner in methods.items()
    }
    regret = px.regret(px.evaluate(KEY, tuned, TWO_COINS, sequences=1024, length=50))
    at = regret.sel(repetition=0, time=50)
    found = {name: float(at.regret.sel(predictor=name)) for name in methods}
    error = float(at.standard_error.max())
    assert found["soft mixture"] < 0.95  # Bayes: 0.69
    assert found["soft mixture"] + 5 * error < found["soft"]
    assert found["soft mixture"] + 5 * error < found["hard mixture"]
    assert found["hard mixture"] + 5 * error < found["hard"]
