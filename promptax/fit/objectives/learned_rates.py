"""Inner steps whose learning rates are learned together with the weights.

    φ_{i+1} = φ_i - inner_rate · c ∘ ∇L_support(φ_i)

The factors c begin at 1 and are leaves of the predictor (`Paced`), so that they are trained, stored
and used with it. They may become negative (Li et al. 2017 allow it). Factors and not rates, because
Adam's steps have one size for all leaves: an outer learning rate of 0.01 then changes a rate by
about a hundredth of `inner_rate`, whatever that is.
"""

import abc
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array

from promptax import platforms
from promptax.fit.objectives.inner_steps import Leaves
from promptax.fit.objectives.paced import Paced, check_rate, paced_in
from promptax.fit.objectives.support_and_query import SupportAndQuery
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check


class LearnedRates(SupportAndQuery):
    """To implement one: `first_factors` and `factors_at`. The query's loss is differentiated for
    the weights and for the factors.
    """

    first_order: bool = False
    """Whether inner gradients count as constants for the weights; rates are learned anyway."""

    @property
    def keeps_steps(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.first_order

    @property
    def slope_is_of_value(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.first_order

    @abc.abstractmethod
    def first_factors(self, leaves: Mapping[str, Array], settings: FitSettings) -> dict[str, Array]:
        """Factors of 1, by name, for leaves by name."""

    @abc.abstractmethod
    def factors_at(
        self, factors: Mapping[str, Array], names: list[str], step: Any, count: Any
    ) -> dict[str, Array]:
        """The factors of each leaf that is named, at one inner step that sees `count` symbols."""

    def inner_slope(self, gradient: Any) -> Any:
        return jax.lax.stop_gradient(gradient) if self.first_order else gradient

    def inner_bytes(self, predictor: Predictor, rows: int) -> int:
        """As of all inner steps; of first order, the rates' derivative keeps every step's gradient,
        though none of its activations."""
        least = SupportAndQuery.inner_bytes(self, predictor, rows)
        if self.keeps_steps:
            return least
        return least + (self.inner_steps - 1) * platforms.size(self.split_leaves(predictor)[0])

    def equip(self, predictor: Predictor, settings: FitSettings) -> Paced:
        leaves = named_leaves(self.split_leaves(predictor)[0])
        factors = self.first_factors(leaves, settings)
        return Paced(predictor, factors, type(self).__name__, float(self.inner_rate))

    def check_pace(self, predictor: Predictor) -> None:
        paced = paced_in(predictor)
        if paced is not None:
            check_rate(paced, self.inner_rate)

    def rates(self, predictor: Predictor, leaves: Leaves, step: Any, count: Any) -> Leaves:
        name, paced = type(self).__name__, paced_in(predictor)
        if paced is None:
            raise TypeError(
                f"Expected a predictor with the rates that {name} learned; got "
                f"{type(predictor).__name__}, which has none. Pretrain it with this objective, or "
                f"begin with rates of inner_rate: {name}(…).equip(predictor, settings)."
            )
        check(
            paced.learned_by == name,
            f"Expected rates that {name} learned; got those of {paced.learned_by}. Adapt with "
            f"{paced.learned_by}(…).",
        )
        names = list(named_leaves(leaves))
        missing = sorted({leaf for leaf in names if not self.knows(paced.factors, leaf)})
        check(
            not missing,
            f"Expected rates for every leaf that takes inner steps; {missing[:1]} has none. Adapt "
            f"the leaves that it was trained to adapt: {name}.adapts.",
        )
        factors = self.factors_at(paced.factors, names, step, count)
        return jax.tree.unflatten(
            jax.tree.structure(leaves), [self.inner_rate * factors[leaf] for leaf in names]
        )

    def knows(self, factors: Mapping[str, Array], leaf: str) -> bool:
        """Whether there is a factor for a leaf of that name."""
        return leaf in factors

    def learned_rates(self, predictor: Predictor) -> dict[str, Array]:
        """The rates that a predictor learned, by the name of the leaf: factors · inner_rate."""
        self.check_leaves(predictor)
        paced = paced_in(predictor)
        assert paced is not None
        return {leaf: self.inner_rate * factor for leaf, factor in paced.factors.items()}


def named_leaves(tree: Any) -> dict[str, Array]:
    """The leaves of a part of a predictor by their place, without the prompts around it."""
    return {
        jax.tree_util.keystr(place).replace(".predictor", "").lstrip("."): leaf
        for place, leaf in jax.tree.leaves_with_path(tree)
    }
