"""The Bayes-optimal policy for Bernoulli arms, by dynamic programming over beliefs.

A belief is how often each arm paid 0 and 1 (Bellman 1956; Gittins, Glazebrook and Weber 2011,
section 1.2). With n rounds to go and a context that comes with probability c = 1 / contexts,

    V_n(belief) = (1 - c) V_{n-1}(belief)
                  + c max_a Σ_r P(r | belief of a) (r + V_{n-1}(belief after a paid r)),   V_0 = 0.

Contexts share nothing, so each is planned for alone, and the plan is the same for all of them; the
expected reward is contexts × V_rounds(nothing seen).
"""

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.decisions.base import Environment, Index, Policy
from promptax.decisions.bernoulli_arms import BernoulliArms, CountsOfArms
from promptax.specs import check

MOST_BELIEFS = 2_000_000  # beliefs to plan for: some seconds, and 0.3 GB for two arms


class BayesOptimal(Policy):
    """Earns the highest expected reward that any policy can, given the prior and the horizon.

    It pulls an arm for what it pays now and for what it teaches. Beliefs grow as horizon^(2 arms) /
    (2 arms)!, so that horizons are short: about 80 rounds of two arms, 25 of three.

    Example:

        BayesOptimal().expected_reward(BernoulliBandit(arms=2), rounds=5)     # 2.888889
    """

    horizon: int | None = None
    """For how many rounds it plans; by default those that are played."""

    def suits(self, environment: Environment, rounds: int) -> None:
        if not isinstance(environment, BernoulliArms):
            raise ValueError(
                "Expected an environment of independent Bernoulli arms, such as BernoulliBandit(); "
                f"got {type(environment).__name__}. Other policies, such as EpsilonGreedy(), plan "
                "nothing."
            )
        horizon = rounds if self.horizon is None else self.horizon
        check(
            horizon >= rounds >= 1,
            f"Expected at least 1 round, and a horizon of at least the rounds; got {rounds} rounds "
            f"and a horizon of {horizon}. Leave the horizon out, or play fewer rounds.",
        )
        needed = _beliefs(environment, horizon)
        check(
            needed <= MOST_BELIEFS,
            f"Expected at most {MOST_BELIEFS:,} beliefs to plan for; a horizon of {horizon} with "
            f"{environment.arms} arms and {environment.contexts} contexts has {needed:,}. Plan for "
            f"{_longest(environment)} rounds at most, or play ThompsonSampling().",
        )

    def expected_reward(self, environment: Environment, rounds: int) -> float:
        """The expected sum of rewards over that many rounds, which is also the horizon; float64.

        No policy earns more in expectation. Raises ValueError as `suits` does.
        """
        BayesOptimal().suits(environment, rounds)
        assert isinstance(environment, BernoulliArms)
        return _planned(environment, rounds)[1]

    def start(self, environment: Environment, rounds: int) -> "Planned":
        assert isinstance(environment, BernoulliArms), "others were refused before"
        horizon = rounds if self.horizon is None else self.horizon
        plan, _ = _planned(environment, horizon)
        return Planned(plan, environment.belief(), jnp.asarray(horizon, jnp.int32))

    def act(
        self, key: Key[Array, ""], environment: Environment, state: "Planned", context: Index
    ) -> Index:
        del key, environment
        counts = state.belief[context].reshape(-1).astype(jnp.int32)
        return state.plan.arms[
            state.plan.first[state.remaining] + _rank(counts, state.plan.binomials)
        ].astype(jnp.int32)

    def learn(
        self,
        environment: Environment,
        state: "Planned",
        context: Index,
        arm: Index,
        reward: Float[Array, ""],
    ) -> "Planned":
        belief = environment.update(state.belief, context, arm, reward)
        return Planned(state.plan, belief, state.remaining - 1)

    @classmethod
    def examples(cls) -> "tuple[BayesOptimal, ...]":
        return (cls(),)


class Plan(NamedTuple):
    """The best arm for every number of rounds to go and every belief that is possible then.

    `arms[first[n] + rank]`: n rounds to go, and the rank of the belief's counts (`_rank`, which
    reads `binomials`).
    """

    arms: Int[Array, " entry"]
    first: Int[Array, " remaining"]
    binomials: Int[Array, "total place"]


