"""What each search is, on losses that are exact: where it ends, and which searches are the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.landscape import EASY, HARD, Exact, run, table_of

from promptax.protocol.outcomes import Symbols
from promptax.steering import (
    BeamSearch,
    BestOf,
    CoordinateDescent,
    EvolutionaryPruning,
    GeneticSearch,
    GradientSearch,
    HardPrompt,
    HarmonySearch,
    ProjectedGradient,
    PrunedAlphabet,
    Raced,
    RandomSearch,
    Restarted,
    SegmentRewriting,
    SquareAttack,
    TabuSearch,
    TargetSamples,
    ThresholdPruning,
)
from promptax.steering.search_problem import Sizes
from promptax.steering.searches.gradient.projected_gradient import nearest, slopes_of_rows
from promptax.steering.searches.gradient_search import mellowmax, several_swaps
from promptax.steering.searches.moves import draw_swaps, draw_swaps_at
from promptax.steering.searches.population.survivors import Population
from promptax.steering.searches.wrappers.pruned_alphabet import representatives

KEY = jax.random.key(2)
DESCENT = CoordinateDescent(length=8, order="steepest")


def test_swaps_are_all_there_are_or_different_ones():
    prompt = jnp.array([2, 0, 1])
    every = np.asarray(draw_swaps(KEY, prompt, 4, 99))
    some = np.asarray(draw_swaps(KEY, prompt, 4, 5))
    assert every.shape == (9, 3) and len(np.unique(every, axis=0)) == 9
    assert some.shape == (5, 3) and len(np.unique(some, axis=0)) == 5
    assert ((np.concatenate([every, some]) != np.asarray(prompt)).sum(1) == 1).all()
    there = np.asarray(draw_swaps_at(KEY, prompt, jnp.int32(1), 4, 99))
    assert (there[:, [0, 2]] == [2, 1]).all() and sorted(there[:, 1]) == [1, 2, 3]
    assert draw_swaps(KEY, jnp.zeros(0, jnp.int32), 4, 9).shape == (0, 0)


def test_steepest_descent_is_stuck_on_the_hard_landscape_and_restarts_are_not():
    """From a random prompt it reaches the best with a chance of 0.184, by enumeration."""
    share = (run(DESCENT, HARD, seeds=200, steps=12).gap[:, -1] < 1e-4).mean()
    error = np.sqrt(0.184 * 0.816 / 200)
    assert abs(share - 0.184) < 4 * error, f"{share} is {abs(share - 0.184) / error:.1f} errors off"
    restarted = Restarted(search=DESCENT, patience=1)
    runs = run(restarted, HARD, seeds=50, steps=200)
    assert (np.diff(runs.gap, axis=1)[:, 20:] <= 1e-6).all(), "the best was lost"
    assert (runs.gap[:, -1] < 1e-4).mean() >= 0.9


def test_a_greedy_search_is_the_best_symbol_at_each_place():
    prefix = []
    digits = 9 ** np.arange(3)
    for _ in range(8):
        losses = [table_of(HARD)[digits[[*prefix, symbol]].sum()] for symbol in range(3)]
        prefix.append(int(np.argmin(losses)))
    gap = run(BeamSearch.greedy(length=8), HARD, seeds=1).gap[0, -1]
    expected = (
        table_of(HARD)[digits[prefix].sum()] - table_of(HARD)[digits[[0] * 6 + [2] * 2].sum()]
    )
    np.testing.assert_allclose(gap, expected, atol=1e-5)


def test_a_beam_holds_each_prediction_once():
    """Of n symbols of three kinds there are (n + 1)(n + 2) / 2 counts, and so many predictions; a
    beam that holds them all finds the best prompt, and reads no order twice."""
    beam = run(BeamSearch(length=8, width=45), HARD, seeds=1)
    counts = [(n + 1) * (n + 2) // 2 for n in range(8)]
    np.testing.assert_array_equal(np.diff(beam.read[0], prepend=0), 3 * np.array(counts))
    assert abs(beam.gap[0, -1]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "steps"),
    [
        (RandomSearch(length=6), 6),
        (BeamSearch.greedy(length=6), 6),
        (CoordinateDescent(length=6), 7),
        (GeneticSearch(length=6), 6),
        (HarmonySearch(length=6), 20),
        (TabuSearch(length=6), 20),
        (ProjectedGradient(length=6), 100),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_seed_finds_the_best_prompt_of_an_easy_landscape(search, steps):
    """Within 400 readings."""
    runs = run(search, EASY, seeds=100, steps=steps)
    assert (runs.gap[:, -1] < 1e-4).sum() >= 95 and runs.read.max() <= 400


def test_equal_prompts_enter_and_are_paid_once():
    """There are two prompts of one symbol."""
    runs = run(RandomSearch(length=1, finalists=3), EASY._replace(length=1), seeds=9, steps=6)
    assert np.diff(runs.read, axis=1).max() == 2 and (runs.gap[:, -1] < 1e-5).all()


def test_children_with_mutation_1_are_random_prompts():
    """A genetic search is random search then, whatever the parents are."""
    parents = Population(jnp.zeros((4, 3), jnp.int32))
    genetic = GeneticSearch(length=3, population=4, children=4000, mutation=1.0)
    children = np.asarray(jax.jit(lambda key: genetic.breed(key, parents, 3))(KEY))
    counts = np.bincount(children @ [9, 3, 1], minlength=27)
    expected = 4000 / 27
    chi2 = ((counts - expected) ** 2 / expected).sum()  # of 26 degrees: mean 26, variance 52
    assert abs(chi2 - 26) < 4 * np.sqrt(52), f"chi square {chi2:.1f} of 26"


def test_crossover_takes_symbols_of_both_parents_and_none_without_it():
    parents = Population(jnp.array([[0] * 6, [1] * 6]))
    both = GeneticSearch(6, population=2, children=64, crossover=1.0, mutation=0.0, tournament=1)
    alone = dataclasses.replace(both, crossover=0.0)
    mixed = [
        np.ptp(np.asarray(search.breed(KEY, parents, 3)), axis=1) > 0 for search in (both, alone)
    ]
    assert mixed[0].sum() > 16 and not mixed[1].any()


def test_all_harmonies_are_copied_where_everything_is_considered():
    memory = Population(jnp.array([[0] * 7, [1] * 7, [2] * 7]))
    search = HarmonySearch(7, segments=3, considering=1.0, adjusting=0.0)
    keys = jax.random.split(KEY, 200)
    composed = np.asarray(jax.vmap(lambda key: search.compose(key, memory, 3))(keys))
    segment = np.arange(7) * 3 // 7  # each place is in one of them, also the last ones
    for number in range(3):
        part = composed[:, segment == number]
        assert (part == part[:, :1]).all() and set(part[:, 0]) == {0, 1, 2}
    adjusted = dataclasses.replace(search, adjusting=1.0)
    changed = np.asarray(jax.vmap(lambda key: adjusted.compose(key, memory, 3))(keys))
    assert ((changed != composed).sum(1) == 3).all()  # one in each segment


def test_a_tabu_search_does_not_go_back():
    """A walk over 9 prompts whose last 4 are tabu never visits one of them."""
    search = TabuSearch(length=2, candidates=99, memory=4, forgiving=0.0)
    sizes = Sizes(Symbols(3), 2, None, 1)
    landscape = HARD._replace(length=2)

    @jax.jit
    def walk(key):
        def step(state, index):
            problem = Exact(landscape, sizes, step=index)
            state, _ = search.step(jax.random.fold_in(key, index), state, problem)
            return state, state.prompt

        return jax.lax.scan(step, search.start(key, Exact(landscape, sizes)), jnp.arange(30))[1]

    places = np.asarray(walk(KEY)) @ [3, 1]
    for now in range(1, 30):
        assert places[now] not in places[max(0, now - 4) : now]


def test_a_gradient_search_that_reads_every_swap_is_steepest_descent():
    """From the same prompt, where gradients choose nothing."""
    gradients = GradientSearch(length=8, initial_tokens=(1, 2, 0))
    descent = Begun(length=8, order="steepest")
    one, other = (run(search, HARD, seeds=1, steps=6) for search in (gradients, descent))
    np.testing.assert_array_equal(one.gap, other.gap)
    np.testing.assert_array_equal(one.read, other.read + np.arange(1, 7))  # and the gradients


class Begun(CoordinateDescent):
    """Begins where it is told to."""

    def start(self, key, problem):
        return jnp.resize(jnp.array([1, 2, 0]), (self.length,))

    @classmethod
    def examples(cls):
        return ()


def test_without_a_buffer_the_best_swap_is_made_though_it_is_worse():
    moving, staying, keeping = (
        run(GradientSearch(length=8, buffer=buffer), HARD, seeds=20, steps=15)
        for buffer in (0, 1, 4)
    )
    assert (np.diff(moving.gap, axis=1) > 1e-3).any()
    assert (np.diff(staying.gap, axis=1) <= 1e-6).all()
    assert (np.diff(keeping.gap, axis=1) <= 1e-6).all()
    assert (keeping.read[:, -1] == staying.read[:, -1] + 15 * 3).all()


def test_several_swaps_are_at_different_places():
    prompt, slopes = jnp.array([4, 0, 2, 1]), jax.random.normal(KEY, (4, 5))
    tried = np.asarray(several_swaps(KEY, prompt, slopes, candidates=40, top=2, at_once=3))
    assert (tried[0] == prompt).all() and ((tried[1:] != np.asarray(prompt)).sum(1) == 3).all()
    best = np.argsort(np.asarray(slopes.at[jnp.arange(4), prompt].set(jnp.inf)), axis=1)[:, :2]
    for row in tried[1:]:
        (places,) = np.nonzero(row != np.asarray(prompt))
        assert all(row[place] in best[place] for place in places)


def test_mellowmax_lies_between_the_mean_and_the_worst():
    losses = jnp.array([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]])
    np.testing.assert_allclose(mellowmax(losses, 1e-3), [3.0, 3.0], atol=0.01)
    np.testing.assert_allclose(mellowmax(losses, 1e3), [6.0, 3.0], atol=0.01)
    assert 3.0 < mellowmax(losses, 0.5)[0] < 6.0


def test_rows_are_projected_by_cosine_and_moved_by_their_own_slopes():
    table = jnp.array([[10.0, 0.0], [0.6, 0.8], [0.0, 0.1]])
    soft = jnp.array([[0.9, 0.3], [0.1, 0.2], [0.01, 1.0]])
    np.testing.assert_array_equal(nearest(soft, table), [0, 1, 2])
    closest = jnp.argmin(jnp.sum((soft[:, None] - table) ** 2, axis=-1), axis=1)
    assert closest[0] == 1, "by distance it would be another symbol"
    slopes = jnp.array([[0.5, -2.0]])
    inverse = jnp.linalg.pinv(table.T @ table, hermitian=True)
    np.testing.assert_allclose(slopes_of_rows(slopes @ table.T, table, inverse), slopes, rtol=1e-5)


def test_pruning_leaves_a_useless_symbol_out_and_reads_less():
    """Symbols 2 and 3 only make the wrong component likely; their swaps are not read."""
    rows = ((0.3, 0.6, 0.05, 0.05), (0.6, 0.3, 0.05, 0.05), (0.05, 0.05, 0.6, 0.3))
    useless = HARD._replace(rows=rows, weights=(0.4, 0.3, 0.3), target=(0.3, 0.6, 0.0, 0.1), time=6)
    descent = CoordinateDescent(length=8, order="steepest")
    whole = run(descent, useless, seeds=20, steps=8)
    pruned = run(PrunedAlphabet(search=descent, keep=2), useless, seeds=20, steps=8)
    assert (whole.gap[:, -1] < 1e-4).all() and (pruned.gap[:, -1] < 1e-4).all()
    assert (pruned.read[:, 0] == 4 + 1).all()  # the symbols alone, and nothing
    assert (pruned.read[:, -1] == 5 + 8 * (1 + 8)).all()
    assert (whole.read[:, -1] == 8 * (1 + 24)).all()


def test_a_pruned_alphabet_may_be_pruned_again():
    """Three symbols and nothing, then the two that are kept and nothing, then a descent."""
    inner = PrunedAlphabet(search=CoordinateDescent(length=3, order="steepest"), keep=2)
    twice = PrunedAlphabet(search=inner, keep=2)
    runs = run(twice, HARD._replace(length=3), seeds=3, steps=3)
    np.testing.assert_array_equal(np.diff(runs.read, prepend=0), [[4, 3, 4, 4, 4]] * 3)


def test_a_beam_is_begun_anew_when_it_is_done():
    beam = BeamSearch.greedy(length=3)
    runs = run(Restarted(search=beam), HARD._replace(length=3), seeds=2, steps=7)
    alone = run(beam, HARD._replace(length=3), seeds=2)
    np.testing.assert_array_equal(np.diff(runs.read, prepend=0), 3)
    np.testing.assert_allclose(runs.gap[:, 2], alone.gap[:, -1], atol=1e-6)
    np.testing.assert_allclose(runs.gap[:, -1], alone.gap[:, -1], atol=1e-6)


WRAPPERS = Raced, Restarted, PrunedAlphabet


@pytest.mark.parametrize(
    ("wrap", "inner", "text"),
    [
        *((wrap, SquareAttack(find="worst"), "looks for the worst one") for wrap in WRAPPERS),
        *((wrap, HardPrompt(), "Expected a search that goes step") for wrap in WRAPPERS),
        *(
            (PrunedAlphabet, inner, "Expected a search that draws its symbols")
            for inner in (
                BestOf(((0, 1),)),
                TargetSamples(),
                SegmentRewriting(),
                ThresholdPruning(),
                EvolutionaryPruning(),
                GradientSearch(initial_tokens=(1,)),
                Restarted(search=TargetSamples()),
            )
        ),
    ],
)
def test_what_cannot_be_wrapped_is_refused(wrap, inner, text):
    with pytest.raises(ValueError, match=text):
        wrap(search=inner)


def test_wrappers_have_the_doors_of_what_they_wrap():
    inner = EvolutionaryPruning(length=1, context=3)
    for search in (Raced(search=inner), Restarted(search=Raced(search=inner))):
        assert search.most_rows == 3 and search.reads_parts and search.reads_by_losses
        assert search.names_symbols and search.recommends and search.length == 1
    assert Raced(search=inner).run_length(2) == 3


def test_each_cluster_of_rows_has_one_symbol():
    centres = 10 * jax.random.normal(KEY, (3, 4))
    rows = centres[jnp.arange(12) % 3] + 0.1 * jax.random.normal(KEY, (12, 4))
    chosen = jax.jit(representatives, static_argnums=2)(jax.random.key(5), rows, 3)
    assert sorted(np.asarray(chosen) % 3) == [0, 1, 2]
