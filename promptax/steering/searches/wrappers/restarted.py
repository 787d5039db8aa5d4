"""Any local search, begun anew where it is stuck.

A descent ends in the minimum that it started above. With p the chance that one of them reaches the
best prompt, r independent ones reach it with 1 - (1 - p)^r: of 13 % runs, 22 for 95 %. A search is
stuck when its prompt stayed the same for `patience` steps, or when it has taken `period` steps, so
that a search with a schedule, as `Annealing`, runs through all of it.

The winner of a run and the best prompt of the runs before it are read on the same episodes, and the
better one is kept: a comparison of pairs, not of a lucky number with a new one. For that the
winner is the prompt before the run's last step, which those episodes did not choose.

Charged: what the inner search reads, and two prompts at the end of each run but the first.
Published searches seldom say what their restarts read; here it is part of the cost.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.steering.searches.local.coordinate_descent import CoordinateDescent
from promptax.steering.searches.moves import Prompt
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


class Restarted(Search):
    """Runs another search again and again, and keeps the best of its prompts.

    `loss` [repetition, step] is what the inner search reports. Until the first run ends, its prompt
    is the result. Works on what the inner search works on.
    """

    reads_by_losses: ClassVar[bool] = True

    search: Search = CoordinateDescent()
    """The search that is begun anew: one that has episodes of its own in each step."""
    patience: int = 8
    """Steps without another prompt after which a run ends. A cyclic descent needs as many as its
    prompt has symbols."""
    period: int = 0
    """Steps after which a run ends in any case, and over which its schedule goes; 0: no bound, and
    the schedule goes over all steps."""

    def __check_init__(self) -> None:
        for name, least in {"patience": 1, "period": 0}.items():
            value = getattr(self, name)
            check(value >= least, f"Expected {name} of at least {least}; got {value}.")
        check(
            not self.search.same_episodes,
            "Expected a search that may be begun anew; got "
            f"{type(self.search).__name__}, which tries all prompts once. Use it alone.",
        )

    @property
    def length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of symbols of the prompt."""
        return self.search.length

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

    def suits(self, predictor: Predictor) -> None:
        self.search.suits(predictor)

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        self.search.check_plan(predictor, target, settings)

    def plan(self, symbols: int) -> str:
        inner, bound = self.search.plan(symbols), f" or {self.period:,} in all"
        patience = f"{self.patience:,} steps without another prompt"
        return f"{inner}; begun anew after {patience}{bound if self.period else ''}"

    def updates(self, settings: FitSettings, symbols: int) -> int:
        return self.search.updates(settings, symbols)

    def batch(self, settings: FitSettings) -> int:
        return self.search.batch(settings)

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Runs:
        inner, zero = self.search.start(key, problem), jnp.int32(0)
        return Runs(inner, zero, zero, jnp.asarray(self.search.prompt(inner)), zero)

    def step(
        self, key: Key[Array, ""], state: Runs, problem: SearchProblem
    ) -> tuple[Runs, Float[Array, ""]]:
        again, on = jax.random.split(key)
        steps = self.period or problem.steps
        clocked = dataclasses.replace(problem, step=state.age, steps=steps)
        inner, loss = self.search.step(on, state.inner, clocked)
        winner = jnp.asarray(self.search.prompt(state.inner))
        after = jnp.asarray(self.search.prompt(inner))
        same = jnp.all(winner == after)
        still, age = jnp.where(same, state.still + 1, 0), state.age + 1
        over = still >= self.patience
        if self.period:
            over |= age >= self.period
        best = self.better(state, winner, over, problem)
        fresh = Runs(self.search.start(again, problem), 0, 0, best, state.ended + 1)
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

    def steer(self, predictor: Predictor, prompt: Int[np.ndarray, " prompt"]) -> Predictor:
        return self.search.steer(predictor, prompt)
