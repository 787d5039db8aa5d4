"""The log loss of sequences: what a fit makes small unless it is told otherwise."""

from promptax.fit.objectives.base import Objective


class LogLoss(Objective):
    """-Σ_t log p(x_t | x_<t) of each sequence, nats (Genewein et al. 2025, Eq. 5)."""
