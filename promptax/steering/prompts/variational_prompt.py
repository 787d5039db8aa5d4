"""A prompt that is a distribution: a Gaussian posterior over embedding rows.

With rows s ~ q = N(mean, scale²), independent numbers, and the prior p = N(0, prior_scale²), the
tuner makes small

    J  =  E_q[ mean over sequences of -log π(x | s) ]  +  kl_weight · KL(q ‖ p),      nats

    KL(q ‖ p)  =  Σ  log(prior_scale / scale) + (scale² + mean²) / (2 prior_scale²) - ½

The first term is a mean over sequences, the second is counted once. So with kl_weight = 1 / N, J is
-1/N times the evidence lower bound of N sequences, E_q[Σ_n log π(x_n | s)] - KL(q ‖ p). Fresh
sequences never end, so N is a choice: how many of them the posterior shall have seen. The noise of
each update is one draw s = mean + scale · ε for the whole batch, through which gradients pass.

Kingma and Welling 2014, "Auto-Encoding Variational Bayes" (the reparameterised draw); Blundell et
al. 2015, "Weight Uncertainty in Neural Networks" (a Gaussian posterior over what is tuned).
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.fit.objectives import Objective
from promptax.fit.settings import FitSettings
from promptax.protocol.mixture import PromptedMixture
from promptax.protocol.predictor import Embedded, Predictor
from promptax.protocol.prompted import Prompt, Prompted
from promptax.specs import check
from promptax.steering.gradient import PromptTuner, initial_rows, network_of


class VariationalPrompt(PromptTuner):
    """Tunes a Gaussian posterior over rows [prompt, embedding], which enter after the begin row.

    Noise keeps the posterior where many rows are good, and its KL term keeps it near the prior.
    After tuning, the predictor reads the posterior's mean; `predictor.context` holds `mean` and
    `log_scale`. `loss` holds J, the KL term included. Blundell et al. 2015, on a soft prompt.
    """

    length: int = 6
    """Number of rows of the prompt; 0 is no prompt."""
    initial: Literal["one_hot", "uniform", "zeros"] = "one_hot"
    """The mean at the start."""
    initial_scale: float = 0.1
    """Standard deviation of every number of the posterior at the start."""
    prior_scale: float = 1.0
    """Standard deviation of every number of the prior, whose mean is 0."""
    kl_weight: float = 1e-3
    """What a nat of KL counts against a nat of a sequence's loss: 1 / N for the evidence lower
    bound of N sequences; 0 leaves the noise alone."""
    learning_rate: float = 5e-3
    """Adam's learning rate where the fit settings give none."""

    def __check_init__(self) -> None:
        check(
            self.initial_scale > 0 and self.prior_scale > 0,
            f"Expected an initial_scale and a prior_scale above 0; got {self.initial_scale} and "
            f"{self.prior_scale}. SoftPrompt tunes rows without noise.",
        )
        check(self.kl_weight >= 0, f"Expected a kl_weight of at least 0; got {self.kl_weight}.")

    @classmethod
    def examples(cls) -> "tuple[VariationalPrompt, ...]":
        return (cls(length=2),)

    @property
    def objective(self) -> "EvidenceBound":
        """-1/N times the evidence lower bound of N = 1 / kl_weight sequences."""
        return EvidenceBound(self.kl_weight, self.prior_scale)

    def suits(self, predictor: Predictor) -> None:
        network_of(predictor, self)

    def row_width(self, predictor: Predictor) -> int:
        return network_of(predictor, self).embedding_width

    def prompt(self, key: Key[Array, ""], predictor: Predictor) -> "GaussianRows":
        mean = initial_rows(key, self.initial, self.length, self.row_width(predictor))
        return GaussianRows(mean, jnp.full_like(mean, jnp.log(self.initial_scale)))


class GaussianRows(Prompt):
    """Independent Gaussian numbers; what is read is their mean."""

    mean: Float[Array, "*batch prompt embedding"]
    log_scale: Float[Array, "*batch prompt embedding"]

    def inputs(self) -> Embedded:
        return Embedded(self.mean)

    def drawn(self, key: Key[Array, ""]) -> "GaussianRows":
        """Rows with their mean at a draw, mean + scale · ε."""
        noise = jax.random.normal(key, self.mean.shape, self.mean.dtype)
        return GaussianRows(self.mean + jnp.exp(self.log_scale) * noise, self.log_scale)

    def divergence(self, prior_scale: Float[Array, ""] | float) -> Float[Array, ""]:
        """KL(q ‖ p) to independent Gaussians of mean 0 and that scale, nats."""
        square = jnp.exp(2 * self.log_scale) + self.mean**2
        ratio = jnp.log(prior_scale) - self.log_scale
        return jnp.sum(ratio + square / (2 * prior_scale**2) - 0.5)


class EvidenceBound(Objective):
    """Log loss behind drawn rows of a Gaussian prompt, and kl_weight · KL to a Gaussian prior."""

    kl_weight: float = 1e-3
    """What a nat of KL counts against a nat of a sequence's loss."""
    prior_scale: float = 1.0
    """Standard deviation of the prior."""

    def prepare(
        self, key: Key[Array, ""], predictor: Predictor
    ) -> tuple[Predictor, Float[Array, ""]]:
        """The predictor behind one draw of each Gaussian prompt that it reads first, and the KL."""
        drawn, divergences = [], []
        for index, prompt in enumerate(_gaussian(predictor)):
            drawn.append(prompt.drawn(jax.random.fold_in(key, index)))
            divergences.append(prompt.divergence(self.prior_scale))
        penalty = self.kl_weight * sum(divergences, jnp.zeros(()))
        return eqx.tree_at(_gaussian, predictor, drawn), penalty

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        del settings
        if not _gaussian(predictor):
            raise TypeError(
                f"Expected a predictor that reads a Gaussian prompt, for EvidenceBound; got "
                f"{type(predictor).__name__}. Steer it by VariationalPrompt."
            )


def _gaussian(predictor: Any) -> list[GaussianRows]:
    """The Gaussian prompts that the outermost reader reads; those below it are frozen."""
    if isinstance(predictor, PromptedMixture):
        prompts = predictor.context
    else:
        prompts = (predictor.context,) if isinstance(predictor, Prompted) else ()
    return [prompt for prompt in prompts if isinstance(prompt, GaussianRows)]
