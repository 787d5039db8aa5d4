"""The prompt arena: its instances by brute force, and its judge."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.protocol.outcomes import Episode
from promptax.specs import traced
from promptax.steering import Annealing
from promptax.steering.base import Tuning
from promptax.steering.search import behind
from promptax.steering.search_problem import SearchProblem, Sizes
from promptax.studies.prompt_arena.beside import Beside
from promptax.studies.prompt_arena.conditions import (
    EASY,
    EVALUATIONS,
    EXACT,
    HARD,
    LONG,
    PLATEAU,
    SAMPLED,
    SCALES,
    SHORT,
    TUNED,
    contests,
    entrants,
)
from promptax.studies.prompt_arena.contest import Contest
from promptax.studies.prompt_arena.instances import (
    Instance,
    Shape,
    easy_instance,
    hard_instance,
    is_easy,
    is_hard,
    is_plateau,
    plateau_instance,
    truth_of,
)
from promptax.studies.prompt_arena.network import Judge, OnNetwork
from promptax.studies.prompt_arena.relabelling import Relabelled, renamed, run_relabelled
from promptax.tasks import Categorical, CategoricalMixture

SMALL = Instance(
    CategoricalMixture([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], [0.9, 0.1]),
    Categorical([0.2, 0.3, 0.5]),
    Shape(3, 2, 3),
)


def probability(instance, tokens):
    """The chance that the prior gives to a sequence, component by component."""
    rows = np.asarray(instance.prior.probabilities)
    return sum(
        weight * np.prod(row[list(tokens)])
        for weight, row in zip(np.asarray(instance.prior.weights), rows, strict=True)
    )


def loss_behind(instance, prompt):
    """The expected loss behind a prompt, over all sequences one by one."""
    target = np.asarray(instance.target.probabilities)
    if probability(instance, prompt) == 0:
        return np.inf
    return -sum(
        np.prod(target[list(tokens)])
        * np.log(probability(instance, prompt + tokens) / probability(instance, prompt))
        for tokens in itertools.product(range(3), repeat=instance.shape.length)
    )


def test_the_truth_is_that_of_all_sequences():
    truth = truth_of(SMALL)
    prompts = list(itertools.product(range(3), repeat=2))
    losses = np.array([loss_behind(SMALL, prompt) for prompt in prompts])
    np.testing.assert_allclose(truth.of(np.array(prompts)), losses, rtol=1e-12)
    assert truth.best == pytest.approx(losses.min(), abs=1e-12)
    assert truth.number.sum() == len(prompts)
    assert truth.typical == pytest.approx(np.sort(losses)[4] - losses.min(), abs=1e-12)


def test_other_names_of_the_symbols_are_the_same_question():
    order = np.array([2, 0, 1])
    relabelled = truth_of(SMALL.relabelled(order))
    prompts = np.array(list(itertools.product(range(3), repeat=2)))
    there = np.argsort(order)[prompts]
    np.testing.assert_allclose(relabelled.of(there), truth_of(SMALL).of(prompts), rtol=1e-12)


def test_kept_instances_are_hard_and_easy():
    """Of the shorter ones the kept seeds are the first that are."""
    hard = [s for s in range(HARD[SHORT][-1] + 1) if is_hard(hard_instance(SHORT, s), 128)]
    assert tuple(hard) == HARD[SHORT]
    easy = [seed for seed in range(EASY[SHORT][-1] + 1) if is_easy(easy_instance(SHORT, seed))]
    assert tuple(easy) == EASY[SHORT]
    assert all(is_hard(hard_instance(LONG, s), EVALUATIONS[LONG]) for s in HARD[LONG])
    assert all(is_easy(easy_instance(LONG, seed)) for seed in EASY[LONG])
    assert not any(is_hard(easy_instance(SHORT, seed), 128) for seed in EASY[SHORT])
    assert all(is_plateau(plateau_instance(LONG, seed)) for seed in PLATEAU[LONG])
    assert not is_plateau(plateau_instance(LONG, 14)), "where impossible may win, descents stay"


def test_both_rules_of_a_plateau_have_one_unit_and_one_best_prompt():
    closed = plateau_instance(LONG, PLATEAU[LONG][0])
    truth, open_truth = truth_of(closed), truth_of(closed._replace(impossible_may_win=True))
    assert (truth.best, truth.typical) == (open_truth.best, open_truth.typical)
    assert np.isinf(truth.losses).any()
    assert np.isfinite(open_truth.losses[np.isinf(truth.losses)]).any()


def test_impossible_prompts_win_where_they_may():
    """Behind a prompt that every component excludes, predictions are uniform."""
    prior = CategoricalMixture([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], [0.9, 0.1])
    instance = Instance(prior, Categorical([0.1, 0.1, 0.8]), Shape(3, 2, 3))
    losses = truth_of(instance).losses
    may = truth_of(instance._replace(impossible_may_win=True)).losses
    counts = truth_of(instance).counts.tolist()
    uniform = 3 * np.log(3)
    for row, loss, allowed in zip(counts, losses, may, strict=True):
        impossible = row[2] > 0 and row[0] + row[1] > 0
        assert allowed == pytest.approx(uniform) if impossible else allowed == loss
        assert np.isinf(loss), "behind the others some sequences of the target are impossible"
    assert may.min() == pytest.approx(uniform), "here they are the best"


def test_a_prompt_of_a_network_is_judged_by_all_sequences():
    """Number and loss of a prompt, against one sequence after the other."""
    (measured,) = OnNetwork.examples()
    network = measured.network.build(jax.random.key(0), 2)
    judge = Judge.of(network, measured)
    losses = judge.find_all_losses()
    assert measured.number_prompts(np.array([[0], [1]])).tolist() == [0, 1]
    words = np.array(list(itertools.product(range(2), repeat=measured.length)))
    chances = np.prod(np.asarray(measured.target.probabilities)[words], axis=1)

    @jax.jit
    @jax.vmap
    def log_prob(sequence):
        return jnp.sum(network.advance(network.start(), sequence)[1].of(sequence)[1:])

    for prompt in (0, 1):
        read = np.concatenate([np.full((len(words), 1), prompt), words], axis=1)
        loss = -np.sum(chances * np.asarray(log_prob(read)))
        assert losses[prompt] == pytest.approx(loss, rel=1e-5)
        steered = behind(network, np.array([prompt]))
        assert judge.look(steered)["loss"] == pytest.approx(loss, rel=1e-5)


def test_other_names_lose_the_same_and_count_the_same():
    """Behind prompt o, in the search's names, is what is lost behind order[o]; so are slopes."""
    episodes = Episode(jnp.array([[0, 1, 1], [2, 0, 1]]))
    sizes = Sizes(SMALL.target.outcome, 2, None, 1)
    problem = SearchProblem(traced(SMALL.prior.bayes()), sizes, episodes)
    order, prompts = jnp.array([2, 0, 1]), jnp.array([[0, 1], [2, 2], [1, 0]])
    named = renamed(problem, order)
    assert named.episodes is not None
    assert named.episodes.tokens.tolist() == [[1, 2, 2], [0, 1, 2]]

    relabelled = Relabelled(Annealing(length=2))

    @jax.jit
    def ask():
        asked = (named, prompts), (problem, order[prompts])
        answers = [(which.means(given), *which.gradient(given[0])) for which, given in asked]
        keys = jax.random.split(jax.random.key(0), 20)
        return answers, jax.vmap(lambda key: relabelled.start(key, problem).order)(keys)

    (ours, theirs), orders = ask()
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)
    np.testing.assert_allclose(ours[2], theirs[2][:, order], rtol=1e-5)
    assert len(problem.readings) == 4, "what is read under other names is charged as well"
    assert len({tuple(order) for order in orders.tolist()}) > 3, "every run draws its own"


