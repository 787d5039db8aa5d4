"""Laws that every tuner obeys on every architecture that it suits; and what each prompt must be."""

import functools
import itertools
import json
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from promptax import FitSettings, Repeated, condition, load, platforms, predict, save, specs
from promptax.exchangeable import Uniform
from promptax.fit import Fitted
from promptax.predictors import LSTM, Architecture, Transformer
from promptax.predictors.layers import Dense
from promptax.protocol import Prompted
from promptax.steering import (
    EmbeddingWeights,
    FullWeights,
    GradientTuner,
    HardPrompt,
    LowRank,
    PromptTuner,
    RandomPrompt,
    RealPrompt,
    SimplexPrompt,
    SoftPrompt,
    Tuner,
    WeightTuner,
)
from promptax.steering.low_rank import LowRankDense
from promptax.tasks import Categorical, DirichletCategorical
from promptax.tasks.base import sample_batch

KEY = jax.random.key(7)
TARGETS = {2: Categorical(), 3: Categorical((0.5, 0.3, 0.2))}
ARCHITECTURES = {name: cls.examples()[0] for name, cls in specs.members(Architecture).items()}
TUNERS = {case.id: case.values[0] for case in laws.examples(Tuner)}
SHORT = FitSettings(steps=3, batch=4, length=5, repetitions=3)


@functools.cache
def base(architecture, symbols):
    """An untrained network; that it stays as it was is checked below."""
    return ARCHITECTURES[architecture].build(jax.random.key(1), symbols)


@functools.cache
def tuned(tuner, architecture, symbols, **changes):
    """The tuner's result; several laws look at the same one."""
    settings = FitSettings(**{"steps": 3, "batch": 4, "length": 5, "repetitions": 3} | changes)
    return tuner.tune(KEY, base(architecture, symbols), TARGETS[symbols], settings, callbacks=())


def suits(tuner, predictor):
    try:
        tuner.suits(predictor)
    except TypeError:
        return False
    return True


CASES = [
    pytest.param(tuner, architecture, symbols, id=f"{name}-{architecture}-{symbols}")
    for (name, tuner), architecture, symbols in itertools.product(
        TUNERS.items(), ARCHITECTURES, TARGETS
    )
    if suits(tuner, base(architecture, symbols))
]
FIRST = [case for case in CASES if case.values[0] == type(case.values[0]).examples()[0]]
every_case = pytest.mark.parametrize(("tuner", "architecture", "symbols"), CASES)
every_tuner = pytest.mark.parametrize("tuner", TUNERS.values(), ids=TUNERS)
first_cases = pytest.mark.parametrize(
    ("tuner", "architecture", "symbols"), [case for case in FIRST if case.values[2] == 2]
)
first_tuners = pytest.mark.parametrize(
    "tuner", [cls.examples()[0] for cls in specs.members(Tuner).values()], ids=specs.members(Tuner)
)


def identical(one, other):
    """The same tree, bit for bit."""
    return bool(eqx.tree_equal(one, other))


def is_gradient(tuner):
    return isinstance(tuner, GradientTuner)


def rows_of(predictor, length=6):
    tokens = jax.random.randint(jax.random.key(3), (length,), 0, predictor.symbols)
    return np.asarray(predict(predictor, tokens))


# --- two halves -----------------------------------------------------------------------------


@every_case
def test_frozen_leaves_stay_and_tuned_leaves_move(tuner, architecture, symbols):
    before, after = (tuned(tuner, architecture, symbols, steps=steps) for steps in (0, 3))
    assert identical(before.predictor.frozen, after.predictor.frozen)
    leaves = jax.tree.leaves(after.predictor.tuned)
    assert leaves, "nothing is tuned"
    if not is_gradient(tuner):
        return
    assert before.loss.shape == (3, 0) and after.loss.shape == (3, 3)
    assert np.isfinite(after.loss).all() and (after.diverged == -1).all()
    for old, new in zip(jax.tree.leaves(before.predictor.tuned), leaves, strict=True):
        for repetition in range(3):
            assert not np.array_equal(old[repetition], new[repetition]), "a tuned leaf stayed"


@every_case
def test_the_base_predictor_is_left_as_it_was(tuner, architecture, symbols):
    tuned(tuner, architecture, symbols)
    fresh = ARCHITECTURES[architecture].build(jax.random.key(1), symbols)
    assert identical(fresh, base(architecture, symbols))


