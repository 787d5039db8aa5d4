"""The one loop of all searches: keys, episodes, repetitions, progress, checkpoint and cost.

Episodes are drawn a block of steps at a time by a program of their own, so that another task
compiles nothing that reads. The steps of a block run inside one compiled program; between its calls
the host reports progress and saves. Every step's episodes and random numbers follow from the key
and the step's number, so a resumed search equals an uninterrupted one bit for bit.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from promptax import platforms
from promptax.fit.cost import Cost, cumulative
from promptax.fit.fitted import identity_of
from promptax.fit.settings import FitSettings
from promptax.progress import reporting
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import on_device, traced
from promptax.steering.base import Tuning
from promptax.steering.search_problem import Readings, SearchProblem, Sizes
from promptax.tasks.base import Task, sample_batch

BLOCK_BYTES = 2**23  # episodes of one block of steps
MOST_STEPS = 50  # in a block
LAST = 2**32 - 1  # the last numbers that a key can be folded with: no repetition has them


@runtime_checkable
class Steps(Protocol):
    """What the loop asks of a search (`promptax.steering.Search` says what each of them is)."""

    same_episodes: ClassVar[bool]

    @property
    def length(self) -> int: ...

    def start(self, key: Key[Array, ""], problem: SearchProblem) -> Any: ...

    def step(
        self, key: Key[Array, ""], state: Any, problem: SearchProblem
    ) -> tuple[Any, Float[Array, ""]]: ...

    def updates(self, settings: FitSettings, symbols: int) -> int: ...

    def batch(self, settings: FitSettings) -> int: ...

    def plan(self, symbols: int) -> str: ...


class Keys(NamedTuple):
    """Where a search's random numbers come from."""

    start: Key[Array, ""]
    episodes: Key[Array, ""]
    steps: Key[Array, ""]


class SearchState(NamedTuple):
    """What the next step needs, and what was recorded; zeros where steps are still to come."""

    member: Any  # every leaf has a repetition axis
    step: Any
    loss: Any  # [repetition, step], NaN where still to come
    readings: Readings  # [repetition, step]


def run_search(search: Steps, tuning: Tuning) -> SearchState:
    """Run all steps of all repetitions, or those before a callback stops them."""
    key, predictor, target, settings, _, checkpoint, callbacks = tuning
    platforms.drop_programs()
    run = _Run(search, predictor, target, settings, keys_of(key, search.same_episodes))
    state, steps, identity = run.start(), run.steps, ""
    if checkpoint is not None:
        identity = identity_of(key, (search, predictor, state.member), target, settings)
        state = checkpoint.restore(identity, state) or state
    plan = search.plan(target.symbols)
    with reporting(
        ": ".join([type(search).__name__, *([plan] if plan else [])]), callbacks
    ) as tell:
        for latest in run.states(state):
            state, done = latest, int(latest.step)
            mean = np.mean(state.loss[:, max(0, done - 20) : done])
            stop = tell(done, steps, f"loss {mean:.3f}")
            if checkpoint is not None and (stop or done == steps or checkpoint.due()):
                checkpoint.save(identity, state)
            if stop:
                break
    return state


def keys_of(key: Key[Array, ""], same_episodes: bool) -> Keys:
    """The keys of starts, episodes and steps. Where all steps read the same episodes, the key
    itself makes them, as it did for results that are already kept; the other two then come from
    numbers that no repetition has."""
    numbers = (LAST, LAST - 1) if same_episodes else (0, 2)
    start, steps = (jax.random.fold_in(key, number) for number in numbers)
    return Keys(start, key if same_episodes else jax.random.fold_in(key, 1), steps)