def test_what_is_recommended_is_said_in_the_names_of_the_instance():
    """A step of hill climbing reports what the prompt loses that was recommended before it. A hot
    one reports where the walk is, and the best prompt that it saw is recommended."""
    cold, hot = (Annealing(2, value, value, "linear") for value in (0.0, 1e6))
    (contest,) = Contest.examples()
    contest = dataclasses.replace(contest, repetitions=6, budget=16)
    prior, target = (
        CategoricalMixture([[0.2, 0.8], [0.7, 0.3]], [0.4, 0.6]),
        Categorical([0.3, 0.7]),
    )
    given = jax.random.key(0), prior.bayes(), target, contest.settings
    climb, walk = (run_relabelled(search, Tuning(*given, (), None, ())) for search in (cold, hot))
    truth = truth_of(Instance(prior, target, contest.instance.shape))
    np.testing.assert_allclose(climb.said[:, 1:], truth.of(climb.recommended)[:, :-1], rtol=1e-6)
    best = truth.of(walk.recommended)
    assert (np.diff(best, axis=1) <= 0).all() and (np.diff(walk.said, axis=1) > 0.1).any()
    assert (best <= np.minimum.accumulate(walk.said, axis=1) + 1e-6).all()


def test_races_stay_out_of_the_track_without_noise():
    instance = hard_instance(SHORT, HARD[SHORT][0])
    whole = SCALES["smoke"]._replace(whole=True)
    exact, sampled = (contests(whole, track, instance) for track in (EXACT, SAMPLED))
    outside = set(sampled) - set(exact)
    mellow = "GradientSearch with mellowmax"
    assert outside == {label for label in sampled if label.startswith("Raced ")} | {mellow}
    assert len(outside) == 5 and len(exact) > 20
    first = {label: c for label, c in sampled.items() if not label.startswith("hindsight")}
    for label, contest in first.items():
        asked = dataclasses.replace(contest, exact=True)
        if label in outside:
            with pytest.raises(ValueError, match="Expected"):
                asked.verify()
        else:
            asked.verify()


