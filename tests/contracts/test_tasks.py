"""Laws that every task obeys. A new member is judged by its `examples()` alone."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

import promptax.tasks as tasks
from promptax import protocol, specs
from promptax.evaluation.exact import enumeration
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

every_task = pytest.mark.parametrize("task", laws.examples(tasks.Task))
ALPHABETS, OTHERS = laws.exact_tasks(), laws.exact_tasks(over_alphabets=False)
every_exact_task = pytest.mark.parametrize("task", ALPHABETS)  # whose short sequences can be listed
every_exact_task_of_rows = pytest.mark.parametrize("task", OTHERS)
every_exact_task_of_any_outcome = pytest.mark.parametrize("task", ALPHABETS + OTHERS)


LENGTH = 9  # the same in most laws, so that they share what was compiled

sample = eqx.filter_jit(lambda task, key, length=LENGTH: task.sample(key, length))


def sequences_of(task):
    """Every sequence of the greatest length that gives at most 3^8 of them."""
    length = min(8, int(math.log(3**8 + 1) / math.log(task.symbols)))
    return laws.all_sequences(task.symbols, length)


@pytest.mark.parametrize("member", laws.members(tasks.Task).values())
def test_members_bring_examples(member):
    assert member.examples() and all(type(example) is member for example in member.examples())


# --- episodes -------------------------------------------------------------------------------


@every_task
def test_an_episode_has_its_length_and_its_alphabet(task):
    outcome = task.outcome
    for length in (0, LENGTH):
        episode = sample(task, jax.random.key(0), length)
        if outcome.alphabet is None:
            assert episode.inputs.shape == (length, outcome.input_width())
            assert bool(jnp.all(jnp.isfinite(episode.inputs)))
        else:
            assert episode.tokens.shape == (length,)
            assert jnp.issubdtype(episode.tokens.dtype, jnp.integer)
            assert bool(jnp.all((episode.tokens >= 0) & (episode.tokens < task.symbols)))
        assert episode.scored is None or episode.scored.shape == (length,)


@every_task
def test_the_same_key_gives_the_same_episode(task):
    first, again = (sample(task, jax.random.key(3)) for _ in range(2))
    assert eqx.tree_equal(first, again)
    episodes = tasks.base.sample_batch(task, jax.random.split(jax.random.key(3), 64), LENGTH)
    listed = task.has_bayes and task.outcome.alphabet is not None
    possible = laws.read(task.bayes(), episodes.tokens) if listed else None
    if possible is None or np.max(possible[:, 0]) < 0:  # else the task has one sequence only
        assert len(np.unique(np.asarray(episodes.tokens), axis=0)) > 1


@pytest.mark.slow
@every_task
def test_compiled_equals_eager(task):
    key = jax.random.key(5)
    eager = task.sample(key, LENGTH)
    np.testing.assert_allclose(eager.inputs, sample(task, key).inputs, rtol=1e-5, atol=1e-6)
    batch = tasks.base.sample_batch(specs.traced(task), key[None], LENGTH)
    np.testing.assert_allclose(eager.inputs, batch.inputs[0], rtol=1e-5, atol=1e-6)
    if task.has_bayes:
        bayes = task.bayes()
        with jax.disable_jit():
            slow = bayes.advance(bayes.start(), eager.inputs[:3])[1].shown()
        fast = protocol.predict(bayes, eager.inputs)[:3]
        np.testing.assert_allclose(slow, fast, rtol=1e-6, atol=1e-6)


@every_task
def test_other_numbers_of_the_same_shape_compile_nothing(task):
    def use(task, key):
        episode = task.sample(key, LENGTH)
        rows = task.oracle(episode.latent, episode.inputs) if task.has_oracle else ()
        read = task.bayes().advance(task.bayes().start(), episode.inputs) if task.has_bayes else ()
        return episode, rows, read

    def changed(leaf):
        if not eqx.is_array(leaf):
            return leaf
        return leaf[::-1] if leaf.ndim else 1.5 * leaf

    here = specs.traced(task)
    other = jax.tree.map(changed, here)
    traces = laws.Traces(use)
    for seed, each in enumerate((here, other)):
        traces.compiled(each, jax.random.key(seed))
    assert traces.count == 1


@every_task
def test_json_gives_the_same_task_back(task):
    assert eqx.tree_equal(specs.from_json(specs.to_json(task)), task)
    arrays = {}
    description = specs.to_json(task, arrays)
    back = specs.from_json(description, arrays)
    assert eqx.tree_equal(back, task) and specs.to_json(back) == specs.to_json(task)
    assert eqx.tree_equal(sample(task, jax.random.key(1)), sample(back, jax.random.key(1)))


@every_task
def test_steps_that_are_not_scored_lose_nothing(task):
    outcome, episode = task.outcome, sample(task, jax.random.key(2))
    prediction = outcome.prediction(jnp.ones((LENGTH, outcome.parameter_width())))
    scored = jnp.arange(LENGTH) % 3 < 2
    masked, whole = (
        outcome.log_loss(prediction, protocol.Episode(episode.inputs, scored=mask))
        for mask in (scored, None)
    )
    np.testing.assert_array_equal(masked, np.where(scored, whole, 0.0))
    assert np.isfinite(whole).all() and np.any(whole != 0)


# --- oracle and exact predictor -------------------------------------------------------------


@pytest.mark.slow
@every_exact_task_of_any_outcome
def test_rows_are_distributions_also_after_long_histories(task):
    episode = eqx.filter_jit(lambda key: task.sample(key, 400))(jax.random.key(1))
    for rows in (
        task.oracle(episode.latent, episode.inputs),
        protocol.predict(task.bayes(), episode.inputs),
    ):
        assert rows.shape == (400, task.outcome.parameter_width())
        if task.outcome.alphabet is None:  # whose parameters make a density whatever they are
            assert np.isfinite(rows).all()
        else:
            laws.normalised(rows)


@every_exact_task_of_any_outcome
def test_row_t_ignores_the_inputs_from_t_on(task):
    episode = sample(task, jax.random.key(1))
    inputs = np.asarray(episode.inputs)
    if task.outcome.alphabet is None:
        others = np.asarray(sample(task, jax.random.key(2)).inputs)
    else:
        others = (inputs + 1) % task.symbols

    def bayes(inputs):
        return np.asarray(protocol.predict(task.bayes(), inputs))

    def oracle(inputs):
        return np.asarray(task.oracle(episode.latent, jnp.asarray(inputs)))

    for step in range(LENGTH):
        changed = np.concatenate([inputs[:step], others[step:]])
        for rows in (bayes, oracle):
            seen = slice(step + 1)
            np.testing.assert_array_equal(rows(changed)[seen], rows(inputs)[seen])


@every_exact_task_of_rows
def test_bayes_equals_brute_force_for_beginnings_of_random_sequences(task):
    drawn = tasks.base.sample_batch(task, jax.random.split(jax.random.key(4), 20), LENGTH).inputs
    single = task.outcome.log_loss(
        laws.predictions(task.bayes(), drawn), protocol.Episode(drawn)
    ).sum(axis=1)
    with enumeration.double_precision():
        inputs = jnp.asarray(np.asarray(drawn, float))
        prediction = laws.predictions(task.bayes(), inputs)
        losses = np.asarray(task.outcome.log_loss(prediction, protocol.Episode(inputs)))
        for length in (0, 1, 4, LENGTH):
            evidence = laws.log_evidence(task, inputs[:, :length])
            np.testing.assert_allclose(-losses[:, :length].sum(axis=1), evidence, atol=1e-8)
    np.testing.assert_allclose(single, losses.sum(axis=1), atol=1e-3)


@every_exact_task
def test_bayes_equals_brute_force_for_every_sequence(task):
    tokens = sequences_of(task)
    conditional, evidence = laws.judge(task, tokens)
    with enumeration.double_precision():
        log_probs = np.asarray(laws.read(task.bayes(), tokens))
    assert not np.isnan(log_probs).any()
    possible = np.concatenate([np.ones((len(tokens), 1), bool), evidence[:, :-1] > -np.inf], 1)
    np.testing.assert_allclose(
        np.exp(log_probs[possible]), np.exp(conditional[possible]), atol=1e-5
    )
    finite = possible[..., None] & np.isfinite(conditional)
    np.testing.assert_allclose(log_probs[finite], conditional[finite], atol=1e-5)
    np.testing.assert_allclose(log_probs[~possible], -np.log(task.symbols), atol=1e-5)
    total = laws.of_tokens(log_probs, tokens).sum(axis=1)
    np.testing.assert_allclose(np.exp(total).sum(), 1.0, atol=1e-9)
    np.testing.assert_allclose(total, evidence[:, -1], atol=1e-5)


@every_exact_task
def test_single_precision_is_close_to_double(task):
    tokens = sequences_of(task)[::37]
    with enumeration.double_precision():
        precise = np.asarray(laws.read(task.bayes(), tokens))
    np.testing.assert_allclose(np.exp(laws.read(task.bayes(), tokens)), np.exp(precise), atol=1e-5)


@every_exact_task
def test_evidence_of_a_beginning_sums_over_all_ways_to_go_on(task):
    beginnings = laws.all_sequences(task.symbols, 3)
    _, summed = laws.judge(task, laws.all_sequences(task.symbols, 4))
    ends = summed[:: task.symbols, 2]
    np.testing.assert_allclose(np.exp(laws.log_evidence(task, beginnings)), np.exp(ends), atol=1e-9)
    np.testing.assert_allclose(np.exp(ends).sum(), 1.0, atol=1e-9)
    nothing = laws.log_evidence(task, jnp.zeros((1, 0), jnp.int32))
    np.testing.assert_allclose(nothing, 0.0, atol=1e-9)


@pytest.mark.parametrize("task", laws.tasks_with_quadrature())
def test_quadrature_weights_are_a_distribution(task):
    latents, weights = task.latent_quadrature(4)
    assert {len(leaf) for leaf in jax.tree.leaves(latents)} == {len(weights)}
    assert bool(jnp.all(weights >= 0))
    np.testing.assert_allclose(jnp.sum(weights), 1.0, atol=1e-6)


@pytest.fixture(scope="module")
def sampled():
    """Episodes of a task, with the parameters that its oracle gives, and with what its exact
    predictor says."""

    @functools.cache
    def sampled(task, sequences=2000, length=24):
        keys = jax.random.split(jax.random.key(7), sequences)
        episodes = tasks.base.sample_batch(specs.traced(task), keys, length)
        oracle = jax.jit(jax.vmap(task.oracle))(episodes.latent, episodes.inputs)
        return episodes, oracle, laws.predictions(task.bayes(), episodes.inputs)

    return sampled


@pytest.mark.slow
@every_exact_task_of_any_outcome
def test_on_samples_oracle_beats_bayes_beats_uniform(task, sampled):
    episodes, oracle, bayes = sampled(task)
    said = task.outcome.prediction(oracle), bayes
    oracle, bayes = (np.asarray(task.outcome.log_loss(each, episodes)) for each in said)
    means = oracle.mean(axis=1), bayes.mean(axis=1)
    laws.assert_at_most_zero(means[0] - means[1], "log loss of the oracle minus that of Bayes")
    if task.outcome.alphabet is not None:
        laws.assert_at_most_zero(means[1] - np.log(task.symbols), "log loss of Bayes over uniform")
    entropy = np.asarray(task.oracle_entropy(oracle.shape[1]))
    assert entropy.shape == oracle.shape[1:]
    laws.assert_zero(means[0] - entropy.mean(), "oracle's loss minus its expectation")
    for step in range(len(entropy)):
        what = f"oracle's loss minus its expectation at step {step}"
        laws.assert_zero(oracle[:, step] - entropy[step], what)


@every_exact_task
def test_sampled_symbols_come_as_often_as_predicted(task, sampled):
    # 1[symbol came] - p(symbol | before) has mean zero at every step, whatever the task
    episodes, oracle, bayes = sampled(task)
    tokens, bayes = np.asarray(episodes.tokens), bayes.log_probs
    for symbol in range(task.symbols):
        for name, rows in (("oracle", oracle), ("bayes", bayes)):
            surprise = ((tokens == symbol) - np.exp(rows[..., symbol])).mean(axis=1)
            laws.assert_zero(surprise, f"frequency of {symbol} minus its probability by {name}")
    first = np.exp(np.asarray(bayes[0, 0]))
    for symbol, chance in enumerate(first):
        laws.assert_zero((tokens[:, 0] == symbol) - chance, f"first symbol {symbol}")


IMPOSSIBLE = {
    "Categorical": (Categorical((0.0, 0.4, 0.6)), [1, 0, 1, 2]),
    "CategoricalMixture": (CategoricalMixture(((1.0, 0.0), (0.0, 1.0)), (0.3, 0.7)), [0, 1, 1, 1]),
    "CategoricalMixture-weights": (CategoricalMixture(((1.0, 0.0), (0.5, 0.5)), (1, 0)), [0, 1, 0]),
    "DirichletCategorical": (DirichletCategorical((1.0, 0.0, 2.0)), [0, 1, 2, 2]),
}


@pytest.mark.parametrize(("task", "tokens"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_after_an_impossible_symbol_bayes_is_uniform(task, tokens):
    rows = protocol.predict(task.bayes(), jnp.array(tokens))
    assert not bool(jnp.any(jnp.isnan(rows)))
    assert rows[1, tokens[1]] == -jnp.inf
    np.testing.assert_allclose(rows[2:], -np.log(task.symbols), rtol=1e-6)


@pytest.mark.slow
@every_exact_task_of_any_outcome
def test_the_loss_has_finite_derivatives_in_a_prompt(task):
    """A prompt of weights is tuned through an exact predictor: no NaN from 0 log 0 on the way. Or
    it is refused by name."""
    episode = sample(task, jax.random.key(0))
    if task.outcome.alphabet is None:
        support, weights = True, task.outcome.draw(jax.random.key(1), 2)
    else:
        support = jnp.exp(protocol.predict(task.bayes(), episode.tokens)[0]) > 0
        weights = jnp.broadcast_to(support / jnp.sum(support), (2, task.symbols))

    def loss(weights):
        state, _ = task.bayes().advance(task.bayes().start(), weights)
        prediction = task.bayes().advance(state, episode.inputs)[1]
        return task.outcome.log_loss(prediction, episode).sum()

    try:
        value, slope = jax.jit(jax.value_and_grad(loss))(weights)
    except TypeError as refusal:  # a context has no fractions of symbols
        assert str(refusal).startswith("Expected tokens; got weights")
        return
    if jnp.isfinite(value):  # a mixture of components with gaps may exclude the episode
        assert bool(jnp.all(jnp.isfinite(jnp.where(support, slope, 0.0))))


def test_values_known_by_hand():
    laplace = protocol.predict(DirichletCategorical().bayes(), jnp.array([1, 1, 1]))
    np.testing.assert_allclose(
        np.exp(laplace), [[1 / 2, 1 / 2], [1 / 3, 2 / 3], [1 / 4, 3 / 4]], rtol=1e-6
    )
    two = protocol.predict(CategoricalMixture().bayes(), jnp.array([1, 1]))
    np.testing.assert_allclose(np.exp(two[1]), [0.32, 0.68], rtol=1e-6)  # posterior (0.8, 0.2)
    np.testing.assert_allclose(DirichletCategorical().oracle_entropy(2), [0.5, 0.5], rtol=1e-6)
    entropy = -0.2 * math.log(0.2) - 0.8 * math.log(0.8)
    np.testing.assert_allclose(Categorical().oracle_entropy(1), entropy, rtol=1e-6)
    np.testing.assert_allclose(CategoricalMixture().oracle_entropy(1), entropy, rtol=1e-6)
