"""One of several known distributions, drawn once for each sequence: two coins in a bag."""

from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import Counts, LogProbs, Tokens
from promptax.protocol.exchangeable import Exchangeable, uniform_if
from promptax.protocol.outcomes import Episode
from promptax.specs import JSON_ARGUMENT, check, check_distribution, floats
from promptax.tasks.base import Task, draw
from promptax.tasks.independent.categorical import at_every_step, entropy

Table = Float[Array, "component symbol"] | Float[np.ndarray, "component symbol"]


class CategoricalMixture(Task):
    """Each sequence draws a component and then independent symbols from its distribution.

    The default is the two-coin mixture of Genewein et al. 2025.
    """

    probabilities: Annotated[tuple[tuple[float, ...], ...], JSON_ARGUMENT] = eqx.field(
        default=((0.2, 0.8), (0.8, 0.2)), converter=floats
    )
    """Probability of each symbol, for each component [component, symbol]; zeros are legal."""
    weights: tuple[float, ...] = eqx.field(default=(0.5, 0.5), converter=floats)
    """Prior probability of each component; zeros are legal."""

    def __check_init__(self) -> None:
        lengths = {len(row) for row in self.probabilities}
        check(
            len(lengths) == 1 and min(lengths) >= 2,
            "Expected every component to give the probabilities of the same symbols, at least 2; "
            f"got rows of {[len(row) for row in self.probabilities]}.",
        )
        for index, row in enumerate(self.probabilities):
            check_distribution(f"probabilities of component {index}", row)
        check(
            len(self.weights) == len(self.probabilities),
            f"Expected one weight for each of the {len(self.probabilities)} components; got "
            f"{len(self.weights)} weights.",
        )
        check_distribution("weights", self.weights)

    @property
    def symbols(self) -> int:
        return np.shape(self.probabilities)[1]  # indexing an array would compile a program

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        which, tokens = jax.random.split(key)
        component = draw(which, jnp.asarray(self.weights), 1)[0]
        probabilities = jnp.asarray(self.probabilities)[component]
        return Episode(draw(tokens, probabilities, length), latent=component)

    def oracle(self, latent: Int[Array, ""], tokens: Tokens) -> LogProbs:
        row = jnp.log(jnp.asarray(self.probabilities)[latent])
        return jnp.broadcast_to(row, (tokens.shape[0], self.symbols))

    @property
    def lookback(self) -> int:
        return 0

    def bayes(self) -> "MixturePosterior":
        return MixturePosterior(self.probabilities, self.weights)

    def latent_quadrature(self, degree: int) -> tuple[Array, Array]:
        del degree
        return jnp.arange(len(self.weights)), jnp.asarray(self.weights)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        mean = jnp.asarray(self.weights) @ entropy(jnp.asarray(self.probabilities))
        return at_every_step(mean, length)

    @classmethod
    def examples(cls) -> "tuple[CategoricalMixture, ...]":
        return (
            cls(),
            cls(((0.5, 0.3, 0.2), (0.0, 0.1, 0.9), (0.2, 0.2, 0.6)), (0.2, 0.5, 0.3)),
            cls(((1.0, 0.0), (0.0, 1.0)), (0.3, 0.7)),
            cls(((0.2, 0.8), (0.7, 0.3)), (1.0, 0.0)),
        )


class MixturePosterior(Exchangeable):
    """Exact prediction: the components' rows weighted by their posterior."""

    probabilities: tuple[tuple[float, ...], ...] | Table
    weights: tuple[float, ...] | Float[Array, " component"] | Float[np.ndarray, " component"]

    @property
    def symbols(self) -> int:
        return np.shape(self.probabilities)[1]  # indexing an array would compile a program

    @property
    def sources(self) -> Float[np.ndarray, "source symbol"]:
        return np.asarray(self.probabilities)[np.asarray(self.weights) > 0]

    def log_joint(self, counts: Counts) -> Float[Array, " component"]:
        """log P(component) + log P(one sequence with these counts | component), nats."""
        # Infinities enter by `where` alone: -inf times 0 in a derivative would be NaN.
        rows = jnp.asarray(self.probabilities)
        excluded = jnp.any((counts > 0) & (rows == 0), axis=-1)
        log_likelihood = jnp.where(excluded, -jnp.inf, self._log_rows() @ counts)
        return jnp.log(jnp.asarray(self.weights)) + log_likelihood

    def after(self, counts: Counts) -> Counts:
        rows, joint = jnp.asarray(self.probabilities), self.log_joint(counts)
        impossible = jnp.max(joint) == -jnp.inf
        posterior = jax.nn.log_softmax(jnp.where(impossible, 0.0, joint))
        terms = jnp.where(rows > 0, posterior[:, None] + self._log_rows(), -jnp.inf)
        seen = jnp.max(terms, axis=0) > -jnp.inf
        log_probs = jax.nn.logsumexp(jnp.where(seen, terms, 0.0), axis=0)
        return uniform_if(impossible, jnp.where(seen, log_probs, -jnp.inf))

    def _log_rows(self) -> Float[Array, "component symbol"]:
        """Log probabilities, 0 where they are -inf."""
        rows = jnp.asarray(self.probabilities)
        return jnp.log(jnp.where(rows > 0, rows, 1.0))
