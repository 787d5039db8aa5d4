"""Laws that every predictor obeys: each architecture's networks, exact and prompted predictors."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest

from promptax import protocol, specs
from promptax.exchangeable import Uniform
from promptax.predictors import LSTM, Architecture, Network, Transformer
from promptax.protocol import Embedded, Prompt, Prompted
from promptax.tasks import Categorical, DirichletCategorical

LENGTH = 7


@eqx.filter_jit
def build(architecture, seed, symbols):
    return architecture.build(jax.random.key(seed), symbols)


def networks():
    """Every architecture's examples, over 2 and 3 symbols."""
    for case in laws.examples(Architecture):
        for symbols in (2, 3):
            yield f"{case.id}-{symbols}", build(case.values[0], 1, symbols)


def exact():
    """The exact predictor of every task that has one, and the uniform one."""
    for case in laws.exact_tasks():
        yield f"{case.id}-bayes", case.values[0].bayes()
    for symbols in (2, 3):
        yield f"Uniform-{symbols}", Uniform(symbols)


NETWORKS, EXACT = dict(networks()), dict(exact())
PREDICTORS = NETWORKS | EXACT
every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
every_exact = pytest.mark.parametrize("predictor", EXACT.values(), ids=EXACT)
every_predictor = pytest.mark.parametrize("predictor", PREDICTORS.values(), ids=PREDICTORS)

_start = eqx.filter_jit(lambda predictor, capacity: predictor.start(capacity))
_advance = eqx.filter_jit(lambda predictor, state, inputs: predictor.advance(state, inputs))
read_batch = eqx.filter_jit(lambda predictor, state, batch: predictor.advance_batch(state, batch))
read_apart = eqx.filter_jit(
    lambda predictor, state, batch: jax.vmap(lambda row: predictor.advance(state, row))(batch)
)


@eqx.filter_jit
def single_steps(predictor, state, tokens):
    def step(state, token):
        state, prediction = predictor.advance(state, token[None])
        return state, prediction.log_probs[0]

    return jax.lax.scan(step, state, tokens)[1]


# Numbers are traced and the prompts of a predictor have one length, so that most laws share what
# was compiled: reading behind any of its prompts is one function of (predictor, state, tokens).


def start(predictor, capacity=None):
    return _start(specs.traced(predictor), capacity)


def go_on(predictor, state, inputs):
    return _advance(specs.traced(predictor), state, inputs)


def read(predictor, inputs):
    """From the start, which reads the prompt."""
    inner = predictor.predictor if isinstance(predictor, Prompted) else predictor
    return go_on(inner, start(predictor), inputs)


class EmbeddedPrompt(Prompt):
    """Embedding rows as a prompt."""

    rows: jax.Array

    def inputs(self):
        return Embedded(self.rows)


def tokens_for(predictor, length=LENGTH, seed=0):
    return jax.random.randint(jax.random.key(seed), (length,), 0, predictor.symbols)


def close(one, other, tolerance=1e-5):
    """Equal probabilities; log probabilities may be -inf on both sides."""
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def prompted(predictor):
    """The predictor behind each kind of prompt that it can read."""
    tokens = tokens_for(predictor, 3, seed=5)
    yield protocol.condition(predictor, tokens)
    yield protocol.condition(predictor, jnp.full((3, predictor.symbols), 1 / predictor.symbols))
    if isinstance(predictor, Network):
        rows = jax.random.normal(jax.random.key(2), (3, predictor.embedding_width))
        yield Prompted(predictor, EmbeddedPrompt(rows))


# --- reading --------------------------------------------------------------------------------


@every_predictor
def test_rows_are_distributions_one_for_each_token(predictor):
    for each in (predictor, *prompted(predictor)):
        tokens = tokens_for(predictor)
        _, prediction = read(each, tokens)
        assert each.symbols == predictor.symbols
        assert prediction.log_probs.shape == (LENGTH, predictor.symbols)
        laws.normalised(prediction.log_probs)
        for values in prediction.internals.values():
            assert values.ndim == 2 and values.shape[0] == LENGTH
        assert each.reading_bytes(10) >= 0 and 12 % each.micro_batch(12, 10) == 0