class _Run(NamedTuple):
    """A search as it is run."""

    search: Steps
    predictor: Predictor
    target: Task
    settings: FitSettings
    keys: Keys

    @property
    def steps(self) -> int:
        """The number of all steps."""
        return self.search.updates(self.settings, self.target.symbols)

    @property
    def batch(self) -> int:
        """The number of sequences that a step reads."""
        return self.search.batch(self.settings)

    @property
    def length(self) -> int:
        """Steps of time of a sequence."""
        assert self.settings.length is not None
        return self.settings.length

    @property
    def sizes(self) -> Sizes:
        """What the programs are compiled for."""
        at_once = platforms.repetitions_at_once(self.settings.repetitions)
        micro = self.settings.micro_batch
        survivors = self.target.survivors
        return Sizes(self.target.outcome, self.search.length, micro, at_once, survivors)

    def start(self) -> SearchState:
        """The state before the first step."""
        repetitions, shape = self.settings.repetitions, (self.settings.repetitions, self.steps)
        parts = traced(self.search), traced(self.predictor)
        return SearchState(
            _starts(parts, self.sizes, self.keys.start, repetitions),
            np.array(0),
            np.full(shape, np.nan, np.float32),
            Readings(*(np.zeros(shape, np.int32) for _ in Readings._fields)),
        )

    def states(self, state: SearchState) -> Iterator[SearchState]:
        """The state after each call of the compiled steps, about once a second."""
        parts, steps = (traced(self.search), traced(self.predictor)), self.steps
        per_step = 4 * self.settings.repetitions * self.batch * self.length
        remedy = "Choose a smaller batch or length, or fewer repetitions."
        platforms.expect_room(per_step, "the sequences of a step", remedy)
        block = int(np.clip(BLOCK_BYTES // per_step, 1, MOST_STEPS))
        begin, count, index, episodes = int(state.step), 1, -1, None
        while begin < steps:
            if index != begin // block and not (self.search.same_episodes and episodes is not None):
                episodes = self._episodes(begin // block * block, block)
            index = begin // block
            end = min(begin + count, (index + 1) * block, steps)
            bounds = on_device(np.array([index * block, begin, end, steps], np.int32))
            started = time.monotonic()
            given = state.member, episodes, bounds
            with jax.default_matmul_precision(self.settings.precision), _counted():
                member, recorded = _steps(parts, self.sizes, self.keys.steps, given, block)
            state = _with_recorded(state, member, recorded, begin, end)
            pace = (time.monotonic() - started) / (end - begin)
            count = int(np.clip(0.5 / pace, 1, min(block, 4 * count)))
            begin = end
            yield state

    def _episodes(self, first: int, block: int) -> Episode:
        """Episodes [repetition, step, sequence] of a block of steps, the only one if all read the
        same."""
        same = self.search.same_episodes
        number = on_device(np.int32(first))  # a plain number would compile each block anew
        sizes = self.settings.repetitions, 1 if same else block, self.batch
        keys = _episode_keys(self.keys.episodes, number, sizes, same)
        episodes = sample_batch(traced(self.target), keys, self.length)
        return eqx.tree_at(lambda e: e.latent, episodes, None, is_leaf=lambda leaf: leaf is None)


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    """Say what is wrong where a count of readings escaped from a program inside a step."""
    try:
        yield
    except jax.errors.UnexpectedTracerError as error:
        raise TypeError(
            "Expected a search's step to ask for losses and gradients itself; something escaped "
            "from a scan, a cond or a vmap of its own, where readings cannot be counted. Give all "
            "candidates to one call of problem.losses; for several gradients, a Python loop."
        ) from error


def _with_recorded(
    state: SearchState, member: Any, recorded: tuple[Array, Readings], begin: int, end: int
) -> SearchState:
    """The new state: what a call of the compiled steps recorded is put into its place."""

    def put(whole: np.ndarray, part: Array) -> np.ndarray:
        whole = np.array(whole)
        whole[:, begin:end] = np.asarray(part)[:, : end - begin]
        return whole

    loss, readings = jax.tree.map(put, (state.loss, state.readings), recorded)
    return SearchState(member, np.array(end), loss, readings)


@eqx.filter_jit
def _episode_keys(key: Array, first: Array, sizes: tuple[int, int, int], same: bool) -> Array:
    """One key for every sequence [repetition, step, sequence]."""
    repetitions, steps, batch = sizes
    fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    grid = fold(key, jnp.arange(repetitions))
    if same:
        return jax.vmap(lambda key: jax.random.split(key, batch))(grid)[:, None]
    grid = jax.vmap(fold, in_axes=(0, None))(grid, first + jnp.arange(steps))
    return jax.vmap(jax.vmap(lambda key: jax.random.split(key, batch)))(grid)


@eqx.filter_jit
def _starts(parts: tuple[Steps, Predictor], sizes: Sizes, key: Array, repetitions: int) -> Any:
    """The state before the first step, of every repetition."""
    search, predictor = parts

    def start(repetition: Array) -> Any:
        problem = SearchProblem(predictor, sizes)
        return search.start(jax.random.fold_in(key, repetition), problem)

    return jax.vmap(start)(jnp.arange(repetitions))


@eqx.filter_jit
def _steps(
    parts: tuple[Steps, Predictor], sizes: Sizes, key: Array, given: tuple, block: int
) -> tuple[Any, tuple[Float[Array, "repetition step"], Readings]]:
    """Run steps begin..end-1 of all repetitions; what they recorded lies at the front."""
    (search, predictor), (members, episodes, bounds) = parts, given
    first, begin, end, steps = bounds

    def repetition(given: tuple) -> tuple:
        member, number, episodes = given
        repetition_key = jax.random.fold_in(key, number)

        def step(index: Array | int, carry: tuple) -> tuple:
            member, recorded = carry
            index = jnp.asarray(index)  # a number of Python where nothing is compiled
            place = 0 if search.same_episodes else index - first
            batch = jax.tree.map(lambda leaf: leaf[place], episodes)
            problem = SearchProblem(predictor, sizes, batch, index, steps)
            member, loss = search.step(jax.random.fold_in(repetition_key, index), member, problem)
            new = loss, problem.total()
            return member, jax.tree.map(
                lambda whole, value: whole.at[index - begin].set(value), recorded, new
            )

        blank = Readings(*(jnp.zeros(block, jnp.int32) for _ in Readings._fields))
        carry = member, (jnp.zeros(block), blank)
        return jax.lax.fori_loop(begin, end, step, carry)

    numbers = jnp.arange(episodes.inputs.shape[0])
    if sizes.repetitions_at_once == 1:
        return jax.lax.map(repetition, (members, numbers, episodes))
    return jax.vmap(repetition)((members, numbers, episodes))


def cost_of(state: SearchState, predictor: Predictor, batch: int, length: int) -> Cost:
    """What the steps so far cost, from what they read."""
    done = slice(0, int(state.step))
    read = Readings(*(np.asarray(part, np.float64)[:, done] for part in state.readings))
    backward = read.derivative_rows + read.derivatives * batch * length
    forward = read.rows + read.prompts * batch * length
    return cumulative(
        sequences=read.prompts * batch,
        tokens_forward=forward,
        tokens_backward=backward,
        # no weight is tuned: a derivative goes through the activations alone
        operations=predictor.reading_operations(1) * (forward + backward),
        updates=np.ones_like(forward),
    )
