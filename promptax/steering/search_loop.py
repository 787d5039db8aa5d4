"""The one loop of all searches: repetitions, progress, checkpoint, budget and cost.

The steps of a block run inside one compiled program; between its calls the host reports progress
and saves. Every step's episodes and random numbers follow from the key and the step's number, so a
resumed search equals an uninterrupted one bit for bit.

Under a budget a repetition ends before the first step that no longer fits. How many steps there
will be, which schedules ask for, is foretold from the cost of the first two: a first one may read
more than those that follow, and what a search says that it reads later on (`late_prompts`) is paid
beforehand. Later steps may be cheaper still, so that the forecast is no bound. The
bound is how often the cheapest reading fits: a step that reads nothing costs nothing, and a search
that has nothing left to read would never end.
"""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, Key

from promptax import platforms
from promptax.fit.cost import Cost, cumulative
from promptax.fit.identity import identity_of
from promptax.fit.logs.base import Logs, Metrics
from promptax.fit.settings import FitSettings
from promptax.progress import reporting
from promptax.protocol.predictor import Predictor
from promptax.specs import check, on_device, traced
from promptax.steering.base import Tuning
from promptax.steering.search_checks import check_symbols
from promptax.steering.search_episodes import Drawn, Everything, everything_of, keys_of
from promptax.steering.search_problem import Readings, Sizes
from promptax.steering.search_steps import (
    MOST_BUDGET,
    Recorded,
    Steps,
    counted_readings,
    in_words,
    prompt_shape,
    run_steps,
    starts,
)
from promptax.tasks.base import Task

BLOCK_BYTES = 2**23  # episodes of one block of steps
MOST_STEPS = 50  # in a block
RECORD_BYTES = 2**26  # room for records of steps beyond those that are foretold


class SearchState(NamedTuple):
    """What the next step needs, and what was recorded; zeros where there was no step."""

    member: Any  # every leaf has a repetition axis
    step: Any
    loss: Any  # [repetition, step], NaN where there was no step
    readings: Readings  # [repetition, step]
    recommended: Any  # [repetition, step, prompt]; no rows where nobody recommends
    ended: Any  # [repetition]: the step that did not fit the budget, -1: there was none


def run_search(search: Steps, tuning: Tuning) -> tuple[SearchState, Cost]:
    """Run all steps of all repetitions, or those before a callback stops them or the budget is
    spent; the state after them, and what they cost."""
    key, predictor, target, settings, _, checkpoint, callbacks = tuning
    platforms.drop_programs()
    run = _run_of(search, tuning)
    (state, forecast), identity = run.start(), ""
    if checkpoint is not None:
        identity = identity_of(key, (search, predictor, state.member), target, settings)
        state = checkpoint.restore(identity, state) or state
    plan, total = search.plan(target.symbols), forecast

    def metrics(begin: int, end: int) -> Metrics:
        steps = slice(begin, end)
        cost = run.cost(state).of_steps(steps)
        return Metrics(begin, total, state.loss[:, steps], None, cost)

    described = ": ".join([type(search).__name__, *([plan] if plan else [])])
    with reporting(described, callbacks) as tell, Logs(callbacks) as logs:
        logs.start(int(state.step), metrics)
        for latest in run.states(state, forecast):
            state, done = latest, int(latest.step)
            over = state.ended.min() >= 0 or done == state.loss.shape[1]
            total = done if over else max(forecast, done + 1)
            has_failed = logs.tell(done, metrics)
            stop = tell(done, total, _note(state)) or has_failed
            if checkpoint is not None and (stop or over or checkpoint.due()):
                checkpoint.save(identity, state)
            if stop:
                break
    return state._replace(member=platforms.at_home(state.member)), run.cost(state)


def _note(state: SearchState) -> str:
    """The mean loss of the last 20 steps, of repetitions that took them."""
    losses = state.loss[:, : int(state.step)][:, -20:]
    took = ~np.isnan(losses)
    return f"loss {np.mean(losses[took]) if took.any() else np.nan:.3f}"


