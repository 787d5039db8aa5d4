"""Sampling: filters against brute force, frequencies in standard errors, programs compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assorted
from support import judges as laws
from support.assorted import every_predictor

import promptax as px
from promptax import specs
from promptax.predictors import LSTM
from promptax.streaming import batches, sampling, stepping
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(0)
LENGTH = 120  # so that most tests share the capacity of 128
COINS = DirichletCategorical().bayes()


@pytest.fixture
def predictor(request):
    return assorted.named(request.param)


def rows():
    """Log probabilities [symbol]: smooth, peaked, with equals, with impossible symbols."""
    random = np.random.default_rng(0)
    normal = random.normal(size=(4, 37))
    yield "smooth", normal[0]
    yield "peaked", 6 * normal[1]
    yield "equals", np.round(normal[2])
    yield "uniform", np.zeros(37)
    yield "impossible", np.where(normal[3] > 0, normal[3], -np.inf)
    yield "certain", np.where(np.arange(37) == 5, 0.0, -np.inf)
    yield "one of many", random.normal(size=5000)


def log_softmax(row):
    return specs.on_device((row - np.logaddexp.reduce(row)).astype(np.float32))


ROWS = {name: log_softmax(row) for name, row in rows()}
every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
filtered = jax.jit(sampling.filtered)


def by_hand(row, goodness, weights, needed):
    """The fewest symbols, best first, of equals the first, whose weights reach `needed`."""
    order = np.argsort(-goodness, kind="stable")
    reached = np.cumsum(weights[order])
    count = min(int(np.searchsorted(reached, needed * (1 - 1e-6))) + 1, len(row))
    kept = np.zeros(len(row), bool)
    kept[order[:count]] = True
    return kept & (row > -np.inf)


def kept(log_probs):
    return np.asarray(log_probs) > -np.inf


def same_but_for(log_probs, row, which):
    """What is left of a row: the kept ones in the same proportions."""
    row = np.asarray(row, np.float64)
    left = np.where(which, row, -np.inf)
    expected = left - np.log(np.exp(left).sum())
    np.testing.assert_allclose(log_probs, expected, rtol=2e-5, atol=2e-5)


# --- filters --------------------------------------------------------------------------------


@pytest.mark.slow
@every_row
def test_whatever_is_filtered_is_a_distribution(row):
    for settings in (
        {},
        {"temperature": 0.3},
        {"temperature": 0.0},
        {"top_k": 4},
        {"top_p": 0.7},
        {"typical_p": 0.5},
        {"temperature": 2.0, "top_k": 9, "top_p": 0.6, "typical_p": 0.4},
    ):
        laws.normalised(filtered(row, **settings))


@every_row
@pytest.mark.parametrize("k", [1, 3, 36, 1000])
def test_top_k_keeps_exactly_k_of_the_best(row, k):
    found = filtered(row, top_k=k)
    expected = by_hand(row, np.asarray(row), np.ones(len(row)), k)
    np.testing.assert_array_equal(kept(found), expected)
    assert kept(found).sum() == min(k, kept(row).sum())
    same_but_for(found, row, expected)


@every_row
@pytest.mark.parametrize("p", [1e-6, 0.313, 0.9, 1.0])
def test_top_p_keeps_the_fewest_symbols_whose_mass_reaches_p(row, p):
    found, chances = filtered(row, top_p=p), np.exp(np.asarray(row, np.float64))
    same_but_for(found, row, kept(found))
    mass, least = chances[kept(found)].sum(), chances[kept(found)].min()
    assert mass >= p - 1e-5 and (p == 1 or mass - least < p + 1e-5)
    assert chances[~kept(found)].max(initial=0) <= least
    if p < 1:
        np.testing.assert_array_equal(kept(found), by_hand(row, chances, chances, p))


@every_row
@pytest.mark.parametrize("p", [1e-6, 0.313, 0.9, 1.0])
def test_typical_p_keeps_the_symbols_whose_surprise_is_close_to_the_entropy(row, p):
    found, exact = filtered(row, typical_p=p), np.asarray(row, np.float64)
    same_but_for(found, row, kept(found))
    chances = np.exp(exact)
    entropy = -np.sum(chances[chances > 0] * exact[chances > 0])
    distance = np.float32(np.abs(-exact - entropy))
    mass = chances[kept(found)].sum()
    assert mass >= p - 1e-5
    furthest = distance[kept(found)].max()
    assert distance[~kept(found)].min(initial=np.inf) >= furthest - 1e-5
    last = chances[kept(found) & (distance >= furthest - 1e-5)].max()
    assert p == 1 or mass - last < p + 1e-5


@every_row
def test_a_temperature_of_zero_is_greedy(row):
    found = filtered(row, temperature=0.0)
    assert int(np.argmax(row)) == int(np.argmax(found)) and kept(found).sum() == 1
    close = np.exp(filtered(row - 1e-3 * jnp.arange(len(row)), temperature=1e-6))
    assert close.max() == 1


@every_row
def test_filters_that_are_off_change_nothing(row):
    for settings in ({}, {"top_p": 1.0}, {"typical_p": 1.0}, {"top_k": len(row)}):
        np.testing.assert_allclose(filtered(row, **settings), row, atol=2e-6)
    half = filtered(row, temperature=2.0)
    np.testing.assert_allclose(half, jax.nn.log_softmax(row / 2), atol=2e-6)


def test_filters_apply_one_after_the_other():
    row = ROWS["smooth"]
    step = row
    for settings in ({"temperature": 0.7}, {"top_k": 20}, {"top_p": 0.8}, {"typical_p": 0.6}):
        step = filtered(step, **settings)
    both = filtered(row, temperature=0.7, top_k=20, top_p=0.8, typical_p=0.6)
    np.testing.assert_array_equal(kept(both), kept(step))
    np.testing.assert_allclose(both, step, atol=1e-5)


# --- what comes -----------------------------------------------------------------------------


@pytest.mark.slow
@every_predictor
def test_samples_follow_the_predictor(predictor):
    """Counts against the sums of their probabilities: differences are a martingale's."""
    tokens = px.generate(KEY, predictor, LENGTH)
    chances = np.exp(np.asarray(px.predict(predictor, tokens), np.float64))
    assert (np.take_along_axis(chances, np.asarray(tokens)[:, None], 1) > 0).all()
    counts = np.bincount(tokens, minlength=predictor.symbols)
    some = slice(0, min(3, predictor.symbols))
    for symbol in range(predictor.symbols)[some]:
        error = np.sqrt(np.sum(chances[:, symbol] * (1 - chances[:, symbol])))
        sigma = (counts[symbol] - chances[:, symbol].sum()) / max(error, 1e-9)
        assert abs(sigma) < 4, f"symbol {symbol}: {sigma:.2f} standard errors from expected"


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.5}, {"top_k": 2}, {"top_p": 0.6}, {"typical_p": 0.4}]
)
def test_samples_follow_the_filters(settings):
    chances = (0.1, 0.2, 0.3, 0.4)
    tokens = px.generate(KEY, Categorical(chances).bayes(), 4000, **settings)
    expected = np.exp(filtered(jnp.log(jnp.array(chances)), **settings))
    error = np.sqrt(expected * (1 - expected) / 4000)
    sigmas = (np.bincount(tokens, minlength=4) / 4000 - expected) / np.maximum(error, 1e-9)
    assert np.abs(sigmas).max() < 4, sigmas


