"""Tuning all weights of a network."""

from typing import ClassVar

from jaxtyping import Array, Key

from promptax.protocol.predictor import Predictor
from promptax.steering.base import Mask
from promptax.steering.gradient import WeightTuner, mark, network_of


class FullWeights(WeightTuner):
    """Tunes every weight of the network. "FullWT" of Genewein et al. 2025."""

    language_rate: ClassVar[float] = 2e-4

    learning_rate: float | None = None
    """Adam's learning rate where the fit settings give none (None: 5e-3, on language models
    2e-4)."""

    def suits(self, predictor: Predictor) -> None:
        network_of(predictor, self)

    def steer(self, key: Key[Array, ""], predictor: Predictor) -> Predictor:
        del key
        return predictor

    def where(self, steered: Predictor) -> Mask:
        return mark(steered, lambda network: network)
