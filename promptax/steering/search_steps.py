"""The compiled part of the loop of searches: starts, and steps of all repetitions."""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import strongly_typed
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.steering.search_checks import (
    check_reads,
    check_recommended,
    check_state,
    check_step,
)
from promptax.steering.search_problem import Readings, SearchProblem, Sizes

WORD = 2**30
MOST_BUDGET = 2**60


@runtime_checkable
class Steps(Protocol):
    """What the loop asks of a search (`promptax.steering.Search` says what each of them is)."""

    same_episodes: ClassVar[bool]
    recommends: ClassVar[bool]
    reads_parts: ClassVar[bool]

    @property
    def class_name(self) -> str: ...

    @property
    def length(self) -> int: ...

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Any: ...

    def step(
        self, key: Key[Array, ""], state: Any, problem: SearchProblem
    ) -> tuple[Any, Float[Array, ""]]: ...

    def prompt(self, state: Any) -> Any: ...

    def updates(self, settings: FitSettings, symbols: int) -> int: ...

    def late_prompts(self, settings: FitSettings) -> int: ...

    def batch(self, settings: FitSettings) -> int: ...

    def plan(self, symbols: int) -> str: ...


class Recorded(NamedTuple):
    """What the compiled steps record of a step."""

    loss: Any
    readings: Readings
    recommended: Any


@contextlib.contextmanager
def counted_readings() -> Iterator[None]:
    """Say what is wrong where a count of readings escaped from a program inside a step."""
    try:
        yield
    except jax.errors.UnexpectedTracerError as error:
        raise TypeError(
            "Expected a search's step to ask for losses and gradients itself; something escaped "
            "from a scan, a cond or a vmap of its own, where readings cannot be counted. Give all "
            "candidates to one call of problem.losses; for several gradients, a Python loop."
        ) from error


@contextlib.contextmanager
def compiled_choices(name: str) -> Iterator[None]:
    """Say what is wrong where a step decides in Python by a value that only its program knows."""
    try:
        yield
    except jax.errors.TracerBoolConversionError as error:
        raise TypeError(
            f"Expected {name}.step to choose by jnp.where; an if, a while or an and asked for a "
            "value that is traced, such as problem.step, a loss or the state. Only problem.exact "
            "and sizes are known before."
        ) from error


def prompt_shape(search: Steps, member: Any) -> tuple[int, ...]:
    """The shape of the prompt that is recommended after a step, (0,) where none is."""
    if not search.recommends:
        return (0,)
    try:
        prompt = jax.eval_shape(search.prompt, member)
    except jax.errors.TracerArrayConversionError as error:
        raise TypeError(
            f"Expected {type(search).__name__}.prompt to be written in jax.numpy, since it is "
            "asked after every step, inside compiled code; NumPy computes there. Use jnp, or say "
            "recommends = False."
        ) from error
    check_recommended(search.class_name, prompt, search.length)
    return prompt.shape


@eqx.filter_jit
def starts(parts: tuple[Steps, Predictor], sizes: Sizes, key: Array, repetitions: int) -> Any:
    """The state before the first step, of every repetition, of the dtypes that it has after a step:
    a number that `start` wrote as 0.0 has a weak one, and the steps would be compiled for both."""
    search, predictor = parts

    def start(repetition: Array) -> Any:
        problem = SearchProblem(predictor, sizes)
        state = search.start(jax.random.fold_in(key, repetition), problem)
        check_state(search.class_name, state)
        return state

    return strongly_typed(jax.vmap(start)(jnp.arange(repetitions)))


@eqx.filter_jit
def run_steps(
    parts: tuple[Steps, Predictor], sizes: Sizes, key: Array, given: tuple, block: int
) -> tuple[tuple, Recorded]:
    """Run steps begin..end-1 of all repetitions; what they recorded lies at the front."""
    (search, predictor), (carries, episodes, weights, bounds) = parts, given
    first, begin, end, steps = bounds

    def repetition(given: tuple) -> tuple:
        carry, number, episodes = given
        repetition_key = jax.random.fold_in(key, number)

        def step(index: Array | int, carried: tuple) -> tuple:
            carry, recorded = carried
            index = jnp.asarray(index)  # a number of Python where nothing is compiled
            place = 0 if search.same_episodes or sizes.exact else index - first
            batch = jax.tree.map(lambda leaf: leaf[place], episodes)
            planned = jnp.maximum(steps, index + 1)  # a forecast, which may be too low
            problem = SearchProblem(predictor, sizes, batch, weights, index, planned)
            step_key = jax.random.fold_in(repetition_key, index)
            carry, new = _after_step(search, step_key, carry, problem)
            return carry, jax.tree.map(
                lambda whole, value: whole.at[index - begin].set(value), recorded, new
            )

        prompt = prompt_shape(search, carry[0])
        blank = Readings(*(jnp.zeros(block, jnp.int32) for _ in Readings._fields))
        recorded = Recorded(jnp.zeros(block), blank, jnp.zeros((block, *prompt), jnp.int32))
        return jax.lax.fori_loop(begin, end, step, (carry, recorded))

    numbers = jnp.arange(episodes.inputs.shape[0])
    if sizes.repetitions_at_once == 1:
        return jax.lax.map(repetition, (carries, numbers, episodes))
    return jax.vmap(repetition)((carries, numbers, episodes))


def in_words(numbers: Int[np.ndarray, "*axis"]) -> Int[np.ndarray, "*axis word"]:
    """Whole numbers up to `MOST_BUDGET` in two words of 32 bits: how often `WORD` goes into them,
    and what is left. Tokens are more than fit in one word, and float32 rounds them."""
    return np.stack(np.divmod(numbers, WORD), axis=-1).astype(np.int32)


def minus(left: Int[Array, " word"], spent: Int[Array, ""]) -> Int[Array, " word"]:
    """A number in two words, less one in a single word; if it is below 0, so is the first word."""
    low = left[1] - spent % WORD
    borrowed = (low < 0).astype(jnp.int32)
    return jnp.stack([left[0] - spent // WORD - borrowed, low + borrowed * WORD])


def _after_step(
    search: Steps, key: Array, carry: tuple, problem: SearchProblem
) -> tuple[tuple, Recorded]:
    """A repetition after a step, and what is recorded of it. What does not fit the budget did not
    happen, and nothing happens after it."""
    member, ended, left = carry
    with compiled_choices(search.class_name):
        returned = search.step(key, member, problem)
    check_step(search.class_name, member, returned)
    check_reads(search.class_name, len(problem.readings))
    new, loss = returned
    # 64-bit arithmetic of JAX may widen what a member computes; a state is as it began
    new = jax.tree.map(lambda after, before: jnp.asarray(after, before.dtype), new, member)
    readings = problem.total()
    if problem.sizes.budgeted:
        assert problem.episodes is not None
        batch, length = problem.episodes.inputs.shape[:2]
        after = minus(left, readings.spent(batch, length, problem.sizes.exact))
        fits = (ended < 0) & (after[0] >= 0)
        ended = jnp.where((ended < 0) & ~fits, problem.step, ended)
        left = jnp.where(fits, after, left)
        new = jax.tree.map(lambda after, before: jnp.where(fits, after, before), new, member)
        loss = jnp.where(fits, loss, jnp.nan)
        readings = jax.tree.map(lambda count: jnp.where(fits, count, 0), readings)
    prompt = search.prompt(new) if search.recommends else jnp.zeros(0, jnp.int32)
    return (new, ended, left), Recorded(loss, readings, jnp.asarray(prompt, jnp.int32))
