"""Objectives that take gradient steps of their own on every sequence, before it is judged.

From the leaves θ, each sequence takes `inner_steps` gradient steps at `inner_rate` on the log loss
L of what it may adapt to:

    φ_0 = θ,     φ_{i+1} = φ_i - inner_rate · ∇L(φ_i),      i = 0 … inner_steps - 1

Momentum and Adam put another direction in place of ∇L; what they remember is forgotten between
sequences. What becomes of φ is the member's business. The outer gradient is a mean over the batch's
sequences; Adam and clipping see the gradient for θ alone.

More or other steps may be taken later than in training: `adapt` and `Adapting` ask the objective
that they are given, which need not be the one that trained.

Memory grows with inner_steps × the sequences that are differentiated at a time (`micro_batch`);
`inner_bytes` says how much at least, and `verify` refuses what does not fit.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax import platforms
from promptax.checks import as_tuple
from promptax.fit.descent import DescentRule, descent
from promptax.fit.implicit import MOST_STEPS
from promptax.fit.objectives.base import Objective
from promptax.fit.objectives.paced import Paced
from promptax.fit.settings import FitSettings
from promptax.protocol.entries import checked, one
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Wrapper
from promptax.specs import check, later, traced

Leaves = Any
LossByStep = Callable[[Any, Episode], Float[Array, "*batch time"]]


class InnerSteps(Objective):
    """To implement one: `inner_slope` and `losses`. The fields are those of the inner steps.

    Optional: `rates`, where not all leaves and steps have the one rate of `inner_rate`; `turn`,
    where steps follow something else than the gradient; `split_leaves`, where other leaves take
    them.
    """

    keeps_steps: ClassVar[bool] = True
    """Whether the outer derivative goes through the inner steps, whose activations it keeps."""

    inner_steps: int = 1
    """Number of gradient steps that every sequence takes."""
    inner_rate: float = 0.1
    """Learning rate of these steps, the same for all of them."""
    inner_loss: Literal["mean", "sum"] = "mean"
    """Whether an inner step follows the mean or the sum of the log losses of the symbols that it
    adapts to; with the sum, more symbols take larger steps."""
    adapts: tuple[str, ...] = eqx.field(default=(), converter=as_tuple)
    """Names of the network's fields whose leaves take inner steps (empty: all of them).
    ("unembedding",) is ANIL (Raghu et al. 2020): the head alone adapts."""
    inner_optimiser: DescentRule = later("sgd")
    """What makes a direction of a gradient: "momentum" is 0.9, "adam" has ε = 1e-8 inside its root
    (`promptax.fit.descent`). It begins anew with every sequence."""

    def __check_init__(self) -> None:
        check(
            1 <= self.inner_steps <= MOST_STEPS,
            f"Expected at least 1 inner step, and at most {MOST_STEPS:,}; got {self.inner_steps}.",
        )
        check(self.inner_rate > 0, f"Expected an inner_rate above 0; got {self.inner_rate}.")
        check(
            self.inner_loss in ("mean", "sum"),
            f"Expected inner_loss 'mean' or 'sum'; got {self.inner_loss!r}.",
        )

    @abc.abstractmethod
    def inner_slope(self, gradient: Leaves) -> Leaves:
        """The gradient of an inner step as the outer derivative shall see it."""

    def rates(self, predictor: Predictor, leaves: Leaves, step: Any, count: Any) -> Leaves:
        """The learning rate of every leaf: numbers by which its direction can be multiplied.

        Args:
            predictor: with all that it learned, also rates.
            leaves: those that take inner steps.
            step: which inner step it is, from 0 on.
            count: how many symbols it sees.
        """
        del predictor, step, count
        return jax.tree.map(lambda _: self.inner_rate, leaves)

    def turn(self, predictor: Predictor, slopes: Leaves) -> Leaves:
        """What inner steps follow in place of a gradient; the gradient itself unless a member has
        learned another direction. `predictor` holds all that it learned."""
        del predictor
        return slopes

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        assert settings.length is not None
        self.check_leaves(predictor)
        self.check_room(predictor, settings, settings.length)

    def check_leaves(self, predictor: Predictor) -> None:
        """Complain about a predictor that cannot take these inner steps."""
        leaves, _ = self.split_leaves(predictor)
        self.rates(predictor, leaves, self.inner_steps - 1, 1)
        self.check_pace(predictor)

    def check_pace(self, predictor: Predictor) -> None:
        """Complain about learned rates that were learned for another `inner_rate`."""
        del predictor

    def check_room(self, predictor: Predictor, settings: FitSettings, rows: int) -> None:
        """Complain if what inner steps on so many rows keep surely does not fit into memory."""
        assert settings.length is not None
        micro = settings.micro_batch or predictor.micro_batch(settings.batch, settings.length)
        what = f"{self.inner_steps} inner steps of {micro} sequences at a time,"
        remedy = "Choose fewer inner steps, a smaller micro_batch, or an objective of first order."
        platforms.expect_room(micro * self.inner_bytes(predictor, rows), what, remedy)

    def inner_bytes(self, predictor: Predictor, rows: int) -> int:
        """A lower bound in bytes on what the inner steps of one sequence keep for the derivative:
        activations of so many rows, and the leaves, of every step that is kept.

        Not counted are the slopes of the activations, and what is kept inside a layer, of which
        networks keep very different shares. So the bound is true and weak: of an RNN of width 32,
        16 sequences and a support of 50, MAML is stated to keep .25 MB with one inner step and
        1.01 MB with four; XLA takes 3.25 and 8.46 MB, so that a further step takes about 7 times
        what is stated (`benchmarks/memory.py`).
        """
        kept = self.inner_steps if self.keeps_steps else 1
        return kept * (
            predictor.reading_bytes(rows) + platforms.size(self.split_leaves(predictor)[0])
        )

    def readings(self, length: int) -> int:
        """Every inner step, and what comes after them, as a reading of whole sequences: an upper
        bound where the inner steps see a part of them."""
        del length
        return self.inner_steps + 1

    def adapt(self, predictor: Predictor, sequences: Any) -> Predictor:
        """The predictor after the inner steps on given sequences; it is left as it was.

        Args:
            sequences: tokens [time] of one sequence, or [sequence, time]: then every step follows
                the mean of the sequences' losses. Of an outcome without an alphabet rows
                [time, input], or [sequence, time, input].

        Example: `MAML(inner_steps=5).adapt(network, coin.sample(key, 20).tokens)`.
        """
        self.check_leaves(one(predictor))
        rows = jnp.asarray(sequences)
        rows = rows if rows.ndim > axes_of(predictor) else rows[None]
        for sequence in rows:
            checked(predictor, sequence)
        return _adapted(traced(self), predictor, Episode(rows))

    def adapted(
        self,
        predictor: Predictor,
        episodes: Episode,
        log_loss: LossByStep,
        often: Float[Array, " time"] | None = None,
    ) -> tuple[Leaves, Predictor]:
        """The leaves that take inner steps, as they were, and the predictor after the steps.

        Args:
            episodes: without latent [time], or [sequence, time] with a mean over sequences.
            often: how often each step of time counts (None: once, if it is scored).
        """
        start, others = self.split_leaves(predictor)
        count = symbols_seen(predictor, episodes) if often is None else jnp.sum(often)

        def loss(leaves: Leaves) -> Float[Array, ""]:
            return self.support_loss(eqx.combine(leaves, others), episodes, log_loss, often)

        return start, eqx.combine(self.descend(loss, predictor, start, count), others)

    def descend(
        self,
        loss: Callable[[Leaves], Float[Array, ""]],
        predictor: Predictor,
        start: Leaves,
        count: Any,
    ) -> Leaves:
        """Where the inner steps on a loss end; `count` symbols are seen, which rates may ask."""
        optimiser = descent(self.inner_optimiser)

        def step(carry: tuple[Leaves, Any], number: Array) -> tuple[tuple[Leaves, Any], None]:
            leaves, memory = carry
            slopes = self.turn(predictor, self.inner_slope(jax.grad(loss)(leaves)))
            directions, memory = optimiser.update(slopes, memory)
            rates = self.rates(predictor, leaves, number, count)
            return (jax.tree.map(_stepped, leaves, directions, rates), memory), None

        numbers = jnp.arange(self.inner_steps)
        (end, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), numbers)
        return end

    def support_loss(
        self,
        predictor: Predictor,
        episodes: Episode,
        log_loss: LossByStep,
        often: Float[Array, " time"] | None = None,
    ) -> Float[Array, ""]:
        """What inner steps make small, nats; the arguments are those of `adapted`."""
        losses = losses_of(predictor, episodes, log_loss)
        if often is not None:
            losses, count = losses * often, jnp.sum(often)
        else:
            scored = episodes.scored
            count = losses.shape[-1] if scored is None else jnp.sum(scored, -1)
        mean = self.inner_loss == "mean"
        return jnp.mean(jnp.sum(losses, -1) / (jnp.maximum(count, 1) if mean else 1))

    def split_leaves(self, predictor: Predictor) -> tuple[Leaves, Predictor]:
        """The leaves that take inner steps, and everything else; refused if there are none."""
        name = type(self).__name__
        mask = jax.tree.map(_is_weight, predictor, is_leaf=_is_pace)
        if self.adapts:
            fields = [field.name for field in dataclasses.fields(network_below(predictor))]
            for field in self.adapts:
                check(
                    field in fields,
                    f"Expected {name}.adapts to name fields of "
                    f"{type(network_below(predictor)).__name__}, {fields}; got {field!r}.",
                )

            def chosen(tree: Any) -> list[Any]:
                return [getattr(network_below(tree), field) for field in self.adapts]

            nothing = jax.tree.map(lambda _: False, predictor)
            mask = eqx.tree_at(chosen, nothing, chosen(mask), is_leaf=lambda leaf: leaf is None)
        leaves, others = eqx.partition(predictor, mask)
        if not jax.tree.leaves(leaves):
            raise TypeError(
                f"Expected a predictor with leaves that the inner steps of {name} can move; got "
                f"{type(predictor).__name__}, which has none."
            )
        return leaves, others


def _is_pace(tree: Any) -> bool:
    return isinstance(tree, Paced)


def _is_weight(tree: Any) -> Any:
    """Booleans over a part of a predictor: where an inner step may move something. Learned rates
    say how far, and are not moved."""
    if not isinstance(tree, Paced):
        return eqx.is_inexact_array(tree)
    moved = jax.tree.map(_is_weight, tree.predictor, is_leaf=_is_pace)
    nothing = jax.tree.map(lambda _: False, tree)
    return eqx.tree_at(lambda paced: paced.predictor, nothing, moved)


def _stepped(leaf: Array, direction: Array, rate: Any) -> Array:
    return leaf - jnp.asarray(rate, leaf.dtype) * direction


def symbols_seen(predictor: Predictor, episodes: Episode) -> Any:
    """How many symbols an inner step sees; of several sequences, those of the longest."""
    if episodes.scored is not None:
        return jnp.max(jnp.sum(episodes.scored, -1))
    return jnp.shape(episodes.observations)[-axes_of(predictor, episodes.observations)]


def network_below(predictor: Any) -> Any:
    """What is below the prompts that a predictor reads."""
    while isinstance(predictor, Wrapper):
        predictor = predictor.predictor
    return predictor


def axes_of(predictor: Predictor, rows: Array | None = None) -> int:
    """How many axes one sequence has that the predictor reads: time, and input without an
    alphabet; time and symbol where rows are weights over symbols."""
    are_weights = rows is not None and jnp.issubdtype(rows.dtype, jnp.floating)
    return 1 if predictor.outcome.alphabet and not are_weights else 2


def losses_of(
    predictor: Predictor, episodes: Episode, log_loss: LossByStep
) -> Float[Array, "*batch time"]:
    """The loss of every step of time, nats, read from the predictor's start."""
    axes = axes_of(predictor, episodes.observations)
    batched = jnp.ndim(episodes.observations) > axes
    read = predictor.advance_batch if batched else predictor.advance
    return log_loss(read(predictor.start(), episodes.inputs)[1], episodes)


@eqx.filter_jit
def _adapted(steps: InnerSteps, predictor: Predictor, episodes: Episode) -> Predictor:
    return steps.adapted(predictor, episodes, predictor.outcome.log_loss)[1]
