"""Laws that every environment and every policy obeys."""

import importlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from support import judges as laws

from promptax import specs
from promptax.decisions import Environment, Policy, play

ROUNDS, REPETITIONS = 6, 2000
KEY = jax.random.key(3)
ENVIRONMENTS = {case.id: case.values[0] for case in laws.examples(Environment)}
POLICIES = {case.id: case.values[0] for case in laws.examples(Policy)}
# The first one shows what a law needs; those after it are judged by the slow tests.
every_environment = pytest.mark.parametrize(
    "environment",
    [
        pytest.param(environment, id=name, marks=laws.SLOW if index else ())
        for index, (name, environment) in enumerate(ENVIRONMENTS.items())
    ],
)
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())


def fits(policy, environment):
    try:
        policy.suits(environment, ROUNDS)
    except ValueError:
        return False
    return True


PLAYED = {}


def played(environment):
    """All policies that fit, once for all laws."""
    (name,) = (n for n, other in ENVIRONMENTS.items() if other is environment)
    if name not in PLAYED:
        players = {n: policy for n, policy in POLICIES.items() if fits(policy, environment)}
        PLAYED[name] = play(KEY, players, environment, ROUNDS, REPETITIONS)
    return PLAYED[name]


# --- environments ---------------------------------------------------------------------------


@eqx.filter_jit
def looked_at(environment, keys):
    """What is hidden, contexts, rewards and expected rewards, one for each key."""

    def look(key):
        first, second, third = jax.random.split(key, 3)
        hidden = environment.start(first)
        context = environment.context(second, hidden)
        rewards = environment.reward(third, hidden, context)
        expected = environment.expected(hidden, context)
        return context, rewards, expected, environment.best(hidden, context)

    return jax.vmap(look)(keys)


@every_environment
def test_rewards_follow_their_law(environment):
    keys = jax.random.split(KEY, REPETITIONS)
    context, rewards, expected, best = map(np.asarray, looked_at(specs.traced(environment), keys))
    assert rewards.shape == expected.shape == (REPETITIONS, environment.arms)
    assert ((context >= 0) & (context < environment.contexts)).all()
    assert set(context) == set(range(environment.contexts))
    np.testing.assert_array_equal(best, expected.max(axis=1))
    for arm in range(environment.arms):
        excess = rewards[:, arm] - expected[:, arm]
        laws.assert_zero(excess, f"reward of arm {arm} above its mean")
        laws.assert_zero(excess * expected[:, arm], "that, where the arm is good")
    if environment.bounds is not None:
        low, high = environment.bounds
        assert (rewards >= low).all() and (rewards <= high).all()


@pytest.mark.slow
@every_environment
def test_the_posterior_draws_what_may_be_hidden(environment):
    """Given rewards, what is hidden and a draw from the posterior have one law."""
    if not environment.has_belief:
        with pytest.raises(NotImplementedError, match="has no exact posterior"):
            environment.belief()
        return

    @eqx.filter_jit
    def drawn(environment, keys):
        def one(key):
            start_key, draw_key, rounds_key = jax.random.split(key, 3)
            hidden, belief, total = environment.start(start_key), environment.belief(), 0.0
            context = environment.context(draw_key, hidden)
            for number in range(3):
                first, second = jax.random.split(jax.random.fold_in(rounds_key, number))
                arm = jax.random.randint(first, (), 0, environment.arms)
                reward = environment.reward(second, hidden, context)[arm]
                belief, total = environment.update(belief, context, arm, reward), total + reward
            possible = environment.draw(draw_key, belief)
            difference = environment.expected(possible, context) - environment.expected(
                hidden, context
            )
            return difference, total

        return jax.vmap(one)(keys)

    keys = jax.random.split(KEY, REPETITIONS)
    differences, totals = map(np.asarray, drawn(specs.traced(environment), keys))
    assert np.abs(differences).max() > 0.01  # it draws, and does not tell
    for arm in range(environment.arms):
        laws.assert_zero(differences[:, arm], f"mean of arm {arm}: drawn above hidden")
        laws.assert_zero(differences[:, arm] * totals, "that, where rewards were many")


@pytest.mark.parametrize("spec", [*ENVIRONMENTS.values(), *POLICIES.values()], ids=str)
def test_json_gives_the_same_spec_back(spec):
    assert specs.from_json(specs.to_json(spec)) == spec


# --- policies -------------------------------------------------------------------------------


@every_environment
def test_what_was_played_is_labelled_and_possible(environment):
    result = played(environment)
    assert result.arm.dims == result.regret.dims == ("policy", "repetition", "round")
    assert result.sizes["repetition"] == REPETITIONS
    np.testing.assert_array_equal(result["round"], np.arange(1, ROUNDS + 1))
    assert ((result.arm >= 0) & (result.arm < environment.arms)).all()
    assert (result.context == result.context.isel(policy=0)).all()  # everybody meets the same
    missed = result.regret.diff("round")
    assert (missed >= 0).all() and (result.regret.isel(round=0) >= 0).all()
    assert (
        result.regret.isel(round=-1).mean("repetition") > 0
    ).all()  # nobody knows what is hidden


