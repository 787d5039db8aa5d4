"""Training on the sequences that a learned rater thinks best."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float, Key

from promptax.fit.objectives.base import Objective
from promptax.fit.rater import Rater
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor, State
from promptax.specs import check


class BestRated(Objective):
    """The log loss of the sequences that a rater does not drop, in nats per sequence that is kept.

        loss  =  1[score ≥ s] · ℓ / P(score ≥ s),    s: the share `dropped` of scores lies below

    The threshold s, and the share that is kept, are those of many sequences of the task on which
    the rater was learned, so that no sequence depends on the others of its batch. Sequences whose
    scores tie at the threshold are all kept: then less than `dropped` is dropped. Calian et al.
    2025 drop the lowest ones of every batch, and draw more to keep its size; here a batch becomes
    smaller by what is dropped.

    Example: `px.pretrain(key, LSTM(16), task, objective=BestRated(learned.rater, dropped=0.5))`.
    """

    rater: Annotated[Any, tyro.conf.Suppress] = None
    """What `DataRater(…).learn` found."""
    dropped: float = 0.5
    """The largest share of sequences that may be dropped, those of the lowest scores."""

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
        reference = np.asarray(self.rater.reference)
        check(
            len(reference) > 0 and bool(np.all(np.isfinite(reference))),
            "Expected a rater whose scores of its own task (Rater.reference) are numbers, by which "
            f"shares are known; got {len(reference)} scores, of which "
            f"{np.sum(~np.isfinite(reference))} are none. Learn it again, at a lower "
            "learning_rate or inner_rate.",
        )

    def readings(self, length: int) -> int:
        """Two: the rater's and the predictor's. An upper bound on the derivative, which goes
        through the second one alone; what is dropped is read, too."""
        del length
        return 2

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
        return jnp.where(is_kept, losses, 0.0) / rater.kept_share(self.dropped)

    @classmethod
    def examples(cls) -> "tuple[BestRated, ...]":
        """None: each needs a rater that was learned."""
        return ()
