"""Training on the sequences that a learned rater thinks best."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import tyro
from jaxtyping import Array, Float, Key

from promptax.fit.data_rater import Rater
from promptax.fit.objectives.base import Objective
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor, State
from promptax.specs import check


class BestRated(Objective):
    """The log loss of the sequences that a rater does not drop, in nats per sequence that is kept.

        loss  =  1[score ≥ s] · ℓ / (1 - dropped),    s: the share `dropped` of scores lies below

    The threshold s is that of many sequences of the task on which the rater was learned, so that
    no sequence depends on the others of its batch. Calian et al. 2025 drop the lowest ones of every
    batch, and draw more to keep its size; here a batch becomes smaller by what is dropped.

    Example: `px.pretrain(key, LSTM(16), task, objective=BestRated(learned.rater, dropped=0.5))`.
    """

    rater: Annotated[Any, tyro.conf.Suppress] = None
    """What `DataRater(…).learn` found."""
    dropped: float = 0.5
    """The share of sequences that are dropped, those of the lowest scores."""

    def __check_init__(self) -> None:
        check(
            0 <= self.dropped < 1,
            f"Expected a dropped share from 0 to below 1; got {self.dropped}.",
        )
        if self.rater is not None and not isinstance(self.rater, Rater):
            raise TypeError(
                f"Expected a rater, such as DataRater().learn(…).rater; got "
                f"{type(self.rater).__name__}."
            )

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        del settings
        if self.rater is None:
            raise TypeError(
                "Expected a rater for BestRated, which has no default; got none. Learn one: "
                "BestRated(DataRater().learn(…).rater)."
            )
        outcome = self.rater.network.outcome
        check(
            outcome == predictor.outcome,
            f"Expected a rater of {predictor.outcome.words()}, as the predictor's; got one of "
            f"{outcome.words()}.",
        )

    def losses(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        state: State,
        episodes: Episode,
        outcome: Any,
    ) -> Float[Array, " sequence"]:
        losses = Objective.losses(self, key, predictor, state, episodes, outcome)
        rater = jax.lax.stop_gradient(self.rater)
        is_kept = rater.scores(episodes.inputs) >= rater.threshold(self.dropped)
        return jnp.where(is_kept, losses, 0.0) / (1 - self.dropped)

    @classmethod
    def examples(cls) -> "tuple[BestRated, ...]":
        """None: each needs a rater that was learned."""
        return ()
