"""What a task yields, and how a prediction of it is scored."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from promptax.protocol.predictor import Inputs, Prediction


class Episode(eqx.Module):
    """One sequence. `tokens` [time]; `latent`: what was hidden; `scored` [time]: the steps that
    count (None: all of them), for sequences that are shorter than their array."""

    tokens: Int[Array, "*batch time"]
    latent: Any = None
    scored: Bool[Array, "*batch time"] | None = None

    @property
    def inputs(self) -> Inputs:
        """What a predictor reads."""
        return self.tokens


class Symbols:
    """The outcome of a task over an alphabet: log loss of the symbol that came."""

    def log_loss(self, prediction: Prediction, episode: Episode) -> Float[Array, "*batch time"]:
        """-log p(tokens[t]) in nats [..., time]; 0 where a step is not scored."""
        losses = -prediction.of(episode.tokens)
        return losses if episode.scored is None else jnp.where(episode.scored, losses, 0.0)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))