@pytest.mark.slow
@every_predictor
def test_a_stream_is_the_same_text_and_a_shorter_one_its_beginning(predictor):
    whole = px.generate(KEY, predictor, LENGTH, temperature=0.8)
    np.testing.assert_array_equal(px.generate(KEY, predictor, 65, temperature=0.8), whole[:65])
    stream = sampling.stream(KEY, predictor, LENGTH, temperature=0.8)
    assert [next(stream) for _ in range(5)] == whole[:5].tolist()
    other = px.generate(jax.random.key(1), predictor, LENGTH, temperature=0.8)
    assert other.tolist() != whole.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coins", "Transformer", "prompted LSTM"])
def test_a_prompt_is_what_was_read_before(name):
    predictor = assorted.named(name)
    prompt = assorted.tokens_for(predictor, 10)
    behind = px.generate(KEY, predictor, 70, prompt)
    conditioned = px.generate(KEY, px.condition(predictor, prompt), 70)
    np.testing.assert_array_equal(behind, conditioned)


@pytest.mark.slow
@pytest.mark.parametrize("length", [0, 1, 9, 75])
def test_prompts_of_any_length_are_read_in_a_few_pieces(length):
    predictor = assorted.named("Transformer")
    tokens = np.asarray(assorted.tokens_for(predictor, length))
    ready = stepping.ready(predictor)
    state = stepping.start(ready, stepping.room_for(length + 1))
    state, log_probs = stepping.score(ready, state, tokens)
    expected = px.predict(predictor, [*tokens, 0])
    np.testing.assert_allclose(log_probs, laws.of_tokens(expected[:-1], tokens), atol=1e-5)
    np.testing.assert_allclose(stepping.upcoming(ready, state), expected[-1], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "length"),
    [("Transformer", 2), ("Transformer", 127), ("Llama, 600 symbols", 9), ("prompted LSTM", 127)],
)
def test_a_padded_piece_is_read_as_single_tokens_are(name, length):
    predictor = assorted.named(name)
    tokens = np.asarray(assorted.tokens_for(predictor, length + 3))
    ready = stepping.ready(predictor)
    half, room = length // 2, stepping.room_for(length + 3)
    state = stepping.after(ready, room, tokens[:half])
    state = stepping.read(ready, state, tokens[half:-3])
    steps = 0, length, length - length // 4, length - length // 8, half  # four at once, three of
    several = batches.states_after(ready, room, [tokens[:step] for step in steps])  # them long
    rows = px.predict(predictor, tokens)
    for place, step in enumerate(steps):
        one = jax.tree.map(lambda leaf, place=place: leaf[place], several)
        np.testing.assert_allclose(stepping.upcoming(ready, one), rows[step], atol=1e-5)
    for step in range(length, length + 3):
        np.testing.assert_allclose(stepping.upcoming(ready, state), rows[step], atol=1e-5)
        state = stepping.step(ready, state, jnp.asarray(tokens[step]))


