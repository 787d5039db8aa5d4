"""Laws that every task obeys. A new member is judged by its `examples()` alone."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws
from support.episodes import (
    EPISODES,
    LENGTH,
    SHORT,
    TRACES,
    all_short,
    draw,
    episodes_of,
    judged,
    keys,
    one_episode,
    read_precisely,
    said_of,
    say,
)

import promptax.tasks as tasks
from promptax import protocol, specs
from promptax.evaluation.exact import beliefs, enumeration
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical
from promptax.tasks.batches import batch_to_measure

every_task = pytest.mark.parametrize("task", laws.examples(tasks.Task))
FIRST = laws.firsts(laws.examples(tasks.Task))
first_tasks = pytest.mark.parametrize("task", FIRST)
ALPHABETS, OTHERS = laws.exact_tasks(), laws.exact_tasks(over_alphabets=False)
every_exact_task = pytest.mark.parametrize("task", ALPHABETS)  # whose short sequences can be listed
every_exact_task_of_rows = pytest.mark.parametrize("task", OTHERS)
every_exact_task_of_any_outcome = pytest.mark.parametrize("task", ALPHABETS + OTHERS)
first_exact_tasks = pytest.mark.parametrize("task", laws.firsts(ALPHABETS + OTHERS))


@pytest.mark.parametrize("member", laws.members(tasks.Task).values())
def test_members_bring_examples(member):
    assert member.examples() and all(type(example) is member for example in member.examples())


# --- episodes -------------------------------------------------------------------------------


@every_task
def test_an_episode_has_its_length_and_its_alphabet(task):
    outcome, episodes = task.outcome, episodes_of(task)
    inputs = np.asarray(episodes.inputs)
    if outcome.alphabet is None:
        assert inputs.shape == (EPISODES, LENGTH, outcome.input_width())
        assert np.isfinite(inputs).all()
    else:
        assert inputs.shape == (EPISODES, LENGTH)
        assert np.issubdtype(inputs.dtype, np.integer)
        assert (inputs >= 0).all() and (inputs < task.symbols).all()
    assert episodes.scored is None or episodes.scored.shape == (EPISODES, LENGTH)
    for length in (0, 1):
        shapes = jax.eval_shape(lambda key: task.sample(key, length), jax.random.key(0))  # noqa: B023
        assert shapes.observations.shape == (length, *inputs.shape[2:])
        assert shapes.scored is None or shapes.scored.shape == (length,)
    if task.held is not None:  # what is drawn is one of them, and each is measured once
        held = np.asarray(batch_to_measure(task, jax.random.key(0), 10**6, LENGTH).inputs)
        assert len(held) == task.held
        assert all((held == one).all(axis=1).any() for one in inputs)


@first_tasks
def test_the_same_key_gives_the_same_episode(task):
    episodes = episodes_of(task)
    laws.same(episodes, draw(specs.traced(task), keys()))
    listed = task.has_bayes and task.outcome.alphabet is not None
    first_row = np.asarray(said_of(task)[1].log_probs)[0, 0] if listed else None
    if first_row is None or first_row.max() < 0:  # else the task has one sequence only
        assert len(np.unique(np.asarray(episodes.tokens)[:64, :SHORT], axis=0)) > 1


def one_of_each_room():
    """A task of each folder: its members share what looks at numbers that are not traced."""
    rooms = {type(case.values[0]).__module__.rpartition(".")[0]: case for case in reversed(FIRST)}
    return pytest.mark.parametrize("task", rooms.values())


@pytest.mark.slow
@one_of_each_room()
def test_compiled_equals_eager(task):
    eager = task.sample(keys()[0], LENGTH)
    compiled = np.asarray(episodes_of(task).inputs)[0]
    np.testing.assert_allclose(eager.inputs, compiled, rtol=1e-5, atol=1e-6)
    if task.has_bayes:
        bayes = task.bayes()
        with jax.disable_jit():
            rows = bayes.advance(bayes.start(), eager.inputs[:3])[1].shown()
        fast = np.asarray(said_of(task)[1].shown())[0, :3]
        np.testing.assert_allclose(rows, fast, rtol=1e-6, atol=1e-6)


@first_tasks
def test_other_numbers_of_the_same_shape_compile_nothing(task):
    def changed(leaf):
        if not eqx.is_array(leaf):
            return leaf
        values = np.asarray(leaf)
        return specs.on_device(values[::-1] if values.ndim else (1.5 * values).astype(leaf.dtype))

    def use(task):
        episodes = draw(task, keys())
        say(task, episodes.latent, episodes.inputs)

    use(specs.traced(task))
    traces = TRACES.total()
    use(jax.tree.map(changed, specs.traced(task)))
    assert TRACES.total() == traces > 0


@every_task
def test_json_gives_the_same_task_back(task):
    assert eqx.tree_equal(specs.from_json(specs.to_json(task)), task)
    arrays = {}
    description = specs.to_json(task, arrays)
    back = specs.from_json(description, arrays)
    assert eqx.tree_equal(back, task) and specs.to_json(back) == specs.to_json(task)
    laws.same(draw(specs.traced(back), keys()), episodes_of(task))


@every_task
def test_steps_that_are_not_scored_lose_nothing(task):
    outcome, inputs = task.outcome, one_episode(task).inputs
    prediction = outcome.prediction(jnp.ones((LENGTH, outcome.parameter_width())))
    scored = jnp.arange(LENGTH) % 3 < 2
    masked, whole = (
        outcome.log_loss(prediction, protocol.Episode(inputs, scored=mask))
        for mask in (scored, None)
    )
    np.testing.assert_array_equal(masked, np.where(scored, whole, 0.0))
    assert np.isfinite(whole).all() and np.any(whole != 0)


# --- oracle and exact predictor -------------------------------------------------------------


@eqx.filter_jit
def read_long(task, key):
    """The oracle's parameters and the exact predictor's over 400 steps."""
    episode, bayes = task.sample(key, 400), task.bayes()
    shown = bayes.advance(bayes.start(), episode.inputs)[1].shown()
    return task.oracle(episode.latent, episode.inputs), shown


@pytest.mark.slow
@first_exact_tasks
def test_rows_are_distributions_also_after_long_histories(task):
    for rows in read_long(specs.traced(task), jax.random.key(1)):
        assert rows.shape == (400, task.outcome.parameter_width())
        scored = getattr(task.outcome, "answer", task.outcome)  # of points, their answers
        if scored.alphabet is None:  # whose parameters make a density whatever they are
            assert np.isfinite(rows).all()
        else:
            laws.normalised(rows)


@every_exact_task_of_any_outcome
def test_row_t_ignores_the_inputs_from_t_on(task):
    episodes, (oracle, bayes) = episodes_of(task), said_of(task)
    inputs = np.asarray(episodes.inputs)
    if task.outcome.alphabet is None:
        others = np.roll(inputs, 1, axis=0)
    else:
        others = (inputs + 1) % task.symbols
    step = np.arange(EPISODES)[:, None] % LENGTH  # from which each sequence is another
    is_changed = np.arange(LENGTH) >= step
    changed = np.where(
        is_changed.reshape(is_changed.shape + (1,) * (inputs.ndim - 2)), others, inputs
    )
    again = say(specs.traced(task), episodes.latent, specs.on_device(changed))
    seen = np.arange(LENGTH) <= step
    for rows, ours in ((again[0], oracle), (again[1].shown(), bayes.shown())):
        np.testing.assert_array_equal(np.asarray(rows)[seen], np.asarray(ours)[seen])


@pytest.mark.slow
@every_exact_task_of_any_outcome  # gaps and longer memories are those of later examples
def test_the_oracle_looks_back_as_far_as_it_says(task):
    """What came before that is forgotten, and a sequence begins as if zeros came before it."""
    if task.lookback is None:
        return
    episode = one_episode(task)

    def rows(inputs):
        return np.asarray(task.oracle(episode.latent, jnp.asarray(inputs)))

    inputs = np.asarray(episode.inputs)
    earlier = np.concatenate([np.zeros_like(inputs[:4]), inputs])
    np.testing.assert_allclose(rows(earlier)[4:], rows(inputs), rtol=1e-6)
    start, seen = 3, 3 + task.lookback
    np.testing.assert_allclose(
        rows(inputs[start:])[task.lookback :], rows(inputs)[seen:], rtol=1e-6
    )


@pytest.mark.slow
@every_exact_task_of_rows
def test_bayes_equals_brute_force_for_beginnings_of_random_sequences(task):
    def losses_of(prediction, inputs):
        return np.asarray(task.outcome.log_loss(prediction, protocol.Episode(inputs)))

    episodes = episodes_of(task)
    drawn = np.asarray(episodes.inputs)[:20, :SHORT]
    single = losses_of(said_of(task)[1], episodes.inputs)[:20, :SHORT].sum(axis=1)
    with enumeration.double_precision():
        inputs = specs.on_device(drawn.astype(float))
        losses = losses_of(laws.predictions(task.bayes(), inputs), inputs)
    lengths = (0, 1, 4, SHORT)
    for length, evidence in zip(lengths, laws.log_evidences(task, drawn, lengths), strict=True):
        np.testing.assert_allclose(-losses[:, :length].sum(axis=1), evidence, atol=1e-8)
    np.testing.assert_allclose(single, losses.sum(axis=1), atol=1e-3)


@every_exact_task
def test_bayes_equals_brute_force_for_every_sequence(task):
    tokens, log_probs = np.asarray(all_short(task)), read_precisely(task)
    conditional, evidence = judged(task)
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


@pytest.mark.slow
@every_exact_task
def test_merged_beliefs_lose_what_every_sequence_does(task):
    """Expected losses [time]: sums over beliefs, of which equal ones are read once, and over all
    sequences."""
    losses = -laws.of_tokens(read_precisely(task), all_short(task))
    chances = np.exp(-losses.sum(axis=1))
    comes, length = chances > 0, min(5, losses.shape[1])
    with enumeration.double_precision():
        bayes = specs.traced(task).bayes()
    merged = beliefs.merged_losses(bayes, bayes, length)[0]
    np.testing.assert_allclose(merged, (chances[comes] @ losses[comes])[:length], atol=1e-9)


@every_exact_task
def test_single_precision_is_close_to_double(task):
    tokens = np.asarray(all_short(task))[::37]
    longer = np.zeros((EPISODES, LENGTH), np.int32)  # rows ignore what comes later
    longer[: len(tokens), : tokens.shape[1]] = tokens
    said = say(specs.traced(task), episodes_of(task).latent, specs.on_device(longer))[1].log_probs
    single = np.asarray(said)[: len(tokens), : tokens.shape[1]]
    np.testing.assert_allclose(np.exp(single), np.exp(read_precisely(task)[::37]), atol=1e-5)


@every_exact_task
def test_evidence_of_a_beginning_sums_over_all_ways_to_go_on(task):
    whole = judged(task)[1][:, -1]
    length = min(3, all_short(task).shape[1] - 1)
    beginnings = laws.all_sequences(task.symbols, length)
    nothing, evidence = laws.log_evidences(task, beginnings, (0, length))
    summed = np.logaddexp.reduce(whole.reshape(len(beginnings), -1), axis=1)
    np.testing.assert_allclose(np.exp(evidence), np.exp(summed), atol=1e-9)
    np.testing.assert_allclose(np.exp(summed).sum(), 1.0, atol=1e-9)
    np.testing.assert_allclose(nothing, 0.0, atol=1e-9)


@pytest.mark.parametrize("task", laws.tasks_with_quadrature())
def test_quadrature_weights_are_a_distribution(task):
    latents, weights = task.latent_quadrature(4)
    assert {len(leaf) for leaf in jax.tree.leaves(latents)} == {len(weights)}
    assert bool(jnp.all(weights >= 0))
    np.testing.assert_allclose(jnp.sum(weights), 1.0, atol=1e-6)


@pytest.mark.slow
@every_exact_task_of_any_outcome
def test_on_samples_oracle_beats_bayes_beats_uniform(task):
    episodes, (oracle, bayes) = episodes_of(task), said_of(task)
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
def test_sampled_symbols_come_as_often_as_predicted(task):
    # 1[symbol came] - p(symbol | before) has mean zero at every step, whatever the task
    tokens, (oracle, bayes) = np.asarray(episodes_of(task).tokens), said_of(task)
    chances = {"oracle": np.exp(np.asarray(oracle)), "bayes": np.exp(np.asarray(bayes.log_probs))}
    for symbol in range(task.symbols):
        for name, rows in chances.items():
            surprise = ((tokens == symbol) - rows[..., symbol]).mean(axis=1)
            laws.assert_zero(surprise, f"frequency of {symbol} minus its probability by {name}")
    for symbol, chance in enumerate(chances["bayes"][0, 0]):
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
@every_exact_task_of_any_outcome  # gaps and longer memories are those of later examples
def test_the_loss_has_finite_derivatives_in_a_prompt(task):
    """A prompt of weights is tuned through an exact predictor: no NaN from 0 log 0 on the way. Or
    it is refused by name."""
    episode = one_episode(task, SHORT)
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
