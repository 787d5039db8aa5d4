"""Compression: what goes in comes out, as short as the log loss says; wrong data are named."""

import functools
import math
import random
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assorted
from support.assorted import every_predictor

import promptax as px
from promptax.predictors import LSTM
from promptax.streaming import arithmetic_coding, compression
from promptax.streaming.arithmetic_coding import TOTAL
from promptax.tasks import Categorical, DirichletCategorical

COINS = DirichletCategorical().bayes()


@pytest.fixture
def predictor(request):
    return assorted.named(request.param)


BYTES = 21  # of `coded()`


@functools.cache
def coded():
    found = px.compress(COINS, [1, 1, 0, 1] * 10)
    assert len(found) == BYTES
    return found


def header_bits(data):
    return 8 * len(compression._packed(compression._unpacked(data)[0], b""))


def assert_round_trip(predictor, tokens, **settings):
    """The same tokens come back, from about as many bits as the log loss; those bits."""
    data = px.compress(predictor, tokens, **settings)
    np.testing.assert_array_equal(px.decompress(predictor, data), tokens)
    bits, expected = (
        8 * len(data) - header_bits(data),
        px.code_length(predictor, tokens, **settings),
    )
    assert abs(bits - expected) <= 0.001 * expected + 64
    return bits


# --- there and back -------------------------------------------------------------------------


@pytest.mark.slow
@every_predictor
@pytest.mark.parametrize("length", [0, 1, 2, 60])
def test_what_goes_in_comes_out(predictor, length):
    assert_round_trip(predictor, assorted.tokens_for(predictor, length))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LSTM", "coins", "Transformer"])
def test_long_texts_are_as_short_as_their_log_loss(name):
    predictor = assorted.named(name)
    tokens = px.generate(jax.random.key(2), predictor, 500, temperature=0.7)
    assert_round_trip(predictor, tokens)


@pytest.mark.slow
@every_predictor
def test_the_state_starts_afresh_after_each_context(predictor):
    tokens = assorted.tokens_for(predictor, 23)
    for context in (10, 23, 100):
        assert_round_trip(predictor, tokens, context=context)
    parts = sum(px.code_length(predictor, tokens[at : at + 10]) for at in (0, 10, 20))
    assert px.code_length(predictor, tokens, context=10) == pytest.approx(parts, rel=1e-5)


@pytest.mark.slow
@every_predictor
def test_the_code_length_is_the_log_loss_in_bits(predictor):
    tokens = assorted.tokens_for(predictor, 60)
    rows = np.take_along_axis(
        np.asarray(px.predict(predictor, tokens), np.float64), np.asarray(tokens)[:, None], 1
    )
    assert px.code_length(predictor, tokens) == pytest.approx(-rows.sum() / math.log(2), rel=1e-4)
    assert px.code_length(predictor, []) == 0


def test_laplace_s_rule_by_hand():
    """k ones among n tosses have probability 1 / ((n + 1) (n choose k))."""
    expected = math.log2(13 * math.comb(12, 4))
    assert px.code_length(COINS, [1, 1, 1, 1] + [0] * 8) == pytest.approx(expected, rel=1e-5)


def test_what_is_certain_takes_no_bits():
    certain = Categorical((1.0, 0.0)).bayes()
    assert assert_round_trip(certain, [0] * 1000) == 0
    assert px.code_length(certain, [0] * 1000) == 0


def test_lists_and_arrays_are_the_same():
    for tokens in (np.array([1, 0, 1], np.int64), jnp.array([1, 0, 1]), (1, 0, 1)):
        assert px.compress(COINS, tokens) == px.compress(COINS, [1, 0, 1])
    assert px.decompress(COINS, bytearray(coded())).tolist() == [1, 1, 0, 1] * 10


# --- many symbols, tiny probabilities -------------------------------------------------------


def known(log_probs):
    return assorted.Counted(jax.nn.log_softmax(log_probs), [])


def test_the_alphabet_of_a_language_model_costs_no_more():
    predictor = known(4 * jax.random.normal(jax.random.key(0), (49_152,)))
    tokens = jax.random.categorical(jax.random.key(1), predictor.row, shape=(40,))
    assert_round_trip(predictor, tokens)
    row = np.asarray(predictor.row, np.float64)
    widths, usable = compression.widths(predictor.row)
    chances = np.exp(row)
    over = -np.sum(chances * (np.log2(np.asarray(widths, np.float64) / TOTAL) - row / math.log(2)))
    assert bool(usable) and over <= 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("symbols", [2, 3, 600, 49_152, 1 << 20])