@every_case
def test_repetitions_copy_only_the_tuned_half(tuner, architecture, symbols):
    repeated = tuned(tuner, architecture, symbols).predictor
    assert isinstance(repeated, Repeated) and len(repeated) == 3
    assert all(leaf.shape[0] == 3 for leaf in jax.tree.leaves(repeated.tuned))
    single = tuned(tuner, architecture, symbols, steps=0, repetitions=1).predictor
    assert not isinstance(single, Repeated)
    count = lambda tree: sum(np.size(leaf) for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert count(repeated.frozen) + count(repeated.tuned) / 3 == count(single)
    one = [leaf.shape for leaf in jax.tree.leaves(repeated[0])]
    assert one == [leaf.shape for leaf in jax.tree.leaves(single)]


@first_cases
def test_a_repetition_is_the_same_whatever_their_number(tuner, architecture, symbols):
    alone = tuned(tuner, architecture, symbols, repetitions=1)
    among = tuned(tuner, architecture, symbols)
    for one, other in zip(
        jax.tree.leaves(alone.predictor), jax.tree.leaves(among.predictor[0]), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(alone.loss[0], among.loss[0], rtol=1e-5)


@every_case
def test_predictions_at_the_start(tuner, architecture, symbols):
    if not tuner.starts_unchanged and getattr(tuner, "length", None) != 0:
        return
    before = rows_of(base(architecture, symbols))
    for each in tuned(tuner, architecture, symbols, steps=0).predictor:
        np.testing.assert_allclose(rows_of(each), before, atol=1e-6)


@pytest.mark.parametrize("cls", [SoftPrompt, RealPrompt, SimplexPrompt, HardPrompt, RandomPrompt])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_of_length_0_is_no_prompt(cls, architecture):
    network = base(architecture, 2)
    steps = 2 if cls is SoftPrompt else 0
    fitted = tuned(cls(length=0), architecture, 2, repetitions=1, steps=steps)
    np.testing.assert_allclose(rows_of(fitted.predictor), rows_of(network), atol=1e-6)
    assert fitted.prompt.shape[0] == 0 and identical(fitted.predictor.predictor, network)
    assert cls is not SoftPrompt or np.isfinite(fitted.loss).all()


# --- what was found -------------------------------------------------------------------------


@every_case
def test_the_prompt_is_what_is_read(tuner, architecture, symbols):
    fitted = tuned(tuner, architecture, symbols)
    if not tuner.group or isinstance(tuner, WeightTuner):
        assert not isinstance(fitted.predictor[0], Prompted)
        return
    prompt, width = fitted.prompt, base(architecture, symbols).embedding_width
    assert prompt.shape[:2] == (3, tuner.length)
    if isinstance(tuner, HardPrompt | RandomPrompt):
        assert prompt.ndim == 2 and jnp.issubdtype(prompt.dtype, jnp.integer)
        assert ((prompt >= 0) & (prompt < symbols)).all()
    if isinstance(tuner, SoftPrompt):
        assert prompt.shape[2:] == (width,)
    if isinstance(tuner, RealPrompt | SimplexPrompt):
        assert prompt.shape[2:] == (symbols,)
    if isinstance(tuner, SimplexPrompt):
        assert (prompt >= 0).all()
        np.testing.assert_allclose(prompt.sum(-1), 1.0, atol=1e-6)
    if not isinstance(tuner, SoftPrompt):  # what is shown does what the predictor does
        again = condition(base(architecture, symbols), prompt[0])
        np.testing.assert_allclose(rows_of(again), rows_of(fitted.predictor[0]), atol=1e-5)


@every_tuner
def test_a_tuner_survives_json(tuner, tmp_path):
    assert specs.from_json(json.loads(json.dumps(specs.to_json(tuner)))) == tuner
    assert load(save(tmp_path / "tuner.json", tuner)) == tuner
    assert tuner.group in ("prompts", "weights", "baselines")


@every_case
def test_a_result_survives_the_disk(tuner, architecture, symbols, tmp_path):
    fitted = tuned(tuner, architecture, symbols)
    again = load(save(tmp_path / "fitted.safetensors", fitted))
    assert isinstance(again, Fitted)
    same = jax.tree.map(np.array_equal, jax.tree.leaves(fitted), jax.tree.leaves(again))
    assert all(same) and again.losses.equals(fitted.losses)
    np.testing.assert_array_equal(rows_of(again.predictor[1]), rows_of(fitted.predictor[1]))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_soft_prompt_can_start_from_tokens(architecture):
    network = base(architecture, 2)
    tuner = SoftPrompt(length=5, initial="tokens")
    predictor = tuned(tuner, architecture, 2, steps=0, repetitions=1).predictor
    rows = network.embed(jnp.arange(2))
    distance = jnp.abs(predictor.prompt[:, None] - rows).max(-1)
    assert (distance.min(-1) == 0).all()
    tokens = jnp.argmin(distance, axis=-1)
    np.testing.assert_allclose(rows_of(predictor), rows_of(condition(network, tokens)), atol=1e-6)


@pytest.mark.parametrize("cls", [SoftPrompt, RealPrompt, SimplexPrompt])
def test_initial_rows_are_as_named(cls):
    rows = {
        how: cls(length=50, initial=how).prompt(KEY, base("Transformer", 2)).values
        for how in ("one_hot", "uniform", "zeros")
    }
    assert set(np.unique(rows["one_hot"])) == {0.0, 1.0}
    assert (rows["one_hot"].sum(-1) == 1).all() and len(np.unique(rows["one_hot"], axis=0)) > 1
    assert ((rows["uniform"] >= 0) & (rows["uniform"] < 1)).all()
    assert len(np.unique(rows["uniform"])) > 50
    assert not rows["zeros"].any()


# --- what does not fit ----------------------------------------------------------------------


@first_tuners
@pytest.mark.parametrize("predictor", [Uniform(2), DirichletCategorical().bayes()], ids=type)
def test_exact_predictors_read_symbols_only(tuner, predictor):
    target, name = Categorical(), type(predictor).__name__
    if is_gradient(tuner):
        what = f"whose leaves {type(tuner).__name__} tunes; got {name}, which has none"
        with pytest.raises(TypeError, match=f"Expected a neural network, {what}"):
            tuner.tune(KEY, predictor, target, SHORT)
    else:
        fitted = tuner.tune(KEY, predictor, target, SHORT, callbacks=())
        assert len(fitted.predictor) == 3 and fitted.prompt.shape == (3, tuner.length)
        np.testing.assert_allclose(
            rows_of(fitted.predictor[2]), rows_of(condition(predictor, fitted.prompt[2])), atol=1e-6
        )


@first_tuners
def test_wrong_things_to_steer(tuner, as_users_see_it):
    network, coin = base("LSTM", 2), Categorical()
    text = "Expected a task over the predictor's 2 symbols; got Categorical over 3."
    with pytest.raises(ValueError, match=text):
        tuner.tune(KEY, network, TARGETS[3], SHORT)
    repeated = tuned(RandomPrompt(length=3), "LSTM", 2).predictor
    with pytest.raises(
        TypeError, match=r"Expected one predictor to steer; got 3 repetitions. Pick"
    ):
        tuner.tune(KEY, repeated, coin, SHORT)
    with pytest.raises(TypeError, match=r"Expected a predictor to steer; got LSTM. Pretrain one"):
        tuner.tune(KEY, LSTM(width=4), coin, SHORT)


@first_tuners
def test_a_prompted_predictor_can_be_steered(tuner):
    tokens = jnp.array([1, 1, 0])
    prompted = condition(base("LSTM", 2), tokens)
    fitted = tuner.tune(KEY, prompted, Categorical(), SHORT, callbacks=())
    each = fitted.predictor[1]
    if isinstance(tuner, WeightTuner):  # the prompt stays; the network below it changes
        np.testing.assert_array_equal(each.prompt, tokens)
        assert np.abs(rows_of(each) - rows_of(prompted)).max() > 1e-4
    else:  # first the old prompt, then the new one
        assert identical(each.predictor, prompted)
        np.testing.assert_array_equal(each.predictor.prompt, tokens)
    if isinstance(tuner, HardPrompt | RandomPrompt):
        both = condition(base("LSTM", 2), jnp.concatenate([tokens, each.prompt]))
        np.testing.assert_allclose(rows_of(each), rows_of(both), atol=1e-6)


@pytest.mark.parametrize("cls", [SoftPrompt, RealPrompt, SimplexPrompt])
@pytest.mark.parametrize("architecture", ["LSTM", "Transformer"])
def test_a_prompt_larger_than_memory_is_refused_before_any_compute(cls, architecture, monkeypatch):
    monkeypatch.setattr(cls, "prompt", lambda *_: pytest.fail("the prompt was made"))
    text = r"a prompt of length 100,000,000,000 needs at least [\d,.]+ GiB. Choose a shorter"
    with pytest.raises(MemoryError, match=text):
        cls(length=10**11).tune(KEY, base(architecture, 2), Categorical(), SHORT)


def test_copies_of_the_weights_larger_than_memory_are_refused(monkeypatch):
    monkeypatch.setattr(platforms, "free_bytes", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"3 repetitions need up to .* Use fewer repetitions, or"):
        FullWeights().tune(KEY, base("LSTM", 2), Categorical(), SHORT)


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
    with pytest.raises(ValueError, match=r"Expected initial to be one of .*'zeros'.*; got 'ones'"):
        cls(initial="ones")


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


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_of_hard_prompts_are_mean_losses_of_distinct_sequences(architecture):
    tuner, network = HardPrompt(length=2, sequences=16), base(architecture, 3)
    fitted = tuned(tuner, architecture, 3)
    assert fitted.scores.shape == (3, 9)
    for repetition in range(3):
        keys = jax.random.split(jax.random.fold_in(KEY, repetition), 16)
        tokens = sample_batch(TARGETS[3], keys, 5).tokens
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
        return len(seen) == 2

    settings = FitSettings(length=5)
    tuner = HardPrompt(length=5, sequences=4)
    fitted = tuner.tune(KEY, Uniform(2), Categorical(), settings, callbacks=[callback])
    assert seen == [(8, 32), (16, 32)]
    assert np.isnan(fitted.scores).sum() == 16 and fitted.prompt.shape == (5,)


def test_random_prompts_are_uniform_and_independent():
    tuner = RandomPrompt(length=1000)
    settings = FitSettings(repetitions=3)
    prompt = tuner.tune(KEY, Uniform(3), TARGETS[3], settings).prompt
    assert prompt.shape == (3, 1000) and len(np.unique(prompt, axis=0)) == 3
    share = np.stack([(np.asarray(prompt) == symbol).mean() for symbol in range(3)])
    np.testing.assert_allclose(share, 1 / 3, atol=4 * np.sqrt(2 / 9 / 3000))


# --- low rank -------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["LSTM", "Transformer"])
def test_low_rank_changes_can_be_merged(architecture):
    predictor = tuned(LowRank(rank=2), architecture, 2).predictor[0]
    is_low_rank = lambda node: isinstance(node, LowRankDense)  # noqa: E731
    layers = [n for n in jax.tree.leaves(predictor, is_leaf=is_low_rank) if is_low_rank(n)]
    assert len(layers) == {"LSTM": 2, "Transformer": 4}[architecture]
    for layer in layers:
        rows = jax.random.normal(KEY, (3, layer.weight.shape[0]))
        merged = Dense(layer.matrix(), layer.bias)
        np.testing.assert_allclose(layer(rows), merged(rows), rtol=1e-4, atol=1e-5)
        assert np.linalg.matrix_rank(layer.matrix() - layer.weight, tol=1e-4) <= 2
    whole = jax.tree.map(
        lambda n: Dense(n.matrix(), n.bias) if is_low_rank(n) else n, predictor, is_leaf=is_low_rank
    )
    np.testing.assert_allclose(rows_of(predictor), rows_of(whole), atol=1e-5)
    assert np.abs(rows_of(predictor) - rows_of(base(architecture, 2))).max() > 1e-4


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


def test_every_prompt_tuner_and_weight_tuner_is_in_the_laws():
    assert {type(case.values[0]) for case in CASES} == set(specs.members(Tuner).values())
    assert {type(t) for t in TUNERS.values()} >= {SoftPrompt, LowRank, HardPrompt, RandomPrompt}
    assert issubclass(SoftPrompt, PromptTuner) and issubclass(LowRank, WeightTuner)
    assert Transformer.__name__ in ARCHITECTURES
