"""Sources that switch: every way to cut a sequence, anchors, generators, and long sequences."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from support import judges as laws

from promptax import predict
from promptax.evaluation.exact import enumeration
from promptax.tasks import LiveAndDie, PartitionTree

KEY = jax.random.key(11)
CHAIN = (0.05, 0.9, 0.4, 0.98) * 8  # biases of a sequence that switches every 63 steps


def every_partition(first, end, split):
    """(edges of the segments, log probability) of every way to cut a dyadic block."""
    if end - first == 1:
        yield (first, end), 0.0
        return
    yield (first, end), math.log1p(-split)
    middle = (first + end) // 2
    for left, right in itertools.product(
        every_partition(first, middle, split), every_partition(middle, end, split)
    ):
        yield left[0] + right[0][1:], math.log(split) + left[1] + right[1]


def every_pattern(length):
    """(edges of the segments, log probability) of every pattern of live-and-die switches."""
    for switches in itertools.product((False, True), repeat=length - 1):
        edges, log_weight = [0], 0.0
        for time, switch in enumerate(switches, start=1):
            ends = 0.5 / (time - edges[-1])
            log_weight += math.log(ends if switch else 1 - ends)
            edges += [time] * switch
        yield (*edges, length), log_weight


def log_evidence_of_segment(tokens, symbols):
    """The product of what Krichevsky and Trofimov's estimator says of each symbol."""
    return sum(
        math.log((list(tokens[:time]).count(token) + 0.5) / (time + symbols / 2))
        for time, token in enumerate(tokens)
    )


def brute_force(tokens, symbols, cuts):
    terms = [
        log_weight
        + sum(log_evidence_of_segment(tokens[a:b], symbols) for a, b in itertools.pairwise(edges))
        for edges, log_weight in cuts
    ]
    return scipy.special.logsumexp(terms)


def ways_to_cut(task, length):
    if isinstance(task, LiveAndDie):
        return list(every_pattern(length))
    return list(every_partition(0, 2**task.depth, task.split))


@pytest.mark.parametrize(
    ("task", "length"),
    [
        (PartitionTree(depth=3), 8),
        (PartitionTree(depth=3, symbols=3, split=0.3), 6),
        (PartitionTree(depth=4), 11),
        (LiveAndDie(), 12),
        (LiveAndDie(symbols=3), 7),
    ],
    ids=str,
)
def test_evidence_is_the_sum_over_every_way_to_cut(task, length):
    words, cuts = jax.random.randint(KEY, (8, length), 0, task.symbols), ways_to_cut(task, length)
    expected = [brute_force(word, task.symbols, cuts) for word in words.tolist()]
    np.testing.assert_allclose(laws.log_evidence(task, words), expected, rtol=0, atol=1e-9)


def test_after_the_last_step_of_a_block_all_is_forgotten():
    block = jax.random.randint(KEY, (8,), 0, 2)
    rows = predict(PartitionTree(depth=3).bayes(), jnp.tile(block, 2))
    np.testing.assert_array_equal(rows[8:], rows[:8])


# --- generators -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "length"),
    [(PartitionTree(depth=3), 8), (PartitionTree(depth=2, symbols=3), 4), (LiveAndDie(), 7)],
    ids=str,
)
def test_sequences_are_drawn_by_their_evidence(task, length):
    """Pearson's χ² over every sequence of 40,000 draws: a wrong switch moves it by hundreds."""
    draws = jax.jit(jax.vmap(lambda key: task.sample(key, length).tokens))(
        jax.random.split(KEY, 40_000)
    )
    places = task.symbols ** np.arange(length - 1, -1, -1)
    counts = np.bincount(np.asarray(draws) @ places, minlength=task.symbols**length)
    words = laws.all_sequences(task.symbols, length)
    chances = np.exp(laws.log_evidence(task, words))
    assert abs(chances.sum() - 1) < 1e-9
    assert scipy.stats.chisquare(counts, 40_000 * chances / chances.sum()).pvalue > 1e-3


@pytest.mark.slow
def test_as_many_segments_begin_as_the_formulas_say():
    """2n C(2n, n) / 4^n = 18.045 under live and die, 1 + depth / 2 = 5 under partitions."""

    def count(task):
        keys = jax.random.split(KEY, 20_000)
        draw = jax.jit(jax.vmap(lambda key: jnp.sum(task.sample(key, 256).latent.begins)))
        return np.asarray(draw(keys), float)

    live, cut = count(LiveAndDie()), count(PartitionTree(depth=8))
    laws.assert_zero(live - 2 * 256 * math.comb(512, 256) / 4**256, "segments of live and die")
    laws.assert_zero((live == 1) - math.comb(510, 255) / 4**255, "sequences without a switch")
    laws.assert_zero(cut - 5, "segments of partitions")


# --- long sequences -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "length"), [(PartitionTree(depth=17), 100_000), (LiveAndDie(), 3_000)], ids=str
)
def test_float32_predicts_as_float64_also_late(task, length):
    biases = np.resize(np.repeat(CHAIN, 63), length)
    tokens = (np.random.default_rng(0).random(length) < biases).astype(np.int32)
    single = np.asarray(predict(task.bayes(), tokens), float)
    with enumeration.double_precision():
        double = np.asarray(predict(task.bayes(), tokens))
    np.testing.assert_allclose(np.exp(single).sum(axis=1), 1, atol=1e-6)
    came = np.arange(length), tokens
    np.testing.assert_allclose(single[came], double[came], atol=2e-5)
    assert abs((single[came] - double[came]).sum()) < 1e-3


def test_few_starts_are_exact_until_they_are_full():
    tokens = jax.random.randint(KEY, (15,), 0, 2)
    exact = predict(LiveAndDie().bayes(), tokens)
    np.testing.assert_allclose(predict(LiveAndDie().nearly_bayes(16), tokens), exact, atol=2e-6)
    assert np.abs(predict(LiveAndDie().nearly_bayes(2), tokens) - exact).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("length", [2_000, 10_000])
def test_few_starts_are_as_close_as_they_say(length):
    biases = np.resize(np.repeat(CHAIN, 63), length)
    tokens = (np.random.default_rng(0).random(length) < biases).astype(np.int32)
    exact, near = (
        np.exp(np.asarray(predict(predictor, tokens), float))
        for predictor in (LiveAndDie().bayes(), LiveAndDie().nearly_bayes())
    )
    assert np.abs(exact - near).max() < 1e-4


def test_a_state_that_is_full_says_nothing():
    posterior = LiveAndDie().bayes()
    state, prediction = posterior.advance(posterior.start(capacity=3), jnp.array([0, 1, 1]))
    assert np.isfinite(prediction.log_probs).all()
    state, prediction = posterior.advance(state, jnp.array([0]))  # says it before it is read
    assert np.isfinite(prediction.log_probs).all()
    assert np.isnan(posterior.advance(state, jnp.array([0]))[1].log_probs).all()


# --- what does not fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": 0}, "a depth, a whole number of at least 1; got 0. DirichletCategorical"),
        ({"depth": 31}, r"a depth of at most 30; got 31. A block would have 2\^31 steps"),
        ({"symbols": 1}, "symbols, a whole number of at least 2; got 1"),
        ({"split": 1.0}, "a split above 0 and below 1; got 1.0"),
    ],
)
def test_fields_that_do_not_fit(fields, message, as_users_see_it):
    with pytest.raises(ValueError, match=message):
        PartitionTree(**fields)
