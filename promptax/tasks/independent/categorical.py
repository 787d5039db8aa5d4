"""One known distribution over symbols: a coin, a die."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

from promptax.axes import Counts, LogProbs, Tokens
from promptax.protocol.exchangeable import Exchangeable, uniform_if
from promptax.protocol.outcomes import Episode
from promptax.specs import check, check_distribution, floats, on_device
from promptax.tasks.base import Task, draw


class Categorical(Task):
    """Independent symbols from one known distribution.

    The default is the single coin of Genewein et al. 2025: symbol 0 has probability 0.2.
    """

    probabilities: tuple[float, ...] = eqx.field(default=(0.2, 0.8), converter=floats)
    """Probability of each symbol; at least two symbols, zeros are legal."""

    def __check_init__(self) -> None:
        check(
            len(self.probabilities) >= 2,
            f"Expected probabilities of at least 2 symbols; got {len(self.probabilities)}.",
        )
        check_distribution("probabilities", self.probabilities)

    @property
    def symbols(self) -> int:
        return len(self.probabilities)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        probabilities = jnp.asarray(self.probabilities)
        return Episode(draw(key, probabilities, length), latent=probabilities)

    def oracle(self, latent: Float[Array, " symbol"], tokens: Tokens) -> LogProbs:
        return jnp.broadcast_to(jnp.log(latent), (tokens.shape[0], self.symbols))

    @property
    def lookback(self) -> int:
        return 0

    def bayes(self) -> "KnownDistribution":
        return KnownDistribution(self.probabilities)

    def latent_quadrature(self, degree: int) -> tuple[Array, Array]:
        del degree
        return jnp.asarray(self.probabilities)[None], jnp.ones(1)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return at_every_step(entropy(jnp.asarray(self.probabilities)), length)

    @classmethod
    def examples(cls) -> "tuple[Categorical, ...]":
        return cls(), cls((0.5, 0.3, 0.2)), cls((0.0, 0.4, 0.6)), cls((1.0, 0.0))


class KnownDistribution(Exchangeable):
    """Predicts one distribution; uniformly after a symbol of probability zero."""

    learns: ClassVar[bool] = False

    probabilities: tuple[float, ...] | Float[Array, " symbol"]

    @property
    def symbols(self) -> int:
        return len(self.probabilities)

    @property
    def sources(self) -> Float[np.ndarray, "source symbol"]:
        return np.asarray(self.probabilities)[None]

    def after(self, counts: Counts) -> Counts:
        probabilities = jnp.asarray(self.probabilities)
        impossible = jnp.any((counts > 0) & (probabilities == 0))
        return uniform_if(impossible, jnp.log(probabilities))


def at_every_step(loss: Float[Array, ""], length: int) -> Float[Array, " time"]:
    """The same loss at each of `length` steps. Outside of compiled functions NumPy repeats it,
    which compiles nothing."""
    if isinstance(loss, Tracer):
        return jnp.broadcast_to(loss, (length,))
    return on_device(np.full(length, loss))


@jax.jit
def entropy(probabilities: Float[Array, "*batch symbol"]) -> Float[Array, "*batch"]:
    """Entropy in nats; 0 log 0 = 0."""
    safe = jnp.where(probabilities > 0, probabilities, 1.0)
    return -jnp.sum(safe * jnp.log(safe), axis=-1)