class _Run(NamedTuple):
    """A search as it is run."""

    search: Steps
    predictor: Predictor
    settings: FitSettings
    source: Drawn | Everything
    sizes: Sizes
    start_key: Key[Array, ""]
    key: Key[Array, ""]
    most_steps: int

    @property
    def length(self) -> int:
        """Steps of time of a sequence."""
        assert self.settings.length is not None
        return self.settings.length

    @property
    def block(self) -> int:
        """How many steps' episodes are drawn at once."""
        per_step = 4 * self.settings.repetitions * self.source.batch * self.length
        remedy = "Choose a smaller batch or length, or fewer repetitions."
        platforms.expect_numbers(per_step // 4, "the sequences of a step", remedy)
        return int(np.clip(BLOCK_BYTES // per_step, 1, MOST_STEPS))

    def start(self) -> tuple[SearchState, int]:
        """The state before the first step, and how many steps are foretold. What the state takes is
        known before anything is computed: a table over symbols, small elsewhere, can be too large
        for a language model's alphabet."""
        parts = traced(self.search), traced(self.predictor)
        given = parts, self.sizes, self.start_key, self.settings.repetitions
        leaves = jax.tree.leaves(eqx.filter_eval_shape(starts, *given))
        needed = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
        what = f"tables of {type(self.search).__name__} over {self.predictor.symbols:,} symbols"
        platforms.expect_room(needed, what, "Choose smaller ones, or fewer repetitions.")
        member = starts(*given)
        forecast, most = self._steps_within_budget(member)
        return self._nothing(member, most), forecast

    def states(self, state: SearchState, forecast: int) -> Iterator[SearchState]:
        """The state after each call of the compiled steps, about once a second."""
        steps, block = state.loss.shape[1], self.block
        begin, count, index, episodes = int(state.step), 1, -1, None
        while begin < steps and state.ended.min() < 0:
            if index != begin // block and not (self.source.same and episodes is not None):
                episodes = self.source.block(begin // block * block, block)
                episodes = platforms.everywhere(episodes, self.sizes.mesh)
            index = begin // block
            if begin == forecast:
                count = 1  # what no longer fits is computed in vain
            end = min(begin + count, (index + 1) * block, forecast if begin < forecast else steps)
            started = time.monotonic()
            bounds = index * block, begin, end, forecast
            state = self._after(state, episodes, bounds, self._left(state.readings))
            pace = (time.monotonic() - started) / (end - begin)
            count = int(np.clip(0.5 / pace, 1, min(block, 4 * count)))
            begin = end
            yield state

    def cost(self, state: SearchState) -> Cost:
        """What the steps so far cost, from what they read."""
        done = int(state.step)
        read = Readings(*(np.asarray(part, np.float64)[:, :done] for part in state.readings))
        forward, backward = read.tokens(self.source.batch, self.length)
        ended = np.where(state.ended < 0, done, state.ended)
        return cumulative(
            sequences=read.sequences,
            tokens_forward=forward,
            tokens_backward=backward,
            # no weight is tuned: a derivative goes through the activations alone
            operations=self.predictor.reading_operations(1)
            / self.predictor.readers()
            * (forward + backward),
            updates=(np.arange(done) < ended[:, None]).astype(float),
        )

    def _nothing(self, member: Any, steps: int) -> SearchState:
        """The state in which so many steps are still to come."""
        shape = self.settings.repetitions, steps
        first = jax.tree.map(lambda leaf: leaf[0], member)
        return SearchState(
            member,
            np.array(0),
            np.full(shape, np.nan, np.float32),
            Readings(*(np.zeros(shape, np.int32) for _ in Readings._fields)),
            np.zeros((*shape, *prompt_shape(self.search, first)), np.int32),
            np.full(self.settings.repetitions, -1, np.int32),
        )

    def _after(
        self, state: SearchState, episodes: Any, bounds: tuple[int, ...], left: Any
    ) -> SearchState:
        """The state after the steps bounds[1]..bounds[2]-1, where so much budget is left."""
        carry = state.member, on_device(state.ended), on_device(left)
        given = carry, episodes, self.source.weights, on_device(np.array(bounds, np.int32))
        parts = traced(self.search), traced(self.predictor)
        parts, given = platforms.everywhere((parts, given), self.sizes.mesh)
        with jax.default_matmul_precision(self.settings.precision), counted_readings():
            (member, ended, _), recorded = run_steps(parts, self.sizes, self.key, given, self.block)
        if self.search.recommends:
            done = np.asarray(recorded.recommended)[:, : bounds[2] - bounds[1]]
            check_symbols(self.search.class_name, done, self.predictor.symbols)
        ended = np.asarray(ended)
        before = Recorded(state.loss, state.readings, state.recommended)
        after = _with_recorded(before, recorded, bounds[1], bounds[2])
        done = int(ended.max()) if ended.min() >= 0 else bounds[2]
        return SearchState(member, np.array(done), *after, ended)

    def _left(self, readings: Readings) -> Int[np.ndarray, "repetition word"]:
        """What is left of each repetition's budget."""
        budget = MOST_BUDGET if self.settings.budget is None else self.settings.budget
        return in_words(budget - self._spent(readings).sum(axis=1))

    def _spent(self, readings: Readings) -> Int[np.ndarray, "repetition step"]:
        """What each step took of the budget."""
        counts = Readings(*(np.asarray(part, np.int64) for part in readings))
        return counts.spent(self.source.batch, self.length, self.settings.exact)

    def _steps_within_budget(self, member: Any) -> tuple[int, int]:
        """How many steps there will be, as it seems from what the first two of them read; and how
        many there are at most."""
        budget, most, block = self.settings.budget, self.most_steps, self.block
        if budget is None or most == 0:
            return most, most
        tried = min(most, 2, block)
        unlimited = in_words(np.full(self.settings.repetitions, MOST_BUDGET))
        episodes, bounds = self.source.block(0, block), (0, 0, tried, most)
        nothing = self._nothing(member, tried)
        after = self._after(nothing, episodes, bounds, unlimited)
        spent = [int(step) for step in self._spent(after.readings).max(axis=0)]
        check(
            max(spent) < 2**31,
            f"Expected steps that take less than {2**31:,} of a budget each; got {max(spent):,}. "
            "Choose fewer candidates or a smaller batch.",
        )
        check(
            spent[0] <= budget,
            f"Expected a budget of at least {spent[0]:,}, which the first step reads; got "
            f"{budget:,}. Choose fewer candidates, a smaller batch, or a larger budget.",
        )
        most = min(most, max(1, budget // self._cheapest))
        left = max(budget - spent[0] - self._late, (budget - spent[0]) // 2)
        forecast = min(most, 1 + left // max(1, spent[-1]))
        recorded = nothing.loss, nothing.readings, nothing.recommended
        per_step = sum(leaf.nbytes for leaf in jax.tree.leaves(recorded)) // tried
        return forecast, min(most, max(forecast, RECORD_BYTES // per_step))

    @property
    def _late(self) -> int:
        """What the search takes of the budget beyond steps like the first two."""
        prompts = self.search.late_prompts(self.settings)
        if self.settings.exact:
            return prompts
        return prompts * (self.sizes.prompt_length + self.source.batch * self.length)

    @property
    def _cheapest(self) -> int:
        """The least that a step takes of the budget, if it reads anything: one prompt, which may
        have no rows, before the batch, or before one sequence of it in a race."""
        if self.settings.exact:
            return 1
        return self.length * (1 if self.search.reads_parts else self.source.batch)


def _run_of(search: Steps, tuning: Tuning) -> _Run:
    """A search as it is run; what cannot be run is refused."""
    key, predictor, target, settings, *_ = tuning
    name, repetitions, length = type(search).__name__, settings.repetitions, settings.length
    assert length is not None
    keys = keys_of(key, search.same_episodes)
    if settings.exact:
        check(
            not search.same_episodes,
            f"Expected a search that can read any sequences with exact; got {name}, which says "
            "itself what it reads. Leave out exact.",
        )
        source = everything_of(target, predictor, length, repetitions)
    else:
        batch, same = search.batch(settings), search.same_episodes
        source = Drawn(target, keys.episodes, repetitions, batch, length, same)
    sizes = Sizes(
        target.outcome,
        search.length,
        settings.micro_batch,
        platforms.repetitions_at_once(repetitions),
        target.survivors,
        settings.impossible_may_win,
        settings.exact,
        settings.budget is not None,
        _devices(predictor, target),
    )
    predictor = platforms.everywhere(predictor, sizes.mesh)
    check(
        settings.budget is None or settings.budget <= MOST_BUDGET,
        f"Expected a budget of at most {MOST_BUDGET:,}; got {settings.budget}. Leave it out for no "
        "limit but the steps.",
    )
    most_steps = search.updates(settings, target.symbols)
    return _Run(search, predictor, settings, source, sizes, keys.start, keys.steps, most_steps)


def _devices(predictor: Predictor, target: Task) -> Mesh | None:
    """The devices over which candidates are spread: all of this process, where nobody asks the
    host in between, which is no part of a program of several devices."""
    if jax.process_count() > 1 or target.survivors is not None:
        return None
    return platforms.mesh(1, len(jax.devices()), platforms.size(predictor))


def _with_recorded(whole: Recorded, part: Recorded, begin: int, end: int) -> Recorded:
    """What a call of the compiled steps recorded, put into its place."""

    def put(whole: np.ndarray, part: Array) -> np.ndarray:
        whole = np.array(whole)
        whole[:, begin:end] = np.asarray(part)[:, : end - begin]
        return whole

    return jax.tree.map(put, whole, part)