class Planned(NamedTuple):
    """The plan, the belief, and how many rounds there are to go."""

    plan: Plan
    belief: CountsOfArms
    remaining: Int[Array, ""]


def _planned(environment: BernoulliArms, horizon: int) -> tuple[Plan, float]:
    """The plan, and the expected reward of all rounds."""
    arms, contexts = environment.arms, environment.contexts
    size = 2 * arms  # counts of 0 and of 1, arm by arm
    binomials = _binomials(horizon + size, size)
    counts = _compositions(binomials, horizon - 1, size)
    chances = _chances(environment, horizon)
    chance = [chances[counts[:, 2 * arm], counts[:, 2 * arm + 1]] for arm in range(arms)]
    step = np.eye(size, dtype=counts.dtype)
    after = [_rank(counts + row, binomials) for row in step]
    values = np.zeros(math.comb(horizon + size, size))
    pieces, first, entries = [], [0], 0
    for remaining in range(1, horizon + 1):
        least, total = _totals(environment, horizon, remaining)
        low, high = math.comb(least + size - 1, size), math.comb(total + size, size)
        level = slice(low, high)
        paid = np.stack(
            [
                chance[arm][level] * (1 + values[after[2 * arm + 1][level]])
                + (1 - chance[arm][level]) * values[after[2 * arm][level]]
                for arm in range(arms)
            ]
        )
        values[level] += (paid.max(axis=0) - values[level]) / contexts
        pieces.append(paid.argmax(axis=0).astype(np.int8 if arms < 128 else np.int32))
        first.append(entries - low)
        entries += high - low
    plan = Plan(*map(jnp.asarray, (np.concatenate(pieces), np.array(first), binomials)))
    return plan, contexts * float(values[0])


def _totals(environment: BernoulliArms, horizon: int, remaining: int) -> tuple[int, int]:
    """The fewest and the most pulls that one context can have seen by then."""
    most = horizon - remaining
    return (most if environment.contexts == 1 else 0), most


def _beliefs(environment: BernoulliArms, horizon: int) -> int:
    """How many pairs of a belief and a number of rounds to go there are."""
    size = 2 * environment.arms
    if environment.contexts == 1:  # the counts say how many rounds are to go
        return math.comb(horizon - 1 + size, size)
    return math.comb(horizon + size, size + 1)


def _longest(environment: BernoulliArms) -> int:
    """The longest horizon that can be planned for."""
    longest = 1
    while _beliefs(environment, longest + 1) <= MOST_BELIEFS:
        longest += 1
    return longest


def _chances(environment: BernoulliArms, horizon: int) -> Float[np.ndarray, "zeros ones"]:
    """The chance of reward 1 after so many rewards 0 and 1 of an arm, from its exact predictor."""
    counts = np.stack(np.meshgrid(*[np.arange(float(horizon))] * 2, indexing="ij"), axis=-1)
    with jax.enable_x64(True):
        after = jax.vmap(jax.vmap(environment.arm_predictor().after))
        return np.exp(np.asarray(after(jnp.asarray(counts)))[..., 1])


# --- counts in a row: where the counts of a belief stand among all counts ----------------------


def _binomials(top: int, size: int) -> Int[np.ndarray, "top place"]:
    """C(n, k) for n < top and k ≤ size."""
    return np.array([[math.comb(n, k) for k in range(size + 1)] for n in range(top)], np.int32)


def _rank(counts: Any, binomials: Any) -> Any:
    """The place of counts [..., size], of NumPy or JAX, in the order by their total, from 0.

    Σ_j C(s_j + j - 1, j), with s_j the sum of the first j counts: the combinatorial number system.
    """
    places = np.arange(1, counts.shape[-1] + 1)
    return binomials[counts.cumsum(axis=-1) + places - 1, places].sum(axis=-1)


def _compositions(
    binomials: Int[np.ndarray, "top place"], most: int, size: int
) -> Int[np.ndarray, "belief size"]:
    """All counts whose total is at most that, in the order of `_rank`."""
    amount = math.comb(most + size, size)
    chosen = itertools.chain.from_iterable(itertools.combinations(range(most + size), size))
    bars = np.fromiter(chosen, np.int32, amount * size).reshape(amount, size)
    counts = np.diff(bars, axis=1, prepend=-1) - 1
    ordered = np.empty_like(counts)
    ordered[_rank(counts, binomials)] = counts
    return ordered