def test_a_text_ends_with_the_first_stop():
    whole = px.generate(KEY, COINS, 200).tolist()
    for stop in ((1,), (0,), (0, 1)):
        first = min(whole.index(token) for token in stop)
        assert px.generate(KEY, COINS, 200, stop=stop).tolist() == whole[: first + 1]
        assert list(sampling.stream(KEY, COINS, 200, stop=stop)) == whole[: first + 1]
        prompts = [[1, 1], [], [0]]
        texts = px.generate_batch(KEY, COINS, 70, iter(prompts), stop=iter(stop))
        keys = [jax.random.fold_in(KEY, number) for number in range(3)]
        for key, prompt, text in zip(keys, prompts, texts, strict=True):
            assert text.tolist() == px.generate(key, COINS, 70, prompt, stop=stop).tolist()
    assert px.generate(KEY, Categorical((1.0, 0.0)).bayes(), 90, stop=(1,)).tolist() == [0] * 90


def test_greedy_is_the_most_probable_symbol_each_time():
    tokens = px.generate(KEY, COINS, 20, prompt=[0, 1, 1], temperature=0.0)
    assert tokens.tolist() == [1] * 20
    assert (
        px.generate(jax.random.key(9), COINS, 20, [0, 1, 1], temperature=0.0).tolist() == [1] * 20
    )


def test_nothing_is_legal():
    assert px.generate(KEY, COINS, 0).shape == (0,) and not list(sampling.stream(KEY, COINS, 0))


# --- compiled once --------------------------------------------------------------------------


