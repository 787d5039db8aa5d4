"""Any local search, begun anew where it is stuck.

A descent ends in the minimum that it started above. With p the chance that one of them reaches the
best prompt, r independent ones reach it with 1 - (1 - p)^r: of 13 % runs, 22 for 95 %. A search is
stuck when its prompt stayed the same for `patience` steps. With a `period` it is when it has taken
that many, whatever its prompt does, so that a search with a schedule, as `Annealing`, runs through
all of it. What knows itself when it is done, as a beam or pruning, has that as its period.

The winner of a run and the best prompt of the runs before it are read on the same episodes, and the
better one is kept: a comparison of pairs, not of a lucky number with a new one. For that the
winner is the prompt before the run's last step, which those episodes did not choose. What is done
with its last step has no such prompt; there the last one competes, chosen on the same episodes.

Charged: what the inner search reads, and two prompts at the end of each run but the first.
Published searches seldom say what their restarts read; here it is part of the cost.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.local.coordinate_descent import CoordinateDescent
from promptax.steering.searches.moves import Prompt
from promptax.steering.searches.wrappers.around import Around
from promptax.tasks.base import Task


class Runs(NamedTuple):
    """`inner`: the state of the run that is on; `age`: its steps so far; `still`: its last steps
    without another prompt; `best` [prompt]: the best of the runs that ended, whose number is
    `ended`; in the first run, its prompt."""

    inner: Any
    age: Any
    still: Any
    best: Any
    ended: Any


class Restarted(Around):
    """Runs another search again and again, and keeps the best of its prompts.

    `loss` [repetition, step] is what the inner search reports. Until the first run ends, its prompt
    is the result. Works on what the inner search works on.
    """

    search: Search = CoordinateDescent()
    """The search that is begun anew: one that has episodes of its own in each step."""
    patience: int = 8
    """Steps without another prompt after which a run ends, where it has no period. A cyclic descent
    needs as many as its prompt has symbols."""
    period: int = 0
    """Steps of a run, and of its schedule; patience does not matter then. 0: that of the search, if
    it knows when it is done; otherwise patience ends a run, and the schedule goes over all steps.
    """

    def __check_init__(self) -> None:
        for name, least in {"patience": 1, "period": 0}.items():
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value}.")

    @property
    def reads_by_losses(self) -> bool:
        return True

    @classmethod
    def examples(cls) -> "tuple[Restarted, ...]":
        inner = CoordinateDescent(length=2)
        return (cls(search=inner, patience=2),)  # pyright: ignore[reportCallIssue]

    @classmethod
    def for_budget(cls, length: int, budget: int) -> dict[str, Search]:
        del budget
        descent = CoordinateDescent(length=length)
        steepest = CoordinateDescent(length=length, order="steepest")
        return {
            # one position after the other: it is stuck once it has been at all of them
            "Restarted CoordinateDescent": cls(search=descent, patience=max(1, length)),  # pyright: ignore[reportCallIssue]
            "Restarted steepest descent": cls(search=steepest, patience=1),  # pyright: ignore[reportCallIssue]
        }

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        Around.check_plan(self, predictor, target, settings)
        done, name = self.search.run_length(target.symbols), type(self.search).__name__
        check(
            done is None or self.period in (0, done),
            f"Expected period=0 around {name}, which is done after {done} steps; got "
            f"{self.period}.",
        )
        run = self.steps_of_run(target.symbols)
        check(
            done is None or settings.steps >= run,
            f"Expected at least {run} steps, in which {name} is done once; got {settings.steps}.",
        )

    def plan(self, symbols: int) -> str:
        run = self.steps_of_run(symbols)
        end = f"{run:,} steps" if run else f"{self.patience:,} steps without another prompt"
        return f"{self.search.plan(symbols)}; begun anew after {end}"

    def steps_of_run(self, symbols: int) -> int:
        """How many steps each run has; 0: until it is stuck."""
        done = self.search.run_length(symbols)
        return self.period if done is None else max(1, done)

    def updates(self, settings: FitSettings, symbols: int) -> int:
        del symbols  # one run after the other, however many steps each has
        return settings.steps

    def run_length(self, symbols: int) -> None:
        del symbols

    def inside(self, state: Runs) -> Any:
        return state.inner

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Runs:
        inner, zero = self.search.start(key, problem), jnp.int32(0)
        return Runs(inner, zero, zero, jnp.asarray(self.search.prompt(inner)), zero)

    def step(
        self, key: Key[Array, ""], state: Runs, problem: SearchProblem
    ) -> tuple[Runs, Float[Array, ""]]:
        again, on = jax.random.split(key)
        run = self.steps_of_run(problem.symbols)
        clocked = dataclasses.replace(problem, step=state.age, steps=run or problem.steps)
        inner, loss = self.search.step(on, state.inner, clocked)
        winner = jnp.asarray(self.search.prompt(state.inner))
        after = jnp.asarray(self.search.prompt(inner))
        age = state.age + 1
        stays = jnp.all(winner == after) & (age > self.search.preparation(problem.symbols))
        still = jnp.where(stays, state.still + 1, 0)
        over = age >= run if run else still >= self.patience
        if self.search.run_length(problem.symbols) is not None:
            winner = after
        best = self.better(state, winner, over, problem)
        begun = self.search.start(again, dataclasses.replace(problem, episodes=None, weights=None))
        fresh = Runs(begun, 0, 0, best, state.ended + 1)
        return jax.tree.map(
            lambda new, old: jnp.where(over, new, old),
            fresh,
            Runs(inner, age, still, jnp.where(state.ended > 0, state.best, after), state.ended),
        ), loss

    def better(self, state: Runs, winner: Prompt, over: Array, problem: SearchProblem) -> Prompt:
        """The better of a run's winner and the best so far, on this step's episodes; they are read
        if the run is over and there is something to compare."""
        wanted = over & (state.ended > 0) & jnp.any(winner != state.best)
        pair = jnp.stack([state.best, winner])
        losses = problem.means(pair, wanted=jnp.broadcast_to(wanted, (2,)))
        keeps = (state.ended > 0) & (losses[0] <= losses[1])
        return jnp.where(keeps, state.best, winner)

    def prompt(self, state: Runs) -> Int[Any, " prompt"]:
        return state.best
