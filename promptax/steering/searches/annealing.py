"""Simulated annealing over prompts of real tokens (Kirkpatrick, Gelatt and Vecchi 1983,
"Optimization by Simulated Annealing").

One symbol of the prompt is changed at random, and both prompts are read on the same episodes, this
step's. With L the mean loss of the prompt as it is, L' that of the proposal, in nats per sequence,
the proposal is accepted with the probability of Metropolis et al. 1953,

    min(1, exp(-(L' - L) / T)),     T falls from start_temperature to end_temperature.

What is returned is the last prompt, not the best one seen, where losses are means over batches.
Every step has a batch of its own, so the smallest loss on record mostly belongs to a lucky batch.
Moves are decided by pairs on one batch, and at the end, when it is cold, a move that loses is
hardly ever accepted. Where losses have no noise (`FitSettings.exact`) nothing is lucky, and the
best prompt seen is returned: the last one wanders among those within end_temperature of it, and to
keep the best reads nothing more.
"""

from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.moves import Prompt


class Walk(NamedTuple):
    """`prompt` [prompt]: where the walk is; `best` [prompt]: what is recommended; `least`: its
    loss, nats per sequence, +inf until losses without noise were seen."""

    prompt: Any
    best: Any
    least: Any


class Annealing(Search):
    """Searches a hard prompt by random changes of one symbol, and accepts worse ones while it is
    hot.

    `loss` [repetition, step] is that of the prompt before the step's move, nats per sequence. Works
    on any predictor over symbols, exact ones included. With both temperatures 0 it is hill
    climbing: only moves that do not lose are made.
    """

    rates_to_try: ClassVar[tuple[str, tuple[float, ...]]] = (
        "start_temperature",
        (0.05, 0.2, 0.8, 3.0),
    )

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    start_temperature: float = 3.0
    """Temperature of the first step, nats per sequence: about what a changed symbol may lose."""
    end_temperature: float = 0.01
    """Temperature of the last step, nats per sequence: what does not matter any more."""
    schedule: Literal["geometric", "linear"] = "geometric"
    """How the temperature falls: by the same factor in every step, or by the same amount."""

    def __check_init__(self) -> None:
        start, end = self.start_temperature, self.end_temperature
        check(
            start >= end >= 0,
            f"Expected temperatures of at least 0 that do not rise; got {start} to {end}.",
        )
        check(
            self.schedule in ("geometric", "linear"),
            f"Expected schedule 'geometric' or 'linear'; got {self.schedule!r}.",
        )
        check(
            end > 0 or start == 0 or self.schedule == "linear",
            "Expected an end_temperature above 0, which a geometric schedule can reach; got "
            f"{start} to {end}. Use schedule='linear', or start_temperature=0 for hill climbing.",
        )

    @classmethod
    def examples(cls) -> "tuple[Annealing, ...]":
        return cls(length=2), cls(length=3, end_temperature=0.0, schedule="linear")

    @classmethod
    def relatives(cls, length: int, budget: int) -> dict[str, Search]:
        del budget
        return {"Hill climbing": cls(length=length, start_temperature=0.0, end_temperature=0.0)}

    def plan(self, symbols: int) -> str:
        del symbols
        return "one change of a symbol in each step"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Walk:
        prompt = jax.random.randint(key, (self.length,), 0, problem.symbols)
        return Walk(prompt, prompt, jnp.float32(jnp.inf))

    def step(
        self, key: Key[Array, ""], state: Walk, problem: SearchProblem
    ) -> tuple[Walk, Float[Array, ""]]:
        change, chance = jax.random.split(key)
        proposal = change_symbol(change, state.prompt, problem.symbols)
        now, then = problem.means(jnp.stack([state.prompt, proposal]))
        # log u < -(then - now) / T, multiplied by T, which may be 0
        lucky = self.temperature(problem) * jnp.log(jax.random.uniform(chance)) < now - then
        prompt = jnp.where((then <= now) | lucky, proposal, state.prompt)
        if not problem.exact:  # batches, of which the least mean is luck
            return Walk(prompt, prompt, state.least), now
        losses = jnp.stack([state.least, now, then])
        best = jnp.stack([state.best, state.prompt, proposal])[jnp.argmin(losses)]
        return Walk(prompt, best, jnp.min(losses)), now

    def prompt(self, state: Walk) -> Int[Any, " prompt"]:
        return state.best

    def temperature(self, problem: SearchProblem) -> Float[Array, ""]:
        """The temperature of this step, nats per sequence."""
        start, end = jnp.asarray(self.start_temperature), jnp.asarray(self.end_temperature)
        share = problem.step / jnp.maximum(problem.steps - 1, 1)
        if self.schedule == "linear":
            return start + share * (end - start)
        return start * jnp.where(start > 0, end / jnp.where(start > 0, start, 1.0), 0.0) ** share


def change_symbol(key: Key[Array, ""], prompt: Prompt, symbols: int) -> Prompt:
    """The prompt with another symbol at a random place; both are uniform, and an empty prompt stays
    what it is."""
    if not len(prompt):
        return prompt
    where, what = jax.random.split(key)
    place = jax.random.randint(where, (), 0, len(prompt))
    further = jax.random.randint(what, (), 1, symbols)
    return prompt.at[place].set((prompt[place] + further) % symbols)
