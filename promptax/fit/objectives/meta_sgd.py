"""Meta-SGD: MAML that learns a rate for each parameter."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from promptax.fit.objectives.learned_rates import LearnedRates
from promptax.fit.settings import FitSettings


class MetaSGD(LearnedRates):
    """A learning rate for each number in each leaf, the same at all inner steps.

    Li, Zhou, Chen and Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning"
    (arXiv 1707.09835), Eq. 3-4; here with any number of inner steps. Rates may become negative.
    """

    @classmethod
    def examples(cls) -> "tuple[MetaSGD, ...]":
        return (cls(inner_steps=2, support=3),)

    def first_factors(self, leaves: Mapping[str, Array], settings: FitSettings) -> dict[str, Array]:
        del settings
        return {name: jnp.ones_like(leaf) for name, leaf in leaves.items()}

    def factors_at(
        self, factors: Mapping[str, Array], names: list[str], step: Any, count: Any
    ) -> dict[str, Array]:
        del step, count
        return {name: factors[name] for name in names}
