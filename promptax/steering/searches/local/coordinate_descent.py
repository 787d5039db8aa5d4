"""Coordinate descent over prompts of real tokens: the best symbol, position by position.

With f(o) the mean loss of prompt o on this step's episodes, in nats per sequence, a step goes to

    cyclic      argmin over v of f(o with symbol v at position i),      i = step mod length
    steepest    argmin over all i and v of the same

The prompt as it is stands among the candidates, so no step is backwards on its own episodes. It is
the plainest local search, and what others are measured against: a `GradientSearch` that reads every
swap is its steepest form. Where `candidates` are fewer than the swaps there are, a random part of
them is read: the steepest form with 10 of them is the hill climbing of Plum (Pan et al. 2023,
"Plum: Prompt Learning using Metaheuristics").

Charged: in each step every candidate and the prompt as it is, forward. Published code (AutoPrompt,
Shin et al. 2020; Plum) keeps a prompt's first score for good; here the prompt is read again in each
step, on the episodes on which it competes.
"""

from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.moves import Prompt, draw_prompts, draw_swaps, draw_swaps_at


class CoordinateDescent(Search):
    """Searches a hard prompt by going to the best swap of one symbol, until none is better.

    `loss` [repetition, step] is that of the prompt before the step's swap, nats per sequence. Works
    on any predictor over symbols, exact ones included. It ends in a local minimum;
    `Restarted(CoordinateDescent())` begins anew there.
    """

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    order: Literal["cyclic", "steepest"] = "cyclic"
    """Which swaps a step tries: those of one position, in turn, or those of all positions."""
    candidates: int = 128
    """Swaps that are tried in a step, all different and drawn at random; all there are if those
    are fewer."""

    def __check_init__(self) -> None:
        check(self.candidates >= 1, f"Expected candidates of at least 1; got {self.candidates}.")

    @classmethod
    def examples(cls) -> "tuple[CoordinateDescent, ...]":
        return cls(length=2), cls(length=3, order="steepest", candidates=2)

    def plan(self, symbols: int) -> str:
        places = self.length if self.order == "steepest" else min(self.length, 1)
        return f"{min(self.candidates, places * (symbols - 1)):,} swaps of a symbol in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Prompt:
        return draw_prompts(key, 1, self.length, problem.symbols)[0]

    def step(
        self, key: Key[Array, ""], state: Prompt, problem: SearchProblem
    ) -> tuple[Prompt, Float[Array, ""]]:
        if self.order == "steepest" or not self.length:
            swapped = draw_swaps(key, state, problem.symbols, self.candidates)
        else:
            place = problem.step % self.length
            swapped = draw_swaps_at(key, state, place, problem.symbols, self.candidates)
        tried = jnp.concatenate([state[None], swapped])
        losses = problem.means(tried)
        return tried[jnp.argmin(losses)], losses[0]  # of equals the first: it stays

    def prompt(self, state: Int[Any, " prompt"]) -> Int[Any, " prompt"]:
        return state
