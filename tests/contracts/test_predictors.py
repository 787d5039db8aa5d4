"""Laws that every predictor obeys: each architecture's networks, exact and prompted predictors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws
from support.reading import (
    BELOW,
    EXACT,
    LENGTH,
    NETWORKS,
    PIECE,
    TRACES,
    EmbeddedPrompt,
    go_on,
    named,
    prompted,
    read,
    read_apart,
    read_batch,
    rows_of,
    single_steps,
    start,
    tokens_for,
)

from promptax import protocol, specs
from promptax.predictors import LSTM, Transformer
from promptax.predictors.parts.layers import Layer
from promptax.protocol.predictor import WEIGHTS, Embedded, Predictor
from promptax.protocol.prompted import Prompted

every_network = pytest.mark.parametrize("network", [case for case, _ in NETWORKS], indirect=True)
PREDICTORS = [
    *(case for case, _ in NETWORKS + EXACT),
    *(pytest.param(f"mixture-{name}", marks=marks) for name, marks in BELOW.items()),
]
LATER = [case for case, _ in EXACT if case.marks]
every_predictor = pytest.mark.parametrize("predictor", PREDICTORS, indirect=True)
first_predictors = pytest.mark.parametrize("predictor", laws.firsts(PREDICTORS), indirect=True)
# Without exact predictors of later examples, of which tests/ground/test_store.py stores each one.
kinds_of_predictors = pytest.mark.parametrize(
    "predictor", [case for case in PREDICTORS if case not in LATER], indirect=True
)
# For what the doors do, whatever the predictor: a network, an exact predictor, a mixture
FEW = ["LSTM-0-2", "DirichletCategorical-0-bayes", "mixture-DirichletCategorical-0-bayes"]
few_predictors = pytest.mark.parametrize("predictor", FEW, indirect=True)
first_networks = pytest.mark.parametrize(
    "network", laws.firsts([case for case, _ in NETWORKS]), indirect=True
)


@pytest.fixture
def network(request):
    return named(request.param)


@pytest.fixture
def predictor(request):
    return named(request.param)


def close(one, other, tolerance=1e-5):
    """Equal probabilities; log probabilities may be -inf on both sides."""
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


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
        state, first = read(each, tokens[:PIECE])
        _, second = go_on(predictor, state, tokens[PIECE:])
        close(np.concatenate([first.log_probs, second.log_probs]), whole.log_probs)
        for name, values in whole.internals.items():
            close(np.concatenate([first.internals[name], second.internals[name]]), values)


@pytest.mark.slow
@every_predictor
def test_one_piece_is_single_steps_inside_a_scan(predictor):
    for each in (predictor, [*prompted(predictor)][-1]):  # whose state is made otherwise
        tokens = tokens_for(predictor)
        rows = single_steps(specs.traced(predictor), start(each, capacity=LENGTH), tokens)
        close(rows, read(each, tokens)[1].log_probs)


@every_predictor
def test_nothing_to_read_has_a_shape(predictor):
    state = start(predictor)
    after, prediction = eqx.filter_eval_shape(predictor.advance, state, jnp.zeros((0,), int))
    assert prediction.log_probs.shape == (0, predictor.symbols)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(each)] for each in (state, after)]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_see_it")
@first_predictors
def test_nothing_to_read_is_legal(predictor):
    state, prediction = read(predictor, jnp.zeros((0,), int))
    assert prediction.log_probs.shape == (0, predictor.symbols)
    tokens = tokens_for(predictor)
    close(go_on(predictor, state, tokens)[1].log_probs, read(predictor, tokens)[1].log_probs)


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_see_it")
@few_predictors
def test_nothing_is_legal_at_the_doors(predictor):
    assert protocol.predict(predictor, []).shape == (0, predictor.symbols)
    tokens = tokens_for(predictor)
    expected = read(predictor, tokens)[1].log_probs
    for empty in (jnp.zeros((0,), int), jnp.zeros((0,)), jnp.zeros((0, predictor.symbols))):
        close(read(protocol.condition(predictor, empty), tokens)[1].log_probs, expected)


@every_predictor
def test_a_prompt_is_what_was_read_before(predictor):
    before, tokens = (tokens_for(predictor, PIECE, seed) for seed in (3, 0))
    whole = rows_of(predictor, jnp.concatenate([before, tokens]))
    conditioned = protocol.condition(predictor, before)
    close(rows_of(conditioned, tokens), whole[PIECE:])
    np.testing.assert_array_equal(conditioned.prompt, before)


@pytest.mark.slow
@few_predictors
def test_prompts_follow_each_other_at_the_door(predictor):
    before, tokens = (tokens_for(predictor, PIECE, seed) for seed in (3, 0))
    whole = rows_of(predictor, jnp.concatenate([before, tokens]))
    close(protocol.predict(protocol.condition(predictor, before), tokens), whole[PIECE:])
    twice = protocol.condition(protocol.condition(predictor, before[:1]), before[1:])
    close(go_on(predictor, start(twice), tokens)[1].log_probs, whole[PIECE:])


@every_predictor
def test_a_batch_is_vmap(predictor):
    if type(predictor).advance_batch is Predictor.advance_batch:
        return  # it is, word for word
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
    for count in (0, PIECE, LENGTH):
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
    behind = Prompted(network, EmbeddedPrompt(rows[:PIECE]))
    close(rows_of(behind, tokens[PIECE:]), expected[PIECE:])
    np.testing.assert_array_equal(behind.prompt, rows[:PIECE])


@pytest.mark.slow
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
@pytest.mark.parametrize("architecture", [LSTM(width=4), Transformer(width=4, heads=2)], ids=type)
def test_large_alphabets_look_their_rows_up(architecture):
    network = laws.build(architecture, 0, 65)  # up to 64 symbols: a product with one-hot
    tokens = tokens_for(network)
    one_hot = jax.nn.one_hot(tokens, 65)
    close(read(network, tokens)[1].log_probs, read(network, one_hot)[1].log_probs)


# --- one tree -------------------------------------------------------------------------------


@pytest.mark.slow
@kinds_of_predictors
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
    np.testing.assert_array_equal(rows_of(back, tokens), rows_of(predictor, tokens))


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


@kinds_of_predictors
def test_other_numbers_compile_nothing(predictor):
    def halved(leaf):  # and as strong a type
        return leaf * 0.5 if eqx.is_inexact_array(leaf) else leaf

    read(predictor, tokens_for(predictor))
    traces = TRACES.total()
    other = jax.tree.map(halved, specs.traced(predictor))
    read(other, tokens_for(predictor, seed=1))
    assert TRACES.total() == traces > 0


@pytest.mark.slow
@first_networks
def test_the_same_key_builds_the_same_network(network):
    again = laws.build(network.architecture, 1, network.symbols)
    other = laws.build(network.architecture, 2, network.symbols)
    laws.same(again, network)
    assert any(
        (np.asarray(one) != np.asarray(new)).any()
        for one, new in zip(jax.tree.leaves(network), jax.tree.leaves(other), strict=True)
    )


@every_network
def test_the_layers_for_low_rank_tuning_exist(network):
    nodes = jax.tree_util.tree_leaves_with_path(
        network.torso, is_leaf=lambda node: isinstance(node, Layer)
    )
    layers = {path[-1].name for path, node in nodes if isinstance(node, Layer)}
    named = set(network.torso.low_rank_layers())
    assert named <= layers and bool(named) == bool(layers)  # none where there are no layers


# --- too much, and wrong --------------------------------------------------------------------


@pytest.mark.slow
@every_network
def test_more_than_the_capacity_is_never_a_silent_wrong_number(network):
    """Rows either equal the right ones (a recurrent state has no capacity) or are NaN."""
    tokens, room = tokens_for(network), 3
    expected = read(network, tokens)[1].log_probs
    for pieces in ([1] * LENGTH, [3, 1, PIECE]):
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
