"""How candidates share the sequences of a step. An open set: one file and its line here."""

from promptax.steering.races.base import Race as Race
from promptax.steering.races.successive_halving import SuccessiveHalving as SuccessiveHalving
from promptax.steering.races.successive_rejects import SuccessiveRejects as SuccessiveRejects
from promptax.steering.races.ucb import UCB as UCB
from promptax.steering.races.uniform_allocation import UniformAllocation as UniformAllocation
