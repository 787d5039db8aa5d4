"""Implicit MAML: the derivative of where inner steps end, from that end alone."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.fit.implicit import MOST_STEPS, attach, largest
from promptax.fit.objectives.inner_steps import Leaves, LossByStep, symbols_seen
from promptax.fit.objectives.support_and_query import SupportAndQuery
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import check

Given = tuple[Leaves, Predictor, Episode, Any]  # start, the other leaves, the support, how often


class ImplicitMAML(SupportAndQuery):
    """The query's log loss where the support's loss, held near θ, is smallest:

        φ* = argmin_φ L_support(φ) + proximity/2 · |φ - θ|²,    dL/dθ = (I + H/proximity)⁻¹ ∇L_query

    with H the Hessian of L_support at φ*, inverted by conjugate gradients. `inner_steps` steps from
    θ look for φ*; nothing of them is kept, so that memory does not grow with their number. The
    derivative is that of φ* itself: it is off by about as much as the steps end away from it, which
    `residual` measures. Steps converge if inner_rate · (proximity + the largest bend of L) < 2.

    Rajeswaran, Finn, Kakade and Levine 2019, "Meta-Learning with Implicit Gradients"
    (arXiv 1909.04630), Eq. 3-6 and Algorithm 2.
    """

    keeps_steps: ClassVar[bool] = False

    inner_steps: int = 16
    """Number of gradient steps that every sequence takes."""
    proximity: float = 2.0
    """λ: how strongly φ is held near θ."""
    solver_steps: int = 5
    """The most steps of conjugate gradients, as many as in the paper."""
    damping: float = 0.0
    """What is added to the diagonal of H + λ in the derivative: 0 unless L bends down by λ."""

    def __check_init__(self) -> None:
        check(self.proximity > 0, f"Expected a proximity above 0; got {self.proximity}.")
        check(self.damping >= 0, f"Expected a damping of at least 0; got {self.damping}.")
        check(
            1 <= self.solver_steps <= MOST_STEPS,
            f"Expected at least 1 solver step, and at most {MOST_STEPS:,}; got "
            f"{self.solver_steps}.",
        )

    @classmethod
    def examples(cls) -> "tuple[ImplicitMAML, ...]":
        """Inner steps that converge, for the derivative is that of a minimum."""
        return (cls(inner_steps=40, inner_rate=0.04, proximity=20.0, support=3, solver_steps=60),)

    def inner_slope(self, gradient: Any) -> Any:
        return gradient

    def readings(self, length: int) -> int:
        """With the most steps of conjugate gradients, each of which takes a product with the
        Hessian: the derivative of a derivative, as much as two readings."""
        supports = length if self.support is None else 1
        return (self.inner_steps + 2 * self.solver_steps + 1) * supports

    def adapted(
        self,
        predictor: Predictor,
        episodes: Episode,
        log_loss: LossByStep,
        often: Float[Array, " time"] | None = None,
    ) -> tuple[Leaves, Predictor]:
        start, others = self.split_leaves(predictor)
        count = symbols_seen(predictor, episodes) if often is None else jnp.sum(often)
        given = start, others, episodes, often

        def held(leaves: Leaves, given: Given) -> Float[Array, ""]:
            return self.held_loss(leaves, given, log_loss)

        def loss(leaves: Leaves) -> Float[Array, ""]:
            return held(leaves, given)

        end = jax.lax.stop_gradient(self.descend(loss, predictor, start, count))
        solve = {"damping": self.damping, "solver_steps": self.solver_steps}
        return start, eqx.combine(attach(held, end, given, **solve), others)

    def held_loss(self, leaves: Leaves, given: Given, log_loss: LossByStep) -> Float[Array, ""]:
        """What the inner steps make small, nats: the support's loss, and the pull towards θ."""
        start, others, episodes, often = given
        loss = self.support_loss(eqx.combine(leaves, others), episodes, log_loss, often)
        apart = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), leaves, start)
        return loss + 0.5 * self.proximity * sum(jax.tree.leaves(apart))

    def residual(self, predictor: Predictor, tokens: Any) -> Float[Array, ""]:
        """The largest number in the gradient of `held_loss` where the inner steps end, on tokens
        [time]: 0 if they converged."""
        episode, log_loss = Episode(jnp.asarray(tokens)), predictor.outcome.log_loss
        given = *self.split_leaves(predictor), episode, None
        end, _ = self.split_leaves(self.adapt(predictor, tokens))
        return largest(jax.grad(self.held_loss)(end, given, log_loss))