def test_other_numbers_and_lengths_compile_nothing():
    first, other = (jax.nn.log_softmax(jnp.arange(n, n + 3) ** 0.5) for n in (0.0, 2.0))
    traces = []
    settings = {"temperature": 0.9, "top_k": 2, "top_p": 0.9, "typical_p": 0.9}
    px.generate(KEY, assorted.Counted(first, traces), 10, [0] * 73, **settings)
    before = len(traces)
    settings = {"temperature": 0.0, "top_k": 3, "top_p": 0.5, "typical_p": 0.3}
    for length, prompt in ((1, [0] * 120), (40, [1] * 66), (25, [2] * 100)):
        predictor = assorted.Counted(other, traces)
        px.generate(jax.random.key(3), predictor, length, prompt, stop=(2, 1), **settings)
        list(sampling.stream(jax.random.key(3), predictor, length, prompt, **settings))
    assert len(traces) == before
    for count in (5, 6):  # texts of a batch
        px.generate_batch(KEY, assorted.Counted(first, traces), 2, [[0]] * count)
        before = before if count == 6 else len(traces)
    assert len(traces) == before


# --- wrong ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": -1.0}, "temperature of at least 0 .* got -1.0"),
        ({"temperature": float("nan")}, "temperature of at least 0"),
        ({"temperature": True}, "one number as temperature; got True"),
        ({"top_k": 2.5}, "top_k, a whole number; got 2.5"),
        ({"top_k": 0}, "top_k of at least 1, or None; got 0"),
        ({"top_p": 0.0}, "top_p above 0 and at most 1, or None; got 0.0"),
        ({"typical_p": 1.5}, "typical_p above 0 and at most 1, or None; got 1.5"),
        ({"stop": (2,)}, "tokens from 0 to 1; got 2"),
        ({"prompt": [5]}, "tokens from 0 to 1; got 5"),
        ({"prompt": [[0.5, 0.5]]}, "got weights or embedding rows.*promptax.condition"),
        ({"length": -1}, "length of at least 0 tokens; got -1"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_sampled(settings, words):
    for function in (px.generate, sampling.stream):
        with pytest.raises(ValueError, match=words):
            function(KEY, COINS, **{"length": 3, **settings})


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("prompts", "settings", "words"),
    [
        ([1, 1], {}, "a list with the tokens of each; for a single one use promptax.generate"),
        (jnp.array([1, 1]), {}, "a list with the tokens of each"),
        ("ab", {}, "a list with the tokens of each"),
        (3, {}, "Expected an Iterable as prompts of generate_batch; got 3"),
        ([[0], [7]], {}, "tokens from 0 to 1; got 7"),
        ([[0]], {"temprature": 0.5}, "among temperature, .*; got temprature. Did you mean temp"),
        ([[0]], {"stop": 1}, "a list of tokens as stop, .*; got 1"),
        ([[0]], {"stop": "ab"}, "a list of tokens as stop, .*; got 'ab'"),
    ],
)
def test_a_batch_says_what_it_takes(prompts, settings, words):
    with pytest.raises((TypeError, ValueError), match=words):
        px.generate_batch(KEY, COINS, 3, prompts, **settings)
    if settings:
        with pytest.raises(TypeError, match=words):
            sampling.stream(KEY, COINS, 3, **settings)
    assert [len(text) for text in px.generate_batch(KEY, COINS, 0, (None, []))] == [0, 0]


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("value", ["/dev/null", [1, 2], {"a": 1}, 2**70, 1j])
@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "typical_p"])
def test_a_stream_names_what_is_no_number(name, value):
    settings = {name: value}
    with pytest.raises((TypeError, ValueError), match=f"Expected (one number|numbers) as {name}"):
        next(sampling.stream(KEY, COINS, 2, **settings))


def test_an_architecture_is_not_a_predictor():
    with pytest.raises(
        TypeError, match="Expected an instance of Predictor as predictor of generate; got a LSTM"
    ):
        px.generate(KEY, LSTM(), 3)


def test_a_network_that_diverged_says_so():
    diverged = jax.tree.map(lambda leaf: leaf * jnp.nan, assorted.named("LSTM"))
    infinite = jax.tree.map(lambda leaf: jnp.where(leaf < 0, -jnp.inf, jnp.inf), diverged)
    for settings in ({}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=r"got NaN in \.embedding\.weight"):
            px.generate(KEY, diverged, 3, **settings)
        with pytest.raises(FloatingPointError, match="of token 0 after the prompt; got numbers"):
            px.generate(KEY, infinite, 3, **settings)
