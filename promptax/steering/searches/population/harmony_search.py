"""Harmony search over prompts of real tokens (Geem, Kim and Loganathan 2001, "A New Heuristic
Optimization Algorithm: Harmony Search"; for prompts Plum, Pan et al. 2023).

A memory holds the best prompts. A new one is composed segment by segment: with probability
`considering` a segment is copied from a prompt of the memory, drawn for this segment, and one of
its symbols is then changed with probability `adjusting`; otherwise it is drawn at random. Segment
j of S is the places i with floor(i · S / length) = j: each place is in one segment. Prompts of the
memory and new ones are read on the same episodes, and the best stay.

Ranks alone decide, so nothing has to be rescaled to nats. In Plum's code a segment loses its last
phrase (its end is excluded twice), so that its prompts shrink; and a score of the memory is kept
for good.

Charged: all different prompts of the memory and new ones, in each step.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.moves import Prompt
from promptax.steering.searches.population.survivors import Population, draw_population, keep_best


class HarmonySearch(Search):
    """Searches a hard prompt by composing segments of good ones, changed ones and random ones.

    `loss` [repetition, step] is that of the prompt that was the best before the step, nats per
    sequence, on episodes that did not choose it. Works on any predictor over symbols, exact ones
    included.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    memory: int = 10
    """Prompts that live on from step to step."""
    candidates: int = 10
    """New prompts in a step."""
    segments: int = 5
    """Parts of a prompt that are copied whole; its length if that is smaller."""
    considering: float = 0.4
    """Chance of a segment to be copied from the memory; otherwise it is random."""
    adjusting: float = 0.5
    """Chance of a copied segment that one of its symbols changes."""

    def __check_init__(self) -> None:
        for name in ("memory", "candidates", "segments"):
            value = getattr(self, name)
            check(value >= 1, f"Expected {name} of at least 1; got {value}.")
        for name in ("considering", "adjusting"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"Expected {name} from 0 to 1; got {value}.")

    @classmethod
    def examples(cls) -> "tuple[HarmonySearch, ...]":
        return (cls(length=2, memory=2, candidates=2),)

    def plan(self, symbols: int) -> str:
        del symbols
        return f"{self.candidates:,} new prompts from a memory of {self.memory:,} in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Population:
        return draw_population(key, self.memory, self.length, problem)

    def step(
        self, key: Key[Array, ""], state: Population, problem: SearchProblem
    ) -> tuple[Population, Float[Array, ""]]:
        keys = jax.random.split(key, self.candidates)
        compose = jax.vmap(self.compose, in_axes=(0, None, None))
        return keep_best(state, compose(keys, state, problem.symbols), problem)

    def prompt(self, state: Population) -> Int[Any, " prompt"]:
        return state.prompts[0]

    def compose(self, key: Key[Array, ""], state: Population, symbols: int) -> Prompt:
        """One new prompt."""
        member, copied, changed, place, shift, drawn = jax.random.split(key, 6)
        segments = max(1, min(self.segments, self.length))
        segment = jnp.arange(self.length) * segments // max(1, self.length)  # [prompt]
        members = jax.random.randint(member, (segments,), 0, len(state.prompts))
        copy = state.prompts[members[segment], jnp.arange(self.length)]
        # of each segment the place with the least random number changes
        chances = jax.random.uniform(place, (self.length,))
        least = jax.ops.segment_min(chances, segment, segments)
        changes = jax.random.bernoulli(changed, self.adjusting, (segments,))
        shifts = jax.random.randint(shift, (self.length,), 1, symbols)
        altered = (chances == least[segment]) & changes[segment]
        copy = jnp.where(altered, (copy + shifts) % symbols, copy)
        random = jax.random.randint(drawn, (self.length,), 0, symbols)
        return jnp.where(
            jax.random.bernoulli(copied, self.considering, (segments,))[segment], copy, random
        )