@every_predictor
def test_row_t_ignores_the_tokens_from_t_on(predictor):
    for each in (predictor, *prompted(predictor)):
        tokens = tokens_for(predictor)
        rows = read(each, tokens)[1].log_probs
        for step in range(LENGTH):
            changed = tokens.at[step:].set((tokens[step:] + 1) % predictor.symbols)
            close(read(each, changed)[1].log_probs[: step + 1], rows[: step + 1], 1e-6)


@every_network
def test_a_network_uses_what_it_reads(network):
    tokens = tokens_for(network)
    rows = read(network, tokens)[1].log_probs
    for step in range(LENGTH - 1):
        changed = tokens.at[step].set((tokens[step] + 1) % network.symbols)
        assert bool(
            jnp.all(jnp.any(read(network, changed)[1].log_probs != rows, axis=1)[step + 1 :])
        )
    for each in prompted(network):
        assert bool(jnp.any(jnp.abs(read(each, tokens)[1].log_probs[0] - rows[0]) > 1e-6))


@every_predictor
def test_one_piece_is_two_pieces(predictor):
    for each in (predictor, *prompted(predictor)):
        tokens = tokens_for(predictor)
        _, whole = read(each, tokens)
        state, first = read(each, tokens[:3])
        _, second = go_on(predictor, state, tokens[3:])
        close(jnp.concatenate([first.log_probs, second.log_probs]), whole.log_probs)
        for name, values in whole.internals.items():
            close(jnp.concatenate([first.internals[name], second.internals[name]]), values)


@every_predictor
def test_one_piece_is_single_steps_inside_a_scan(predictor):
    for each in (predictor, *prompted(predictor)):
        tokens = tokens_for(predictor)
        rows = single_steps(specs.traced(predictor), start(each, capacity=LENGTH), tokens)
        close(rows, read(each, tokens)[1].log_probs)


@pytest.mark.usefixtures("as_users_see_it")
@every_predictor
def test_nothing_to_read_is_legal(predictor):
    state, prediction = read(predictor, jnp.zeros((0,), int))
    assert prediction.log_probs.shape == (0, predictor.symbols)
    tokens = tokens_for(predictor)
    close(go_on(predictor, state, tokens)[1].log_probs, read(predictor, tokens)[1].log_probs)
    assert protocol.predict(predictor, []).shape == (0, predictor.symbols)


@every_predictor
def test_an_empty_prompt_is_no_prompt(predictor):
    tokens = tokens_for(predictor)
    expected = read(predictor, tokens)[1].log_probs
    for empty in (jnp.zeros((0,), int), jnp.zeros((0,)), jnp.zeros((0, predictor.symbols))):
        close(read(protocol.condition(predictor, empty), tokens)[1].log_probs, expected)


@every_predictor
def test_a_prompt_is_what_was_read_before(predictor):
    before, tokens = tokens_for(predictor, 3, seed=3), tokens_for(predictor)
    both = protocol.predict(predictor, jnp.concatenate([before, tokens]))
    conditioned = protocol.condition(predictor, before)
    close(protocol.predict(conditioned, tokens), both[3:])
    np.testing.assert_array_equal(conditioned.prompt, before)
    twice = protocol.condition(protocol.condition(predictor, before[:1]), before[1:])
    close(protocol.predict(twice, tokens), both[3:])


@every_predictor
def test_a_batch_is_vmap(predictor):
    batch = jnp.stack([tokens_for(predictor, seed=seed) for seed in range(3)])
    for each in (predictor, *prompted(predictor)):
        arguments = specs.traced(predictor), start(each), batch
        (_, together), (_, apart) = read_batch(*arguments), read_apart(*arguments)
        close(together.log_probs, apart.log_probs)
        assert together.internals.keys() == apart.internals.keys()
        for name in apart.internals:
            close(together.internals[name], apart.internals[name])


@every_predictor
def test_tokens_are_one_hot_weights(predictor):
    tokens = tokens_for(predictor)
    one_hot = jax.nn.one_hot(tokens, predictor.symbols)
    close(read(predictor, one_hot)[1].log_probs, read(predictor, tokens)[1].log_probs)


@every_network
def test_tokens_are_their_embedding_rows(network):
    tokens = tokens_for(network)
    rows = network.embedding(jax.nn.one_hot(tokens, network.symbols))
    expected = read(network, tokens)[1].log_probs
    close(read(network, Embedded(rows))[1].log_probs, expected)
    behind = Prompted(network, EmbeddedPrompt(rows[:3]))
    close(read(behind, tokens[3:])[1].log_probs, expected[3:])
    np.testing.assert_array_equal(behind.prompt, rows[:3])