def test_widths_sum_to_the_total_whatever_the_rounding(symbols):
    normal = jax.random.normal(jax.random.key(symbols), (symbols,))
    for row in (0 * normal, normal, 100 * normal, jnp.where(normal > 0, normal, -jnp.inf)):
        log_probs = jax.nn.log_softmax(row.at[0].set(1.0))
        for off in (0.0, 1e-4, -1e-4):  # rows whose sum is rounded
            widths, usable = map(np.asarray, jax.jit(compression.widths)(log_probs + off))
            assert usable and widths.astype(np.int64).sum() == TOTAL
            np.testing.assert_array_equal(widths > 0, np.asarray(log_probs) > -np.inf)


def test_however_improbable_a_possible_symbol_can_be_coded():
    predictor = known(jnp.array([0.0, -60.0, -300.0]))
    data = px.compress(predictor, [2, 0, 1, 2])
    assert px.decompress(predictor, data).tolist() == [2, 0, 1, 2]
    assert 8 * len(data) - header_bits(data) <= 3 * 30 + 16


# --- the coder by itself --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_intervals_come_back_and_take_their_bits(seed):
    some = random.Random(seed)
    intervals = []
    for _ in range(some.choice([0, 1, 2, 50, 500])):
        width = min(TOTAL, max(1, int(TOTAL * 2 ** -some.uniform(0, some.choice([1, 8, 40])))))
        low = some.choice([0, TOTAL - width, some.randint(0, TOTAL - width)])
        intervals.append((low, width))
    encoder = arithmetic_coding.Encoder()
    for low, width in intervals:
        encoder.write(low, width)
    data = encoder.finish()
    decoder = arithmetic_coding.Decoder(data)
    for low, width in intervals:
        assert low <= decoder.point() < low + width
        decoder.read(low, width)
    bits = sum(math.log2(TOTAL / width) for _, width in intervals)
    assert 8 * len(data) <= bits + 16


