"""What does acting on a belief earn? Open sets of environments and policies: one file, one line."""

from promptax.decisions.base import Environment as Environment
from promptax.decisions.base import Policy as Policy
from promptax.decisions.bayes_optimal import BayesOptimal as BayesOptimal
from promptax.decisions.bernoulli_bandit import BernoulliBandit as BernoulliBandit
from promptax.decisions.contextual_bandit import ContextualBandit as ContextualBandit
from promptax.decisions.epsilon_greedy import EpsilonGreedy as EpsilonGreedy
from promptax.decisions.play import play as play
from promptax.decisions.thompson_sampling import ThompsonSampling as ThompsonSampling
from promptax.decisions.ucb1 import UCB1 as UCB1
from promptax.decisions.uniform_choice import UniformChoice as UniformChoice
