"""A feed-forward network, which looks at the last row alone."""

import equinox as eqx
import jax
from jaxtyping import Array, Key

from promptax.predictors.base import Architecture
from promptax.predictors.parts.layers import Layer, dense
from promptax.predictors.torso import Internals, Outputs, Rows, Torso
from promptax.specs import check


class FeedForward(Architecture):
    """Layers of rectified units. What it says of a row depends on the row before it alone: of the
    points of a regression, on the question.

    It remembers nothing, so that all it learns of a sequence it learns by inner steps
    (`promptax.fit.MAML`, `promptax.fit.Adapting` with in_context=True). The defaults are those of
    sine regression in Finn, Abbeel and Levine 2017, section 5.1: two layers of 40 units, of which
    the embedding is the first. No prompt reaches it, so it gives the contract tests of networks,
    which learn from what they read, no examples.

    Example:

        network = FeedForward().build(jax.random.key(0), LinearRegression().outcome)
    """

    width: int = 40
    """Units of each layer."""
    depth: int = 2
    """Number of layers."""

    def __check_init__(self) -> None:
        check(self.width >= 1, f"Expected a width of at least 1; got {self.width}.")
        check(
            self.depth >= 2,
            f"Expected a depth of at least 2, the embedding and a layer behind it; got "
            f"{self.depth}.",
        )

    def embedding_width(self) -> int:
        return self.width

    def output_width(self) -> int:
        return self.width

    def torso(self, key: Key[Array, ""]) -> "FeedForwardTorso":
        def build_layer(key: Key[Array, ""]) -> Layer:
            return dense(key, self.width, self.width, bias=True)

        return FeedForwardTorso(eqx.filter_vmap(build_layer)(jax.random.split(key, self.depth - 1)))

    @classmethod
    def examples(cls) -> "tuple[FeedForward, ...]":
        return ()


class FeedForwardTorso(Torso):
    """The layers behind the embedding, stacked."""

    layers: Layer

    def start(self, capacity: int | None) -> tuple[()]:
        del capacity
        return ()  # nothing is remembered

    def advance(self, state: tuple[()], rows: Rows) -> tuple[tuple[()], Outputs, Internals]:
        def apply(hidden: Outputs, layer: Layer) -> tuple[Outputs, None]:
            return jax.nn.relu(layer(hidden)), None

        hidden, _ = jax.lax.scan(apply, jax.nn.relu(rows), self.layers)
        return state, hidden, {"hidden": hidden}

    def low_rank_layers(self) -> tuple[str, ...]:
        return ("layers",)