@pytest.mark.parametrize("architecture", laws.examples(Architecture))
def test_large_alphabets_look_their_rows_up(architecture):
    network = build(architecture, 0, 65)  # up to 64 symbols: a product with one-hot
    tokens = tokens_for(network)
    one_hot = jax.nn.one_hot(tokens, 65)
    close(read(network, tokens)[1].log_probs, read(network, one_hot)[1].log_probs)


# --- one tree -------------------------------------------------------------------------------


@every_predictor
def test_json_and_arrays_give_the_same_predictor_back(predictor):
    arrays, again = {}, {}
    description = specs.to_json(predictor, arrays)
    back = specs.from_json(description, arrays)
    assert specs.to_json(back, again) == description
    assert arrays.keys() == again.keys()
    for name, array in arrays.items():
        assert array.dtype == again[name].dtype and array.tobytes() == again[name].tobytes()
    assert jax.tree.structure(back) == jax.tree.structure(predictor)
    tokens = tokens_for(predictor)
    np.testing.assert_array_equal(
        protocol.predict(back, tokens), protocol.predict(predictor, tokens)
    )


@every_network
def test_every_leaf_of_a_network_is_a_float_array_that_matters(network):
    def loss(network):
        rows = network.advance(network.start(), tokens_for(network))[1].log_probs
        return -rows[:, 0].sum()

    leaves = jax.tree.leaves(network)
    assert all(eqx.is_inexact_array(leaf) for leaf in leaves)
    for slope in jax.tree.leaves(eqx.filter_jit(jax.grad(loss))(network)):
        assert bool(jnp.all(jnp.isfinite(slope))) and bool(jnp.any(slope != 0))


@every_predictor
def test_other_numbers_compile_nothing(predictor):
    here = specs.traced(predictor)
    other = jax.tree.map(lambda leaf: leaf * 0.5 if eqx.is_inexact_array(leaf) else leaf, here)
    traces = laws.Traces(lambda p, tokens: p.advance(p.start(), tokens)[1].log_probs)
    for seed, each in enumerate((here, other)):
        traces.compiled(each, tokens_for(predictor, seed=seed))
    assert traces.count == 1


@every_network
def test_the_same_key_builds_the_same_network(network):
    again = build(network.architecture, 1, network.symbols)
    other = build(network.architecture, 2, network.symbols)
    assert eqx.tree_equal(again, network) and not eqx.tree_equal(other, network)


@every_network
def test_the_layers_for_low_rank_tuning_exist(network):
    fields = {
        part.name
        for path, _ in jax.tree_util.tree_flatten_with_path(network.torso)[0]
        for part in path
        if hasattr(part, "name")
    }
    assert network.torso.low_rank_layers() and set(network.torso.low_rank_layers()) <= fields


@pytest.mark.usefixtures("as_users_see_it")
def test_repeated_predictors_are_told_apart():
    stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731
    built = [LSTM(width=4).build(jax.random.key(seed), 2) for seed in range(2)]
    halves = [eqx.partition(each, eqx.is_array) for each in built]
    repeated = protocol.Repeated(jax.tree.map(stack, *(h[0] for h in halves)), halves[0][1], 2)
    assert len(repeated) == 2 and repeated.symbols == 2
    for each, expected in zip(repeated, built, strict=True):
        assert eqx.tree_equal(each, expected)
    assert eqx.tree_equal(repeated[-1], built[1])
    says(IndexError, "Expected a repetition from 0 to 1; got 2.", lambda: repeated[2])
    says(
        TypeError,
        "Expected one predictor; got 2 repetitions. Pick one: predictor[0].",
        lambda: protocol.predict(repeated, jnp.array([0])),
    )


# --- too much, and wrong --------------------------------------------------------------------


@every_network
def test_more_than_the_capacity_is_never_a_silent_wrong_number(network):
    """Rows either equal the right ones (a recurrent state has no capacity) or are NaN."""
    tokens, room = tokens_for(network), 3
    expected = read(network, tokens)[1].log_probs
    for pieces in ([1] * LENGTH, [3, 1, 3]):
        state, rows, at = start(network, room), [], 0
        for piece in pieces:
            state, prediction = go_on(network, state, tokens[at : at + piece])
            rows.append(prediction.log_probs)
            at += piece
        rows = np.concatenate(rows)
        close(rows[: room + 1], expected[: room + 1])
        lost = np.isnan(rows).any(axis=1)
        close(rows[~lost], expected[~lost])
        if isinstance(network.architecture, Transformer):
            assert lost[-1]