@every_environment
def test_reward_and_regret_add_up_to_the_same_for_all(environment):
    """Their sum has the mean of the best arm's rewards, whoever plays."""
    result = played(environment)
    total = result.reward.sum("round") + result.regret.isel(round=-1)
    for name in result.policy.values[1:]:
        difference = total.sel(policy=name) - total.isel(policy=0)
        laws.assert_zero(difference.values, f"reward and regret of {name} above the first's")


@every_environment
def test_the_same_arm_in_the_same_round_pays_the_same(environment):
    result = played(environment)
    first = result.isel(policy=0)
    for name in result.policy.values[1:]:
        other = result.sel(policy=name)
        agree = (other.arm == first.arm).values
        assert agree.any()
        np.testing.assert_array_equal(other.reward.values[agree], first.reward.values[agree])


@every_environment
@every_policy
def test_a_policy_plays_the_same_whoever_else_plays(environment, policy):
    if not fits(policy, environment):
        with pytest.raises(ValueError, match=r"^Expected"):
            play(KEY, {"it": policy}, environment, ROUNDS, 2)
        return
    (name,) = (n for n, other in POLICIES.items() if other is policy)
    alone = play(KEY, {"it": policy}, environment, ROUNDS, REPETITIONS).isel(policy=0, drop=True)
    xr.testing.assert_equal(alone, played(environment).sel(policy=name, drop=True))
    other = play(jax.random.key(4), {"it": policy}, environment, ROUNDS, REPETITIONS)
    assert (other.reward.values[0] != alone.reward.values).any()  # the arms may be the same


@eqx.filter_jit
def arms_pulled(policy, environment, state, key, contexts, rewards):
    """The arms [round] that a policy pulls where `rewards` [round, arm] are what arms pay."""

    def one_round(state, given):
        number, context, row = given
        arm = policy.act(jax.random.fold_in(key, number), environment, state, context)
        return policy.learn(environment, state, context, arm, row[arm]), arm

    return jax.lax.scan(one_round, state, (jnp.arange(len(rewards)), contexts, rewards))[1]


@every_environment
@every_policy
def test_a_policy_knows_what_it_was_paid_before_and_nothing_else(environment, policy):
    if not fits(policy, environment):
        return
    low, high = environment.bounds or (-1.0, 1.0)
    random = np.random.default_rng(0)
    given = specs.traced(policy), specs.traced(environment), policy.start(environment, ROUNDS)
    for seed in range(5):
        key = jax.random.key(seed)
        contexts = jnp.asarray(random.integers(0, environment.contexts, ROUNDS), jnp.int32)
        rewards = random.choice([low, high], (ROUNDS, environment.arms)).astype("float32")

        def pulled(rewards, key=key, contexts=contexts):
            return np.asarray(arms_pulled(*given, key, contexts, jnp.asarray(rewards)))

        arms = pulled(rewards)
        others = low + high - rewards
        for number in range(ROUNDS):
            later = np.concatenate([rewards[:number], others[number:]])
            np.testing.assert_array_equal(pulled(later)[: number + 1], arms[: number + 1])
        unseen = others.copy()
        unseen[np.arange(ROUNDS), arms] = rewards[np.arange(ROUNDS), arms]
        np.testing.assert_array_equal(pulled(unseen), arms)


@every_environment
def test_fewer_repetitions_are_the_first_ones(environment):
    name, policy = [(n, p) for n, p in POLICIES.items() if fits(p, environment)][-1]  # a simple one
    few = play(KEY, {name: policy}, environment, ROUNDS, 10)
    xr.testing.assert_equal(few, played(environment).sel(policy=[name]).isel(repetition=slice(10)))


@every_policy
def test_other_numbers_compile_nothing(policy, monkeypatch):
    """In the program that the laws above play with: after them, it is there."""
    environment = next(spec for spec in ENVIRONMENTS.values() if fits(policy, spec))
    program = importlib.import_module("promptax.decisions.play")._play
    keys, state = jax.random.split(KEY, REPETITIONS), policy.start(environment, ROUNDS)
    given = specs.traced(policy), specs.traced(environment)
    program(*given, state, keys, ROUNDS)
    traces, act = [], type(policy).act
    monkeypatch.setattr(type(policy), "act", lambda *given: traces.append(1) or act(*given))
    halved = jax.tree.map(lambda leaf: leaf / 2 if eqx.is_inexact_array(leaf) else leaf, given)
    program(*halved, state, keys, ROUNDS)
    assert not traces
    eqx.filter_eval_shape(program.__wrapped__, *given, state, keys, ROUNDS)
    assert traces, "traces cannot be seen"
