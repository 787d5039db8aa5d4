"""Segments that are cut at steps which are drawn uniformly."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

from promptax.specs import check
from promptax.tasks.markov.contexts import check_whole
from promptax.tasks.switching.shifts import ShiftTask


class UniformShifts(ShiftTask):
    """Independent symbols in segments that are cut at `shifts` different steps, all choices equally
    likely, each with a Dirichlet(½) row.

    The steps are those from 1 to `horizon` - 1, and behind the horizon there is no shift. So
    whether one comes next depends on how many came: no exact predictor is offered, and regret is
    taken to the oracle, or to another predictor.
    """

    shifts: int = 4
    """How many shifts there are within the horizon."""
    horizon: int = 256
    """How many steps are cut."""
    symbols: int = 2
    """Size of the alphabet."""

    def __check_init__(self) -> None:
        check_whole("shifts", self.shifts, 0, "0 is DirichletCategorical.")
        check_whole("a horizon", self.horizon, 1, "1 step is never cut.")
        check(
            self.shifts < self.horizon,
            f"Expected fewer shifts than the {self.horizon} steps of the horizon; got "
            f"{self.shifts}.",
        )
        check_whole("symbols", self.symbols, 2, "2 are the least that can differ.")

    def begins(self, key: Key[Array, ""], length: int) -> Bool[Array, " time"]:
        cut = jax.random.permutation(key, jnp.arange(1, self.horizon) <= self.shifts)
        begins = jnp.concatenate([jnp.ones(1, bool), cut])
        return jnp.pad(begins, (0, max(0, length - self.horizon)))[:length]

    @classmethod
    def examples(cls) -> "tuple[UniformShifts, ...]":
        return (cls(shifts=2, horizon=8),)
