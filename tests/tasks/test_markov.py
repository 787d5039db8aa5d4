"""Sources that remember their last symbols: by hand, by all trees, over long sequences."""

import collections
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

import promptax as px
from promptax.evaluation.exact import enumeration
from promptax.predictors import LSTM, Transformer
from promptax.tasks import ContextTree, KnownChain, KnownTree, MarkovChain
from promptax.tasks.markov import contexts, weighting
from promptax.tasks.markov.counted import beliefs_by_step

KEY = jax.random.key(11)


def losses(predictor, tokens):
    """-log p of each token [time], as a user's float32 has it."""
    return -laws.of_tokens(px.predict(predictor, tokens), tokens)


# --- contexts and counts --------------------------------------------------------------------


@pytest.mark.parametrize(("symbols", "order"), [(2, 1), (2, 3), (3, 2)])
def test_contexts_are_the_last_symbols_as_a_number(symbols, order):
    tokens = np.asarray(jax.random.randint(KEY, (20,), 0, symbols))
    padded = [0] * order + tokens.tolist()
    expected = [
        sum(padded[t + order - 1 - place] * symbols**place for place in range(order))
        for t in range(21)
    ]
    found = contexts.contexts_of(jnp.asarray(tokens), symbols, order)
    assert found.tolist() == expected
    later = contexts.contexts_of(jnp.asarray(tokens[8:]), symbols, order, found[8])
    assert later.tolist() == expected[8:]


@pytest.mark.parametrize(("symbols", "order", "length"), [(2, 1, 9), (2, 2, 8), (3, 1, 6)])
def test_beliefs_are_all_sequences_counted_once(symbols, order, length):
    tokens = laws.all_sequences(symbols, length - 1)
    count = jax.vmap(lambda row: contexts.transition_counts(row, symbols, order))
    last = jax.vmap(lambda row: contexts.contexts_of(row, symbols, order)[-1])
    flat = np.asarray(jax.jit(count)(tokens)).reshape(len(tokens), -1)
    names = np.concatenate([flat, np.asarray(jax.jit(last)(tokens))[:, None]], axis=1)
    number = collections.Counter(map(tuple, names.tolist()))
    *_, beliefs = beliefs_by_step(symbols, order, length, tuple(range(symbols)))
    ways = np.exp(beliefs.log_ways).round().astype(int)
    rows = zip(beliefs.counts.reshape(len(ways), -1).tolist(), beliefs.contexts, strict=True)
    assert {(*row, last): way for (row, last), way in zip(rows, ways, strict=True)} == number


# --- chains ---------------------------------------------------------------------------------


