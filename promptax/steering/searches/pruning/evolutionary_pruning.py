"""Pruning of demonstrations by evolution (PromptQuine's GGA, Wang et al. 2025).

An individual is a mask over demonstrations of the target; at first all of them keep every symbol.
In a generation, each child has as parent the best of a tournament (some individuals, drawn with
replacement), and loses 1 to `most_pruned` of its symbols at random. All children are read on this
step's episodes, and the best of them are the next individuals; their parents die (approximate
regularised evolution: nobody lives on because it was lucky once). No symbol comes back. Once every
individual has exactly `length` symbols, the search ends by ranking anew: all of them are read in
every further step, and the least mean over these steps is the prompt.

The published code seeds its draws with the time, counts skipped duplicates as children, and ends at
a mean length or a number of prompts; here no individual falls below `length`, so that prompts of
equal length are compared. Before the end, the prompt is the first `length` symbols of the best.

Of children that predict alike, one is read; the others come last. Charged: every child that is
read, with the rows that it has. Free: the demonstrations, which are the first symbols of the first
step's episodes.
"""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.duplicates import first_of_equals
from promptax.steering.searches.pruning.demonstrations import (
    check_context,
    check_drawable,
    drawn,
    first_kept,
    shortened,
)
from promptax.tasks.base import Task

Masks = Bool[Array, "individual context"]


class EvolutionaryPruning(Search):
    """Prunes demonstrations of the target to a prompt of `length` symbols, by evolution.

    `loss` [repetition, step] is the least one of the step, nats per sequence. Works on any
    predictor over symbols; the target's sequences must fill their array.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols that are left; 0 is no prompt."""
    context: int = 24
    """Symbols of the target at first."""
    individuals: int = 30
    """Masks that have children (30 as published)."""
    children: int = 50
    """Masks that are read in a step (50 as published)."""
    tournament: int = 6
    """Individuals among which a parent is the best, drawn with replacement (6 of 30 as
    published)."""
    most_pruned: int = 4
    """Symbols that a child loses, at most (1 to 4 as published)."""

    def __check_init__(self) -> None:
        check_context(self.context, self.length)
        check(
            1 <= self.individuals <= self.children,
            f"Expected 1 to {self.children} individuals, the best of as many children; got "
            f"{self.individuals}.",
        )
        for name in ("tournament", "most_pruned"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")

    @classmethod
    def examples(cls) -> "tuple[EvolutionaryPruning, ...]":
        return (cls(length=1, context=3, individuals=2, children=4),)

    @property
    def names_symbols(self) -> bool:
        return True

    @property
    def most_rows(self) -> int:
        return self.context

    def run_length(self, symbols: int) -> int:
        del symbols
        return self.context  # a symbol falls in each step, and those left are ranked

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.children} ways to prune {self.context} symbols of the target in each step"

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        del predictor, target
        check_drawable(self.context, settings)

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> "Population":
        del key, problem  # nothing is drawn, and there are no episodes yet
        kept = jnp.ones((self.individuals, self.context), bool)
        return Population(
            jnp.zeros(self.context, jnp.int32), kept, jnp.zeros(self.individuals), jnp.array(False)
        )

    def step(
        self, key: Key[Array, ""], state: "Population", problem: SearchProblem
    ) -> tuple["Population", Float[Array, ""]]:
        drawing, birth = jax.random.split(key)
        demonstrations = drawn(drawing, problem, self.context)
        symbols = jnp.where(problem.step == 0, demonstrations, state.symbols)
        ranking = jnp.all(jnp.sum(state.kept, axis=1) <= self.length)
        children = self.bear(birth, state)
        children = jnp.where(ranking, children.at[: self.individuals].set(state.kept), children)
        prompts, rows = shortened(symbols, children)
        numbers, places = jnp.arange(self.children), jnp.arange(self.context)
        read = jnp.where(places < rows[:, None], prompts, -1)
        wanted = first_of_equals(read, problem.predictor.exchangeable) == numbers
        wanted &= ~ranking | (numbers < self.individuals)
        means = problem.means(prompts, rows, wanted)
        best = jnp.argsort(means)[: self.individuals]
        # the sums of a ranking begin with its first step, not with the scores of births
        sums = jnp.where(state.ranked, state.scores, 0.0) + means[: self.individuals]
        kept = jnp.where(ranking, state.kept, children[best])
        scores = jnp.where(ranking, sums, means[best])
        return Population(symbols, kept, scores, ranking), jnp.min(means)

    def bear(self, key: Key[Array, ""], state: "Population") -> Bool[Array, "child context"]:
        """Children of the winners of tournaments, pruned at random, but not below `length`."""
        fight, number, which = jax.random.split(key, 3)
        shape = self.children, self.tournament
        entrants = jax.random.randint(fight, shape, 0, self.individuals)
        winners = entrants[jnp.arange(self.children), jnp.argmin(state.scores[entrants], axis=1)]
        kept = state.kept[winners]
        pruned = jax.random.randint(number, (self.children,), 1, self.most_pruned + 1)
        remaining = jnp.maximum(jnp.sum(kept, axis=1) - pruned, self.length)
        order = jnp.where(kept, jax.random.uniform(which, kept.shape), -1.0)
        rank = jnp.argsort(jnp.argsort(-order, axis=1), axis=1)  # kept symbols first, at random
        return rank < remaining[:, None]

    def prompt(self, state: "Population") -> Int[Any, " prompt"]:
        kept = jnp.asarray(state.kept)[jnp.argmin(jnp.asarray(state.scores))]
        return first_kept(jnp.asarray(state.symbols), kept, self.length)


class Population(NamedTuple):
    """Demonstrations [context], masks over them [individual, context], and the masks' scores
    [individual], nats: of the step that they were read in, or sums over all steps of a ranking."""

    symbols: Any
    kept: Any
    scores: Any
    ranked: Any
