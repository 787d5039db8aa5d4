"""MAML that learns a rate for each number of symbols that were read."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from promptax.fit.objectives.learned_rates import LearnedRates
from promptax.fit.objectives.paced import paced_in
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import check

ALL = "all leaves"


class CountRates(LearnedRates):
    """A learning rate for each number of symbols to adapt to, the same for all leaves and steps:
    factors [count], the first of them for one symbol.

    After 40 symbols a step may trust their mean loss more than after 2. On Beta(1, 1) coins one
    step of a model of one logit loses 1.699 nats to the oracle in 50 symbols, where the best single
    rate loses 2.038 on the mean and 2.878 on the sum (Bayes: 1.568); the rates on the mean rise
    from 2 log 2 to 5. Beyond the longest that was trained there is no rate: predictions are NaN.
    """

    support: int | None = None
    """Always None: every beginning of a sequence, each with its own rate."""

    def __check_init__(self) -> None:
        check(
            self.support is None,
            f"Expected a support of None, every beginning of a sequence, each of which has its own "
            f"rate; got {self.support}. LayerRates and MetaSGD take one support.",
        )

    @classmethod
    def examples(cls) -> "tuple[CountRates, ...]":
        return (cls(),)

    def first_factors(self, leaves: Mapping[str, Array], settings: FitSettings) -> dict[str, Array]:
        assert settings.length is not None
        check(
            settings.length >= 2,
            f"Expected sequences of at least 2 steps to adapt to; got {settings.length}.",
        )
        dtype = jnp.result_type(*leaves.values())
        return {ALL: jnp.ones(settings.length - 1, dtype)}

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        LearnedRates.verify(self, predictor, settings)
        paced = paced_in(predictor)
        assert paced is not None and settings.length is not None
        most = len(paced.factors[ALL]) + 1
        check(
            settings.length <= most,
            f"Expected sequences of at most {most} steps, for whose beginnings the predictor has "
            f"rates of CountRates; got {settings.length}. Choose a shorter length, or pretrain on "
            "longer sequences.",
        )

    def knows(self, factors: Mapping[str, Array], leaf: str) -> bool:
        del leaf
        return ALL in factors

    def factors_at(
        self, factors: Mapping[str, Array], names: list[str], step: Any, count: Any
    ) -> dict[str, Array]:
        del step
        table = factors[ALL]
        check(
            not isinstance(count, int) or count <= len(table),
            f"Expected at most {len(table)} symbols to adapt to, for which rates were learned; got "
            f"{count}. Train on longer sequences.",
        )
        place = jnp.clip(jnp.asarray(count, int) - 1, 0, len(table) - 1)
        factor = jnp.where(count <= len(table), table[place], jnp.nan)
        return dict.fromkeys(names, factor)