def says(error, message, call):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


NETWORK = NETWORKS["Transformer-0-2"]  # width 8
COIN = DirichletCategorical().bayes()
WRONG = {
    "token too large": (
        lambda: protocol.predict(COIN, jnp.array([0, 2])),
        "Expected tokens from 0 to 1; got 0 to 2. The predictor's alphabet has 2 symbols.",
    ),
    "negative token": (
        lambda: protocol.condition(NETWORK, [-1, 0]),
        "Expected tokens from 0 to 1; got -1 to 0. The predictor's alphabet has 2 symbols.",
    ),
    "batch": (
        lambda: protocol.predict(COIN, jnp.zeros((3, 4), jnp.int32)),
        "Expected tokens of shape [time] (int) or weights [time, symbol] (float); got shape "
        "(3, 4), int32. For a batch use jax.vmap or promptax.evaluate.",
    ),
    "fractions": (
        lambda: protocol.predict(COIN, jnp.array([0.0, 1.0])),
        "Expected tokens of shape [time] (int) or weights [time, symbol] (float); got shape "
        "(2,), float32. For a batch use jax.vmap or promptax.evaluate.",
    ),
    "rows of another width": (
        lambda: protocol.condition(NETWORK, jnp.zeros((3, 5))).start(),
        "Expected weights [time, 2] over the symbols or embedding rows [time, 8]; got shape "
        "(3, 5).",
    ),
    "embedding of another width": (
        lambda: NETWORK.advance(NETWORK.start(), Embedded(jnp.zeros((3, 2)))),
        "Expected weights [time, 2] over the symbols or embedding rows [time, 8]; got shape "
        "(3, 2).",
    ),
    "weights over other symbols": (
        lambda: protocol.condition(COIN, jnp.zeros((3, 5))).start(),
        "Expected weights [time, symbol] over 2 symbols; got shape (3, 5).",
    ),
    "heads": (
        lambda: Transformer(width=8, heads=3),
        "Expected heads that divide the width 8: one of [1, 2, 4, 8]; got 3.",
    ),
    "no block": (
        lambda: Transformer(depth=0),
        "Expected width, depth, heads and widening of at least 1; got 128, 0, 4, 4.",
    ),
    "no layer": (
        lambda: LSTM(width=0),
        "Expected width, depth and embedding of at least 1; got width=0, depth=1, embedding=None.",
    ),
    "one symbol": (
        lambda: LSTM(width=4).build(jax.random.key(0), 1),
        "Expected an alphabet of at least 2 symbols; got 1.",
    ),
    "an embedding of nothing": (
        lambda: LSTM(embedding=0),
        "Expected width, depth and embedding of at least 1; got width=128, depth=1, embedding=0.",
    ),
}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_wrong_values_are_refused_with_the_way_out(call, message):
    says(ValueError, message, call)


@pytest.mark.usefixtures("as_users_see_it")
def test_wrong_kinds_are_refused_with_the_way_out():
    says(
        TypeError,
        "Expected a promptax Predictor; got LSTM. An architecture is built first: "
        "architecture.build(key, symbols), or trained: promptax.pretrain.",
        lambda: protocol.predict(LSTM(), jnp.array([0])),
    )
    says(
        TypeError,
        "Expected tokens or weights over symbols; got embedding rows. An exact predictor has no "
        "embedding: steer it with HardPrompt or SimplexPrompt.",
        lambda: COIN.advance(COIN.start(), Embedded(jnp.zeros((3, 2)))),
    )


