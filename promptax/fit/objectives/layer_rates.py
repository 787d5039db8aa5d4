"""MAML that learns a rate for each layer and inner step."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from promptax.fit.objectives.learned_rates import LearnedRates
from promptax.fit.settings import FitSettings
from promptax.specs import check


class LayerRates(LearnedRates):
    """A learning rate for each leaf and inner step: factors [step] by leaf.

    Antoniou, Edwards and Storkey 2019, "How to train your MAML" (arXiv 1810.09502), section 4,
    "learning per-layer per-step learning rates" (LSLR). Later adaptation may take fewer steps than
    training did, not more, for these have no rates.
    """

    inner_steps: int = 5
    """Number of gradient steps that every sequence takes."""

    @classmethod
    def examples(cls) -> "tuple[LayerRates, ...]":
        return (cls(inner_steps=2, support=3),)

    def first_factors(self, leaves: Mapping[str, Array], settings: FitSettings) -> dict[str, Array]:
        del settings
        return {name: jnp.ones(self.inner_steps, leaf.dtype) for name, leaf in leaves.items()}

    def factors_at(
        self, factors: Mapping[str, Array], names: list[str], step: Any, count: Any
    ) -> dict[str, Array]:
        del count
        learned = min(len(factors[name]) for name in names)
        check(
            self.inner_steps <= learned,
            f"Expected at most the {learned} inner steps for which rates were learned; got "
            f"{self.inner_steps} in {type(self).__name__}. Take fewer, or train with as many.",
        )
        return {name: factors[name][step] for name in names}