def test_a_carry_runs_through_what_already_left():
    encoder = arithmetic_coding.Encoder()
    for _ in range(40):  # just below the top of the interval, again and again
        encoder.write(TOTAL // 2 - 1, 2)
    for _ in range(9):
        encoder.write(TOTAL - 1, 1)
    decoder = arithmetic_coding.Decoder(encoder.finish())
    for low, width in [(TOTAL // 2 - 1, 2)] * 40 + [(TOTAL - 1, 1)] * 9:
        assert low <= decoder.point() < low + width
        decoder.read(low, width)


# --- compiled once --------------------------------------------------------------------------


def test_other_numbers_and_lengths_compile_nothing():
    traces = []
    rows = [jax.nn.log_softmax(jnp.arange(n, n + 5) ** 0.5) for n in (0.0, 2.0)]
    first, other = (assorted.Counted(row, traces) for row in rows)
    px.decompress(first, px.compress(first, [1, 0, 2] * 20))
    before = len(traces)
    for tokens in ([4], [1, 2, 3] * 15, [0] * 64):
        px.decompress(other, px.compress(other, tokens))
        px.decompress(other, px.compress(other, tokens, context=7))
    assert len(traces) == before


# --- wrong ----------------------------------------------------------------------------------


def test_an_impossible_token_is_named():
    die = Categorical((0.0, 0.4, 0.6)).bayes()
    with pytest.raises(ValueError, match=r"token 300 \(counted from 0\), the symbol 0, has prob"):
        px.compress(die, [1, 2, 2] * 100 + [0, 1])
    assert px.code_length(die, [1, 0, 1]) == math.inf


@pytest.mark.parametrize("other", [DirichletCategorical((1.0, 1.1)), Categorical((0.3, 0.7))])
def test_another_predictor_is_found_out(other):
    with pytest.raises(ValueError, match="Expected the predictor that compressed these data"):
        px.decompress(other.bayes(), coded())


def test_every_other_network_or_prompt_is_found_out():
    network = assorted.named("LSTM")
    data = px.compress(network, assorted.tokens_for(network, 50))
    moved = jax.tree.map(lambda leaf: leaf * 1.01, network)
    for other in (moved, px.condition(network, [1, 1])):
        with pytest.raises(ValueError, match=r"the last bit counts|counted from 0"):
            px.decompress(other, data)
    with pytest.raises(ValueError, match="over 3 symbols; got one over 2"):
        px.decompress(COINS, data)


@pytest.mark.parametrize("length", range(BYTES))
def test_data_that_were_cut_off_are_named(length):
    with pytest.raises(ValueError, match=r"Expected (bytes|data) .*; got"):
        px.decompress(COINS, coded()[:length])


@pytest.mark.parametrize("at", range(BYTES))
def test_data_that_were_damaged_are_named(at):
    damaged = bytearray(coded())
    damaged[at] ^= 4
    with pytest.raises(ValueError, match=r"Expected (bytes|data) .*; got"):
        px.decompress(COINS, damaged)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"\xff" * 9, "Expected four numbers before the code"),
        (b"\x80" * 20 + b"\1", "Expected four numbers before the code"),
        (b"\1\2\0", "Expected four numbers before the code"),
        (b"\x80\x80\x80\x80\x08\2\0\0", "at most 2,147,483,647 tokens; .* hold 2,147,483,648"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f\2\0\0", "tokens; the data say"),
    ],
)
def test_headers_that_nobody_wrote_are_named(code, words):
    """Their checksum is right: no accident makes them."""
    data = b"ptax\1" + zlib.crc32(code).to_bytes(4, "big") + code
    with pytest.raises(ValueError, match=words):
        px.decompress(COINS, data)


@pytest.mark.usefixtures("as_users_see_it")
def test_foreign_data_are_named():
    with pytest.raises(ValueError, match=r"which begin with b'ptax'; got b'\\x89PNG'"):
        px.decompress(COINS, b"\x89PNG\r\n\x1a\n")
    later = coded()[:4] + bytes([9]) + coded()[5:]
    with pytest.raises(ValueError, match="data of version 1; got 9"):
        px.decompress(COINS, later)
    with pytest.raises(TypeError, match=r"Expected bytes .*; got str"):
        px.decompress(COINS, "ptax")


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("function", [px.compress, px.code_length])
@pytest.mark.parametrize(
    ("tokens", "settings", "words"),
    [
        ([0, 2], {}, "tokens from 0 to 1; got 0 to 2"),
        ([[0.5, 0.5]], {}, "got weights or embedding rows"),
        ([0.5], {}, r"Expected tokens of shape \[time\]"),
        ([0], {"context": 0}, "context of at least 1; got 0"),
    ],
)
def test_wrong_tokens_are_named(function, tokens, settings, words):
    with pytest.raises(ValueError, match=words):
        function(COINS, tokens, **settings)


class RightAtFirst(px.Predictor):
    """Predicts what sums to 1 for 20 steps: whoever looks at a few notices nothing."""

    symbols: int = 3

    def start(self, capacity=None):
        return jnp.array(0)

    def advance(self, state, inputs):
        step = state + jnp.arange(len(inputs))
        rows = jnp.where(step[:, None] < 20, -jnp.log(3.0), jnp.zeros(3))
        return state + len(inputs), px.Prediction(rows)


@pytest.mark.usefixtures("as_users_see_it")
def test_what_is_no_predictor_or_predicts_nothing_is_named():
    with pytest.raises(TypeError, match="Expected a promptax Predictor; got LSTM"):
        px.compress(LSTM(), [0])
    diverged = jax.tree.map(lambda leaf: leaf * jnp.nan, assorted.named("LSTM"))
    with pytest.raises(ValueError, match=r"got NaN in \.embedding\.weight"):
        px.compress(diverged, [0, 1])
    infinite = jax.tree.map(lambda leaf: jnp.where(leaf < 0, -jnp.inf, jnp.inf), diverged)
    with pytest.raises(FloatingPointError, match="sum to 1 for token 0"):
        px.compress(infinite, [0, 1])
    with pytest.raises(ValueError, match="Expected log probabilities of Counted"):
        px.compress(assorted.Counted(jnp.zeros(3), []), [0, 1])
    with pytest.raises(FloatingPointError, match="sum to 1 for token 20"):
        px.compress(RightAtFirst(), [0] * 30)


def test_the_format_stays_what_it_is():
    """Data that were written stay readable: this exact predictor's bits are few and known."""
    coin = Categorical((0.25, 0.75)).bayes()
    data = px.compress(coin, [1, 0, 1, 1])
    assert data[:4] == b"ptax" and data[4] == 1
    assert zlib.crc32(data[9:]) == int.from_bytes(data[5:9], "big")
    assert data[9:12] == bytes([4, 2, 0])
