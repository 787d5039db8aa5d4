"""The one loop: pretraining and every gradient tuner.

A predictor is cut in two, the tuned and the frozen half. Gradients, moments and clipping exist for
the tuned half only. Steps run inside one compiled program; between calls the host reports progress,
lets probes look, and saves. What is made small is an objective's business (`objectives`). Data are
sampled on the device, a block of steps at a time, by a program of their own, so that the step's
program knows only how a prediction is scored: another task, seed, learning rate or number of steps
compiles nothing. Every step's data follow from the key and the step's number: a resumed run equals
an uninterrupted one bit for bit.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.axes import AnyKey, Tree
from promptax.checks import kind_of, warn
from promptax.doors import door
from promptax.fit.cost import Cost, cost_of_updates, nothing
from promptax.fit.fitted import Checkpoint, Fitted, check_keeping
from promptax.fit.identity import identity_of
from promptax.fit.logs.base import Logs, Metrics
from promptax.fit.masters import low_precision, rounded, wide_copies
from promptax.fit.objectives import LogLoss, Objective
from promptax.fit.probes import Looks, Probe, Probed
from promptax.fit.settings import USUAL_LENGTH, FitSettings
from promptax.fit.updates import Block, Moving, Program, Span, adam, run_updates
from promptax.predictors.base import Architecture
from promptax.progress import Callback, reporting
from promptax.protocol.own_predictors import look_at
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated, cut, one_or_all
from promptax.specs import as_key, check, check_kind, on_device, traced
from promptax.tasks.base import Task, steps_to_read

BLOCK_BYTES = 2**23  # data of one block of steps


class _State(NamedTuple):
    """What the next step needs; every leaf but `step` and `loss` has a repetition axis."""

    tuned: Tree
    moments: Tree
    diverged: Array
    step: Any
    loss: Any  # [repetition, step], NaN where still to come
    probed: Probed  # empty without probes


@door
def pretrain(
    key: AnyKey,
    architecture: Architecture,
    task: Task,
    settings: FitSettings | None = None,
    *,
    objective: Objective = LogLoss(),
    probes: Sequence[Probe] = (),
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Callback] | None = None,
) -> Fitted:
    """Train a fresh network on a task's sequences, on their log loss unless told otherwise:
    meta-training if the task is a mixture (Genewein et al. 2025, Eq. 5).

    An architecture whose weights others trained stays as it is with steps=0, whatever the
    repetitions.

    Args:
        key: makes the initial weights and the data.
        objective: what is made small, such as `promptax.fit.LogLoss()`.
        probes: what to measure along the way; kept in `Fitted.probes`.
        checkpoint: where to save while running, and to resume from (`promptax.Checkpoint`).
        callbacks: called as callback(done, total, note); a true answer stops the run. None shows
            a progress bar.

    Raises:
        TypeError: no architecture, task, objective or settings; what is no probe, checkpoint or
            series of callbacks; nothing in the network that the objective could move.
        ValueError: settings that speak of searches alone; no length, and a task whose longest
            sequence has more than 2,048 steps; an update that does not fit into memory; two probes
            that measure the same name.
        StoreError: the checkpoint is of another run, truncated or damaged.
    """
    if not isinstance(architecture, Architecture):
        raise TypeError(
            f"Expected an architecture such as Transformer(width=128); got "
            f"{kind_of(architecture)}. To train on from a network, use FullWeights().tune."
        )
    key = as_key(key)
    check_kind(task, Task, "DirichletCategorical()")
    check_kind(objective, Objective, "LogLoss()")
    settings = FitSettings() if settings is None else settings
    check_kind(settings, FitSettings, "FitSettings(steps=100)")
    length = steps_to_read(task, settings.length, USUAL_LENGTH)
    settings = settings.filled(length=length, learning_rate=1e-3)
    settings.refuse_search()

    def build(key: Key[Array, ""]) -> Predictor:
        return objective.equip(architecture.build(key, task.outcome), settings)

    if architecture.trained and settings.steps == 0:  # as they are: no copies, no moments
        check_outcome(build, key, task)
        unmoved = np.zeros((1, 0), np.float32), np.array([-1], np.int32)
        return Fitted(build(key), *unmoved, cost=nothing(1))
    return fit(
        key,
        build,
        lambda network: jax.tree.map(eqx.is_inexact_array, network),
        task,
        settings,
        objective=objective,
        probes=probes,
        is_fresh=not architecture.trained,
        checkpoint=checkpoint,
        callbacks=callbacks,
        description="pretraining",
    )


@door
def fit(
    key: AnyKey,
    make: Callable[[Key[Array, ""]], Predictor],
    where: Callable[[Predictor], Tree],
    task: Task,
    settings: FitSettings,
    *,
    objective: Objective = LogLoss(),
    probes: Sequence[Probe] = (),
    watched: Callable[[Predictor], Tree] | None = None,
    is_fresh: bool = False,
    checkpoint: Checkpoint | None = None,
    callbacks: Sequence[Callback] | None = None,
    description: str = "fitting",
) -> Fitted:
    """Fit the tuned leaves of a predictor to a task by Adam on an objective.

    Args:
        make: the predictor at the start, for one repetition's key.
        where: a tree of booleans: which leaves are tuned.
        settings: with `length` and `learning_rate` filled in.
        objective: what is made small; the summed log loss of a sequence by default.
        probes: what to measure along the way; kept in `Fitted.probes`.
        watched: which frozen leaves also count in the norm that is clipped.
        is_fresh: `make` makes all of its arrays, and shares none that are there already.

    Raises:
        TypeError: no task, objective or settings; what is no probe, checkpoint or series of
            callbacks; nothing in the predictor that the objective could move.
        ValueError: `make` or `where` is no function; a task over other symbols than the predictor;
            a predictor of the user's own that says what cannot be right; settings without length or
            learning rate, or that speak of searches alone; an update or repetitions that do not fit
            into memory; two probes that measure the same name.
        StoreError: the checkpoint is of another run, truncated or damaged.
    """
    key = as_key(key)
    check_kind(objective, Objective, "LogLoss()")
    check_kind(task, Task, "DirichletCategorical()")
    check_keeping(checkpoint, callbacks, probes)
    check(callable(make) and callable(where), "Expected functions, make and where; got others.")
    settings.refuse_search()
    check(
        settings.length is not None and settings.learning_rate is not None,
        "Expected settings with a length and a learning rate; got settings that leave one open. "
        "Fill it in: settings.filled(length=50, learning_rate=1e-3).",
    )
    platforms.drop_programs()
    shapes = check_outcome(make, key, task)
    bytes_of_update = _bytes_of_update(task, settings, objective)
    _expect_room(shapes if is_fresh else None, bytes_of_update)
    first = [make(jax.random.fold_in(jax.random.fold_in(key, 0), 0))]
    _expect_room_for_all(eqx.filter(first[0], where(first[0])), settings.repetitions)
    first += [
        make(jax.random.fold_in(jax.random.fold_in(key, 0), r))
        for r in range(1, settings.repetitions)
    ]
    look_at(first[0])
    objective.verify(first[0], settings)
    halves = cut(first, where(first[0]))
    _check_leaves(halves.tuned, first[0], objective)
    parts = eqx.partition(halves.frozen, False if watched is None else watched(first[0]))
    dtypes, copies = low_precision(halves.tuned), wide_copies(halves.tuned)
    clip = on_device(np.float32(np.inf if settings.clip is None else settings.clip))
    program = Program(*parts, clip, traced(objective), dtypes)
    looks = Looks(tuple(probes), halves.frozen, settings, dtypes)
    state = _State(
        tuned=copies,
        moments=_moments(copies),
        diverged=on_device(np.full(settings.repetitions, -1, np.int32)),
        step=np.array(0),
        loss=np.full((settings.repetitions, settings.steps), np.nan, np.float32),
        probed=looks.start(copies),
    )
    identity = ""
    if checkpoint is not None:
        identity = identity_of(key, (halves.tuned, halves.frozen), task, settings, objective)
        state = checkpoint.restore(identity, state) or state
    differentiated = eqx.combine(
        eqx.filter(first[0], where(first[0])), parts[0], eqx.filter(first[0], _is_whole)
    )
    rates = settings.rates()

    def cost_of_first(steps: int) -> Cost:
        return cost_of_updates(first[0], differentiated, objective, settings, steps)

    def metrics(begin: int, end: int) -> Metrics:
        steps = slice(begin, end)
        cost = cost_of_first(1).repeated(begin, end)
        return Metrics(begin, settings.steps, state.loss[:, steps], rates[:, steps], cost)

    with reporting(description, callbacks) as progress, Logs(callbacks) as logs:
        logs.start(int(state.step), metrics)
        for latest in _run(key, state, program, task, settings, rates, first[0], looks.steps()):
            state = latest
            done = int(state.step)
            looks.note(state.probed, state.tuned, done)
            has_failed = logs.tell(done, metrics)
            stop = progress(done, settings.steps, _note(state)) or has_failed
            last = stop or done == settings.steps
            if checkpoint is not None and (last or checkpoint.due()):
                checkpoint.save(identity, state)
            if stop:
                break
    cost = cost_of_first(int(state.step))
    return _fitted(platforms.at_home(state), halves, looks, cost)


SMALLER = "Choose a smaller batch, length or predictor, or fewer repetitions."


def _expect_room(fresh: Predictor | None, bytes_of_update: int) -> None:
    """Complain, before any compute, if a fresh predictor and the sequences of an update surely do
    not fit into memory. The predictor's leaves have shapes, and no numbers."""
    leaves = [leaf for leaf in jax.tree.leaves(fresh) if isinstance(leaf, jax.ShapeDtypeStruct)]
    held = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
    platforms.expect_numbers(bytes_of_update // 4, "the sequences of an update", SMALLER)
    what = "a predictor, and the sequences of an update,"
    platforms.expect_room(held + bytes_of_update, what, SMALLER)


def _expect_room_for_all(tuned: Tree, repetitions: int) -> None:
    """The same of what each repetition has to itself: weights, a gradient, and two moments."""
    needed = 4 * repetitions * platforms.size(tuned)
    platforms.expect_room(needed, f"what is tuned, {repetitions:,} times,", SMALLER)


def _bytes_of_update(task: Task, settings: FitSettings, objective: Objective) -> int:
    """What the sequences of one update take."""
    assert settings.length is not None
    numbers = objective.row_numbers(task.outcome)
    return 4 * settings.repetitions * settings.batch * settings.length * numbers


def _check_leaves(tuned: Tree, predictor: Predictor, objective: Objective) -> None:
    """Complain if there is nothing that an update could move."""
    if not jax.tree.leaves(tuned):
        raise TypeError(
            f"Expected a predictor with leaves that {type(objective).__name__} can move; got "
            f"{type(predictor).__name__}, which has none. Fit a network, or steer it by a prompt: "
            "HardPrompt works on any predictor."
        )


def check_outcome(make: Callable, key: Key[Array, ""], task: Task) -> Predictor:
    """Complain, before any compute, if a predictor does not read what a task yields. Returns the
    predictor with shapes in place of its arrays."""
    predictor = eqx.filter_eval_shape(make, key)
    outcome = predictor.outcome
    if outcome != task.outcome:
        data = task.in_words()  # such as the symbols that were found in a file
        read = f" Its data: {data}." * bool(data)
        raise ValueError(
            f"Expected a task over the predictor's {outcome.words()}; got {type(task).__name__} "
            f"over {task.outcome.words()}.{read} Pretrain on a task over {task.outcome.words()}, "
            "or change the task."
        )
    return predictor


def _run(
    key: Key[Array, ""],
    state: _State,
    program: Program,
    task: Task,
    settings: FitSettings,
    rates: Float[np.ndarray, "repetition step"],
    predictor: Predictor,
    pauses: Int[np.ndarray, " look"],
) -> Iterator[_State]:
    """Yield the state after each call of the compiled updates, about once a second, and after those
    numbers of updates that are `pauses`."""
    assert settings.length is not None
    repetitions = settings.repetitions
    size = int(np.clip(BLOCK_BYTES // _bytes_of_update(task, settings, program.objective), 1, 50))
    mesh = platforms.mesh(repetitions, settings.batch, platforms.size(program))
    micro = _micro_batch(predictor, settings, mesh)
    keys, block = (jax.random.fold_in(key, 1), jax.random.fold_in(key, 2)), None
    program = platforms.everywhere(program, mesh)
    task, begin, count = traced(task), int(state.step), 1
    while begin < settings.steps:
        index = begin // size
        first = on_device(np.int32(index * size))  # a number would compile each block anew
        if block is None or block[0] != index:
            data_keys, objective_keys = _keys(*keys, first, size, repetitions, settings.batch)
            episodes = eqx.tree_at(
                lambda e: e.latent,
                program.objective.draw(task, data_keys, settings.length),
                None,
                is_leaf=lambda x: x is None,
            )
            falling = rates[:, index * size : (index + 1) * size]
            padded = on_device(np.pad(falling, ((0, 0), (0, size - falling.shape[1]))))
            block = index, platforms.everywhere(Block(padded, objective_keys, episodes), mesh)
        pause = min(pauses[pauses > begin], default=settings.steps)
        end = min(begin + count, (index + 1) * size, settings.steps, int(pause))
        bounds = np.array([begin, end]) - index * size
        started = time.monotonic()
        moving = platforms.everywhere(Moving(*state[:3]), mesh)
        span = platforms.everywhere(Span(on_device(bounds), first), mesh)
        with jax.default_matmul_precision(settings.precision):
            moving, losses = run_updates(moving, block[1], span, program, task.outcome, micro, mesh)
        loss = np.array(state.loss)
        loss[:, begin:end] = np.asarray(losses)[:, bounds[0] : bounds[1]]
        state = state._replace(**moving._asdict(), step=np.array(end), loss=loss)
        if jax.process_count() > 1:  # all processes must take the same steps together
            count = min(size, 10)
        else:
            pace = (time.monotonic() - started) / (end - begin)
            count = int(np.clip(0.5 / pace, 1, min(size, 4 * count)))
        begin = end
        yield state


@eqx.filter_jit
def _moments(tuned: Tree) -> Tree:
    """Adam's, of every repetition."""
    return jax.vmap(adam().init)(tuned)


@eqx.filter_jit
def _keys(
    data: Array, objective: Array, first: Array, steps: int, repetitions: int, batch: int
) -> tuple[Key[Array, "repetition step sequence"] | Array, Key[Array, "repetition step"] | Array]:
    """One key for every sequence [repetition, step, sequence], and one for the objective of every
    update [repetition, step]."""
    fold_all = jax.vmap(jax.random.fold_in, in_axes=(None, 0))

    def by_step(key: Array) -> Array:
        by_repetition = fold_all(key, jnp.arange(repetitions))
        return jax.vmap(fold_all, in_axes=(0, None))(by_repetition, first + jnp.arange(steps))

    def split(key: Array) -> Array:
        return jax.random.split(key, batch)

    return jax.vmap(jax.vmap(split))(by_step(data)), by_step(objective)


def _micro_batch(predictor: Predictor, settings: FitSettings, mesh: Mesh | None) -> int:
    """Sequences to differentiate at a time on each device."""
    assert settings.length is not None
    batch = settings.batch if mesh is None else settings.batch // mesh.shape["sequence"]
    return math.gcd(batch, settings.micro_batch or predictor.micro_batch(batch, settings.length))


def _is_whole(leaf: Any) -> bool:
    """Whether a leaf holds whole numbers, such as the tokens that spell a symbol."""
    return eqx.is_array(leaf) and not eqx.is_inexact_array(leaf)


def _note(state: _State) -> str:
    step = int(state.step)
    recent = state.loss[:, max(0, step - 20) : step]
    lost = int(np.sum(np.asarray(state.diverged) >= 0))
    text = "" if np.isnan(recent).all() else f"loss {np.nanmean(recent):.3f}"
    return text + (f", {lost} diverged" if lost else "")


def _fitted(state: _State, halves: Repeated, looks: Looks, cost: Cost) -> Fitted:
    diverged = np.asarray(state.diverged)
    lost = [f"repetition {r} at step {s + 1}" for r, s in enumerate(diverged) if s >= 0]
    if lost:
        warn(
            f"Diverged: {', '.join(lost)} of {len(diverged)} repetitions (the loss or its gradient "
            "was not finite). They keep their last finite weights; the others went on. A lower "
            "learning_rate or clip usually helps."
        )
    tuned = rounded(state.tuned, low_precision(halves.tuned))
    predictor = one_or_all(Repeated(tuned, halves.frozen, halves.repetitions))
    done = int(state.step)
    probed = looks.kept(state.probed, done)
    return Fitted(predictor, state.loss[:, :done], diverged, probed=probed, cost=cost)
