"""First-order model-agnostic meta-learning: MAML without second derivatives."""

from typing import Any, ClassVar

import jax

from promptax.fit.objectives.support_and_query import SupportAndQuery


class FirstOrderMAML(SupportAndQuery):
    """The query's log loss after inner steps whose gradients count as constants.

    With ∇L_support held fixed, ∂φ_K/∂θ = 1: the outer gradient is that of the query at φ_K. It
    needs less memory and time than MAML's, and forgets how θ changes the inner gradients. Finn,
    Abbeel and Levine 2017, section 5.2.
    """

    slope_is_of_value: ClassVar[bool] = False
    keeps_steps: ClassVar[bool] = False

    @classmethod
    def examples(cls) -> "tuple[FirstOrderMAML, ...]":
        return (cls(inner_steps=2, support=3),)

    def inner_slope(self, gradient: Any) -> Any:
        return jax.lax.stop_gradient(gradient)