def test_bayes_of_chains_by_hand():
    # rows Dirichlet(½, ½) after 0: two zeros and a one; then one zero after a 1
    rows = px.predict(MarkovChain(concentration=(0.5, 0.5)).bayes(), [0, 0, 1, 0, 0])
    expected = [1 / 2, 3 / 4, 5 / 6, 1 / 2, 5 / 8]
    np.testing.assert_allclose(np.exp(rows[:, 0]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("concentration", "regret"),
    [((0.3, 1.5), 0.8179330), ((1.0, 1.0), 0.9701400), ((0.5, 0.5), 1.2567182)],
)
def test_regret_of_chains_over_eight_steps(concentration, regret):
    task = MarkovChain(concentration=concentration)
    tokens = laws.all_sequences(2, 8)
    evidence = laws.log_evidence(task, tokens)
    bayes = -np.exp(evidence) @ evidence
    np.testing.assert_allclose(bayes - float(task.oracle_entropy(8).sum()), regret, atol=1e-6)


def test_the_oracle_of_chains_loses_what_quadrature_says():
    """Both rows of an order-1 chain on a grid of midpoints, for entropies by step."""
    nodes = 400
    grid = (np.arange(nodes) + 0.5) / nodes
    entropy = -grid * np.log(grid) - (1 - grid) * np.log(1 - grid)
    after_0, after_1 = grid[:, None], grid[None, :]  # P(1 | 0), P(1 | 1), uniform
    at_1, expected = np.zeros((nodes, nodes)), []
    for _ in range(6):
        expected.append(((1 - at_1) * entropy[:, None] + at_1 * entropy[None, :]).mean())
        at_1 = (1 - at_1) * after_0 + at_1 * after_1
    np.testing.assert_allclose(MarkovChain().oracle_entropy(6), expected, atol=2e-5)


def test_a_known_chain_that_begins_elsewhere_than_it_stays():
    chain = KnownChain(((0.5, 0.5), (0.0, 1.0)))  # a coin until the first 1, then ones for ever
    expected = math.log(2) / 2.0 ** np.arange(5)
    np.testing.assert_allclose(chain.oracle_entropy(5), expected, rtol=1e-6)
    rows = px.predict(chain.bayes(), [0, 1, 1, 0, 1])
    np.testing.assert_allclose(np.exp(rows[:, 1]), [0.5, 0.5, 1.0, 1.0, 0.5], rtol=1e-6)


def test_a_symbol_that_never_comes_makes_the_rest_uniform():
    rows = px.predict(MarkovChain(concentration=(1.0, 0.0, 2.0)).bayes(), [0, 1, 2, 2])
    assert rows[0, 1] == rows[1, 1] == -jnp.inf
    np.testing.assert_allclose(rows[2:], -np.log(3), rtol=1e-6)


def test_whole_counts_do_not_stop_growing():
    """Float32 counts stay at 2^24 = 16,777,216."""
    bayes = MarkovChain().bayes()
    counts = jnp.full((2, 2), 2**24, jnp.int32)
    state = bayes.start()._replace(counts=counts)
    state, _ = bayes.advance(state, jnp.zeros(3, jnp.int32))
    assert state.counts[0, 0] == 2**24 + 3


# --- trees ----------------------------------------------------------------------------------


def trees(symbols, depth, context=()):
    """Every tree below a context: its leaves, oldest symbol first, and its log prior."""
    if len(context) == depth:
        yield (context,), 0.0
        return
    yield (context,), math.log(0.5)
    children = [list(trees(symbols, depth, (s, *context))) for s in range(symbols)]
    for parts in itertools.product(*children):
        leaves = tuple(leaf for part, _ in parts for leaf in part)
        yield leaves, math.log(0.5) + sum(prior for _, prior in parts)


@functools.cache
def log_kt_of(counts):
    """log P of a sequence with these counts, symbol by symbol."""
    total, read = 0.0, 0
    for count in counts:
        for earlier in range(count):
            total += math.log((earlier + 0.5) / (read + len(counts) / 2))
            read += 1
    return total


def log_sum_over_trees(sequences, symbols, depth):
    """log Σ_tree P(tree) P(sequence | tree) [sequence], one leaf after another."""
    padded = np.pad(sequences, ((0, 0), (depth, 0)))
    length = sequences.shape[1]

    @functools.cache
    def of_leaf(leaf):
        ends = np.ones(sequences.shape, bool)
        for back, symbol in enumerate(reversed(leaf), start=1):
            ends &= padded[:, depth - back : depth - back + length] == symbol
        counts = [(ends & (sequences == s)).sum(axis=1) for s in range(symbols)]
        return np.array([log_kt_of(tuple(row)) for row in np.stack(counts, axis=1).tolist()])

    total = np.full(len(sequences), -np.inf)
    for leaves, prior in trees(symbols, depth):
        total = np.logaddexp(total, prior + sum(of_leaf(leaf) for leaf in leaves))
    return total


EVERY_TREE = [(2, 1, 10), (2, 2, 10), (2, 3, 10), (3, 1, 7), (3, 3, 7)]  # 2, 5, 26, 2, 730 trees
EVERY_TREE_SLOWLY = [(3, 1, 10), (3, 2, 10), (3, 3, 10)]


@pytest.mark.parametrize(
    ("symbols", "depth", "length"),
    [*EVERY_TREE, *(pytest.param(*case, marks=pytest.mark.slow) for case in EVERY_TREE_SLOWLY)],
)
def test_weighting_is_the_sum_over_all_trees_of_every_sequence(symbols, depth, length):
    """Of shorter sequences too: a beginning's probability is the sum over all ways to go on."""
    task, tokens = ContextTree(depth, symbols), laws.all_sequences(symbols, length)
    expected = log_sum_over_trees(np.asarray(tokens), symbols, depth)
    np.testing.assert_allclose(np.exp(expected).sum(), 1.0, atol=1e-9)
    with enumeration.double_precision():
        rows = np.asarray(laws.read(task.bayes(), tokens))
    np.testing.assert_allclose(laws.of_tokens(rows, tokens).sum(axis=1), expected, atol=1e-6)
    single = laws.of_tokens(laws.read(task.bayes(), tokens), tokens).astype(float).sum(axis=1)
    np.testing.assert_allclose(single, expected, atol=3e-6)  # float32 itself: ten rounded terms


def test_other_splits_by_the_closed_form_which_the_sum_over_all_trees_judges_above():
    task, tokens = ContextTree(3, 3, split=0.7), laws.all_sequences(3, 7)
    half, evidence = (laws.log_evidence(t, tokens) for t in (ContextTree(3, 3), task))
    np.testing.assert_allclose(half, log_sum_over_trees(np.asarray(tokens), 3, 3), atol=1e-9)
    with enumeration.double_precision():
        rows = np.asarray(laws.read(task.bayes(), tokens))
    laws.normalised(rows, 1e-9)
    np.testing.assert_allclose(laws.of_tokens(rows, tokens).sum(axis=1), evidence, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("symbols", "depth"), [(2, 3), (3, 2)])
def test_batches_of_trees_equal_one_after_the_other(symbols, depth):
    bayes = ContextTree(depth, symbols).bayes()
    tokens = jax.random.randint(KEY, (5, 40), 0, symbols)
    state, _ = bayes.advance(bayes.start(), tokens[0, :7])
    batch, together = jax.jit(bayes.advance_batch)(state, tokens)
    single = jax.jit(bayes.advance)
    for row, read in enumerate(tokens):
        alone, prediction = single(state, read)
        laws.same(prediction.log_probs, together.log_probs[row], atol=1e-6)
        laws.same(alone, jax.tree.map(lambda leaf, row=row: leaf[row], batch), atol=1e-4)


def test_the_oracle_of_trees_loses_what_all_trees_say():
    """By step, over all beginnings: posterior over trees, and of the leaf that comes."""
    depth, symbols, length = 2, 2, 5
    expected = []
    for step in range(length):
        tokens = np.array(list(itertools.product(range(symbols), repeat=step)), int)
        tokens = tokens.reshape(symbols**step, step)
        padded = np.pad(tokens, ((0, 0), (depth, 0))).tolist()
        total = 0.0
        for leaves, prior in trees(symbols, depth):
            for history in padded:
                total += math.exp(prior) * _joint_loss(history, leaves, depth)
        expected.append(total)
    np.testing.assert_allclose(ContextTree(depth).oracle_entropy(length), expected, atol=1e-6)


def _joint_loss(history, leaves, depth):
    """P(history | tree) times the expected entropy of the row of its last leaf."""

    def leaf_at(time):
        return next(x for x in leaves if tuple(history[time - len(x) : time]) == x)

    counts = {leaf: [0, 0] for leaf in leaves}
    for time in range(depth, len(history)):
        counts[leaf_at(time)][history[time]] += 1
    chance = math.exp(sum(log_kt_of(tuple(row)) for row in counts.values()))
    return chance * _entropy_after(*counts[leaf_at(len(history))])


@functools.cache
def _entropy_after(zeros, ones):
    """E[entropy of a row | so many of each symbol came from it], by quadrature."""
    grid = (np.arange(20_000) + 0.5) / 20_000  # θ = sin² of it: Beta(½, ½) becomes uniform
    theta = np.sin(grid * np.pi / 2) ** 2
    weight = theta**ones * (1 - theta) ** zeros
    entropy = -theta * np.log(theta) - (1 - theta) * np.log1p(-theta)
    return (weight @ entropy) / weight.sum()


def test_a_drawn_tree_has_the_shape_that_its_prior_says():
    """The root is a leaf with probability ½, and a context's leaf at full depth with ¼."""
    keys = jax.random.split(KEY, 4000)
    trees = jax.vmap(lambda key: ContextTree(2).sample(key, 1).latent)(keys)
    for depth, chance in enumerate((0.5, 0.25, 0.25)):
        for context in range(4):
            here = np.asarray(trees.leaf_depth[:, context] == depth)
            laws.assert_zero(here - chance, f"leaf of context {context} at depth {depth}")
    root = np.asarray(trees.transition[np.asarray(trees.leaf_depth[:, 0] == 0)])
    np.testing.assert_array_equal(root, np.repeat(root[:, :1], 4, axis=1))
    first = np.asarray(trees.transition[:, 0, 0])
    laws.assert_zero(first - 0.5, "mean of a row")
    laws.assert_zero((first - 0.5) ** 2 - 1 / 8, "variance of Beta(½, ½)")


# --- 100,000 symbols in float32 -------------------------------------------------------------

LONG = 100_000


def turned_into_a_coin():
    """Half of it says 0, 1, 0, 1, ...; then a fair coin."""
    regular = jnp.arange(LONG // 2) % 2
    return jnp.concatenate([regular, jax.random.randint(KEY, (LONG // 2,), 0, 2)])


def streams():
    coin = jax.random.randint(KEY, (LONG,), 0, 2)
    once = jnp.zeros(LONG, coin.dtype).at[LONG - 1].set(1)
    chain = ContextTree(5).sample(jax.random.key(5), LONG).tokens
    return {"turns": turned_into_a_coin(), "coin": coin, "zeros": once, "tree": chain}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["turns", "coin", "zeros", "tree"])
@pytest.mark.parametrize("depth", [3, 8])
def test_float32_reads_long_sequences_as_their_closed_form_says(name, depth):
    """The closed form knows the counts of the whole only, in float64."""
    tokens, task = streams()[name], ContextTree(depth)
    rows = px.predict(task.bayes(), tokens)
    assert bool(jnp.all(jnp.isfinite(rows)))
    laws.normalised(rows, 1e-6)
    total = -laws.of_tokens(rows, tokens).astype(float).sum()
    expected = -laws.log_evidence(task, tokens[None])[0]
    np.testing.assert_allclose(total, expected, atol=0.05)


@pytest.mark.slow
def test_it_comes_back_from_a_split_that_was_certain():
    """The split's odds are e^15,000 and more before the source turns into a coin: a weight of
    float32 is exactly 1 long before, and would stay."""
    tokens, bayes = turned_into_a_coin(), ContextTree(3).bayes()
    state, _ = jax.jit(bayes.advance)(bayes.start(), tokens[: LONG // 2])
    certain = float(state.odds[0, 0])
    assert certain > 10_000 and jax.nn.sigmoid(certain) == 1.0
    _, prediction = jax.jit(bayes.advance)(state, jnp.tile(jnp.array([0, 1, 1, 0]), 20_000))
    late = np.exp(np.asarray(prediction.log_probs[-4:, 0]))
    with enumeration.double_precision():
        state, _ = jax.jit(bayes.advance)(bayes.start(), tokens[: LONG // 2])
        _, exact = jax.jit(bayes.advance)(state, jnp.tile(jnp.array([0, 1, 1, 0]), 20_000))
        exact = np.exp(np.asarray(exact.log_probs[-4:, 0]))
    np.testing.assert_allclose(late, exact, atol=1e-5)


def test_log_odds_do_not_lose_what_is_far_apart():
    """A leaf below says 1e-9 where the node above says ½: 1 - (1 - 2e-9) would lose it."""
    below, leaf = jnp.array([[1e-9, 1.0]]), jnp.array([[0.5, 0.5]])
    gain = weighting.log_ratio(below, leaf, jnp.zeros((), jnp.int32))
    np.testing.assert_allclose(gain, np.log(2e-9), rtol=1e-6)


# --- a known tree ---------------------------------------------------------------------------


def test_a_known_tree_is_the_chain_with_its_rows():
    tree = KnownTree(((1,), (0, 0), (1, 0)), ((0.5, 0.5), (0.9, 0.1), (0.2, 0.8)))
    chain = KnownChain(((0.9, 0.1), (0.5, 0.5), (0.2, 0.8), (0.5, 0.5)))  # after 00, 01, 10, 11
    tokens = jax.random.randint(KEY, (30,), 0, 2)
    laws.same(px.predict(tree.bayes(), tokens), px.predict(chain.bayes(), tokens), atol=1e-6)
    laws.same(tree.oracle_entropy(9), chain.oracle_entropy(9), atol=1e-6)
    coin = KnownTree(((),), ((0.2, 0.8),))
    np.testing.assert_allclose(np.exp(px.predict(coin.bayes(), [0, 1])[:, 0]), 0.2, rtol=1e-6)


# --- through the front door -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("network", [LSTM(width=8), Transformer(width=8, heads=2)])
def test_networks_learn_them_and_are_measured(network):
    prior, target = MarkovChain(concentration=(0.3, 1.5)), KnownTree()
    settings = px.FitSettings(steps=6, batch=8, length=12)
    base = px.pretrain(KEY, network, prior, settings, callbacks=()).predictor
    judged = {"network": base, "prior": prior.bayes(), "tree prior": ContextTree(2).bayes()}
    results = px.evaluate(KEY, judged, target, sequences=64, length=12)
    regret = px.regret(results, reference="bayes").regret
    assert regret.sel(predictor="network", repetition=0, time=12).item() > 0
    np.testing.assert_allclose(regret.sel(predictor="bayes"), 0.0, atol=1e-6)


# --- bad input ------------------------------------------------------------------------------

WRONG = {
    "Expected an order, a whole number of at least 1; got 0": lambda: MarkovChain(0),
    "Expected a whole number as MarkovChain.order; got 1.5. The default is 1": lambda: MarkovChain(
        1.5
    ),
    "Expected a tuple of numbers as MarkovChain.concentration; got 1.0": lambda: MarkovChain(
        concentration=1.0
    ),
    "tuple of tuples of whole numbers as KnownTree.suffixes": lambda: KnownTree(
        ((0.5,), (1,)), ((0.5, 0.5),) * 2
    ),
    "needs 2,147,483,648": lambda: MarkovChain(30),
    "Expected symbols, a whole number of at least 2; got 1": lambda: MarkovChain(symbols=1),
    "for each of the 3 symbols; got 2": lambda: MarkovChain(1, 3, (0.3, 1.5)),
    "not negative, at least one": lambda: MarkovChain(concentration=(-1.0, 1.0)),
    "Expected a depth, a whole number of at least 1; got 0": lambda: ContextTree(0),
    "needs 134,217,724": lambda: ContextTree(24),
    "got -3": lambda: ContextTree(symbols=-3),
    "above 0 and below 1; got 1.0": lambda: ContextTree(split=1.0),
    "such as 2 or 4; got 3 rows": lambda: KnownChain(((0.5, 0.5),) * 3),
    "probabilities after context 1": lambda: KnownChain(((0.5, 0.5), (0.5, 0.6))),
    "got rows of [2, 3]": lambda: KnownChain(((0.5, 0.5), (0.2, 0.3, 0.5))),
    "each of the 2 endings; got 1": lambda: KnownTree(((0,), (1,)), ((0.5, 0.5),)),
    "ends with (1, 0) also ends with (0,)": lambda: KnownTree(
        ((0,), (1,), (1, 0)), ((0.5, 0.5),) * 3
    ),
    "1 end with none of": lambda: KnownTree(((1,), (0, 0)), ((0.5, 0.5),) * 2),
    "endings of symbols from 0 to 1; got (2,)": lambda: KnownTree(((0,), (2,)), ((0.5, 0.5),) * 2),
    "probabilities after (1,)": lambda: KnownTree(((0,), (1,)), ((0.5, 0.5), (0.5, 0.2))),
    "in promptax.evaluate, the mean log loss": lambda: ContextTree(2, 3).oracle_entropy(100),
}


@pytest.mark.parametrize("message", WRONG)
def test_bad_input_is_named(message, as_users_see_it):
    with pytest.raises(ValueError, match="Expected") as error:
        WRONG[message]()
    assert message in str(error.value), error.value


@pytest.mark.parametrize("task", [MarkovChain(), KnownChain(), ContextTree(2), KnownTree()])
def test_weights_over_symbols_are_refused(task):
    with pytest.raises(TypeError, match=r"Expected tokens, which \w+ reads; got weights"):
        px.condition(task.bayes(), [[0.5, 0.5]]).start()
