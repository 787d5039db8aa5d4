"""The Bayes optimum: known values, every history by brute force, and a bound for everybody."""

import itertools
import re

import jax
import numpy as np
import pytest
from support import judges as laws

from promptax.decisions import (
    BayesOptimal,
    BernoulliBandit,
    ContextualBandit,
    Environment,
    Policy,
    UniformChoice,
    play,
)


def test_known_values():
    two_coins = BernoulliBandit(arms=2, prior=(1.0, 1.0))
    assert BayesOptimal().expected_reward(two_coins, 1) == pytest.approx(0.5)
    assert BayesOptimal().expected_reward(two_coins, 5) == pytest.approx(2.888889, abs=5e-7)
    assert BayesOptimal().expected_reward(two_coins, 10) == pytest.approx(6.021786, abs=5e-7)


def chance_of(pays, prior):
    """P(rewards of one arm) for Beta(a, b), the product of its predictions, in any order."""
    product, ones, zeros = 1.0, *prior
    for pay in pays:
        product *= (ones if pay else zeros) / (ones + zeros)
        ones, zeros = ones + pay, zeros + 1 - pay
    return product


def best_by_histories(arms, contexts, prior, rounds):
    """The highest expected reward, over every history ((context, arm, reward), …) as it is."""

    def joint(history):
        product = 1.0
        for place in itertools.product(range(contexts), range(arms)):
            pays = [reward for *where, reward in history if tuple(where) == place]
            product *= chance_of(pays, prior)
        return product

    def value(history):
        if len(history) == rounds:
            return 0.0
        total = 0.0
        for context in range(contexts):
            worth = []
            for arm in range(arms):
                ways = [(*history, (context, arm, reward)) for reward in (0, 1)]
                chances = [joint(way) / joint(history) for way in ways]
                paid = [way[-1][-1] + value(way) for way in ways]
                worth.append(float(np.dot(chances, paid)))
            total += max(worth) / contexts
        return total

    return value(())


@pytest.mark.parametrize(
    ("environment", "rounds"),
    [
        (BernoulliBandit(arms=2, prior=(0.5, 2.0)), 5),
        (BernoulliBandit(arms=3, prior=(1.0, 1.0)), 4),
        (BernoulliBandit(arms=1, prior=(2.0, 1.0)), 6),
        (ContextualBandit(arms=2, contexts=2, prior=(0.4, 0.7)), 4),
    ],
)
def test_the_plan_equals_brute_force_over_histories(environment, rounds):
    expected = best_by_histories(environment.arms, environment.contexts, environment.prior, rounds)
    assert BayesOptimal().expected_reward(environment, rounds) == pytest.approx(expected, abs=1e-12)


def test_the_plan_is_the_best_of_all_policies():
    """All 128 deterministic policies of three rounds and two arms, integrated over the chances."""
    rounds, environment = 3, BernoulliBandit()
    points, weights = np.polynomial.legendre.leggauss(4)  # exact for degrees up to 7
    chances, weights = (points + 1) / 2, weights / 2
    chance = np.stack(np.meshgrid(chances, chances, indexing="ij"))  # [arm, first, second]
    weight = weights[:, None] * weights
    pays_before = [p for length in range(rounds) for p in itertools.product((0, 1), repeat=length)]
    earned = []
    for choices in itertools.product((0, 1), repeat=len(pays_before)):
        policy, total = dict(zip(pays_before, choices, strict=True)), 0.0
        for pays in itertools.product((0, 1), repeat=rounds):
            probability = weight.copy()
            for number, pay in enumerate(pays):
                arm = chance[policy[pays[:number]]]
                probability *= arm if pay else 1 - arm
            total += sum(pays) * probability.sum()
        earned.append(total)
    assert len(earned) == 128
    assert BayesOptimal().expected_reward(environment, rounds) == pytest.approx(max(earned))


@pytest.mark.slow
def test_nobody_earns_more_and_the_plan_earns_it():
    rounds, repetitions, environment = 8, 4000, ContextualBandit(contexts=2)
    optimum = BayesOptimal().expected_reward(environment, rounds)
    policies = {case.id: case.values[0] for case in laws.examples(Policy)}
    earned = play(jax.random.key(1), policies, environment, rounds, repetitions).reward.sum("round")
    for name in policies:
        laws.assert_at_most_zero(earned.sel(policy=name).values - optimum, f"{name} above the best")
    planned = earned.sel(policy="BayesOptimal-0").values
    laws.assert_zero(planned - optimum, "the plan above what it expects")


