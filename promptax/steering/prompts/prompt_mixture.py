"""Several prompts of one predictor, tuned together as a Bayes-weighted mixture."""

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from promptax.fit.objectives import Objective
from promptax.fit.settings import FitSettings
from promptax.protocol.mixture import PromptedMixture, check_components
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Prompt
from promptax.specs import argument, check
from promptax.steering.base import Mask
from promptax.steering.gradient import GradientTuner, PromptTuner, network_of
from promptax.steering.prompts.real_prompt import RealPrompt
from promptax.steering.prompts.simplex_prompt import SimplexPrompt
from promptax.steering.prompts.soft_prompt import SoftPrompt

SPREAD = 0.01  # standard deviation of what sets later components apart from the first


class PromptMixture(GradientTuner):
    """Tunes several prompts of one frozen predictor, whose predictions their posterior weighs.

    The loss is that of the mixture, -log Σ_k w_k π(x | s_k) in nats, so each prompt learns from the
    sequences that it is responsible for: the aim of EM, by gradients. Mixtures of prompts: Qin and
    Eisner 2021, "Learning How to Ask"; what one prompt cannot do: Genewein et al. 2025. Prompts
    that start alike would stay alike, so all but the first start with a little noise of their own.
    The result is a `PromptedMixture`; its `prompt` [repetition, component, prompt, ...]. With more
    components than the target has modes, tune the weights too: equal ones cannot be shared evenly.
    """

    group: ClassVar[str] = "prompts"

    prompt: Annotated[PromptTuner, argument(PromptTuner)] = SoftPrompt()
    """How each component's prompt is made: any prompt tuner that gradients fit."""
    components: int = 2
    """Number of prompts."""
    weights: Literal["equal", "tuned"] = "equal"
    """Initial weights of the components: equal, or tuned too (they start equal)."""

    def __check_init__(self) -> None:
        if not isinstance(self.prompt, PromptTuner):
            raise TypeError(
                f"Expected a prompt tuner that gradients fit, such as SoftPrompt(); got "
                f"{type(self.prompt).__name__}. To search over tokens: HardPromptMixture."
            )
        check_components(self.components)
        check(
            self.weights in ("equal", "tuned"),
            f"Expected weights 'equal' or 'tuned'; got {self.weights!r}.",
        )

    @classmethod
    def examples(cls) -> "tuple[PromptMixture, ...]":
        return (
            cls(SoftPrompt(length=2)),
            cls(SimplexPrompt(length=1), components=3, weights="tuned"),
            cls(RealPrompt(length=2, initial="zeros")),
        )

    @property
    def length(self) -> int:
        """Number of rows of each component's prompt."""
        return self.prompt.length

    @property
    def learning_rate(self) -> float | None:
        """Adam's learning rate where the fit settings give none: the prompt's."""
        return self.prompt.learning_rate

    def rate_on(self, predictor: Predictor) -> float:
        return self.prompt.rate_on(predictor)

    @property
    def objective(self) -> Objective:
        """That of the component's prompts."""
        return self.prompt.objective

    def suits(self, predictor: Predictor) -> None:
        network_of(predictor, self)
        self.prompt.suits(predictor)

    def affordable(self, predictor: Predictor, settings: FitSettings) -> None:
        prompts = settings.repetitions * self.components
        self.prompt.affordable(predictor, dataclasses.replace(settings, repetitions=prompts))

    def steer(self, key: Key[Array, ""], predictor: Predictor) -> PromptedMixture:
        prompts = []
        for component in range(self.components):
            initial, noise = jax.random.split(jax.random.fold_in(key, component))
            prompt = self.prompt.prompt(initial, predictor)
            prompts.append(_set_apart(noise, prompt) if component else prompt)
        return PromptedMixture(predictor, tuple(prompts), jnp.zeros(self.components))

    def where(self, steered: Predictor) -> Mask:
        assert isinstance(steered, PromptedMixture)
        nothing = jax.tree.map(lambda _: False, steered)
        tuned = jax.tree.map(eqx.is_inexact_array, steered.context)
        marked = eqx.tree_at(lambda mixture: mixture.context, nothing, tuned)
        learned = self.weights == "tuned"
        return eqx.tree_at(lambda mixture: mixture.log_weights, marked, learned)

    def watched(self, steered: Predictor) -> Mask:
        return jax.tree.map(lambda _: False, steered)


def _set_apart(key: Key[Array, ""], prompt: Prompt) -> Prompt:
    """The prompt with a little noise on its numbers."""

    def noisy(leaf: Any, key: Key[Array, ""]) -> Any:
        if not eqx.is_inexact_array(leaf):
            return leaf
        return leaf + SPREAD * jax.random.normal(key, leaf.shape)

    leaves, structure = jax.tree.flatten(prompt)
    keys = jax.random.split(key, max(1, len(leaves)))
    return structure.unflatten(map(noisy, leaves, keys))
