"""Pruning, policies, trees, edits and black-box searches: the smallest case in which each must do
what its paper says. Steps are taken one by one, on sequences of ones."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import FitSettings
from promptax.predictors import LSTM
from promptax.protocol.outcomes import Episode
from promptax.steering import (
    EditBeam,
    EvolutionaryPruning,
    PolicySearch,
    Prompters,
    SegmentRewriting,
    SquareAttack,
    SubspaceEvolution,
    ThresholdPruning,
    TreeSearch,
)
from promptax.steering.search_problem import SearchProblem, Sizes
from promptax.steering.searches.blackbox.subspace_evolution import Rates, Strategy
from promptax.steering.searches.draws.target_samples import pieces
from promptax.steering.searches.duplicates import first_of_equals
from promptax.steering.searches.edits.segment_rewriting import segment_gains
from promptax.steering.searches.policy.writing import log_probabilities
from promptax.steering.searches.pruning.demonstrations import drawn
from promptax.steering.searches.tree.tree_search import bounded
from promptax.tasks import (
    Categorical,
    CategoricalMixture,
    DirichletCategorical,
    LinearRegression,
)

KEY = jax.random.key(2)
COINS, COIN = DirichletCategorical((1.0, 1.0)).bayes(), Categorical((0.0, 1.0))
ONES = Episode(jnp.ones((2, 4), jnp.int32))


def problem_of(length, step=0, steps=1):
    return SearchProblem(COINS, Sizes(COIN.outcome, length, None, 1), ONES, step=step, steps=steps)


@functools.partial(jax.jit, static_argnums=0)
def next_state(search, state, step, steps):
    problem = problem_of(search.length, step, steps)
    return search.step(jax.random.fold_in(KEY, step), state, problem)


@functools.partial(jax.jit, static_argnums=0)
def first_state(search):
    return search.start(KEY, problem_of(search.length))


def walk(search, steps, first=0, state=None):
    """The state after so many steps, and what each of them lost."""
    state = first_state(search) if state is None else state
    losses = []
    for step in range(first, steps):
        state, loss = next_state(search, state, step, steps)
        losses.append(float(loss))
    return state, losses


def loss_behind(zeros, ones):
    """Of four ones, by Laplace's rule."""
    return -sum(math.log((ones + 1 + n) / (zeros + ones + 2 + n)) for n in range(4))


def test_what_harms_is_pruned_first_and_then_what_helps_least():
    search = ThresholdPruning(length=2, context=4)
    state = first_state(search)._replace(symbols=jnp.array([1, 0, 1, 1]))
    kept = []
    for step in range(1, 8):
        state, loss = next_state(search, state, step, 8)
        kept.append(np.asarray(state.kept).astype(int).tolist())
    # a one helps and stays; the zero falls when it is met; in the last step another one has to
    assert kept[:6] == [[1, 1, 1, 1], *[[1, 0, 1, 1]] * 5] and sum(kept[6]) == 2
    assert np.asarray(search.prompt(state)).tolist() == [1, 1]
    np.testing.assert_allclose(loss, loss_behind(0, 3), rtol=1e-5)


def test_evolution_prunes_to_the_best_mask():
    search = EvolutionaryPruning(length=3, context=7, individuals=6, children=16, most_pruned=2)
    symbols = jnp.array([0, 1, 0, 1, 1, 0, 0])
    state = first_state(search)._replace(symbols=symbols)
    state, _ = walk(search, 9, 1, state)
    assert np.asarray(search.prompt(state)).tolist() == [1, 1, 1] and bool(state.ranked)
    assert (np.sum(state.kept, axis=1) == 3).all(), "pruned below its length"
    assert (np.asarray(state.scores) >= 2 * loss_behind(0, 3) - 1e-4).all(), "no sum of a ranking"


def tuned_by(search, scale):
    """Random numbers in the shapes of what a search tunes; nothing is compiled."""
    shapes = jax.eval_shape(lambda: first_state(search)).tuned
    draws = np.random.default_rng(3)
    return jax.tree.map(
        lambda leaf: jnp.asarray(scale * draws.standard_normal(leaf.shape), jnp.float32), shapes
    )


def test_a_policy_gradient_is_that_of_the_expected_reward():
    """The mean gradient over all pairs of prompts, which the baseline and the critic leave as it
    is; both are exact sums."""
    search = Prompters(length=2, samples=2, width=2, temperature=0.0)
    tuned, prompts = tuned_by(search, 1.0), jnp.array(list(itertools.product(range(2), repeat=2)))
    rewards = jnp.array([0.3, -2.0, 1.0, 0.7])

    def probabilities(tuned):
        log_probs = log_probabilities(tuned, prompts)
        chosen = jnp.take_along_axis(log_probs, prompts[..., None], axis=-1)[..., 0]
        return jnp.exp(jnp.sum(chosen, axis=1))

    def gradient(pair):
        return jax.grad(search.objective)(tuned, prompts[pair], rewards[pair])

    def summed(tuned):
        pairs = jnp.array(list(itertools.product(range(4), repeat=2)))
        weights = jnp.prod(probabilities(tuned)[pairs], axis=1)
        slopes = jax.vmap(gradient)(pairs)
        return jax.tree.map(lambda leaf: jnp.einsum("p,p...->...", weights, leaf), slopes)

    exactly = jax.grad(lambda tuned: -jnp.sum(probabilities(tuned) * rewards))
    expected, total = jax.jit(lambda tuned: (exactly(tuned), summed(tuned)))(tuned)
    for part in ("policies", "table"):
        for mean, exact in zip(
            *map(jax.tree.leaves, (getattr(total, part), getattr(expected, part))), strict=True
        ):
            np.testing.assert_allclose(mean, exact, atol=1e-5)


