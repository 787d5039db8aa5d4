"""A network over many symbols that is asked about a few words: against brute force, and steered."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import FitSettings, evaluate, pretrain, protocol, specs, store
from promptax.analysis import effective_prior
from promptax.experiments.experiment import Experiment
from promptax.experiments.stages import run_stages
from promptax.formats import fetch
from promptax.language import LanguageModel, SpelledNetwork
from promptax.language.spelled import Spelled, spelled
from promptax.predictors import Llama
from promptax.protocol.predictor import Embedded
from promptax.steering import GradientSearch, KeyValuePrompt, LowRank, SoftPrompt
from promptax.steering.gradient import network_of
from promptax.tasks import Categorical, DirichletCategorical

TINY = Llama(width=8, depth=2, heads=2, key_heads=1, head_width=4, hidden=12, opens_with=1)
WORDS = {
    "one piece, opening": (((2,), (7,)), (4, 5, 2)),
    "two pieces": (((4, 6), (5, 6)), (3,)),
    "three outcomes": (((4, 6, 1), (5, 6, 4), (0, 1, 2)), ()),
}
every_spelling = pytest.mark.parametrize(("words", "opening"), WORDS.values(), ids=WORDS)
spellings_that_differ = pytest.mark.parametrize(  # a piece or several, an opening or none
    ("words", "opening"), [WORDS["one piece, opening"], WORDS["three outcomes"]]
)
COINS, COIN = DirichletCategorical(), Categorical()


@eqx.filter_jit
def network(alphabet=8):
    return TINY.build(jax.random.key(1), alphabet)


@functools.cache
def loud():
    """The network with weights so large that predictions differ."""
    return jax.tree.map(lambda leaf: 6 * leaf, network())


_advance = eqx.filter_jit(lambda predictor, state, inputs: predictor.advance(state, inputs))
_start = eqx.filter_jit(lambda predictor, capacity: predictor.start(capacity))
_batch = eqx.filter_jit(lambda predictor, state, inputs: predictor.advance_batch(state, inputs))
_apart = eqx.filter_jit(
    lambda predictor, state, inputs: jax.vmap(predictor.advance, in_axes=(None, 0))(state, inputs)
)


def flips(words, length, seed=0):
    return np.asarray(jax.random.randint(jax.random.key(seed), (length,), 0, len(words)))


def judge(words, opening, symbols):
    """Read everything as tokens of the network, then look at the first pieces alone."""
    text = [*opening, *(token for s in symbols for token in words[s])]
    rows = np.asarray(protocol.predict(loud(), [*text, 0]))[len(opening) :: len(words[0])]
    rows = rows[: len(symbols)][:, [word[0] for word in words]]
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@every_spelling
def test_it_predicts_as_the_network_does_restricted_to_the_words(words, opening):
    predictor, symbols = spelled(loud(), words, opening), flips(words, 6)
    expected = judge(words, opening, symbols)
    assert np.ptp(expected) > 0.1
    close(protocol.predict(predictor, symbols), expected)


@pytest.mark.slow
@spellings_that_differ
def test_pieces_steps_batches_and_one_hot_rows_read_alike(words, opening):
    predictor, symbols = spelled(loud(), words, opening), flips(words, 5)
    expected = protocol.predict(predictor, symbols)
    one_hot = jax.nn.one_hot(symbols, len(words))
    close(protocol.predict(predictor, one_hot), expected)
    state = _start(predictor, 5)
    for step, symbol in enumerate(symbols):
        state, prediction = _advance(predictor, state, jnp.array([symbol]))
        close(prediction.log_probs[0], expected[step])
    batch = jnp.stack([jnp.array(flips(words, 5, seed)) for seed in (0, 1)])
    state = _start(predictor, None)
    together, apart = (read(predictor, state, batch)[1] for read in (_batch, _apart))
    close(together.log_probs, apart.log_probs)
    close(together.log_probs[0], expected)
    assert together.internals["residual"].shape == (2, 5, 8)


@pytest.mark.slow
@every_spelling
def test_predictions_know_nothing_of_what_comes(words, opening):
    predictor, symbols = spelled(loud(), words, opening), flips(words, 6)
    other = symbols.copy()
    other[3:] = (other[3:] + 1) % len(words)
    before, after = (np.asarray(protocol.predict(predictor, each)) for each in (symbols, other))
    close(before[:4], after[:4])
    assert np.abs(before[4:] - after[4:]).max() > 1e-3


@pytest.mark.slow
@spellings_that_differ
def test_prompts_stand_between_the_opening_and_the_data(words, opening):
    predictor, symbols, prompt = spelled(loud(), words, opening), flips(words, 4), [1, 0]
    expected = judge(words, opening, [*prompt, *symbols])[2:]
    close(protocol.predict(protocol.condition(predictor, prompt), symbols), expected)
    rows = loud().embed(jnp.array([token for s in prompt for token in words[s]]))
    state, _ = _advance(predictor, _start(predictor, len(rows) + 4), Embedded(rows))
    close(_advance(predictor, state, jnp.array(symbols))[1].log_probs, expected)


def test_rows_of_another_width_are_named():
    predictor = spelled(loud(), ((2,), (3,)))
    with pytest.raises(ValueError, match=r"embedding rows \[time, 8\]; got shape \(1, 5\)"):
        predictor.advance(predictor.start(), jnp.zeros((1, 5)))


@pytest.mark.parametrize(
    ("words", "opening", "message"),
    [
        (((1, 2), (1, 3)), (), r"first tokens differ; got \[1, 2\], \[1, 3\]"),
        (((1, 2), (3,)), (), r"all of one number of tokens; got \[1, 2\], \[3\]"),
        (((1,),), (), r"at least 2 words"),
        (((1,), (9,)), (), r"tokens from 0 to 7; got 1 to 9"),
        (((1,), (2,)), (-1,), r"tokens from 0 to 7; got -1 to 2"),
    ],
)
def test_words_that_cannot_be_told_apart_are_named(words, opening, message):
    with pytest.raises(ValueError, match=message):
        spelled(loud(), words, opening)
    with pytest.raises(ValueError, match=message):
        SpelledNetwork(TINY, alphabet=8, words=words, opening=opening)


# --- as an architecture, and steered --------------------------------------------------------


SPELLED = SpelledNetwork(TINY, alphabet=8, words=((4, 6), (5, 6)), opening=(3,))
FIT = FitSettings(steps=3, batch=4, length=6)


@pytest.mark.slow
def test_it_is_built_pretrained_stored_and_asked_for_its_prior(tmp_path):
    fitted = pretrain(jax.random.key(0), SPELLED, COINS, FIT, callbacks=())
    predictor = fitted.predictor
    assert isinstance(predictor, Spelled) and np.isfinite(fitted.loss).all()
    store.save(tmp_path / "spelled.safetensors", predictor)
    again = store.load(tmp_path / "spelled.safetensors")
    symbols = flips(SPELLED.words, 6)
    np.testing.assert_array_equal(
        protocol.predict(again, symbols), protocol.predict(predictor, symbols)
    )
    found = effective_prior(predictor, COINS, 6, key=jax.random.key(1), sequences=8)
    assert found.fit_error >= 0
    with pytest.raises(ValueError, match="a word for each of 3 symbols; got 2"):
        SPELLED.build(jax.random.key(0), 3)
    assert specs.from_json(specs.to_json(SPELLED)) == SPELLED
    assert SPELLED.embedding_width() == SPELLED.output_width() == 8
    assert jax.tree.structure(SPELLED.torso(jax.random.key(0))) == jax.tree.structure(loud().torso)


@pytest.mark.slow
@pytest.mark.parametrize(
    "tuner",
    [
        SoftPrompt(length=2, initial="tokens"),
        KeyValuePrompt(length=2),
        GradientSearch(length=2, candidates=2, top=1),
        LowRank(rank=1),
    ],
    ids=lambda tuner: type(tuner).__name__,
)
def test_every_kind_of_tuner_steers_it_and_leaves_the_network_alone(tuner):
    predictor = spelled(loud(), SPELLED.words, SPELLED.opening)
    fitted = tuner.tune(jax.random.key(2), predictor, COIN, FIT, callbacks=())
    assert (fitted.diverged == -1).all()
    tokens = jnp.array(flips(SPELLED.words, 6))
    before, after = protocol.predict(predictor, tokens), protocol.predict(fitted.predictor, tokens)
    assert np.abs(before - after).max() > 1e-6
    if tuner.group == "prompts":
        laws.same(network_of(fitted.predictor, tuner), loud())


# --- a model that is trained already --------------------------------------------------------


class Ready(SpelledNetwork):
    """As if others had trained it."""

    @property
    def trained(self):
        return True


@pytest.mark.slow
def test_a_trained_model_stays_as_it_is_and_is_compared_with_the_prior():
    ready = Ready(TINY, alphabet=8, words=((2,), (3,)))
    experiment = Experiment(
        network=ready,
        prior=COINS,
        targets={"one coin": COIN},
        methods={},
        pretraining=FitSettings(steps=0),
        tuning=FIT,
        sequences=4,
        length=6,
        prior_sequences=4,
    )
    fitted, steered = run_stages(experiment, 0)
    key = jax.random.fold_in(jax.random.key(0), 0)
    laws.same(fitted.predictor, ready.build(key, 2))
    assert fitted.loss.shape == (1, 0)
    assert {"untuned", "bayes", "prior bayes"} <= set(steered.results.predictor.values.tolist())
    assert steered.results.attrs["pretraining"] == "text"
    assert np.isfinite(steered.results["pseudo_counts"].sel(predictor="untuned")).all()
    assert np.isnan(steered.results["fit_error"].sel(predictor="bayes")).all()
    assert steered.states is None


def test_a_model_that_is_not_here_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(fetch.PLACE, str(tmp_path / "nowhere.gguf"))
    with pytest.raises(FileNotFoundError, match="promptax lm fetch"):
        LanguageModel().build(jax.random.key(0), 2)
    with pytest.raises(ValueError, match="Expected at least 2 words, none empty"):
        LanguageModel(words=(" H",))
    with pytest.raises(ValueError, match="a word for each of 3 symbols"):
        LanguageModel().build(jax.random.key(0), 3)


@pytest.mark.slow
def test_smollm2_flips_coins():
    try:
        fetch.smollm2_path()
    except FileNotFoundError as error:
        pytest.skip(f"SmolLM2 is not here: {error}")
    with pytest.raises(ValueError, match=r"first tokens differ.*The tokenizer cuts"):
        LanguageModel(words=(" 0", " 1")).build(jax.random.key(0), 2)
    model = LanguageModel().build(jax.random.key(0), 2)
    again = LanguageModel(words=(" heads", " tails"), opening="Flips:").build(jax.random.key(1), 2)
    assert again.predictor is model.predictor, "the weights are read once"
    tails = Categorical((0.0, 1.0))
    losses = evaluate(jax.random.key(0), {"model": model}, tails, sequences=1, length=30)
    loss = losses["log_loss"].sel(predictor="model").squeeze()
    assert float(loss[0]) > 0.3, "either side may come first"
    assert float(loss[10:].max()) < 0.01, "after ten tails, tails"
