"""MAML on tasks between tasks, for where there are few of them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax.fit.objectives.support_and_query import SupportAndQuery
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode, Gaussian, Outcome, Points
from promptax.protocol.predictor import WEIGHTS, Predictor
from promptax.specs import check
from promptax.tasks.base import Task


class MLTI(SupportAndQuery):
    """MAML's loss on sequences that are mixtures of two tasks' sequences, row by row:

        row_t  =  λ a_t + (1 - λ) b_t,    λ ~ Beta(concentration, concentration)

    with one λ for the support and the query. Questions and answers of points are mixed. Of symbols
    the network reads the mixture of their embeddings, and what it predicts is the mixture, too:
    the loss is -λ log p(a_t) - (1 - λ) log p(b_t). Such a sequence comes from no task of the prior:
    of two coins it is not the coin of the mean bias. It shows a network that was trained on ten
    tasks what lies between them. Points that are answered by symbols have no mean, and are refused.

    Sequence b is drawn for a, and shares nothing with the others of the batch.

    Yao, Zhang and Finn 2022, "Meta-Learning with Fewer Tasks through Task Interpolation"
    (arXiv 2106.02695), Eq. 5-6, on inputs and not on hidden layers.
    """

    concentration: float = 2.0
    """Of the beta distribution of λ."""
    mixed: float = 0.5
    """The share of sequences that are mixtures; the others are as they come."""
    first_order: bool = False
    """Whether inner gradients count as constants."""

    def __check_init__(self) -> None:
        check(
            self.concentration > 0, f"Expected a concentration above 0; got {self.concentration}."
        )
        check(0 <= self.mixed <= 1, f"Expected a mixed share from 0 to 1; got {self.mixed}.")
        check(
            self.support is not None,
            "Expected a support of so many symbols, and a query after it; got None.",
        )

    @property
    def keeps_steps(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.first_order

    @property
    def slope_is_of_value(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.first_order

    @classmethod
    def examples(cls) -> "tuple[MLTI, ...]":
        return (cls(inner_steps=2, support=3),)

    def inner_slope(self, gradient: Any) -> Any:
        return jax.lax.stop_gradient(gradient) if self.first_order else gradient

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        outcome = predictor.outcome
        answer = outcome.answer if isinstance(outcome, Points) else outcome
        has_mean = outcome.alphabet is not None or isinstance(answer, Gaussian)
        check(
            has_mean,
            "Expected symbols, numbers, or points answered by numbers, which can be mixed; got "
            f"{outcome.words()}. Take MAML.",
        )
        if outcome.alphabet is not None and WEIGHTS not in predictor.reads:
            raise TypeError(
                f"Expected a predictor that reads weights over symbols, as networks do; got "
                f"{type(predictor).__name__}."
            )
        SupportAndQuery.verify(self, predictor, settings)

    def draw(self, task: Task, keys: Key[Array, "*batch"] | Array, length: int) -> Episode:
        def split(key: Any) -> Any:
            """Keys of a, of b and of λ; none is one that a task makes of the key of a sequence."""
            return tuple(jax.random.split(key, 3))

        def draw_share(key: Any) -> Any:
            first, second = jax.random.split(key)
            share = jax.random.beta(first, self.concentration, self.concentration)
            return jnp.where(jax.random.bernoulli(second, self.mixed), share, 1.0)

        for _ in keys.shape:
            split, draw_share = jax.vmap(split), jax.vmap(draw_share)
        of_first, of_second, of_share = split(keys)
        first = SupportAndQuery.draw(self, task, of_first, length)
        second = SupportAndQuery.draw(self, task, of_second, length)
        return mix(first, second, draw_share(of_share), task.outcome)

    def row_numbers(self, outcome: Outcome) -> int:
        return outcome.input_width()  # of symbols, weights over all of them

    def loss_after_support(
        self, predictor: Predictor, episode: Episode, outcome: Any
    ) -> Float[Array, ""]:
        are_weights = jnp.issubdtype(episode.inputs.dtype, jnp.floating)
        scored_by = _Mixtures() if outcome.alphabet is not None and are_weights else outcome
        return SupportAndQuery.loss_after_support(self, predictor, episode, scored_by)


def mix(
    first: Episode, second: Episode, shares: Float[Array, "*batch"], outcome: Outcome
) -> Episode:
    """Rows of the outcome [..., time, input], or weights over symbols [..., time, symbol]: a share
    of the first, and the rest of the second. A step is scored where both are."""
    rows = [outcome.encode(episode.observations) for episode in (first, second)]
    share = shares[..., None, None]
    scored = first.scored
    if scored is not None and second.scored is not None:
        scored = scored & second.scored
    return dataclasses.replace(
        first, observations=share * rows[0] + (1 - share) * rows[1], scored=scored
    )


class _Mixtures:
    """Scores predictions of symbols by weights over them."""

    def log_loss(self, prediction: Any, episode: Episode) -> Float[Array, "*batch time"]:
        """-Σ_s weight_s log p(s) of every step [time], nats; 0 where a step is not scored."""
        weights = episode.observations
        log_probs = jnp.where(weights > 0, prediction.log_probs, 0.0)
        losses = -jnp.sum(weights * log_probs, axis=-1)
        return losses if episode.scored is None else jnp.where(episode.scored, losses, 0.0)