def test_path_consistency_holds_where_a_policy_is_the_softmax_of_its_rewards():
    search = PolicySearch(
        length=1, samples=3, width=1, temperature=0.5, learn_by="path consistency"
    )
    tuned = tuned_by(search, 0.0)
    prompts, rewards = jnp.array([[0], [1]]), jnp.array([-3.0, -1.0])
    objective = jax.jit(jax.value_and_grad(search.objective))
    assert objective(tuned, prompts, rewards)[0] > 0.1
    value, slopes = objective(tuned._replace(table=rewards[None] / 0.5), prompts, rewards)
    np.testing.assert_allclose([value, *jax.tree.leaves(slopes.table)[0][0]], 0, atol=1e-5)


def test_one_prompter_is_the_policy_search():
    """Both trace to the same program, letter by letter; with two there is a critic."""

    def program(search):
        def first_step():
            state = search.start(KEY, problem_of(3))
            return search.step(KEY, state, problem_of(3))[0]

        return jax.make_jaxpr(first_step, return_shape=True)()

    settings = {"length": 3, "samples": 4, "width": 2}
    one, alone, two = (
        program(search)
        for search in (
            Prompters(prompters=1, **settings),
            PolicySearch(**settings),
            Prompters(prompters=2, **settings),
        )
    )
    assert str(one[0]) == str(alone[0]) != str(two[0])
    assert one[1].tuned.critic is None and two[1].tuned.critic is not None


def test_a_tree_visits_the_best_leaf_most():
    search = TreeSearch(length=2, rollouts=1, nodes=30)
    state, losses = walk(search, 30)
    tree = state.tree
    children, visits = np.asarray(tree.children_index[0]), np.asarray(tree.children_visits[0])
    leaves = {
        pair: visits[children[0, pair[0]], pair[1]] for pair in itertools.product((0, 1), (0, 1))
    }
    assert max(leaves, key=leaves.get) == (1, 1), leaves
    assert visits[0].sum() == 30 and np.asarray(search.prompt(state)).tolist() == [1, 1]
    np.testing.assert_allclose(losses[-1], loss_behind(0, 2), rtol=1e-5)


def test_an_impossible_ending_is_no_better_than_the_uniform_predictor():
    losses = jnp.array([[1.0, jnp.inf], [jnp.inf, jnp.inf], [9.0, jnp.inf]])
    counted = [bounded(row, uniform=5.0).tolist() for row in losses]
    assert counted == [[1.0, 5.0], [5.0, 5.0], [9.0, 9.0]]


