"""Random coins and dice: each sequence draws its own distribution from a Dirichlet prior."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.scipy.special import digamma
from jaxtyping import Array, Float, Key

from promptax.axes import Counts, LogProbs, Tokens
from promptax.protocol.exchangeable import Exchangeable, uniform_if
from promptax.protocol.outcomes import Episode
from promptax.specs import check, check_concentration, floats
from promptax.tasks.base import Task, draw
from promptax.tasks.independent.categorical import at_every_step


class DirichletCategorical(Task):
    """Each sequence draws the probabilities of its symbols from a Dirichlet distribution.

    The default is the random coins of Genewein et al. 2025: Beta(1, 1), whose exact predictor is
    Laplace's rule.
    """

    concentration: tuple[float, ...] = eqx.field(default=(1.0, 1.0), converter=floats)
    """Concentration of the Dirichlet prior, one per symbol; a zero means the symbol never comes."""

    def __check_init__(self) -> None:
        values = self.concentration
        check(
            len(values) >= 2,
            f"Expected a concentration for each of at least 2 symbols; got {len(values)}.",
        )
        check(
            all(value >= 0 for value in values) and 0 < sum(values) < float("inf"),
            "Expected concentrations that are not negative, at least one of them positive; got "
            f"{values}. (1.0, 1.0) is the uniform prior over coins.",
        )
        check_concentration("concentrations", values)

    @property
    def symbols(self) -> int:
        return len(self.concentration)

    @property
    def called(self) -> str:
        return "random coins" if self.symbols == 2 else "random dice"

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        hidden, tokens = jax.random.split(key)
        concentration = jnp.asarray(self.concentration)
        log_gamma = jax.random.loggamma(hidden, jnp.where(concentration > 0, concentration, 1.0))
        probabilities = jax.nn.softmax(jnp.where(concentration > 0, log_gamma, -jnp.inf))
        return Episode(draw(tokens, probabilities, length), latent=probabilities)

    def oracle(self, latent: Float[Array, " symbol"], tokens: Tokens) -> LogProbs:
        return jnp.broadcast_to(jnp.log(latent), (tokens.shape[0], self.symbols))

    @property
    def lookback(self) -> int:
        return 0

    def bayes(self) -> "DirichletPosterior":
        return DirichletPosterior(self.concentration)

    def latent_quadrature(self, degree: int) -> tuple[Array, Array]:
        """Gauss-Jacobi nodes of the stick-breaking fractions: exact for polynomials."""
        positive = [i for i, value in enumerate(self.concentration) if value > 0]
        sticks = [
            _stick(self.concentration, positive[i:], degree) for i in range(len(positive) - 1)
        ]
        nodes, weights = [], []
        for combination in itertools.product(*[list(zip(*stick, strict=True)) for stick in sticks]):
            row, stick = np.zeros(self.symbols), 1.0
            for symbol, (fraction, _) in zip(positive, combination, strict=False):
                row[symbol], stick = stick * fraction, stick * (1 - fraction)
            row[positive[-1]] = stick
            nodes.append(row)
            weights.append(np.prod([weight for _, weight in combination]))
        return jnp.asarray(np.array(nodes)), jnp.asarray(np.array(weights))

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """E[-Σ θ log θ] = Σ (a/A) (ψ(A + 1) - ψ(a + 1)), at every step."""
        concentration = jnp.asarray(self.concentration)
        total = jnp.sum(concentration)
        terms = concentration / total * (digamma(total + 1) - digamma(concentration + 1))
        return at_every_step(jnp.sum(terms), length)

    @classmethod
    def examples(cls) -> "tuple[DirichletCategorical, ...]":
        return cls(), cls((0.5, 0.5)), cls((1.0, 2.0, 0.7)), cls((1.0, 0.0, 2.0))


def _stick(
    concentration: tuple[float, ...], symbols: list[int], degree: int
) -> tuple[np.ndarray, np.ndarray]:
    first = concentration[symbols[0]]
    others = sum(concentration[i] for i in symbols[1:])
    points, weights = scipy.special.roots_jacobi(degree // 2 + 1, others - 1, first - 1)
    return (points + 1) / 2, weights / weights.sum()


class DirichletPosterior(Exchangeable):
    """Exact prediction (counts + concentration) / their sum; Laplace's rule for (1, 1)."""

    concentration: tuple[float, ...] | Float[Array, " symbol"]

    @property
    def symbols(self) -> int:
        return len(self.concentration)

    @property
    def pseudo_counts(self) -> Float[np.ndarray, " symbol"]:
        return np.asarray(self.concentration)

    def after(self, counts: Counts) -> Counts:
        concentration = jnp.asarray(self.concentration)
        impossible = jnp.any((counts > 0) & (concentration == 0))
        mass = counts + concentration
        return uniform_if(impossible, jnp.log(mass) - jnp.log(jnp.sum(mass)))
