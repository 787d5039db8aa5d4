"""Objectives that take gradient steps of their own on every sequence, before it is judged.

From the leaves θ, each sequence takes `inner_steps` plain gradient steps at `inner_rate` on the log
loss L of what it may adapt to; no optimiser state is kept between steps or sequences:

    φ_0 = θ,     φ_{i+1} = φ_i - inner_rate · ∇L(φ_i),      i = 0 … inner_steps - 1

What becomes of φ is the member's business. Adam and clipping see the gradient for θ alone. Memory
grows with inner_steps × the sequences that are differentiated at a time (`micro_batch`).
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.checks import as_tuple
from promptax.fit.objectives.base import Objective
from promptax.fit.settings import FitSettings
from promptax.protocol.entries import checked, one
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Wrapper
from promptax.specs import check, traced

Leaves = Any
LossByStep = Callable[[Any, Episode], Float[Array, "*batch time"]]


class InnerSteps(Objective):
    """To implement one: `inner_slope` and `losses`. The fields are those of the inner steps."""

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

    def __check_init__(self) -> None:
        check(self.inner_steps >= 1, f"Expected at least 1 inner step; got {self.inner_steps}.")
        check(self.inner_rate > 0, f"Expected an inner_rate above 0; got {self.inner_rate}.")
        check(
            self.inner_loss in ("mean", "sum"),
            f"Expected inner_loss 'mean' or 'sum'; got {self.inner_loss!r}.",
        )

    @abc.abstractmethod
    def inner_slope(self, gradient: Leaves) -> Leaves:
        """The gradient of an inner step as the outer derivative shall see it."""

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        del settings
        self._split(predictor)

    def readings(self) -> int:
        """Every inner step, and what comes after them, as a reading of whole sequences: an upper
        bound where the inner steps see a part of them."""
        return self.inner_steps + 1

    def adapt(self, predictor: Predictor, sequences: Any) -> Predictor:
        """The predictor after the inner steps on given sequences; it is left as it was.

        Args:
            sequences: tokens [time] of one sequence, or [sequence, time]: then every step follows
                the mean of the sequences' losses. Of an outcome without an alphabet rows
                [time, input], or [sequence, time, input].

        Example: `MAML(inner_steps=5).adapt(network, coin.sample(key, 20).tokens)`.
        """
        self._split(one(predictor))
        rows = jnp.asarray(sequences)
        rows = rows if rows.ndim > axes_of(predictor) else rows[None]
        for sequence in rows:
            checked(predictor, sequence)
        return _adapted(traced(self), predictor, Episode(rows))

    def adapted(
        self, predictor: Predictor, episodes: Episode, log_loss: LossByStep
    ) -> tuple[Leaves, Predictor]:
        """The leaves that take inner steps, as they were, and the predictor after the steps.

        `episodes` without latent [time], or [sequence, time] with a mean over sequences.
        """
        start, others = self._split(predictor)

        def loss(leaves: Leaves) -> Float[Array, ""]:
            losses = losses_of(eqx.combine(leaves, others), episodes, log_loss)
            count = losses.shape[-1] if episodes.scored is None else jnp.sum(episodes.scored, -1)
            return jnp.mean(jnp.sum(losses, -1) / (jnp.maximum(count, 1) if self._mean else 1))

        def step(leaves: Leaves, nothing: None) -> tuple[Leaves, None]:
            slopes = self.inner_slope(jax.grad(loss)(leaves))
            return jax.tree.map(self._stepped, leaves, slopes), nothing

        end, _ = jax.lax.scan(step, start, None, self.inner_steps)
        return start, eqx.combine(end, others)

    @property
    def _mean(self) -> bool:
        return self.inner_loss == "mean"

    def _stepped(self, leaf: Array, slope: Array) -> Array:
        return leaf - jnp.asarray(self.inner_rate, leaf.dtype) * slope

    def _split(self, predictor: Predictor) -> tuple[Leaves, Predictor]:
        """The leaves that take inner steps, and everything else; refused if there are none."""
        name = type(self).__name__
        mask = jax.tree.map(eqx.is_inexact_array, predictor)
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


def network_below(predictor: Any) -> Any:
    """What is below the prompts that a predictor reads."""
    while isinstance(predictor, Wrapper):
        predictor = predictor.predictor
    return predictor


def axes_of(predictor: Predictor) -> int:
    """How many axes one sequence has that the predictor reads: time, and input without an
    alphabet."""
    return 1 if predictor.outcome.alphabet else 2


def losses_of(
    predictor: Predictor, episodes: Episode, log_loss: LossByStep
) -> Float[Array, "*batch time"]:
    """The loss of every step of time, nats, read from the predictor's start."""
    batched = jnp.ndim(episodes.observations) > axes_of(predictor)
    read = predictor.advance_batch if batched else predictor.advance
    return log_loss(read(predictor.start(), episodes.inputs)[1], episodes)


@eqx.filter_jit
def _adapted(steps: InnerSteps, predictor: Predictor, episodes: Episode) -> Predictor:
    return steps.adapted(predictor, episodes, predictor.outcome.log_loss)[1]
