"""Tabu search over prompts of real tokens (Glover 1989, "Tabu Search, Part I"; for prompts Plum,
Pan et al. 2023).

A step tries random swaps of one symbol and goes to the best of them, also where it is worse than
the prompt as it is: so the search leaves a local minimum. The prompts of the last `memory` steps
are tabu, or it would fall back at once; a swap that leads to one of them is tried all the same with
probability `forgiving`. Where nothing else is left, the prompt stays.

The best prompt on the way is kept apart. It and the prompt as it is, which other episodes chose,
are read on this step's episodes, and the better one is the best from then on.

Losses are compared, never weighed, so nothing has to be rescaled to nats. Plum keeps the first
score of its best prompt for good, 20 examples; here it is read again in each step.

Charged: in each step all swaps that are tried, the prompt as it is, and the best one if it is
another.
"""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.moves import draw_prompts, draw_swaps


class Walk(NamedTuple):
    """`prompt` [prompt]: the prompt as it is; `best` [prompt]: the best on the way; `tabu` [memory,
    prompt]: where the walk was, the latest first, -1 where nobody was yet."""

    prompt: Any
    best: Any
    tabu: Any


class TabuSearch(Search):
    """Searches a hard prompt by always moving on, never back to where it just was.

    `loss` [repetition, step] is that of the prompt before the step's move, nats per sequence. The
    result is the best prompt on the way. Works on any predictor over symbols, exact ones included.
    """

    reads_by_losses: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    candidates: int = 10
    """Swaps that are tried in a step, all different; all there are if those are fewer."""
    memory: int = 5
    """Steps for which a prompt stays tabu; 0: none is."""
    forgiving: float = 0.5
    """Chance of a swap to be tried although it leads to a tabu prompt."""

    def __check_init__(self) -> None:
        for name, least in {"candidates": 1, "memory": 0}.items():
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value}.")
        check(0 <= self.forgiving <= 1, f"Expected forgiving from 0 to 1; got {self.forgiving}.")

    @classmethod
    def examples(cls) -> "tuple[TabuSearch, ...]":
        return cls(length=2, candidates=2, memory=2), cls(length=3, memory=0)

    def plan(self, symbols: int) -> str:
        swaps = min(self.candidates, self.length * (symbols - 1))
        return f"{swaps:,} swaps of a symbol in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Walk:
        prompt = draw_prompts(key, 1, self.length, problem.symbols)[0]
        return Walk(prompt, prompt, jnp.full((self.memory, self.length), -1))

    def step(
        self, key: Key[Array, ""], state: Walk, problem: SearchProblem
    ) -> tuple[Walk, Float[Array, ""]]:
        draw, forgive = jax.random.split(key)
        swapped = draw_swaps(draw, state.prompt, problem.symbols, self.candidates)
        forgiven = jax.random.bernoulli(forgive, self.forgiving, (len(swapped),))
        allowed = ~self.are_tabu(swapped, state) | forgiven
        stand = jnp.stack([state.prompt, state.best])
        differs = jnp.any(state.prompt != state.best)
        wanted = jnp.concatenate([jnp.stack([jnp.array(True), differs]), allowed])
        losses = problem.means(jnp.concatenate([stand, swapped]), wanted=wanted)
        best = jnp.where(losses[0] < losses[1], state.prompt, state.best)
        moved = state.prompt
        if len(swapped):
            moved = jnp.where(jnp.any(allowed), swapped[jnp.argmin(losses[2:])], moved)
        tabu = jnp.concatenate([state.prompt[None], state.tabu])[: self.memory]
        return Walk(moved, best, tabu), losses[0]

    def are_tabu(self, prompts: Any, state: Walk) -> Any:
        """Which prompts [candidate, prompt] the walk was at in its last steps."""
        return jnp.any(jnp.all(prompts[:, None] == state.tabu[None], axis=-1), axis=1)

    def prompt(self, state: Walk) -> Int[Any, " prompt"]:
        return state.best
