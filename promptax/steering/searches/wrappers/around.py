"""What all searches around another search share: each door of the inner one, once.

A wrapper says what it does otherwise, and nothing else. What it does not know about, a door that is
added to `Search`, has to be added here.
"""

import abc
import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem, State
from promptax.tasks.base import Task


class Around(Search):
    """A search around another one. A member owes the field `search`, `start` and `step`, and
    `inside`: where the inner search's state lies in its own."""

    search: eqx.AbstractVar[Search]
    """The inner search."""

    def __check_init__(self) -> None:
        name, wrapper = type(self.search).__name__, type(self).__name__
        check(
            not self.search.same_episodes and self.search.recommends,
            f"Expected a search that goes step by step, each on episodes of its own; got {name}. "
            f"Use it alone, without {wrapper}.",
        )
        check(
            not self.search.seeks_worst,
            f"Expected a search for the best prompt; got {name}, which looks for the worst one, "
            f"where {wrapper} keeps what loses least. Use it alone.",
        )

    @abc.abstractmethod
    def inside(self, state: State) -> State:
        """The state of the inner search."""

    @property
    def length(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Number of symbols of the prompt."""
        return self.search.length

    @property
    def most_rows(self) -> int:
        return self.search.most_rows

    @property
    def same_episodes(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.search.same_episodes

    @property
    def reads_by_losses(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.search.reads_by_losses

    @property
    def reads_parts(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.search.reads_parts

    @property
    def class_name(self) -> str:
        return f"{type(self).__name__} of {self.search.class_name}"

    @property
    def needs_samples(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.search.needs_samples

    @property
    def recommends(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.search.recommends

    @property
    def tries_all(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.search.tries_all

    @property
    def names_symbols(self) -> bool:
        return self.search.names_symbols

    @property
    def seeks_worst(self) -> bool:
        return self.search.seeks_worst

    @classmethod
    def for_budget(cls, length: int, budget: int) -> dict[str, Search]:
        """The default search at that prompt length."""
        del budget
        inner = dataclasses.replace(cls().search, length=length)  # pyright: ignore[reportCallIssue]
        label = f"{cls.__name__} {type(inner).__name__}"
        return {label: cls(search=inner)}  # pyright: ignore[reportCallIssue]

    def suits(self, predictor: Predictor) -> None:
        self.search.suits(predictor)

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        self.search.check_plan(predictor, target, settings)

    def check_room(self, symbols: int, settings: FitSettings) -> None:
        self.search.check_room(symbols, settings)

    def plan(self, symbols: int) -> str:
        return self.search.plan(symbols)

    def updates(self, settings: FitSettings, symbols: int) -> int:
        return self.search.updates(settings, symbols)

    def late_prompts(self, settings: FitSettings) -> int:
        return self.search.late_prompts(settings)

    def run_length(self, symbols: int) -> int | None:
        return self.search.run_length(symbols)

    def preparation(self, symbols: int) -> int:
        return self.search.preparation(symbols)

    def batch(self, settings: FitSettings) -> int:
        return self.search.batch(settings)

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> State:
        return self.search.start(key, problem)

    def prompt(self, state: State) -> Int[Any, " prompt"]:
        return self.search.prompt(self.inside(state))

    def scores(self, state: State) -> Float[np.ndarray, " candidate"] | None:
        return self.search.scores(self.inside(state))

    def steer(self, predictor: Predictor, prompt: Int[np.ndarray, " prompt"]) -> Predictor:
        return self.search.steer(predictor, prompt)
