"""Derivatives through a whole run of the one loop: metagradients.

`replay` is a fit as a function: from initial weights, learning rates and weights of sequences to
the trained predictor. What is then computed from that predictor, such as a validation loss, can be
differentiated for all three by `jax.grad` (Engstrom et al. 2025, "Optimizing ML Training with
Metagradient Descent", arXiv 2503.13751: REPLAY).

The updates are those of the loop (`fit.updates`), on the same data: every step's sequences follow
from the key and the step's number. So each of them can be computed again, and only some states are
kept. With `levels` = n, the steps are cut n times into equal parts, and only the states at the ends
of parts are kept: about n · T^(1/n) of them for T steps, for n more forward passes. Two levels
keep some 2 √T states; log₂ T levels some 2 log₂ T. `states_kept` says how many exactly, and what
does not fit into memory is refused before the first step.

Adam's root has its ε inside (`fit.descent`): √v has no derivative where a gradient was always 0.
Its numbers differ a little from those of `fit`, which `root_epsilon=0` gives, where no derivative
is asked for. Weights of sequences are not normalised: an update
follows the mean of weight · loss, so that weights that are twice as large act as gradients that
are. Clipping is differentiated where it bites; it has a kink there.

A step that diverges gives NaN, and so do all steps after it, where `fit` keeps the last finite
leaves. An update differentiates its whole batch at once, whatever `micro_batch` is. Settings that a
replay does not follow are refused.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer, eval_context
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.axes import AnyKey, Tree
from promptax.checks import check_kind, check_whole_numbers
from promptax.doors import door
from promptax.fit.descent import ROOT_EPSILON, DescentRule, descent
from promptax.fit.objectives import LogLoss, Objective
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.own_predictors import look_at
from promptax.protocol.predictor import Predictor
from promptax.specs import as_key, check, traced
from promptax.tasks.base import Task, steps_to_read

Weigh = Callable[[Episode], Float[Array, " sequence"]]
"""Weights [sequence] of the episodes [sequence, time] of an update, with their latents."""


@door
def replay(
    key: AnyKey,
    predictor: Predictor,
    task: Task,
    settings: FitSettings,
    *,
    rates: Float[Any, " step"] | None = None,
    weights: Float[Any, "step sequence"] | Weigh | None = None,
    where: Callable[[Predictor], Tree] | None = None,
    objective: Objective = LogLoss(),
    rule: DescentRule = "adam",
    root_epsilon: float = ROOT_EPSILON,
    levels: int = 2,
) -> Predictor:
    """The predictor after a whole fit, differentiable for its start, for rates and for weights.

    Args:
        key: as for `fit`; repetition 0 of it is run.
        predictor: the start; its tuned leaves may be differentiated.
        settings: as for `fit`; if not given, `length` is that of the longest
            sequence, 100 where sequences go on, and `learning_rate` 1e-3.
        rates: the learning rate of every step [step] (None: those of the settings).
        weights: how much each sequence counts [step, sequence], or a function from an update's
            episodes to that [sequence] (None: 1).
        where: which leaves are tuned, as a tree of booleans (None: all floats).
        objective: what is made small.
        rule: "adam", "momentum" (0.9) or "sgd".
        root_epsilon: what is added inside Adam's root.
        levels: how often the steps are cut into parts, for memory: see the module's docstring.

    Raises:
        TypeError: no predictor, task, objective or settings; a rule of another name.
        ValueError: a task over other symbols than the predictor; a predictor of the user's own that
            says what cannot be right; settings that a replay does not follow, such as several
            repetitions or another precision; rates or weights that are not finite, or of other
            shapes; no tuned leaves of 32 bits or more; states that do not fit into memory, before
            the first step.

    Example, the slope of a validation loss for a schedule of 100 rates:

        jax.grad(lambda rates: loss(replay(key, network, task, settings, rates=rates)))(rates)
    """
    key = as_key(key)
    check_kind(predictor, Predictor, "LSTM(width=8).build(key, 2)")
    check_kind(task, Task, "DirichletCategorical()")
    check_kind(objective, Objective, "LogLoss()")
    settings = settings.filled(length=steps_to_read(task, settings.length, 100), learning_rate=1e-3)
    check(settings.steps >= 1, f"Expected at least 1 step to replay; got {settings.steps}.")
    check(settings.repetitions == 1, f"Expected one repetition; got {settings.repetitions}.")
    check(
        predictor.outcome == task.outcome,
        f"Expected a task over the predictor's {predictor.outcome.words()}; got "
        f"{type(task).__name__} over {task.outcome.words()}.",
    )
    check(levels >= 1, f"Expected at least 1 level; got {levels}.")
    platforms.expect_room(
        replay_bytes(predictor, settings, where, rule=rule, levels=levels),
        f"the states of a replay of {settings.steps} steps in {levels} levels,",
        "Choose more levels, fewer steps, or a smaller predictor.",
    )
    look_at(predictor)
    objective.verify(predictor, settings)
    mask = jax.tree.map(eqx.is_inexact_array, predictor) if where is None else where(predictor)
    tuned, frozen = eqx.partition(predictor, mask)
    _check_settings(settings, frozen)
    if rates is None:
        with eval_context():  # numbers, also where a replay is traced
            rates = settings.rates()[0]
    rates = jnp.asarray(rates)
    check(
        rates.shape == (settings.steps,) and _are_finite(rates),
        f"Expected a finite rate for each of {settings.steps} steps; got shape {rates.shape}.",
    )
    if weights is not None and not callable(weights):
        weights, shape = jnp.asarray(weights), (settings.steps, settings.batch)
        check(
            weights.shape == shape and _are_finite(weights),
            f"Expected a finite weight for each step and sequence {shape}; got shape "
            f"{weights.shape}.",
        )
    leaves = jax.tree.leaves(tuned)
    check(
        bool(leaves) and all(jnp.finfo(leaf.dtype).bits >= 32 for leaf in leaves),
        "Expected tuned leaves, floats of 32 bits or more; got a predictor without any, or with "
        "floats of 16 bits, in which small steps are lost.",
    )
    run = _Run(key, traced(task), traced(objective), settings, rule, root_epsilon, weights)
    tuned, _ = _run_parts(run, frozen, rates, tuned, levels)
    return eqx.combine(tuned, frozen)


def _are_finite(numbers: Array) -> bool:
    """Whether all are, as far as that is known while a replay is traced."""
    return isinstance(numbers, Tracer) or bool(np.isfinite(np.asarray(numbers)).all())


def _check_settings(settings: FitSettings, frozen: Tree) -> None:
    """Complain about settings that `fit` follows, and a replay does not."""
    settings.refuse_search()
    check(
        settings.precision == "float32",
        f"Expected precision='float32' for a replay, whose derivatives need it; got "
        f"{settings.precision!r}.",
    )
    is_partial = any(map(eqx.is_inexact_array, jax.tree.leaves(frozen)))
    check(
        settings.clip is None or settings.clip_over == "tuned" or not is_partial,
        "Expected clip_over='tuned' for a replay of a part of the leaves, which takes no gradient "
        f"for the frozen ones; got {settings.clip_over!r}. Replay without `where`, or clip over "
        "what is tuned.",
    )


@door
def states_kept(steps: int, levels: int = 2) -> int:
    """How many states a replay of so many steps keeps at most, at any one time.

    Raises:
        ValueError: steps or levels that are no whole number of at least 1.
    """
    check_whole_numbers(steps=steps, levels=levels)
    check(steps >= 1 and levels >= 1, "Expected at least 1 step and 1 level.")
    return sum(_parts(steps, levels))


@door
def replay_bytes(
    predictor: Predictor,
    settings: FitSettings,
    where: Callable[[Predictor], Tree] | None = None,
    *,
    rule: DescentRule = "adam",
    levels: int = 2,
) -> int:
    """A lower bound in bytes on what a replay keeps for its derivative: the states, each of them
    the tuned leaves and what the rule remembers, and the activations of one update.

    Raises:
        TypeError: no predictor or settings; a rule of another name.
        ValueError: settings without a step, or levels below 1.
    """
    mask = jax.tree.map(eqx.is_inexact_array, predictor) if where is None else where(predictor)
    copies = {"sgd": 1, "momentum": 2, "adam": 3}[rule]
    state = copies * platforms.size(eqx.filter(predictor, mask))
    length = settings.length or 100
    return (
        states_kept(settings.steps, levels) * state
        + predictor.reading_bytes(length) * settings.batch
    )


class _Run(eqx.Module):
    """What stays the same in all updates."""

    key: Key[Array, ""]
    task: Task
    objective: Objective
    settings: FitSettings = eqx.field(static=True)
    rule: DescentRule = eqx.field(static=True)
    root_epsilon: Any
    weights: Any

    def update(
        self, frozen: Tree, state: tuple[Tree, Tree], number: Int[Array, ""], rate: Array
    ) -> tuple[Tree, Tree]:
        """The tuned leaves and the rule's memory after one update, as `fit.updates` makes it."""
        (tuned, memory), settings = state, self.settings
        assert settings.length is not None

        def step_key(which: int) -> Array:
            of_repetition = jax.random.fold_in(jax.random.fold_in(self.key, which), 0)
            return jax.random.fold_in(of_repetition, number)

        keys = jax.random.split(step_key(1), settings.batch)
        episodes = self.objective.draw(self.task, keys, settings.length)
        slopes = jax.grad(self.loss)(tuned, frozen, episodes, number, step_key(2))
        if settings.clip is not None:
            slopes = _clipped(slopes, settings.clip)
        directions, memory = descent(self.rule, self.root_epsilon).update(slopes, memory)

        def move(leaf: Array, direction: Array) -> Array:
            return leaf - jnp.asarray(rate, leaf.dtype) * direction

        return jax.tree.map(move, tuned, directions), memory

    def loss(
        self, tuned: Tree, frozen: Tree, episodes: Episode, number: Array, key: Key[Array, ""]
    ) -> Float[Array, ""]:
        """The objective of an update, nats per sequence, with weights."""
        noise_key, loss_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        predictor, penalty = self.objective.prepare(noise_key, eqx.combine(tuned, frozen))
        weights = self._weights(episodes, number)
        shown = eqx.tree_at(lambda e: e.latent, episodes, None, is_leaf=lambda x: x is None)
        outcome, loss_key = self.task.outcome, jax.random.fold_in(loss_key, 0)
        given = loss_key, predictor, predictor.start(), shown, outcome
        return jnp.mean(weights * self.objective.losses(*given)) + penalty

    def _weights(self, episodes: Episode, number: Array) -> Any:
        if self.weights is None:
            return 1.0
        if not callable(self.weights):
            return self.weights[number]
        weights, shape = jnp.asarray(self.weights(episodes)), (self.settings.batch,)
        check(
            weights.shape == shape,
            f"Expected weights to return a number for each sequence {shape}; got shape "
            f"{weights.shape}.",
        )
        return weights


