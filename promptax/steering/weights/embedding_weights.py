"""Tuning the embedding, the unembedding, or both."""

from typing import Any

from jaxtyping import Array, Key

from promptax.predictors.base import Network
from promptax.protocol.predictor import Predictor
from promptax.specs import check
from promptax.steering.base import Mask
from promptax.steering.gradient import WeightTuner, mark, network_of


class EmbeddingWeights(WeightTuner):
    """Tunes the first or the last linear layer of a network, or both.

    "EmbedWT", "UnembedWT" and "Un+EmbedWT" of Genewein et al. 2025.
    """

    embedding: bool = True
    """Tune the embedding (weights and bias)."""
    unembedding: bool = True
    """Tune the unembedding (weights and bias)."""
    learning_rate: float = 5e-3
    """Adam's learning rate where the fit settings give none."""

    def __check_init__(self) -> None:
        check(
            self.embedding or self.unembedding,
            "Expected embedding, unembedding or both to be tuned; got neither.",
        )

    @classmethod
    def examples(cls) -> "tuple[EmbeddingWeights, ...]":
        return cls(), cls(unembedding=False), cls(embedding=False)

    def suits(self, predictor: Predictor) -> None:
        network = network_of(predictor, self)
        if network.unembedding is None and not (self.embedding and self.unembedding):
            raise TypeError(
                "Expected a network whose embedding and unembedding are apart; this one's are the "
                "same weights. Tune both: EmbeddingWeights()."
            )

    def steer(self, key: Key[Array, ""], predictor: Predictor) -> Predictor:
        del key
        return predictor

    def where(self, steered: Predictor) -> Mask:
        chosen = self.embedding * ["embedding"] + self.unembedding * ["unembedding"]

        def parts(network: Network) -> list[Any]:
            return [part for name in chosen if (part := getattr(network, name)) is not None]

        return mark(steered, parts)
