"""Searches over prompts of symbols: one loop for all of them, three short methods for each.

A search needs no gradient of leaves, so the loop of `fit` cannot run it; what it needs instead is
alike for all searches, and is here and in `search_loop`.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.fit.cost import Cost
from promptax.fit.fitted import Fitted
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import GivenPrompt, Prompted
from promptax.protocol.repeated import cut, one_or_all
from promptax.specs import on_device
from promptax.steering.base import Tuner, Tuning, check_length
from promptax.steering.search_loop import run_search
from promptax.steering.search_problem import SearchProblem as SearchProblem
from promptax.tasks.base import Task

State = Any


class Search(Tuner):
    """A search over hard prompts: a field `length`, and three pure methods, for one repetition.

    To implement one:

    - `start(key, problem)`: the state before the first step. A tree of arrays; no typed keys, which
      a checkpoint cannot hold. There are no episodes yet.
    - `step(key, state, problem)`: the next state, and a loss in nats per sequence to be shown and
      kept in `Fitted.loss`. It is compiled, and sees this step's episodes only through
      `problem.means(prompts)`, by which winners are picked, `problem.losses(prompts)` and
      `problem.gradient(prompt)` (`SearchProblem`).
    - `prompt(state)`: the symbols [prompt] that a state stands for, what the search recommends. It
      is asked after every step inside compiled code (so write jnp), and at the end outside of it.

    Optional properties of a class, all False but the last:

    - `same_episodes`: all steps read the same episodes; otherwise every step has its own.
    - `reads_by_losses`: what was lost decides how much is read.
    - `reads_parts`: prompts are read behind parts of the batch, as in races.
    - `needs_samples`: it asks what all sequences with weights cannot answer: no search without
      noise.
    - `recommends`: `prompt` can be recorded after every step. False where it is no prompt or cannot
      be traced; the arena leaves such a search out.

    Optional methods: `for_budget` and `relatives`, what enters a comparison; `rates_to_try`, where
    one of its numbers must be chosen; `updates`, where the search knows its number of steps, which
    else is that of the settings; `late_prompts`, where a budget pays for more than its first steps
    tell; `batch`, its own number of sequences; `most_rows`, where longer prompts are read on the
    way; `names_symbols`; `seeks_worst`; `run_length`; `scores`, with `tries_all`; `steer`, where it
    is not one prompt that is read; `check_plan` and `check_room`, to refuse what does not fit. A
    search around another one is an `Around`. Of the fit settings, those about learning rates and
    clipping never apply.

    Whether losses have noise is `problem.exact`. What the three methods return is checked in words,
    with the class's name, while they are traced (`search_checks`).

    The loop owns the rest: keys, episodes, repetitions, budget, progress, cost, and checkpoints
    that resume bit for bit. Random numbers of step n come from its key alone, never from the state.

    Example: `docs/extending.md` has a whole search.
    """

    group: ClassVar[str] = "prompts"
    needs_alphabet: ClassVar[bool] = True
    same_episodes: ClassVar[bool] = False
    """Whether all steps read the same episodes; otherwise every step has its own."""
    reads_by_losses: ClassVar[bool] = False
    """Whether what was lost decides how much is read, as where a prompt that comes twice is read
    once; otherwise all runs of equal settings read as many sequences."""
    reads_parts: ClassVar[bool] = False
    """Whether prompts are read behind parts of the batch, as in races."""
    needs_samples: ClassVar[bool] = False
    """Whether it asks something of drawn sequences that all of them with weights cannot answer, so
    that it is no search without noise (`FitSettings.exact`)."""
    recommends: ClassVar[bool] = True
    """Whether what `prompt` says can be recorded after every step (`Fitted.recommended`). If not,
    it is asked at the end alone, and need be no array of symbols; the arena leaves it out."""
    rates_to_try: ClassVar[tuple[str, tuple[float, ...]]] = ("", ())
    """A number that suits one target and not another, such as a learning rate: its field, and
    values worth trying (`RacedRates`). As a default four of them, each four times the last one."""
    length: eqx.AbstractVar[int]

    def __check_init__(self) -> None:
        check_length(self.length)

    @property
    def class_name(self) -> str:
        """What messages call it."""
        return type(self).__name__

    @property
    def most_rows(self) -> int:
        """Rows of the longest prompt that is read on the way."""
        return self.length

    @property
    def names_symbols(self) -> bool:
        """Whether it puts given symbols into prompts, or pieces of the episodes: they mean nothing
        where prompts are spelled with a part of the alphabet."""
        return False

    @property
    def seeks_worst(self) -> bool:
        """Whether it makes the loss great."""
        return False

    @abc.abstractmethod
    def start(self, key: Key[Array, ""], problem: SearchProblem) -> State:
        """The state before the first step."""

    @abc.abstractmethod
    def step(
        self, key: Key[Array, ""], state: State, problem: SearchProblem
    ) -> tuple[State, Float[Array, ""]]:
        """The next state, and a loss in nats per sequence."""

    @abc.abstractmethod
    def prompt(self, state: State) -> Int[Any, " prompt"]:
        """The prompt that a state stands for; at the end its leaves are NumPy arrays."""

    @classmethod
    def for_budget(cls, length: int, budget: int) -> "dict[str, Search]":
        """What of this kind enters a comparison of searches at a budget, by its label: the
        defaults at that prompt length, unless a member says otherwise. What is made of other
        searches or of given prompts has no length of its own, and stays out.

        `budget`: evaluations in the exact track, tokens elsewhere, for members that want other
        sizes where they may read more. It is not told which: one label is the same search in all
        tracks, and what depends on noise asks `problem.exact` in a step.
        """
        del budget
        has_length = "length" in {field.name for field in dataclasses.fields(cls)}
        return {cls.__name__: cls(length=length)} if has_length else {}

    @classmethod
    def relatives(cls, length: int, budget: int) -> "dict[str, Search]":
        """What else of this kind enters a comparison, by its label: its fields make another method
        of it, such as hill climbing, which is annealing that is cold. Their numbers are not raced.
        """
        del length, budget
        return {}

    def updates(self, settings: FitSettings, symbols: int) -> int:
        """The number of steps."""
        del symbols
        return settings.steps

    def late_prompts(self, settings: FitSettings) -> int:
        """The number of prompts that are read at some time, beyond what steps like the first two
        read. A budget's forecast of the number of steps leaves room for them."""
        del settings
        return 0

    def run_length(self, symbols: int) -> int | None:
        """The number of steps after which it is done, and may be begun anew; None: it never is."""
        del symbols
        return None

    def preparation(self, symbols: int) -> int:
        """The number of its first steps that cannot find a prompt yet."""
        del symbols
        return 0

    def batch(self, settings: FitSettings) -> int:
        """The number of sequences that a step reads."""
        return settings.batch

    def scores(self, state: State) -> Float[np.ndarray, " candidate"] | None:
        """Every candidate's loss in nats per sequence, where a search keeps them."""
        del state
        return None

    def steer(self, predictor: Predictor, prompt: Int[np.ndarray, " prompt"]) -> Predictor:
        """The predictor that reads the prompt."""
        return behind(predictor, prompt)

    def suits(self, predictor: Predictor) -> None:
        del predictor

    def verify(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        Tuner.verify(self, predictor, target, settings)
        self.check_room(target.symbols, settings)

    def check_room(self, symbols: int, settings: FitSettings) -> None:
        """Raise MemoryError if tables over so many symbols cannot fit."""
        del symbols, settings

    def run_tuning(self, tuning: Tuning) -> Fitted:
        state, cost = run_search(self, tuning)
        settings, predictor = tuning.settings, tuning.predictor
        members = [
            jax.tree.map(lambda leaf, r=r: np.asarray(leaf)[r], state.member)
            for r in range(settings.repetitions)
        ]
        done = int(state.step)
        if self.recommends and done:  # asked inside compiled code already
            prompts = list(state.recommended[:, done - 1])
        else:
            prompts = [np.asarray(self.prompt(member)) for member in members]
        steered = [self.steer(predictor, prompt) for prompt in prompts]
        scores = [self.scores(member) for member in members]
        return searched(
            steered,
            loss=state.loss[:, :done],
            scores=None if scores[0] is None else np.stack(scores),  # pyright: ignore
            cost=cost,
            recommended=state.recommended[:, :done] if self.recommends else None,
        )


def behind(predictor: Predictor, prompt: Int[np.ndarray, " prompt"]) -> Prompted:
    """The predictor after a prompt of tokens."""
    return Prompted(predictor, GivenPrompt(on_device(prompt)))


def searched(
    predictors: Sequence[Any],
    loss: Float[np.ndarray, "repetition step"],
    cost: Cost,
    scores: Float[np.ndarray, "repetition candidate"] | None = None,
    recommended: Int[np.ndarray, "repetition step prompt"] | None = None,
) -> Fitted:
    """What a search returns, from the prompted predictor of each repetition; they differ in what
    they read alone."""
    nothing = jax.tree.map(lambda _: False, predictors[0])
    tuned = jax.tree.map(lambda _: True, predictors[0].context)
    where = eqx.tree_at(lambda steered: steered.context, nothing, tuned)
    together = one_or_all(cut(predictors, where))
    never = np.full(len(predictors), -1, np.int32)
    return Fitted(together, loss, never, scores, cost=cost, recommended=recommended)
