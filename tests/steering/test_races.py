"""Races: what they read, and whom they let win."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import judges as laws

from promptax import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.steering import UCB, BestOf, HardPrompt, Race, Raced, UniformAllocation
from promptax.steering.races.base import Standing
from promptax.steering.search_problem import SearchProblem, Sizes
from promptax.tasks import Categorical, DirichletCategorical

KEY = jax.random.key(7)
DICE, DIE = DirichletCategorical((1.0, 1.0, 1.0)), Categorical((0.2, 0.3, 0.5))
every_race = pytest.mark.parametrize("race", laws.examples(Race, quick=9))
RUNS, CANDIDATES, SEQUENCES = 200, 28, 128


def of_table(table, race):
    """The standing after a race for candidates whose losses [candidate, sequence] are known."""

    def read(which, first, number):
        return jax.lax.dynamic_slice_in_dim(table, first, number, axis=1)[which]

    return race.run(read, *table.shape)


@functools.cache
def losses_of_dice():
    """Losses [run, candidate, sequence] of a die behind all 28 counts of six symbols: exact
    Bayes over all dice reads 20 throws."""
    counts = [(a, b, 6 - a - b) for a in range(7) for b in range(7 - a)]
    prompts = jnp.array([np.repeat([0, 1, 2], row) for row in counts], jnp.int32)
    tokens = np.random.default_rng(7).choice(3, (RUNS * SEQUENCES, 20), p=[0.2, 0.3, 0.5])

    def losses_of(prompts, tokens):
        problem = SearchProblem(DICE.bayes(), Sizes(DIE.outcome, 6, None, 1), Episode(tokens))
        return problem.losses(prompts)

    losses = np.asarray(jax.jit(losses_of)(prompts, tokens.astype(np.int32)))
    return losses.reshape(CANDIDATES, RUNS, SEQUENCES).swapaxes(0, 1)


@every_race
def test_each_reads_from_the_first_sequence_on_and_no_more_than_is_spared(race):
    """Of what was read the mean is exact, also where somebody loses infinitely much."""
    table = jax.random.normal(KEY, (12, 80)) + jnp.arange(12.0)[:, None]
    table = table.at[5].set(jnp.inf)
    standing = jax.jit(lambda: of_table(table, race))()
    numbers = np.asarray(standing.numbers)
    assert (numbers >= 1).all() and (numbers <= 80).all()
    assert numbers.sum() <= 12 * 80 / race.saving + 12
    means = np.asarray(standing.settled())
    assert np.argmin(means) == 0 and np.isinf(means[5])
    np.testing.assert_allclose(standing.means[0], table[0, : numbers[0]].mean(), atol=2e-2)


@every_race
def test_a_race_that_spares_nothing_names_the_winner(race):
    table = jax.random.normal(KEY, (5, 64)) + 2 * jnp.arange(5.0)[:, None]
    standing = jax.jit(lambda table: of_table(table, type(race)(saving=1)))(table)
    winner = int(np.argmin(table.mean(axis=1)))
    assert int(np.argmin(standing.settled())) == winner


@every_race
@pytest.mark.parametrize("place", [3, 11])
def test_the_winner_comes_first_wherever_it_stands(race, place):
    """The first sequences are easy: who dropped out after them lost less than the winner did."""
    hardness = jnp.where(jnp.arange(80) < 16, -3.0, 3.0)
    table = hardness + 1 + jax.random.normal(KEY, (12, 80)) / 4
    table = table.at[place].add(-1.0)
    standing = jax.jit(lambda table: of_table(table, race))(table)
    settled = np.asarray(standing.settled())
    winner = int(np.argmin(np.where(standing.numbers == standing.numbers.max(), settled, np.inf)))
    assert winner == place
    assert np.argmin(settled) == np.argsort(settled, kind="stable")[0] == place
    assert (np.delete(settled, place) > settled[place]).all()


@pytest.mark.parametrize("shape", [(1, 40), (6, 128), (12, 24), (5, 1)])
def test_bounds_cost_no_more_than_their_share(shape):
    """There may be no room for a leader that reads all."""
    standing = jax.jit(lambda table: of_table(table, UCB()))(jax.random.normal(KEY, shape))
    assert np.sum(standing.numbers) <= max(shape[0], shape[0] * shape[1] // 5)


@pytest.mark.parametrize("lost_later", [True, False])
def test_a_leader_that_loses_infinitely_much_does_not_win(lost_later):
    """What comes after the first part, 5 of 80 sequences, is impossible behind the first leader."""
    table = 1 + jax.random.normal(KEY, (12, 80)) / 4
    table = table.at[3].add(-1.0).at[7].add(-0.5)
    table = table.at[3, 60].set(jnp.inf if lost_later else 0.0)
    standing = jax.jit(lambda table: of_table(table, UCB()))(table)
    means = np.asarray(standing.settled())
    assert np.argmin(means) == (7 if lost_later else 3)
    assert np.isposinf(means[3]) == lost_later


def test_those_that_dropped_out_are_judged_by_the_sequences_that_they_read():
    """One that lost 0.5 more than the winner on the easy sequences is settled 0.5 above it; one
    that lost less on them, just above it."""
    hardness = jnp.where(jnp.arange(8) < 2, 0.0, 4.0)
    table = jnp.array([0.5, -0.1, 0.0])[:, None] + hardness
    first, later = table.at[:, 2:].set(0), table.at[:2, 2:].set(0)
    sums = jnp.sum(first, axis=1), jnp.sum(later, axis=1)
    numbers, turns = jnp.array([2, 2, 8]), jnp.ones(3, jnp.int32)
    settled = Standing(sums[1], numbers, turns, None, ((2, sums[0]), (8, sums[1]))).settled()
    np.testing.assert_allclose(settled, [3.5, 3.0, 3.0], rtol=1e-6)
    assert settled[1] > settled[2]


def share_of_right_winners(race):
    """The share of runs whose winner is that of the full evaluation, and how many times fewer
    sequences were read. Candidates stand in another order in every run."""
    random = np.random.default_rng(8)
    tables = np.stack([random.permutation(table) for table in losses_of_dice()])
    full = tables.mean(axis=2)
    run = jax.jit(lambda table: of_table(table, race))
    standings = [run(table) for table in tables]
    winners = [int(np.argmin(standing.settled())) for standing in standings]
    right = np.array(winners) == np.argmin(full, axis=1)
    read = np.mean([np.sum(standing.numbers) for standing in standings])
    return right.mean(), CANDIDATES * SEQUENCES / read


@pytest.mark.slow
def test_a_race_finds_the_winner_of_the_full_evaluation_with_a_fifth_of_its_readings():
    """With 128 sequences bounds, halving and rejects find it in all 200 runs, no race in 87.5 %."""
    right, spared = share_of_right_winners(UCB())
    error = np.sqrt(0.05 * 0.95 / RUNS)
    assert right >= 0.95 - 3 * error, f"the right winner in {right:.1%} of {RUNS} runs"
    assert spared >= 5


def test_the_best_of_a_pool_costs_less_when_it_is_raced():
    pool = BestOf(((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)))
    settings = FitSettings(steps=1, batch=512, length=10, repetitions=2)

    def best_of(search):
        return search.tune(KEY, DICE.bayes(), DIE, settings, callbacks=())

    raced, whole = best_of(Raced(pool)), best_of(pool)
    np.testing.assert_array_equal(raced.prompt, whole.prompt)
    assert (raced.cost.sequences * 5 <= whole.cost.sequences).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: UniformAllocation(saving=0), "Expected saving of at least 1; got 0"),
        (lambda: UCB(exploration=-1.0), "Expected exploration of at least 0"),
        (lambda: BestOf(()), "Expected at least one prompt"),
        (lambda: BestOf(((0, 1), (1,))), r"as many symbols in each; got 2 prompts of \[1, 2\]"),
        (lambda: Raced(HardPrompt()), "Expected a search that goes step by step"),
        (lambda: Raced(Raced()), "Expected a search that reads whole batches"),
    ],
)
def test_what_cannot_be_raced_is_named(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("race", [None, UCB()])
def test_nothing_to_read_is_named(race):
    """No prompt at all: a race without candidates, or a step without any."""
    sizes, episodes = Sizes(DIE.outcome, 2, None, 1), Episode(jnp.zeros((3, 4), jnp.int32))
    problem = SearchProblem(DICE.bayes(), sizes, episodes, race=race)
    with pytest.raises(ValueError, match="Expected at least one prompt to read or to race; got no"):
        problem.means(jnp.zeros((0, 2), jnp.int32))


@every_race
@pytest.mark.parametrize(("candidates", "sequences"), [(0, 4), (4, 0)])
def test_a_race_of_nobody_or_over_nothing_is_named(race, candidates, sequences):
    missing = "candidates" if candidates == 0 else "sequences"
    with pytest.raises(ValueError, match=f"Expected a race of at least 1 of {missing}; got 0"):
        race.run(
            lambda which, first, number: jnp.zeros((len(which), number)), candidates, sequences
        )


def test_a_prompt_that_is_asked_for_alone_reads_all_sequences():
    """Its mean is held against a whole one, such as that of a gradient."""
    sizes, tokens = Sizes(DIE.outcome, 2, None, 1), jax.random.randint(KEY, (10, 4), 0, 3)
    whole = SearchProblem(DICE.bayes(), sizes, Episode(tokens))
    raced = dataclasses.replace(whole, race=UCB(), readings=[])
    prompt = jnp.array([[0, 2]])
    np.testing.assert_array_equal(raced.means(prompt), whole.means(prompt))
    assert (int(raced.total().sequences), raced.raced) == (10, [1])
