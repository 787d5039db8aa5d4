"""What does acting on a belief earn? Five policies on two coins of unknown bias, 50 rounds.

    python examples/06_bandit.py            # some ten seconds on two cores
    python examples/06_bandit.py --quick    # a few rounds, to see that it runs

Expected, with the settings below (regret to the better coin, summed over 50 rounds):

    any arm            8.368 ± 0.135
    ε-greedy           2.404 ± 0.070
    UCB1               3.517 ± 0.038
    Thompson           2.123 ± 0.036
    Bayes-optimal      1.310 ± 0.041

The optimum plans for all 50 rounds, by dynamic programming over what may be seen. No policy earns
more in expectation: 31.997 rewards, where knowing the better coin would earn 50 x 2/3 = 33.333, so
that its exact regret is 1.337. Thompson sampling knows the same prior, explores longer, and needs
no horizon.
"""

import sys

import jax

from promptax.decisions import (
    UCB1,
    BayesOptimal,
    BernoulliBandit,
    EpsilonGreedy,
    ThompsonSampling,
    UniformChoice,
    play,
)
from promptax.report import figures
from promptax.store import write_figure

QUICK = "--quick" in sys.argv
rounds, repetitions = (6, 20) if QUICK else (50, 2000)

bandit = BernoulliBandit(arms=2, prior=(1.0, 1.0))  # each coin's bias is uniform, and hidden
policies = {
    "any arm": UniformChoice(),
    "ε-greedy": EpsilonGreedy(exploration=0.1),
    "UCB1": UCB1(),
    "Thompson": ThompsonSampling(),
    "Bayes-optimal": BayesOptimal(),
}
played = play(jax.random.key(0), policies, bandit, rounds, repetitions)

last = played.regret.isel(round=-1)
mean, error = last.mean("repetition"), last.std("repetition", ddof=1) / repetitions**0.5
print(f"regret after {rounds} rounds, rewards")
for name in policies:
    row = {"policy": name}
    print(f"{name:16s}{float(mean.sel(row)):8.3f} ± {float(error.sel(row)):.3f}")
reward = float(played.reward.sel(policy="Bayes-optimal").sum("round").mean())
print(f"the optimum expects {BayesOptimal().expected_reward(bandit, rounds):.3f} rewards;", end=" ")
print(f"it earned {reward:.3f}")
print("figure:", write_figure("bandit.png", figures.regret_over_rounds(played)))
