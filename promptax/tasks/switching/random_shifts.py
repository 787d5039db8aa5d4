"""Segments whose lengths are random and do not depend on the past."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from promptax.axes import Tokens
from promptax.specs import check, floats
from promptax.tasks.combined import switch_judges
from promptax.tasks.combined.switch_posterior import SwitchPosterior
from promptax.tasks.independent.dirichlet_categorical import (
    DirichletCategorical,
    DirichletPosterior,
)
from promptax.tasks.markov.contexts import check_whole
from promptax.tasks.markov.weighting import KT
from promptax.tasks.switching.shifts import ShiftTask


class RandomShifts(ShiftTask):
    """Independent symbols in segments of geometric length, each with a Dirichlet(½) row.

    Before each symbol but the first a segment begins with probability 1 / `period`, however long
    the last one is ago. It is `Switching` with one fresh part, whose exact predictor it has.
    """

    period: float = eqx.field(default=20.0, converter=floats)
    """Mean number of steps of a segment, at least 1."""
    symbols: int = 2
    """Size of the alphabet."""

    def __check_init__(self) -> None:
        check(self.period >= 1, f"Expected a period of at least 1 step; got {self.period}.")
        check_whole("symbols", self.symbols, 2, "2 are the least that can differ.")

    def begins(self, key: Key[Array, ""], length: int) -> Bool[Array, " time"]:
        switches = jax.random.uniform(key, (length,)) * jnp.asarray(self.period) < 1
        return switches | (jnp.arange(length) == 0)

    def bayes(self) -> SwitchPosterior:
        part = DirichletPosterior((KT,) * self.symbols)
        return SwitchPosterior((part,), (1.0,), 1 / jnp.asarray(self.period), "redraw")

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """Over where the last segment begins, and then where the one before does."""
        part = DirichletCategorical((KT,) * self.symbols)
        hazard = 1 / jnp.asarray(self.period)
        return switch_judges.fresh((part,), (1.0,), hazard, jnp.ones((1, 1)), tokens)

    @classmethod
    def examples(cls) -> "tuple[RandomShifts, ...]":
        return cls(period=4.0), cls(period=2.5, symbols=3)
