"""A search whose candidates are raced: most of them read few of a step's sequences."""

import dataclasses
from typing import Any, ClassVar

from jaxtyping import Array, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.races import Race, SuccessiveHalving
from promptax.steering.search import Search, SearchProblem, State
from promptax.steering.searches.gradient_search import GradientSearch
from promptax.tasks.base import Task


class Raced(Search):
    """Another search, step for step; whenever it asks which of its candidates is best, they are
    raced.

    `loss` [repetition, step] is the estimate that the race has left for what the search shows, nats
    per sequence. The search must ask for `problem.means`; what it asks of gradients and single
    losses is answered as ever. With the spared readings it can have more candidates, larger batches
    or more steps.
    """

    reads_parts: ClassVar[bool] = True

    search: Search = GradientSearch()
    """What is searched by."""
    race: Race = SuccessiveHalving()
    """How a step's sequences are shared among its candidates."""

    def __check_init__(self) -> None:
        check(
            not self.search.same_episodes and not self.search.reads_parts,
            "Expected a search that reads whole batches of its steps; got "
            f"{type(self.search).__name__}. Race Annealing or GradientSearch, or leave out Raced.",
        )

    @classmethod
    def examples(cls) -> "tuple[Raced, ...]":
        inner = GradientSearch(length=2, candidates=3, top=2)
        return (cls(search=inner),)  # pyright: ignore[reportCallIssue]

    @classmethod
    def for_budget(cls, length: int, budget: int) -> dict[str, Search]:
        del budget
        return {"Raced GradientSearch": cls(search=GradientSearch(length=length))}  # pyright: ignore[reportCallIssue]

    @property
    def length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rows of the prompt."""
        return self.search.length

    @property
    def most_rows(self) -> int:
        return self.search.most_rows

    def suits(self, predictor: Predictor) -> None:
        self.search.suits(predictor)

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        self.search.check_plan(predictor, target, settings)
        check(
            not settings.exact,
            "Expected drawn sequences to race candidates on; got exact=True, where one sequence "
            f"more or less makes another question. Use {type(self.search).__name__} itself.",
        )

    def plan(self, symbols: int) -> str:
        inner = self.search.plan(symbols)
        race = f"raced by {type(self.race).__name__}"
        return f"{inner}, {race}" if inner else race

    def updates(self, settings: FitSettings, symbols: int) -> int:
        return self.search.updates(settings, symbols)

    def batch(self, settings: FitSettings) -> int:
        return self.search.batch(settings)

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> State:
        return self.search.start(key, problem)

    def step(
        self, key: Key[Array, ""], state: State, problem: SearchProblem
    ) -> tuple[State, Float[Array, ""]]:
        raced = dataclasses.replace(problem, race=self.race)
        result = self.search.step(key, state, raced)
        if not raced.raced:
            raise TypeError(
                f"Expected a search that asks for problem.means, which are raced; "
                f"{type(self.search).__name__} asks for every loss. Leave out Raced."
            )
        return result

    def prompt(self, state: Any) -> Int[Any, " prompt"]:
        return self.search.prompt(state)
