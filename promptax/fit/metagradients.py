"""Descent along metagradients: what to train with, found through whole runs of training.

`replay` is a run as a function of learning rates, weights of sequences and initial leaves, and a
loss of its result can be differentiated for all of them. Here these numbers take steps of their
own, one for each run:

    z_{i+1} = z_i - step_i · sign(∇_z loss(z_i)),    step_i = step · (1 - i / runs)

Signs, because metagradients of different numbers differ by orders of magnitude (Engstrom et al.
2025, arXiv 2503.13751, use them for counts of data); "adam" follows Adam's direction in their
place. A run whose loss or metagradient is not finite is no start for the next one: the descent goes
back to the best run, and its steps are half as long from there on. "slope" follows the metagradient
itself, scaled so that its largest number moves by `step`, and goes back in the same way from every
run that is worse than the best one: where the start is good already, signs lead away from it.

A schedule is found on the logarithms of its rates at some knots, between which they are straight:

    def final_loss(knots):
        rates = rates_between(knots, settings.steps)
        return loss(replay(key, network, task, settings, rates=rates))

    best = MetagradientDescent().descend(final_loss, jnp.full(6, jnp.log(1e-3))).point

What is best on one key's data may be luck: let the loss be a mean over several keys, and judge the
result on others. In `benchmarks/schedules.py`, with one key, the best run was 0.013 nats ahead of a
grid's best on that key, and 0.032 ± 0.013 behind it on others.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from promptax.axes import Tree
from promptax.checks import ARRAYS
from promptax.doors import door
from promptax.specs import Spec, check

MOST_RUNS = 100_000  # the numbers of all of them are kept


class Descended(NamedTuple):
    """`point`: the numbers of the run whose loss was lowest; `loss` [run]: the loss of every run,
    NaN or ∞ where it diverged; `points`: the numbers of every run, in order."""

    point: Tree
    loss: Float[np.ndarray, " run"]
    points: tuple[Tree, ...]


class MetagradientDescent(Spec):
    """How numbers move that a whole run of training depends on."""

    runs: int = 16
    """How many runs are differentiated; the first one is at the start."""
    move: Literal["sign", "adam", "slope"] = "sign"
    """What makes a direction of a metagradient: its sign, Adam (β 0.9 and 0.999), or the
    metagradient divided by its largest number, with steps back from what is worse."""
    step: float = 0.5
    """How far a number moves at first; the steps fall to 0 linearly."""
    least: float | None = None
    """The smallest that a number may become, such as 0 for weights (None: no bound)."""

    def __check_init__(self) -> None:
        check(
            1 <= self.runs <= MOST_RUNS,
            f"Expected at least 1 run, and at most {MOST_RUNS:,}; got {self.runs}.",
        )
        check(self.step > 0, f"Expected a step above 0; got {self.step}.")
        check(
            self.move in ("sign", "adam", "slope"),
            f"Expected move 'sign', 'adam' or 'slope'; got {self.move!r}.",
        )

    @door
    def descend(self, loss: Callable[[Tree], Float[Array, ""]], start: Tree) -> Descended:
        """The best of `runs` points, each a step from the last one.

        Args:
            loss: of a run of training, from arrays that can be differentiated; it is compiled once.
            start: arrays of floats where the descent begins.
        """
        _check_start(start)
        start = jax.tree.map(jnp.asarray, start)
        compute = eqx.filter_jit(jax.value_and_grad(_looked_at(loss)))
        rule = _rule(self.move)
        moments, point, points, losses = rule.init(start), start, [], []
        best, slopes_of_best, share = np.inf, None, 1.0
        for run in range(self.runs):
            value, slopes = compute(point)
            points.append(point)
            losses.append(float(value))
            is_fine = np.isfinite(losses[-1]) and _is_finite(slopes)
            check(
                is_fine or run > 0,
                f"Expected a start whose loss and metagradient are finite; got a loss of "
                f"{losses[-1]}. Begin with smaller rates.",
            )
            if is_fine and losses[-1] < best:
                best, best_point, slopes_of_best = losses[-1], point, slopes
            if not is_fine or (self.move == "slope" and losses[-1] > best):
                share, point, slopes = share / 2, best_point, slopes_of_best
            size = share * self.step * (1 - run / self.runs)
            directions, moments = rule.update(slopes, moments)
            point = jax.tree.map(self._mover(size), point, directions)
        return Descended(best_point, np.asarray(losses), tuple(points))

    def _mover(self, size: float) -> Callable[[Array, Array], Array]:
        def move(leaf: Array, direction: Array) -> Array:
            moved = leaf - jnp.asarray(size, leaf.dtype) * direction
            return moved if self.least is None else jnp.maximum(moved, self.least)

        return move


def _rule(move: str) -> Any:
    """What makes directions of metagradients, as optax has it."""
    import optax  # takes long to import

    def scale(slopes: Any, _: Any) -> Any:
        largest = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(slopes)]))
        return jax.tree.map(lambda leaf: leaf / jnp.where(largest > 0, largest, 1), slopes)

    if move == "slope":
        return optax.stateless(scale)
    return optax.scale_by_adam() if move == "adam" else optax.scale_by_sign()


def _check_start(start: Tree) -> None:
    """Complain about numbers that a descent cannot begin with, as they were given."""
    leaves = jax.tree.leaves(start)
    check(
        bool(leaves) and all(map(_is_of_floats, leaves)),
        "Expected arrays of floats to start from; got none, or others.",
    )
    check(
        all(np.isfinite(np.asarray(leaf, float)).all() for leaf in leaves),
        "Expected finite numbers to start from; got NaN, or infinite ones.",
    )


def _looked_at(loss: Callable[[Tree], Any]) -> Callable[[Tree], Float[Array, ""]]:
    """The loss, after a look at what it returns: one float, of which JAX takes the gradient."""

    def lose(point: Tree) -> Float[Array, ""]:
        value = loss(point)
        shape = getattr(value, "shape", ())
        check(
            _is_of_floats(value) and shape == (),
            f"Expected a loss that returns one float, such as a mean; got a {type(value).__name__}"
            f"{f' of shape {shape}' if shape else ''}.",
        )
        return value

    return lose


def _is_of_floats(leaf: Any) -> bool:
    """Whether this is a float, or an array of floats."""
    is_array = isinstance(leaf, (*ARRAYS, np.generic))
    return jnp.issubdtype(leaf.dtype, jnp.floating) if is_array else isinstance(leaf, float)


def _is_finite(tree: Tree) -> bool:
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))


@door
def rates_between(log_rates: Float[Array, " knot"], steps: int) -> Float[Array, " step"]:
    """The learning rate of every step, from the logarithms of rates at evenly spaced knots.

    The first knot is the first step, the last one the last; between them the logarithm is straight.

    Raises:
        TypeError: no numbers, or steps that are no whole number.
        ValueError: not a row of log rates [knot], or no step.
    """
    log_rates = jnp.asarray(log_rates)
    check(
        log_rates.ndim == 1 and len(log_rates) >= 1 and steps >= 1,
        f"Expected log rates [knot] and at least 1 step; got shape {log_rates.shape} and {steps}.",
    )
    places = jnp.linspace(0.0, len(log_rates) - 1.0, steps)
    return jnp.exp(jnp.interp(places, jnp.arange(len(log_rates)), log_rates))
