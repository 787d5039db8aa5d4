"""The best of prompts that are given."""

from typing import Annotated, Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.checks import as_tuple
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import JSON_ARGUMENT, check
from promptax.steering.search import Search, SearchProblem
from promptax.tasks.base import Task


class Sums(NamedTuple):
    """The sum of the means of all steps so far [candidate], and the prompts [candidate, prompt]."""

    sums: Any
    prompts: Any


def as_prompts(value: Any) -> Any:
    """Rows of whole numbers, also those of an array; what is none stays what it is, and the field
    is refused by its name."""
    rows = as_tuple(value)
    return tuple(map(as_row, rows)) if isinstance(rows, tuple) else rows


def as_row(value: Any) -> Any:
    """A row of whole numbers, those of an array too."""
    row = as_tuple(value)
    if not isinstance(row, tuple):
        return row
    return tuple(int(symbol) if isinstance(symbol, np.integer) else symbol for symbol in row)


class BestOf(Search):
    """Reads every prompt of a pool, and recommends the one of the least mean loss so far.

    Every step has a batch of its own, on which all prompts are read; what was read in earlier steps
    counts. `loss` [repetition, step] is the least of the step, nats per sequence. With
    `Raced(BestOf(pool))` and one step it is a race for a given pool.
    """

    prompts: Annotated[tuple[tuple[int, ...], ...], JSON_ARGUMENT] = eqx.field(
        default=((0, 0), (0, 1), (1, 0), (1, 1)), converter=as_prompts
    )
    """The pool [candidate, prompt]: symbols, as many in each."""

    def __check_init__(self) -> None:
        lengths = {len(row) for row in self.prompts}
        check(
            len(lengths) == 1,
            "Expected at least one prompt, and as many symbols in each; got "
            f"{len(self.prompts)} prompts of {sorted(lengths)} symbols.",
        )

    @classmethod
    def examples(cls) -> "tuple[BestOf, ...]":
        return (cls(prompts=((0, 1), (1, 0), (1, 1))),)  # pyright: ignore[reportCallIssue]

    @property
    def length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rows of the prompts."""
        return len(self.prompts[0]) if self.prompts else 0

    @property
    def names_symbols(self) -> bool:
        return True

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        del target, settings
        symbols = [symbol for row in self.prompts for symbol in row]
        check(
            all(0 <= symbol < predictor.symbols for symbol in symbols),
            f"Expected prompts of symbols from 0 to {predictor.symbols - 1}; got "
            f"{min(symbols, default=0)} to {max(symbols, default=0)}.",
        )

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{len(self.prompts):,} prompts in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Sums:
        del key, problem
        prompts = jnp.array(self.prompts, jnp.int32).reshape(len(self.prompts), self.length)
        return Sums(jnp.zeros(len(prompts)), prompts)

    def step(
        self, key: Key[Array, ""], state: Sums, problem: SearchProblem
    ) -> tuple[Sums, Float[Array, ""]]:
        del key
        means = problem.means(state.prompts)
        return Sums(state.sums + means, state.prompts), jnp.min(means)

    def prompt(self, state: Sums) -> Int[Any, " prompt"]:
        return state.prompts[jnp.argmin(jnp.asarray(state.sums))]
