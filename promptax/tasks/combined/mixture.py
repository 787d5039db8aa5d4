"""One of several tasks, drawn once for each sequence, and the posterior over which one it is."""

from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.protocol.outcomes import Episode
from promptax.specs import JSON_ARGUMENT, floats
from promptax.tasks.base import Task
from promptax.tasks.combined.part_posterior import PartPosterior
from promptax.tasks.combined.parts import (
    OnePart,
    TaskOfParts,
    check_parts,
    draw_one,
    oracle_of_one,
)
from promptax.tasks.independent.categorical import Categorical
from promptax.tasks.independent.dirichlet_categorical import DirichletCategorical
from promptax.tasks.markov.known_chain import KnownChain


class Mixture(TaskOfParts):
    """Each sequence draws one of the parts, and then comes from it.

    The parts are any tasks over the same alphabet, or over the same points. The oracle knows which
    part it is, and what is hidden in it. `CategoricalMixture` and `HiddenMarkovMixture` are
    mixtures of known sources of one kind, and cheaper.

    Example: `Mixture((MarkovChain(order=1), DirichletCategorical()), (0.5, 0.5))`: does order
    matter?
    """

    parts: Annotated[tuple[Task, ...], JSON_ARGUMENT] = (DirichletCategorical(), Categorical())
    """The tasks, of which each sequence comes from one."""
    weights: tuple[float, ...] = eqx.field(default=(0.5, 0.5), converter=floats)
    """Prior probability of each part; zeros are legal."""

    def __check_init__(self) -> None:
        check_parts(self.parts, self.weights)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        return draw_one(key, self.parts, self.weights, length)[0]

    def oracle(self, latent: OnePart, inputs: Array) -> Float[Array, "time parameter"]:
        return oracle_of_one(self.parts, latent, inputs)

    def bayes(self) -> PartPosterior:
        return PartPosterior(tuple(part.bayes() for part in self.parts), self.weights)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        """H_t = Σ_k w_k H_t(part k), nats."""
        entropies = jnp.stack([part.oracle_entropy(length) for part in self.parts])
        return jnp.asarray(self.weights) @ entropies

    def log_evidence(self, tokens: Array) -> Float[Array, ""]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """log Σ_k w_k P(tokens | part k), nats: a sum over whole sequences."""
        evidences = jnp.stack([part.log_evidence(tokens) for part in self.parts])
        return jax.nn.logsumexp(jnp.log(jnp.asarray(self.weights)) + evidences)

    @classmethod
    def examples(cls) -> "tuple[Mixture, ...]":
        order = KnownChain(((0.9, 0.1), (0.3, 0.7)))
        gaps = Categorical((0.0, 0.4, 0.6)), Categorical((0.5, 0.5, 0.0))
        dice = DirichletCategorical((1.0, 0.5, 0.7))
        return cls((Categorical(), order), (0.7, 0.3)), cls((*gaps, dice), (0.3, 0.3, 0.4))