# --- the networks of Genewein et al. 2025 ---------------------------------------------------


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_published_transformer():
    assert Transformer() == Transformer.as_published()
    network = Transformer.as_published().build(jax.random.key(0), 2)
    norms = 3 * 2 * 128 + 2 * 128  # before attention, before and after the MLP; queries and keys
    block = 4 * 128 * 128 + 2 * 128 * (4 * 128) + norms
    assert size(network) == (2 * 128 + 128) + block + (128 * 2 + 2) == 198_274
    (only,) = network.torso.blocks
    assert only.mlp_input.weight.shape == (128, 512) and only.mlp_output.weight.shape == (512, 128)
    for name in ("query", "key", "value", "attention_output", "mlp_input", "mlp_output"):
        assert getattr(only, name).bias is None
    for name in ("before_attention", "before_mlp", "after_mlp"):
        assert getattr(only, name).bias.shape == (128,)
    for name in ("query_norm", "key_norm"):
        norm = getattr(only, name)
        assert norm.bias is None and norm.scale.shape == (128,)  # over the full width, not a head's
    assert network.torso.heads == 4


def test_the_published_lstm():
    assert LSTM() == LSTM.as_published()
    network = LSTM.as_published().build(jax.random.key(0), 2)
    layer = 128 * 4 * 128 + 128 * 4 * 128 + 4 * 128  # one bias for both matrices
    assert size(network) == (2 * 128 + 128) + layer + (128 * 2 + 2) == 132_226
    (only,) = network.torso.layers
    assert only.inputs.bias is None and bool(jnp.all(only.recurrent.bias == 0))
    gates = jnp.split(only.recurrent.weight, 4, axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(128), atol=1e-5)
    assert not bool(jnp.allclose(gates[0], gates[1]))


def test_the_transformer_equals_its_description_in_numpy():
    """Pre-norm attention with normed queries and keys, MLP, norm after the MLP's residual."""
    spec = Transformer(width=8, heads=2)
    network = spec.build(jax.random.key(3), 2)
    network = jax.tree.map(  # norms and biases away from 1 and 0
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), network
    )
    tokens = np.asarray(tokens_for(network))
    block = network.torso.blocks[0]

    def norm(rows, layer):
        centred = rows - rows.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * layer.scale
        return scaled if layer.bias is None else scaled + layer.bias

    rows = np.concatenate([np.zeros((1, 2)), np.eye(2)[tokens]])  # the begin row, then the tokens
    rows = rows @ network.embedding.weight + network.embedding.bias
    angles = np.arange(len(rows))[:, None] / 10_000 ** (2 * np.arange(4) / 8)
    rows = rows + np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    normed = norm(rows, block.before_attention)
    query = norm(normed @ block.query.weight, block.query_norm)
    key = norm(normed @ block.key.weight, block.key_norm)
    value = normed @ block.value.weight
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[:, head] @ key[:, head].T / np.sqrt(4)
        scores = np.where(np.tri(len(rows), dtype=bool), scores, -np.inf)
        heads.append(jax.nn.softmax(scores) @ value[:, head])
    rows = rows + np.concatenate(heads, axis=1) @ block.attention_output.weight
    hidden = jax.nn.gelu(norm(rows, block.before_mlp) @ block.mlp_input.weight)
    rows = norm(rows + hidden @ block.mlp_output.weight, block.after_mlp)
    expected = jax.nn.log_softmax(rows @ network.unembedding.weight + network.unembedding.bias)
    close(protocol.predict(network, jnp.asarray(tokens)), expected[:-1])


def test_the_lstm_equals_its_description_in_numpy():
    network = LSTM(width=5).build(jax.random.key(3), 2)
    network = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), network
    )
    layer, tokens = network.torso.layers[0], np.asarray(tokens_for(network))
    cell = hidden = np.zeros(5)
    expected = []
    for row in np.concatenate([np.zeros((1, 2)), np.eye(2)[tokens]]):
        row = row @ network.embedding.weight + network.embedding.bias
        gates = row @ layer.inputs.weight + hidden @ layer.recurrent.weight + layer.recurrent.bias
        into, forget, candidate, out = np.split(np.asarray(gates), 4)
        sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
        cell = sigmoid(forget) * cell + sigmoid(into) * np.tanh(candidate)
        hidden = sigmoid(out) * np.tanh(cell)
        expected.append(hidden @ network.unembedding.weight + network.unembedding.bias)
    close(
        protocol.predict(network, jnp.asarray(tokens)), jax.nn.log_softmax(jnp.stack(expected))[:-1]
    )


def test_the_known_distribution_is_the_coin():
    rows = protocol.predict(Categorical().bayes(), jnp.array([0, 1]))
    np.testing.assert_allclose(np.exp(rows), [[0.2, 0.8]] * 2, rtol=1e-6)
