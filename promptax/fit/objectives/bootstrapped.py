"""Bootstrapped meta-gradients: inner steps that run after where more steps would lead."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.fit.implicit import held
from promptax.fit.objectives.inner_steps import Leaves
from promptax.fit.objectives.support_and_query import SupportAndQuery
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import check


class Bootstrapped(SupportAndQuery):
    """Moves φ_K, where inner steps end, towards a target further on; θ learns through these steps.

        x̃ = φ_{K+L-1} - target_rate · ∇L_query(φ_{K+L-1}),      minimised: μ(x̃, φ_K), x̃ held fixed

    The target goes on for L - 1 more inner steps on the support, and then takes one plain step on
    the query's loss, summed as MAML's: without this step the target would know nothing new. Only
    the K steps are differentiated, so that L may be large. μ is the Kullback-Leibler divergence of
    predictions of the query, target first, or half the squared distance of leaves.

    Inner steps are plain gradient steps: momentum and Adam would forget at φ_K what they remember,
    and the steps after it would not be those that lead to φ_{K+L-1}. They are refused.

    With L = 1 and the squared distance, the update is target_rate times that of MAML. What a fit
    records is the query's log loss at φ_K, as MAML's; its slope is that of μ.

    Flennerhag, Schroecker, Zahavy, van Hasselt, Silver and Singh 2022, "Bootstrapped Meta-Learning"
    (arXiv 2109.04504), Eq. 2 and section 3.
    """

    slope_is_of_value: ClassVar[bool] = False

    target_steps: int = 5
    """L: how many steps the target is ahead; the last of them is the one on the query."""
    target_rate: float = 0.01
    """Learning rate of the target's step on the query's summed loss."""
    distance: Literal["divergence", "squared"] = "divergence"
    """What is made small: the divergence of predictions, nats, or half the squared distance."""

    def __check_init__(self) -> None:
        check(self.target_steps >= 1, f"Expected at least 1 target step; got {self.target_steps}.")
        check(self.target_rate > 0, f"Expected a target_rate above 0; got {self.target_rate}.")
        check(
            self.support is not None,
            "Expected a support of so many symbols, and a query after it; got None.",
        )
        check(
            self.inner_optimiser == "sgd",
            "Expected inner_optimiser='sgd' for Bootstrapped, whose target goes on from the end of "
            f"the inner steps; got {self.inner_optimiser!r}, which would forget there what it "
            "remembers.",
        )

    @classmethod
    def examples(cls) -> "tuple[Bootstrapped, ...]":
        return (cls(inner_steps=2, support=3, target_steps=3),)

    def inner_slope(self, gradient: Any) -> Any:
        return gradient

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        SupportAndQuery.verify(self, predictor, settings)
        check(
            self.distance == "squared" or predictor.outcome.alphabet is not None,
            f"Expected a predictor of symbols, whose predictions have a divergence; got one of "
            f"{predictor.outcome.words()}. Choose distance='squared'.",
        )

    def readings(self, length: int) -> int:
        """K + L - 1 inner steps, the target's step on the query, the query's loss at φ_K, and for
        the divergence the target's predictions of the query."""
        del length
        return self.inner_steps + self.target_steps + 1 + (self.distance == "divergence")

    def loss_after_support(
        self, predictor: Predictor, episode: Episode, outcome: Any
    ) -> Float[Array, ""]:
        support = self.support_of(episode)
        _, adapted = self.adapted(predictor, support, outcome.log_loss)
        leaves, others = self.split_leaves(adapted)

        def lose(leaves: Leaves) -> Float[Array, ""]:
            whole = eqx.combine(leaves, others)
            return jnp.sum(self.query_losses(whole, episode, outcome.log_loss))

        ahead = held(adapted)
        if self.target_steps > 1:
            onward = eqx.tree_at(lambda spec: spec.inner_steps, self, self.target_steps - 1)
            _, ahead = onward.adapted(ahead, support, outcome.log_loss)
        ahead, _ = self.split_leaves(ahead)
        slopes = jax.grad(lose)(ahead)
        target = jax.tree.map(lambda leaf, slope: leaf - self.target_rate * slope, ahead, slopes)
        target = jax.lax.stop_gradient(target)
        if self.distance == "squared":
            apart = jax.tree.map(lambda a, b: 0.5 * jnp.sum((a - b) ** 2), target, leaves)
            distance = sum(jax.tree.leaves(apart), jnp.zeros(()))
        else:
            fixed = held(eqx.combine(target, others))
            distance = self._divergence(fixed, adapted, episode)
        return jax.lax.stop_gradient(lose(leaves) - distance) + distance

    def _divergence(
        self, target: Predictor, adapted: Predictor, episode: Episode
    ) -> Float[Array, ""]:
        """Σ_t KL(target's prediction ‖ the adapted predictor's) over the query, nats."""

        def log_probs(prediction: Any, episode: Episode) -> Float[Array, "time symbol"]:
            del episode
            return prediction.log_probs

        ahead = self.query_losses(target, episode, log_probs)
        rows = self.query_losses(adapted, episode, log_probs)
        surprise = jnp.sum(jnp.exp(ahead) * (ahead - rows), axis=-1)
        if episode.scored is None:
            return jnp.sum(surprise)
        return jnp.sum(jnp.where(episode.scored[self.support_rows :], surprise, 0.0))