def _clipped(slopes: Tree, most: float) -> Tree:
    """Slopes with a global norm of at most `most`; of a norm of 0 the derivative is finite."""
    squared = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(slopes))
    is_large = squared > most**2
    norm = jnp.sqrt(jnp.where(is_large, squared, 1.0))
    factor = jnp.where(is_large, most / norm, 1.0)
    return jax.tree.map(lambda leaf: leaf * factor, slopes)


def _parts(steps: int, levels: int) -> list[int]:
    """Into how many parts each level cuts: their product is at least the number of steps."""
    parts, left = [], steps
    for level in range(levels, 0, -1):
        parts.append(math.ceil(left ** (1 / level) - 1e-9))
        left = math.ceil(left / parts[-1])
    return parts


def _run_parts(
    run: _Run, frozen: Tree, rates: Float[Array, " step"], tuned: Tree, levels: int
) -> tuple[Tree, Tree]:
    """All updates in nested scans, each level of which forgets what is within its parts."""
    parts = _parts(len(rates), levels)
    room = math.prod(parts)
    numbers = jnp.arange(room).reshape(parts)
    padded = jnp.concatenate([rates, jnp.zeros(room - len(rates), rates.dtype)]).reshape(parts)

    def update(state: Tree, given: tuple[Array, Array]) -> tuple[Tree, None]:
        number, rate = given
        new = run.update(frozen, state, jnp.minimum(number, len(rates) - 1), rate)
        is_past = number >= len(rates)
        return jax.tree.map(lambda a, b: jnp.where(is_past, b, a), new, state), None

    step: Any = update
    for _ in parts:
        step = _scanned(step)
    state = tuned, descent(run.rule, run.root_epsilon).init(tuned)
    return step(state, (numbers, padded))[0]


def _scanned(step: Callable) -> Callable:
    """A scan over a step whose inner values are computed again for the derivative."""

    def scan(state: Tree, given: tuple[Array, Array]) -> tuple[Tree, None]:
        return jax.lax.scan(jax.checkpoint(step), state, given)[0], None

    return scan
