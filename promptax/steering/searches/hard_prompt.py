"""The best prompt of real tokens, by trying all of them."""

import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.search import Search, SearchProblem
from promptax.tasks.base import Task

UNTRIED = -math.inf  # in place of a loss. NaN would look like a fault, as to jax_debug_nans
PROMPTS_IN_A_STEP = 8  # so many prompts lie between two reports of progress


class ExhaustiveSearch(Search):
    """Reads the same sequences behind every one of the symbols^length prompts, in order.

    A member owes the fields `length`, `sequences` and `limit`, and what a `Search` owes beyond the
    number of steps and the batch: `start`, `step` (by `next_losses`) and `prompt`.
    """

    same_episodes: ClassVar[bool] = True
    recommends: ClassVar[bool] = False  # the best of so many would be looked for after every step
    sequences: eqx.AbstractVar[int]
    """Distinct tuning sequences that score every prompt."""
    limit: eqx.AbstractVar[int]
    """Refuse to try more prompts than that."""

    def __check_init__(self) -> None:
        check(self.sequences >= 1, f"Expected at least 1 sequence; got {self.sequences}.")

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        del predictor, settings
        self.candidates(target.symbols)

    def candidates(self, symbols: int) -> Int[np.ndarray, "candidate prompt"]:
        """All prompts over that many symbols, in order; refuses more than `limit`."""
        return all_prompts(symbols, self.length, self.limit)

    def updates(self, settings: FitSettings, symbols: int) -> int:
        del settings
        return steps_for(symbols**self.length)

    def batch(self, settings: FitSettings) -> int:
        del settings
        return self.sequences


class HardPrompt(ExhaustiveSearch):
    """Exhaustive search over the symbols^length prompts, on sequences of the target.

    "HardPT" of Genewein et al. 2025. Works on any predictor, exact ones included. Every prompt's
    mean loss is kept in the result's `scores` [repetition, candidate]; candidate c spells the
    prompt as a number, its first symbol the most significant digit. A step tries 8 prompts, and its
    loss is that of the best so far. Of the fit settings, `length` and `repetitions` apply, and
    `micro_batch`; steps and batch do not.
    """

    tries_all: ClassVar[bool] = True

    length: int = 6
    """Number of symbols of the prompt; 0 is no prompt."""
    sequences: int = 2048
    """Distinct tuning sequences that score every prompt."""
    limit: int = 100_000
    """Refuse to try more prompts than that."""

    @classmethod
    def as_published(cls) -> "HardPrompt":
        """The authors' 2048 tuning sequences are 256 distinct ones, eight times each."""
        return cls(sequences=256)

    @classmethod
    def examples(cls) -> "tuple[HardPrompt, ...]":
        return cls(length=2, sequences=16), cls(length=0, sequences=4)

    def plan(self, symbols: int) -> str:
        count = len(self.candidates(symbols))
        return f"{count:,} prompts of length {self.length}, each on {self.sequences:,} sequences"

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> "Tried":
        del key
        prompts = jnp.asarray(self.candidates(problem.symbols))
        return Tried(prompts, jnp.full(len(prompts), UNTRIED))

    def step(
        self, key: Key[Array, ""], state: "Tried", problem: SearchProblem
    ) -> tuple["Tried", Float[Array, ""]]:
        del key
        losses, places = next_losses(problem, len(state.sums))
        sums = state.sums.at[places].set(pairwise_sum(losses), mode="drop")
        tried = jnp.where(sums == UNTRIED, jnp.inf, sums)
        return Tried(state.prompts, sums), jnp.nanmin(tried) / self.sequences

    def prompt(self, state: "Tried") -> Int[Any, " prompt"]:
        scores = self.scores(state)
        return state.prompts[np.argmin(np.where(np.isnan(scores), np.inf, scores))]

    def scores(self, state: "Tried") -> Float[np.ndarray, " candidate"]:
        sums = np.where(state.sums == UNTRIED, np.nan, state.sums)
        return sums / np.float32(self.sequences)


class Tried(NamedTuple):
    """All prompts [candidate, prompt], and the sums of their losses over the sequences [candidate],
    nats, `UNTRIED` where still to try."""

    prompts: Any
    sums: Any


def next_losses(
    problem: SearchProblem, count: int
) -> tuple[Float[Array, "candidate sequence"], Int[Array, " candidate"]]:
    """The losses of this step's prompts out of `count` on every sequence, nats, and their places in
    the order; +inf for those past the last one."""
    places = problem.step * PROMPTS_IN_A_STEP + jnp.arange(PROMPTS_IN_A_STEP)
    prompts = spelled(places, problem.symbols, problem.prompt_length)
    return problem.losses(prompts, wanted=places < count), places


def steps_for(count: int) -> int:
    """How many steps try so many prompts."""
    return -(-count // PROMPTS_IN_A_STEP)


def all_prompts(symbols: int, length: int, limit: int) -> Int[np.ndarray, "candidate prompt"]:
    """All prompts of that length, in order; ValueError if there are more than `limit`."""
    digits = length * math.log10(symbols)
    count = symbols**length if digits < 100 else math.inf
    number = f"{count:,}" if digits < 100 else f"10^{digits:,.0f}"
    check(
        count <= limit,
        f"Expected at most {limit:,} prompts to try; {symbols} symbols at length {length:,} make "
        f"{number}. Choose a shorter prompt, raise limit, or let gradients search: "
        "GradientSearch, SoftPrompt, RealPrompt, SimplexPrompt.",
    )
    return spelled(np.arange(count), symbols, length).astype(np.int32)


def spelled(places: Any, symbols: int, length: int) -> Any:
    """The prompts [candidate, prompt] at these places [candidate] in the order of all: the digits
    of a number in base `symbols`, the most significant one first."""
    return places[:, None] // symbols ** np.arange(length - 1, -1, -1) % symbols


def pairwise_sum(values: Float[Array, "*rows sequence"]) -> Float[Array, "*rows"]:
    """The sum over the last axis, added up in pairs of halves down to 128 numbers, and these in
    eight sums: rounding errors grow with log n instead of n (Higham 1993, "The accuracy of floating
    point summation"). It is NumPy's order, in which the scores of kept results were computed."""
    count = values.shape[-1]
    if count > 128:
        half = count // 2 - count // 2 % 8
        if 2 * half == count:  # both halves in one go
            halves = pairwise_sum(values.reshape(*values.shape[:-1], 2, half))
            return halves[..., 0] + halves[..., 1]
        return pairwise_sum(values[..., :half]) + pairwise_sum(values[..., half:])
    eights = count - count % 8 if count >= 8 else 0
    total = jnp.zeros(values.shape[:-1], values.dtype)
    if eights:
        sums = values[..., :8]
        for first in range(8, eights, 8):
            sums = sums + values[..., first : first + 8]
        while sums.shape[-1] > 1:
            sums = sums[..., ::2] + sums[..., 1::2]
        total = sums[..., 0]
    for place in range(eights, count):
        total = total + values[..., place]
    return total
