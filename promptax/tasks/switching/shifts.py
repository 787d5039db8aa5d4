"""What sources share that switch by a rule which no prior of a predictor is made for.

Genewein et al. 2023, "Memory-Based Meta-Learning on Non-Stationary Distributions", train on one way
to switch and test on others. Rows are those of `PartitionTree` and `LiveAndDie`, Dirichlet(½); only
the steps at which segments begin are drawn by another rule.
"""

import abc

import jax
from jaxtyping import Array, Bool, Float, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode
from promptax.tasks.base import Task
from promptax.tasks.switching import segments
from promptax.tasks.switching.segments import Segments


class ShiftTask(Task):
    """A task of segments. A member owes its fields, and `begins`."""

    @abc.abstractmethod
    def begins(self, key: Key[Array, ""], length: int) -> Bool[Array, " time"]:
        """Whether a segment begins with each step; one does with the first."""

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        when, rows, tokens = jax.random.split(key, 3)
        return segments.draw_segments(rows, tokens, self.begins(when, length), self.symbols)

    def oracle(self, latent: Segments, tokens: Tokens) -> LogProbs:
        return segments.log_rows(latent, tokens)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return segments.entropy_of_a_drawn_row(self.symbols, length)
