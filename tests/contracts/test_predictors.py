"""Laws that every predictor obeys: each architecture's networks, exact and prompted predictors."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import protocol, specs
from promptax.predictors import Architecture, Network, Transformer
from promptax.protocol import mixture
from promptax.protocol.exchangeable import Uniform
from promptax.protocol.predictor import WEIGHTS, Embedded
from promptax.protocol.prompted import Prompt, Prompted

LENGTH = 7


def networks():
    """Every architecture's examples: its first over 2 symbols, the others over 3."""
    for case in laws.examples(Architecture):
        symbols = 3 if case.marks else 2
        yield pytest.param(f"{case.id}-{symbols}", marks=case.marks), (case.values[0], symbols)


def exact():
    """The exact predictor of every task that has one, and the uniform one."""
    for case in laws.exact_tasks():
        yield pytest.param(f"{case.id}-bayes", marks=case.marks), case.values[0].bayes()
    yield pytest.param("Uniform-3"), Uniform(3)


def by_name(cases):
    return {case.values[0]: made for case, made in cases}


NETWORKS, EXACT = list(networks()), list(exact())
ARCHITECTURES, BAYES = by_name(NETWORKS), by_name(EXACT)
# Mixtures of prompts: of a network, of exact predictors, one of which rules histories out
BELOW = {
    "LSTM-0-2": laws.SLOW,
    "DirichletCategorical-0-bayes": (),
    "CategoricalMixture-2-bayes": laws.SLOW,
}
MIXTURES = {f"mixture-{name}": name for name in BELOW}
every_network = pytest.mark.parametrize("network", [case for case, _ in NETWORKS], indirect=True)
every_predictor = pytest.mark.parametrize(
    "predictor",
    [case for case, _ in NETWORKS + EXACT]
    + [pytest.param(f"mixture-{name}", marks=marks) for name, marks in BELOW.items()],
    indirect=True,
)


@eqx.filter_jit
def build(architecture, seed, symbols):
    return architecture.build(jax.random.key(seed), symbols)


@functools.cache
def named(name):
    """A predictor, made when a test asks for it."""
    if name in MIXTURES:
        prompts = [[0, 1], [0, 0], [1, 1]]
        return mixture.mix(named(MIXTURES[name]), prompts, (0.2, 0.5, 0.3))
    if name in BAYES:
        return BAYES[name]
    architecture, symbols = ARCHITECTURES[name]
    return build(architecture, 1, symbols)


@pytest.fixture
def network(request):
    return named(request.param)


@pytest.fixture
def predictor(request):
    return named(request.param)


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


def rows_of(predictor, tokens):
    return np.asarray(read(predictor, tokens)[1].log_probs)


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
    if WEIGHTS in predictor.reads:
        weights = jnp.full((3, predictor.symbols), 1 / predictor.symbols)
        yield protocol.condition(predictor, weights)
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
        tokens = np.asarray(tokens_for(predictor))
        rows = rows_of(each, tokens)
        for step in range(LENGTH):
            later = (tokens[step:] + 1) % predictor.symbols
            changed = np.concatenate([tokens[:step], later])
            close(rows_of(each, changed)[: step + 1], rows[: step + 1], 1e-6)


@every_network
def test_a_network_uses_what_it_reads(network):
    tokens = np.asarray(tokens_for(network))
    rows = rows_of(network, tokens)
    for step in range(LENGTH - 1):
        changed = tokens.copy()
        changed[step] = (tokens[step] + 1) % network.symbols
        assert (rows_of(network, changed) != rows).any(axis=1)[step + 1 :].all()
    for each in prompted(network):
        assert (np.abs(rows_of(each, tokens)[0] - rows[0]) > 1e-6).any()


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


@pytest.mark.slow
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


@pytest.mark.slow
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
    if WEIGHTS not in predictor.reads:
        with pytest.raises(TypeError, match="Expected tokens"):
            read(predictor, one_hot)
        return
    close(read(predictor, one_hot)[1].log_probs, read(predictor, tokens)[1].log_probs)


_opened = eqx.filter_jit(lambda predictor, *given: predictor.opened(*given))
_advance_first = eqx.filter_jit(lambda predictor, *given: predictor.advance_first(*given))


