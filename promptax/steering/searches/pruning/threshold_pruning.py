"""Pruning of demonstrations, one symbol after another (PromptQuine's TAPruning, Wang et al. 2025).

Symbols of the target are the prompt at first. They are visited from left to right, again and again.
With L(m) the mean loss of this step's episodes behind the symbols that are kept, in nats, symbol i
is dropped if

    L(m without i) - L(m) ≤ threshold,

both read on the same episodes, until `length` symbols are left. Where that is too slow, as for
demonstrations that all help, symbols fall at an even pace, so that the last one does in the last
step: then the one with the least difference falls of those visited since the last time.

The published code compares ratios (metric ≥ .96 of the best so far), which is meaningless for log
losses, whose sign is not fixed: here it is a difference, to the present prompt on the same episodes
instead of a best of other episodes. It also stops where nothing falls; here exactly `length`
symbols remain, so that prompts of equal length are compared. Before that, and at the end of fewer
steps than symbols have to fall, the first `length` of the kept symbols are the prompt.

Charged: two prompts in a step, each with the rows that it has, and one once nothing need fall any
more. Free: the demonstrations, which are the first symbols of the first step's episodes, or, where
a step reads all sequences there are, drawn from these.
"""

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.pruning.demonstrations import (
    check_context,
    check_drawable,
    drawn,
    first_kept,
    shortened,
)
from promptax.tasks.base import Task


class ThresholdPruning(Search):
    """Prunes demonstrations of the target, symbol by symbol, to a prompt of `length` symbols.

    `loss` [repetition, step] is that of the symbols that the step begins with, nats per sequence.
    Works on any predictor over symbols; the target's sequences must fill their array.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols that are left; 0 is no prompt."""
    context: int = 24
    """Symbols of the target at first."""
    threshold: float = 0.0
    """A symbol falls if the loss rises by at most that, nats per sequence."""

    def __check_init__(self) -> None:
        check_context(self.context, self.length)
        check(self.threshold >= 0, f"Expected a threshold of at least 0; got {self.threshold}.")

    @classmethod
    def examples(cls) -> "tuple[ThresholdPruning, ...]":
        return (cls(length=1, context=3),)

    @property
    def names_symbols(self) -> bool:
        return True

    @property
    def most_rows(self) -> int:
        return self.context

    def run_length(self, symbols: int) -> int:
        del symbols
        return self.context  # a visit of each symbol

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.context} symbols of the target down to {self.length}"

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        del predictor, target
        check_drawable(self.context, settings)

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> "Pruned":
        del key, problem  # nothing is drawn, and there are no episodes yet
        symbols, kept = jnp.zeros(self.context, jnp.int32), jnp.ones(self.context, bool)
        return Pruned(symbols, kept, jnp.int32(0), jnp.int32(0), jnp.float32(jnp.inf))

    def step(
        self, key: Key[Array, ""], state: "Pruned", problem: SearchProblem
    ) -> tuple["Pruned", Float[Array, ""]]:
        demonstrations = drawn(key, problem, self.context)
        symbols = jnp.where(problem.step == 0, demonstrations, state.symbols)
        enough = jnp.sum(state.kept) <= self.length
        place = next_kept(state)
        without = state.kept.at[place].set(False)
        prompts, rows = shortened(symbols, jnp.stack([state.kept, without]))
        now, then = problem.means(prompts, rows, wanted=jnp.stack([jnp.array(True), ~enough]))
        harm = jnp.where(now == then, 0.0, then - now)  # inf - inf, where both are impossible
        falls = ~enough & (harm <= jnp.asarray(self.threshold))
        is_least = ~falls & (harm <= state.harm)
        least = jnp.where(is_least, place, state.least)
        kept = jnp.where(falls, without, state.kept)
        late = jnp.sum(kept) > self.most_kept(problem)
        kept = jnp.where(late, kept.at[least].set(False), kept)
        harm = jnp.where(late, jnp.inf, jnp.where(is_least, harm, state.harm))
        return Pruned(symbols, kept, place + 1, least, harm), now

    def most_kept(self, problem: SearchProblem) -> Float[Array, ""]:
        """How many symbols may be left after this step."""
        left = 1 - (problem.step + 1) / problem.steps
        return jnp.ceil(self.length + left * (self.context - self.length))

    def prompt(self, state: "Pruned") -> Int[Any, " prompt"]:
        return first_kept(jnp.asarray(state.symbols), jnp.asarray(state.kept), self.length)


class Pruned(NamedTuple):
    """Demonstrations [context], which of them are kept [context], the place to visit next, and
    where the least harm was done since a symbol had to fall, and how much, nats."""

    symbols: Any
    kept: Any
    place: Any
    least: Any
    harm: Any


def next_kept(state: Pruned) -> Int[Array, ""]:
    """The first place from the next one on whose symbol is kept; after the last one the first."""
    ahead = state.kept & (jnp.arange(len(state.kept)) >= state.place)
    return jnp.argmax(jnp.where(jnp.any(ahead), ahead, state.kept))
