"""Learning one task after the other without forgetting the first ones."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from promptax import platforms
from promptax.checks import as_tuple
from promptax.fit.objectives.inner_steps import Leaves
from promptax.fit.objectives.support_and_query import SupportAndQuery
from promptax.fit.settings import FitSettings
from promptax.protocol.outcomes import Episode
from promptax.protocol.predictor import Predictor, State
from promptax.specs import check


class OML(SupportAndQuery):
    """The loss of all tasks of a stream, after a head has learned them one after the other.

        φ_0 = θ,    φ_i = inner steps from φ_{i-1} on the support of sequence i,    i = 1 … stream
        J  =  mean over i of L_query,i(φ_stream)

    A batch is cut into streams of so many sequences, each with a latent of its own. The head alone
    takes inner steps (`adapts`), and the representation below it learns, through all of them, to
    keep tasks apart: the first tasks of a stream are judged after the last ones were learned. So
    the order of a stream matters, and is drawn anew for each.

    A network can tell tasks apart only if something shows which one a query is of: a tag
    (`Tagged`), the features of points, or with `in_context` the support itself.

    Javed and White 2019, "Meta-Learning Representations for Continual Learning" (arXiv 1905.12588),
    Algorithm 2, which judges the stream and a random set of the same tasks; here these are the
    queries of all its sequences. Their code also moves the head's start by the outer gradient, and
    so does this; `frozen_start=True` follows the paper's text.
    """

    stream: int = 5
    """How many sequences are learned one after the other."""
    adapts: tuple[str, ...] = eqx.field(default=("unembedding",), converter=as_tuple)
    """Names of the network's fields whose leaves take inner steps: the head."""
    first_order: bool = False
    """Whether inner gradients count as constants."""
    frozen_start: bool = False
    """Whether the start of the head is not moved by the outer gradient."""

    def __check_init__(self) -> None:
        check(self.stream >= 1, f"Expected a stream of at least 1 sequence; got {self.stream}.")
        check(
            self.support is not None and self.support_sequences == 0,
            "Expected a support of so many symbols at the beginning of each sequence of a stream; "
            f"got support={self.support}, support_sequences={self.support_sequences}.",
        )

    @property
    def keeps_steps(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not self.first_order

    @property
    def slope_is_of_value(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return not (self.first_order or self.frozen_start)

    @classmethod
    def examples(cls) -> "tuple[OML, ...]":
        return (cls(stream=2, support=3, adapts=()),)

    def inner_slope(self, gradient: Any) -> Any:
        return jax.lax.stop_gradient(gradient) if self.first_order else gradient

    def readings(self, length: int) -> int:
        del length
        return self.inner_steps + 1

    def inner_bytes(self, predictor: Predictor, rows: int) -> int:
        """As of all inner steps; and each sequence of a stream starts from leaves of its own."""
        least = SupportAndQuery.inner_bytes(self, predictor, rows)
        return least + platforms.size(self.split_leaves(predictor)[0])

    def verify(self, predictor: Predictor, settings: FitSettings) -> None:
        SupportAndQuery.verify(self, predictor, settings)
        assert settings.length is not None
        micro = settings.micro_batch or predictor.micro_batch(settings.batch, settings.length)
        self.check_streams(settings.batch)
        self.check_streams(math.gcd(settings.batch, micro))

    def check_streams(self, sequences: int) -> None:
        """Complain about a batch, or what is differentiated of it at a time, with half a stream."""
        check(
            sequences % self.stream == 0,
            f"Expected whole streams of {self.stream} sequences in a batch and in a micro-batch; "
            f"got {sequences} sequences. Choose a batch and a micro_batch that are multiples of "
            f"{self.stream}, or another stream.",
        )

    def losses(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        state: State,
        episodes: Episode,
        outcome: Any,
    ) -> Float[Array, " sequence"]:
        del key, state  # every stream starts from leaves of its own
        shown = dataclasses.replace(episodes, latent=None)
        self.check_streams(len(shown.observations))

        def cut(leaf: Array) -> Array:
            return leaf.reshape(-1, self.stream, *leaf.shape[1:])

        def lose(stream: Episode) -> Float[Array, " sequence"]:
            return self.losses_of_stream(predictor, stream, outcome)[-1]

        return jax.vmap(lose)(jax.tree.map(cut, shown)).reshape(-1)

    def losses_of_stream(
        self, predictor: Predictor, stream: Episode, outcome: Any, every: bool = False
    ) -> Float[Array, "learned sequence"]:
        """The queries' losses [learned, sequence] of a stream's sequences [sequence, time], nats.

        Row i is after the inner steps on the first i of them; without `every` there is the last row
        alone.
        """
        start, others = self.split_leaves(predictor)
        if self.frozen_start:
            start = jax.lax.stop_gradient(start)

        def judge(leaves: Leaves) -> Float[Array, " sequence"]:
            whole = eqx.combine(leaves, others)

            def lose(episode: Episode) -> Float[Array, ""]:
                return jnp.sum(self.query_losses(whole, episode, outcome.log_loss))

            return jax.vmap(lose)(stream)

        def learn(leaves: Leaves, episode: Episode) -> tuple[Leaves, Any]:
            whole, support = eqx.combine(leaves, others), self.support_of(episode)
            _, adapted = self.adapted(whole, support, outcome.log_loss)
            leaves, _ = self.split_leaves(adapted)
            return leaves, judge(leaves) if every else None

        end, rows = jax.lax.scan(learn, start, stream)
        return jnp.concatenate([judge(start)[None], rows]) if every else judge(end)[None]
