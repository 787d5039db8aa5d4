"""Facts that inner steps write into weights, before a question comes without them."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.fit.objectives.inner_steps import losses_of
from promptax.fit.objectives.layer_rates import LayerRates
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor
from promptax.specs import check


class Reckoning(LayerRates):
    """The loss of the question after inner steps on the facts, and of the facts themselves.

        J(θ, rates) = E[ L_question(φ_K) + reproduce · mean L_facts(φ_K) ]

    The facts are the first `support` symbols; inner steps make their log loss small, each leaf and
    step at a learned rate. The question is what follows; it is read from the start, so that facts
    speak through the weights alone. Saying the facts again at the adapted weights is a second task
    that keeps what the steps wrote there (the paper's multi-task objective).

    Chen, Weiss, Mitchell, Celikyilmaz and Bosselut 2023, "RECKONING: Reasoning through Dynamic
    Knowledge Encoding" (arXiv 2305.06349), section 3. `first_order=True` takes inner gradients for
    constants, which the paper says loses much.
    """

    reproduce: float = 1.0
    """Weight of the mean log loss of the facts at the adapted weights; 0 asks for answers alone."""

    def __check_init__(self) -> None:
        check(self.reproduce >= 0, f"Expected reproduce of at least 0; got {self.reproduce}.")
        check(
            self.support is not None and not self.in_context,
            "Expected a support of so many symbols, which are the facts, and in_context=False, so "
            f"that the question cannot read them; got support={self.support} and in_context="
            f"{self.in_context}. MAML takes these.",
        )

    @classmethod
    def examples(cls) -> "tuple[Reckoning, ...]":
        return (cls(inner_steps=2, support=4),)

    def readings(self, length: int) -> int:
        """Every inner step, the question, and the facts once more."""
        del length
        return self.inner_steps + 2

    def loss_after_support(
        self, predictor: Predictor, episode: Episode, outcome: Any
    ) -> Float[Array, ""]:
        facts = self.support_of(episode)
        _, adapted = self.adapted(predictor, facts, outcome.log_loss)
        answer = jnp.sum(self.query_losses(adapted, episode, outcome.log_loss))
        again = jnp.mean(losses_of(adapted, facts, outcome.log_loss))
        return answer + self.reproduce * again
