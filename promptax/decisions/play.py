"""Playing: policies in an environment, all on the same draws, and what they earn and miss."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import AnyKey, labelled
from promptax.checks import kind_of
from promptax.decisions.base import Environment, Policy
from promptax.doors import door
from promptax.specs import as_key, check, check_whole_numbers, to_json, traced

if TYPE_CHECKING:
    import xarray as xr  # takes long to import; annotations alone need it here

MOST_PLAYED = 2**24  # rounds of a policy: 1 GB for the four numbers of each, and their copies
DIMENSIONS = ("policy", "repetition", "round")


class Round(NamedTuple):
    """What happened in one round. `missed`: the best arm's mean reward minus the pulled arm's."""

    context: Int[Array, "*played"]
    arm: Int[Array, "*played"]
    reward: Float[Array, "*played"]
    missed: Float[Array, "*played"]


@door
def play(
    key: AnyKey,
    policies: Mapping[str, Policy],
    environment: Environment,
    rounds: int,
    repetitions: int = 100,
) -> "xr.Dataset":
    """Play each policy for that many rounds, many times, and measure reward and regret.

    Returns a Dataset over policy, repetition and round (counts 1..N):

    - `arm` and `context`: what was pulled, and in which context;
    - `reward`: what that paid;
    - `regret`: the cumulative pseudo-regret R_n = Σ_{t ≤ n} (max_a μ[a, t] - μ[arm_t, t]), where
      μ are the mean rewards given what is hidden in that repetition. It compares with the best arm
      for who knows what is hidden, so it never falls; and it leaves out the luck of single rewards,
      so it is less noisy than missed rewards, with the same expectation.

    Common random numbers: what is hidden, contexts, and the rewards that every arm would pay depend
    on the key, the repetition and the round alone. So all policies face the same, differences
    between them are paired, and a policy plays the same whoever else plays. More repetitions or
    rounds go on where fewer end, for policies that do not plan for a number of rounds.

    Raises:
        TypeError: what is no policy or no environment; no policy at all.
        ValueError: sizes below 1, or too large; a policy that does not fit the environment.

    All of that comes before anything is played.

    Example:

        played = play(key, {"Thompson": ThompsonSampling()}, BernoulliBandit(arms=5), rounds=200)
        played.regret.mean("repetition")
    """
    key = as_key(key)
    _check_sizes(rounds, repetitions)
    _check_players(policies, environment, rounds)
    keys = _repetition_keys(key, repetitions)
    plays = {}
    for name, policy in policies.items():
        state = policy.start(environment, rounds)
        played = _play(traced(policy), traced(environment), state, keys, rounds)
        plays[name] = jax.tree.map(np.asarray, played)
    return _labelled(plays, environment, rounds, repetitions)


@eqx.filter_jit
def _repetition_keys(key: Key[Array, ""], repetitions: int) -> Key[Array, " repetition"]:
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(repetitions))


@eqx.filter_jit
def _play(
    policy: Policy,
    environment: Environment,
    start: Any,
    keys: Key[Array, " repetition"],
    rounds: int,
) -> Round:
    """All rounds [repetition, round] in one program; other numbers compile nothing."""

    def play_repetition(key: Key[Array, ""]) -> Round:
        hidden_key, rounds_key = jax.random.split(key)
        hidden = environment.start(hidden_key)

        def play_round(state: Any, number: Array) -> tuple[Any, Round]:
            context_key, reward_key, policy_key = jax.random.split(
                jax.random.fold_in(rounds_key, number), 3
            )
            context = environment.context(context_key, hidden)
            arm = policy.act(policy_key, environment, state, context)
            reward = environment.reward(reward_key, hidden, context)[arm]
            missed = environment.best(hidden, context) - environment.expected(hidden, context)[arm]
            state = policy.learn(environment, state, context, arm, reward)
            return state, Round(context, arm, reward, missed)

        return jax.lax.scan(play_round, start, jnp.arange(rounds))[1]

    return jax.vmap(play_repetition)(keys)


def _labelled(
    plays: dict[str, Round], environment: Environment, rounds: int, repetitions: int
) -> "xr.Dataset":
    context, arm, reward, missed = map(np.stack, zip(*plays.values(), strict=True))
    regret = np.cumsum(missed.astype(float), axis=-1)
    return labelled(
        {
            "arm": (DIMENSIONS, arm),
            "context": (DIMENSIONS, context),
            "reward": (DIMENSIONS, reward, {"unit": "reward"}),
            "regret": (DIMENSIONS, regret, {"unit": "reward"}),
        },
        {
            "policy": list(plays),
            "repetition": np.arange(repetitions),
            "round": np.arange(1, rounds + 1),
        },
        {"environment": json.dumps(to_json(environment)), "regret": "cumulative pseudo-regret"},
    )


def _check_sizes(rounds: int, repetitions: int) -> None:
    check_whole_numbers(rounds=rounds, repetitions=repetitions)
    check(
        rounds >= 1 and repetitions >= 1,
        f"Expected at least 1 round and 1 repetition; got {rounds} and {repetitions}.",
    )
    check(
        rounds * repetitions <= MOST_PLAYED,
        f"Expected at most {MOST_PLAYED:,} rounds of all repetitions together; got {rounds:,} of "
        f"{repetitions:,} repetitions. Play several times, with other keys.",
    )


def _check_players(policies: Any, environment: Any, rounds: int) -> None:
    if not isinstance(environment, Environment):
        raise TypeError(
            f"Expected an Environment, such as BernoulliBandit(); got {kind_of(environment)}."
        )
    if not isinstance(policies, Mapping) or not policies:
        raise TypeError(
            "Expected a dict from names to at least one policy, such as "
            f'{{"Thompson": ThompsonSampling()}}; got {policies!r}.'
        )
    for name, policy in policies.items():
        if not isinstance(policy, Policy):
            raise TypeError(f"Expected a Policy as {name!r}; got {kind_of(policy)}.")
        policy.suits(environment, rounds)