@pytest.mark.slow
@every_network
def test_what_is_forgotten_was_never_read(network):
    tokens, behind = (
        tokens_for(network),
        protocol.condition(network, tokens_for(network, 2, seed=1)),
    )
    assert behind.forgets == network.forgets
    if not network.forgets:
        with pytest.raises(TypeError, match="cannot drop what it read last"):
            network.advance_first(start(network, LENGTH), tokens, jnp.array(3))
        return
    rows = read(behind, tokens)[1].log_probs
    for count in (0, 3, LENGTH):
        state = _advance_first(behind, start(behind, LENGTH), tokens, jnp.array(count))
        same = _opened(behind, tokens, jnp.array(count), LENGTH)
        if count < LENGTH:
            for each in (state, same):
                close(go_on(network, each, tokens[count:])[1].log_probs, rows[count:])
    close(single_steps(network, _opened(network, tokens[:3], jnp.array(2), LENGTH), tokens[2:]),
          read(network, tokens)[1].log_probs[2:])  # fmt: skip


@every_network
def test_tokens_are_their_embedding_rows(network):
    tokens = tokens_for(network)
    rows = network.embedding(jax.nn.one_hot(tokens, network.symbols))
    expected = read(network, tokens)[1].log_probs
    close(read(network, Embedded(rows))[1].log_probs, expected)
    behind = Prompted(network, EmbeddedPrompt(rows[:3]))
    close(read(behind, tokens[3:])[1].log_probs, expected[3:])
    np.testing.assert_array_equal(behind.prompt, rows[:3])


@every_network
def test_products_keep_the_precision_of_float32(network):
    """On accelerators too, which would round their factors unless they are told not to."""

    def products(network, tokens):
        text = str(jax.make_jaxpr(lambda tokens: read_now(network, tokens))(tokens))
        return text.count("dot_general["), text.count("precision=(Precision.HIGHEST,")

    def read_now(network, tokens):
        one = network.advance(network.start(), tokens)[1].log_probs
        return one, network.advance_batch(network.start(), tokens[None])[1].log_probs

    tokens = jnp.zeros(3, jnp.int32)
    asked, kept = products(network, tokens)
    assert asked == kept > 0
    with jax.default_matmul_precision("bfloat16"):
        assert products(network, tokens)[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("architecture", laws.examples(Architecture))
def test_large_alphabets_look_their_rows_up(architecture):
    network = build(architecture, 0, 65)  # up to 64 symbols: a product with one-hot
    tokens = tokens_for(network)
    one_hot = jax.nn.one_hot(tokens, 65)
    close(read(network, tokens)[1].log_probs, read(network, one_hot)[1].log_probs)


# --- one tree -------------------------------------------------------------------------------


@pytest.mark.slow
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


@pytest.mark.slow
@every_network
def test_every_leaf_of_a_network_is_a_float_array_that_matters(network):
    def loss(network):
        rows = network.advance(network.start(), tokens_for(network))[1].log_probs
        return -rows[:, 0].sum()

    leaves = jax.tree.leaves(network)
    assert all(eqx.is_inexact_array(leaf) for leaf in leaves)
    for slope in map(np.asarray, jax.tree.leaves(eqx.filter_jit(jax.grad(loss))(network))):
        assert np.isfinite(slope).all() and (slope != 0).any()


@every_predictor
def test_other_numbers_compile_nothing(predictor):
    here = specs.traced(predictor)
    halved = lambda leaf: leaf * 0.5 if eqx.is_inexact_array(leaf) else leaf  # noqa: E731
    other = eqx.filter_jit(lambda tree: jax.tree.map(halved, tree))(here)
    traces = laws.Traces(lambda p, tokens: p.advance(p.start(), tokens)[1].log_probs)
    for seed, each in enumerate((here, other)):
        traces.compiled(each, tokens_for(predictor, seed=seed))
    assert traces.count == 1


@pytest.mark.slow
@every_network
def test_the_same_key_builds_the_same_network(network):
    again = build(network.architecture, 1, network.symbols)
    other = build(network.architecture, 2, network.symbols)
    equal = eqx.filter_jit(eqx.tree_equal)
    assert equal(again, network) and not equal(other, network)


@every_network
def test_the_layers_for_low_rank_tuning_exist(network):
    fields = {
        part.name
        for path, _ in jax.tree_util.tree_flatten_with_path(network.torso)[0]
        for part in path
        if hasattr(part, "name")
    }
    assert network.torso.low_rank_layers() and set(network.torso.low_rank_layers()) <= fields


# --- too much, and wrong --------------------------------------------------------------------


@pytest.mark.slow
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
