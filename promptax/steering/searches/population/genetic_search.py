"""A genetic algorithm over prompts of real tokens, with crossover or without.

A child has one parent, or two with probability `crossover`; a parent is the best of `tournament`
that are drawn at random from the population, with replacement. Of two parents each symbol comes
from either one with probability ½ (uniform crossover; Syswerda 1989). Then each symbol is drawn
anew, uniformly, with probability `mutation`. Parents and children are read on the same episodes,
and the best `population` of them live on (μ + λ).

Ranks alone decide, so nothing has to be rescaled to nats. With mutation 1 children are random
prompts: random search. What published code does otherwise:

- Plum (Pan et al. 2023), GA-M and GA-C: one child an iteration, its parents drawn from all that
  was ever kept; scores of 20 examples are never refreshed, and the pool only grows.
- ClaPS (Zhou et al. 2023): a population of 128 on 64 mutated and 64 crossed. Its crossover returns
  one whole parent, so nothing is ever recombined; `crossover=0` is what it does.

Charged: all different prompts among parents and children, in each step.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.search_problem import Prompts
from promptax.steering.searches.population.survivors import (
    Population,
    draw_population,
    keep_best,
    pick_parents,
)


class GeneticSearch(Search):
    """Searches a hard prompt by mutating and crossing those that are good.

    `loss` [repetition, step] is that of the prompt that was the best before the step, nats per
    sequence, on episodes that did not choose it. Works on any predictor over symbols, exact ones
    included.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    population: int = 32
    """Prompts that live on from step to step."""
    children: int = 32
    """New prompts in a step."""
    crossover: float = 0.5
    """Share of the children that have two parents; 0 is a genetic algorithm without crossover."""
    mutation: float = 0.2
    """Chance of each symbol of a child to be drawn anew; 1 is random search."""
    tournament: int = 5
    """Prompts among which a parent is the best: the more, the greedier."""

    def __check_init__(self) -> None:
        for name in ("population", "children", "tournament"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")
        for name in ("crossover", "mutation"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"Expected {name} from 0 to 1; got {value}.")

    @classmethod
    def examples(cls) -> "tuple[GeneticSearch, ...]":
        return (
            cls(length=2, population=2, children=2, tournament=2),
            cls(length=3, population=3, children=1, crossover=0.0, mutation=0.5),
        )

    @classmethod
    def relatives(cls, length: int, budget: int) -> dict[str, Search]:
        del budget
        return {"GeneticSearch without crossover": cls(length=length, crossover=0.0)}

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.children:,} children of {self.population:,} prompts in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Population:
        return draw_population(key, self.population, self.length, problem)

    def step(
        self, key: Key[Array, ""], state: Population, problem: SearchProblem
    ) -> tuple[Population, Float[Array, ""]]:
        return keep_best(state, self.breed(key, state, problem.symbols), problem)

    def prompt(self, state: Population) -> Int[Any, " prompt"]:
        return state.prompts[0]

    def breed(self, key: Key[Array, ""], state: Population, symbols: int) -> Prompts:
        """The children [candidate, prompt] of a population."""
        one, other, two, side, changed, symbol = jax.random.split(key, 6)
        first, second = (
            state.prompts[pick_parents(key, self.children, state, self.tournament)]
            for key in (one, other)
        )
        crossed = jax.random.bernoulli(two, self.crossover, (self.children, 1))
        from_second = crossed & jax.random.bernoulli(side, 0.5, first.shape)
        bred = jnp.where(from_second, second, first)
        drawn = jax.random.randint(symbol, bred.shape, 0, symbols)
        return jnp.where(jax.random.bernoulli(changed, self.mutation, bred.shape), drawn, bred)
