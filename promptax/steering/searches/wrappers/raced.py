"""A search whose candidates are raced: most of them read few of a step's sequences."""

import dataclasses

from jaxtyping import Array, Float, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check, members
from promptax.steering.races import Race, SuccessiveHalving
from promptax.steering.search import Search, SearchProblem, State
from promptax.steering.searches.gradient_search import GradientSearch
from promptax.steering.searches.wrappers.around import Around
from promptax.tasks.base import Task


class Raced(Around):
    """Another search, step for step; whenever it asks which of its candidates is best, they are
    raced.

    `loss` [repetition, step] is the estimate that the race has left for what the search shows, nats
    per sequence. The search must ask for `problem.means`; what it asks of gradients and single
    losses is answered as ever. With the spared readings it can have more candidates, larger batches
    or more steps.
    """

    search: Search = GradientSearch()
    """What is searched by."""
    race: Race = SuccessiveHalving()
    """How a step's sequences are shared among its candidates."""

    def __check_init__(self) -> None:
        check(
            not self.search.reads_parts,
            "Expected a search that reads whole batches of its steps; got "
            f"{type(self.search).__name__}. Race Annealing or GradientSearch, or leave out Raced.",
        )

    @classmethod
    def examples(cls) -> "tuple[Raced, ...]":
        inner = GradientSearch(length=2, candidates=3, top=2)
        return (cls(search=inner),)  # pyright: ignore[reportCallIssue]

    @classmethod
    def relatives(cls, length: int, budget: int) -> dict[str, Search]:
        """The default search, raced in every other way."""
        del budget
        default = cls()  # pyright: ignore[reportCallIssue]
        inner = dataclasses.replace(default.search, length=length)  # pyright: ignore
        return {
            f"{cls.__name__} {type(inner).__name__} by {race.__name__}": cls(
                search=inner,  # pyright: ignore[reportCallIssue]
                race=race(),  # pyright: ignore
            )
            for race in members(Race).values()
            if race is not type(default.race)
        }

    @property
    def reads_parts(self) -> bool:
        return True

    @property
    def needs_samples(self) -> bool:
        return True

    def inside(self, state: State) -> State:
        return state

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        Around.check_plan(self, predictor, target, settings)
        check(
            not settings.exact,
            "Expected drawn sequences to race candidates on; got exact=True, where one sequence "
            f"more or less makes another question. Use {type(self.search).__name__} itself.",
        )

    def plan(self, symbols: int) -> str:
        inner = self.search.plan(symbols)
        race = f"raced by {type(self.race).__name__}"
        return f"{inner}, {race}" if inner else race

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