@pytest.mark.slow
def test_a_longer_horizon_explores_more_at_first():
    """Planning for one round is greedy; with a prior for more rounds an untried arm is worth it."""
    bandit = BernoulliBandit(arms=2, prior=(1.0, 1.0))
    policies = {"short": BayesOptimal(), "long": BayesOptimal(horizon=40)}
    played = play(jax.random.key(0), policies, bandit, rounds=6, repetitions=1000)
    switched = (played.arm != played.arm.isel(round=0)).any("round").mean("repetition")
    assert float(switched.sel(policy="long")) > float(switched.sel(policy="short"))


# --- what is refused ------------------------------------------------------------------------


class Unbounded(Environment):
    """One arm without bounds or posterior."""

    arms: int = 1
    contexts: int = 1

    @classmethod
    def examples(cls):
        return ()

    def start(self, key):
        return jax.random.normal(key, (1,))

    def context(self, key, hidden):
        del key, hidden
        return jax.numpy.zeros((), int)

    def reward(self, key, hidden, context):
        del context
        return hidden + jax.random.normal(key, (1,))

    def expected(self, hidden, context):
        del context
        return hidden


def named(name):
    return next(case.values[0] for case in laws.examples(Policy) if case.id.startswith(name))


KEY, BANDIT = jax.random.key(0), BernoulliBandit()
WRONG = {
    "no arm": (
        lambda: BernoulliBandit(arms=0),
        "Expected at least 1 arm and 1 context; got 0 and 1.",
    ),
    "a prior of one number": (
        lambda: BernoulliBandit(prior=(1.0,)),  # pyright: ignore[reportArgumentType]
        "Expected a tuple of 2 numbers as BernoulliBandit.prior; got (1.0,). The default is "
        "(1.0, 1.0).",
    ),
    "no round": (
        lambda: play(KEY, {"it": UniformChoice()}, BANDIT, 0),
        "Expected at least 1 round and 1 repetition; got 0 and 100.",
    ),
    "a horizon that ends early": (
        lambda: play(KEY, {"it": BayesOptimal(horizon=5)}, BANDIT, 6),
        "Expected at least 1 round, and a horizon of at least the rounds; got 6 rounds and a "
        "horizon of 5. Leave the horizon out, or play fewer rounds.",
    ),
    "too many beliefs": (
        lambda: play(KEY, {"it": BayesOptimal()}, BernoulliBandit(arms=3), 100),
        "Expected at most 2,000,000 beliefs to plan for; a horizon of 100 with 3 arms and 1 "
        "contexts has 1,609,344,100. Plan for 31 rounds at most, or play ThompsonSampling().",
    ),
    "rewards without bounds": (
        lambda: play(KEY, {"it": named("UCB1")}, Unbounded(), 5),
        "Expected an environment with bounded rewards; Unbounded gives no `bounds`. Declare them, "
        "or play EpsilonGreedy().",
    ),
    "no posterior": (
        lambda: play(KEY, {"it": named("ThompsonSampling")}, Unbounded(), 5),
        "Expected an environment with an exact posterior; Unbounded has no `belief`. Play a policy "
        "that needs none, such as EpsilonGreedy().",
    ),
    "other arms": (
        lambda: play(KEY, {"it": BayesOptimal()}, Unbounded(), 5),
        "Expected an environment of independent Bernoulli arms, such as BernoulliBandit(); got "
        "Unbounded. Other policies, such as EpsilonGreedy(), plan nothing.",
    ),
}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_with_the_way_out(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.usefixtures("as_users_see_it")
def test_what_is_no_policy_is_named():
    with pytest.raises(TypeError, match="Expected a Policy as 'it'; got BernoulliBandit"):
        play(KEY, {"it": BANDIT}, BANDIT, 5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="Expected a dict from names to at least one policy"):
        play(KEY, {}, BANDIT, 5)
    with pytest.raises(TypeError, match=r"Expected an Environment, such as BernoulliBandit\(\)"):
        play(KEY, {"it": UniformChoice()}, UniformChoice(), 5)  # pyright: ignore[reportArgumentType]
