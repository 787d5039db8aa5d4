"""Tuning all weights of a network."""

from jaxtyping import Array, Key

from promptax.protocol.predictor import Predictor
from promptax.steering.base import Mask
from promptax.steering.gradient import WeightTuner, mark, network_of


class FullWeights(WeightTuner):
    """Tunes every weight of the network. "FullWT" of Genewein et al. 2025."""

    learning_rate: float = 5e-3
    """Adam's learning rate where the fit settings give none."""

    def suits(self, predictor: Predictor) -> None:
        network_of(predictor, self)

    def steer(self, key: Key[Array, ""], predictor: Predictor) -> Predictor:
        del key
        return predictor

    def where(self, steered: Predictor) -> Mask:
        return mark(steered, lambda network: network)