def test_a_beam_of_one_that_makes_every_edit_is_steepest_descent():
    search = EditBeam(length=3, beam=1, edits=99, variants=0)
    start = jnp.zeros((1, 3), jnp.int32)
    state, losses = walk(search, 3, 0, start)
    assert np.asarray(search.prompt(state)).tolist() == [1, 1, 1]
    expected = [loss_behind(3 - ones, ones) for ones in range(3)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_permutations_are_equal_where_order_does_not_matter():
    prompts = jnp.array([[0, 1], [1, 0], [0, 1], [1, 1]])
    assert first_of_equals(prompts, exchangeable=True).tolist() == [0, 0, 0, 3]
    assert first_of_equals(prompts).tolist() == [0, 1, 0, 3]


def test_the_segment_that_harms_has_the_most_negative_gain():
    search = SegmentRewriting(length=6, segments=3)
    prompt = jnp.array([1, 1, 0, 0, 1, 1])
    gains, losses = jax.jit(lambda: segment_gains(problem_of(6), prompt, search.bounds))()
    with_it = loss_behind(2, 4)
    expected = [loss_behind(2, 2), loss_behind(0, 4), loss_behind(2, 2)]
    np.testing.assert_allclose(gains, np.array(expected) - with_it, atol=1e-5)
    np.testing.assert_allclose(losses, with_it, rtol=1e-5)
    assert np.argmin(gains) == 1 and gains[1] < 0


def test_covariances_adapt_to_an_ellipse_and_see_ranks_alone():
    """30 to 1 along the axes of the ellipse; a tenth of these generations reach 1e-2 of it."""
    scales, centre = jnp.array([1.0, 30.0, 5.0]), jnp.array([1.0, -0.5, 2.0])

    def generation(number, carry):
        strategy, _ = carry
        axes = strategy.axes()
        points = strategy.draw(jax.random.fold_in(KEY, number), 12, axes)
        losses = jnp.sum((scales * (points - centre)) ** 2, axis=1)
        new = strategy.adapt(points, losses, number, axes)
        other = strategy.adapt(points, -jnp.exp(-1e-3 * losses), number, axes)
        return new, jnp.max(jnp.abs(new.mean - other.mean))

    zeros = jnp.zeros(3)
    begin = Strategy(zeros, jnp.float32(1.0), jnp.eye(3), zeros, zeros)
    run = jax.jit(lambda: jax.lax.fori_loop(0, 120, generation, (begin, jnp.float32(0))))
    strategy, apart = run()
    np.testing.assert_allclose(strategy.mean, centre, atol=1e-2)
    assert apart < 1e-6, "another scale of losses, another step"


def test_weights_of_an_odd_generation_are_the_standard_ones():
    """Of five points two are the better half: log 3 and log 3 - log 2, before they sum to 1."""
    expected = np.log([3.0, 1.5]) / np.log(4.5)
    np.testing.assert_allclose(Rates.of(5, 2).weights, expected, rtol=1e-12)


def test_the_worst_prompt_is_the_exhaustive_one():
    worst, losses = walk(SquareAttack(length=3, find="worst"), 12)
    assert np.asarray(worst).tolist() == [0, 0, 0]
    np.testing.assert_allclose(losses[-1], loss_behind(3, 0), rtol=1e-5)


def test_the_worst_prompt_is_a_possible_one_where_others_may_not_win():
    """0 and 2 exclude each other; a prompt with both loses +inf, and is none."""
    predictor = CategoricalMixture(((0.9, 0.1, 0.0), (0.0, 0.1, 0.9)), (0.5, 0.5)).bayes()
    sizes = Sizes(predictor.outcome, 2, None, 1, impossible_may_win=False)
    search = SquareAttack(length=2, find="worst")

    @jax.jit
    def two_steps(state):
        for step in range(2):
            problem = SearchProblem(predictor, sizes, ONES, step=jnp.int32(step), steps=2)
            state, _ = search.step(jax.random.fold_in(KEY, step), state, problem)
        return state

    assert set(two_steps(jnp.array([0, 2])).tolist()) != {0, 2}


def test_demonstrations_are_drawn_where_all_sequences_are_read():
    sequences = Episode(jnp.array([[0, 0, 0], [0, 1, 1], [1, 1, 1]]))
    weights = jnp.array([0.0, 3.0, 0.0])
    problem = dataclasses.replace(problem_of(2), episodes=sequences, weights=weights)
    assert sorted(drawn(KEY, problem, 6).tolist()) == [0, 0, 1, 1, 1, 1]


def test_demonstrations_have_any_order_where_one_sequence_stands_for_all():
    """Five counts of four symbols are read; the sorted one, 0 0 1 1, is one of six orders."""
    sequences = jnp.array([[0] * (4 - ones) + [1] * ones for ones in range(5)])
    weights = 5.0 * (jnp.arange(5) == 2)
    problem = dataclasses.replace(problem_of(2), episodes=Episode(sequences), weights=weights)

    @jax.jit
    def texts(key):
        written = SegmentRewriting(4).write(key, weights, problem)[:1]
        return drawn(key, problem, 4 * 60).reshape(60, 4), pieces(key, problem, 60, 4), written

    *many, hard = map(np.asarray, texts(KEY))
    for drawings in many:
        assert (drawings.sum(axis=1) == 2).all() and len(np.unique(drawings, axis=0)) == 6
    assert hard.sum() == 2


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ThresholdPruning(length=6, context=5), "a context of at least 6 symbols"),
        (lambda: EvolutionaryPruning(individuals=51), "Expected 1 to 50 individuals"),
        (lambda: PolicySearch(samples=1), "at least 2 samples"),
        (
            lambda: PolicySearch(learn_by="path consistency", temperature=0.0),
            "above 0 for path consistency; got 0.0",
        ),
        (lambda: Prompters(length=2, prompters=3), "Expected 1 to 2 prompters"),
        (lambda: SubspaceEvolution(population=3), "a population of at least 4"),
        (lambda: SquareAttack(share=1.5), "a share above 0 and at most 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_what_a_search_cannot_do_is_refused_before_it_reads():
    with pytest.raises(ValueError, match="at most 5 steps, since the tree has room"):
        TreeSearch(length=2, nodes=5).verify(COINS, COIN, FitSettings(steps=6, length=5))
    with pytest.raises(ValueError, match="a batch with the 24 symbols of the demonstrations"):
        ThresholdPruning(length=2).verify(COINS, COIN, FitSettings(batch=4, length=5))


def test_a_policy_needs_symbols():
    """A network over points reads no tokens: it is named before anything is computed."""
    task = LinearRegression()
    network = LSTM(width=2).build(KEY, task.outcome)
    with pytest.raises(TypeError, match="Expected symbols, of which PolicySearch makes prompts"):
        PolicySearch(length=2).verify(network, task, FitSettings(length=3))