def test_an_update_is_charged_by_what_the_tuner_reads():
    """Weights have no prompt, and a mixture has two."""
    updates = {name: OnNetwork(tuner=tuner).settings.steps for name, tuner in TUNED.items()}
    assert updates["SoftPrompt"] == 2**16 // (3 * (6 + 32 * 4))
    assert updates["FullWeights"] == updates["LowRank"] == 2**16 // (3 * 32 * 4)
    assert updates["mixture of two SoftPrompts"] == 2**16 // (3 * (12 + 2 * 32 * 4))


def test_relatives_enter_where_everything_does():
    """They are asked for once, and their numbers are not raced."""
    whole, few = entrants(4, 100), entrants(4, 100, whole=False)
    assert {"Hill climbing", "GeneticSearch without crossover"} <= set(whole) - set(few)
    assert not any("Hill climbing" in label for label in set(whole) - {"Hill climbing"})
    assert {"Raced GradientSearch", "Raced GradientSearch by UCB"} <= set(whole)
    assert not any("raced" in label or "hindsight" in label for label in few)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda: Contest(budget=0), "Expected budget of at least 1; got 0"),
        (lambda: Beside(budget=100), r"Expected a budget of at least 789 tokens.*; got 100"),
        (lambda: OnNetwork(budget=100), r"Expected a budget of at least 402 tokens.*; got 100"),
        (lambda: OnNetwork(prompt_length=13), r"Expected at most 4,096 prompts.*make 8,192"),
        (lambda: OnNetwork(prompt_length=-1), "Expected prompt_length of at least 1; got -1"),
        (lambda: OnNetwork(learning_rate=0.0), "Expected a learning_rate above 0, .*; got 0.0"),
        (lambda: OnNetwork(tuner=Annealing(length=3)), r"prompt_length 6, .*Annealing.length=3"),
    ],
)
def test_budgets_below_one_reading_are_named(measure, message):
    with pytest.raises(ValueError, match=message):
        measure()
