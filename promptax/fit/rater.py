"""What rates sequences, once it was learned (`promptax.fit.DataRater`)."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.predictors.base import Network
from promptax.specs import Record


class Rater(Record):
    """A network that reads a sequence and gives it one number: the higher, the better.

    `network`: what reads; `readout` [width]: the score is its product with the mean of the
    network's outputs over time; `reference` [sequence]: scores of sequences of the task that it
    was learned on, in order, by which `threshold` knows shares.
    """

    network: Network
    readout: Float[Array, " width"]
    reference: Float[Array, " sequence"]

    def scores(self, observations: Array) -> Float[Array, " sequence"]:
        """A score for each sequence [sequence, time], or [sequence, time, input]."""
        reading = self.network.read_batch(self.network.start(), observations)
        return jnp.mean(reading.outputs(), axis=-2) @ self.readout

    def weights(self, observations: Array) -> Float[Array, " sequence"]:
        """softmax(scores) over the batch: how much each of its sequences counts; they sum to 1."""
        return jax.nn.softmax(self.scores(observations))

    def threshold(self, dropped: Any) -> Float[Array, ""]:
        """The score below which at most so large a share of the task's sequences lies; -inf if none
        does.

        It lies halfway between two scores of `reference`, so that sequences whose scores tie stay
        together, though rounding differs between programs.
        """
        lowest = jnp.quantile(self.reference, dropped, method="higher")
        below = jnp.max(self.reference, initial=-jnp.inf, where=self.reference < lowest)
        return (lowest + below) / 2

    def kept_share(self, dropped: Any) -> Float[Array, ""]:
        """P(score ≥ threshold) on the task: 1 - dropped, or more where scores tie."""
        return jnp.mean(self.reference >= self.threshold(dropped))
