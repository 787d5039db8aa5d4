"""What references share: an estimate of the weights, renewed with every answer."""

import abc
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from promptax.protocol.outcomes import Gaussian, Points, alphabet_of
from promptax.protocol.predictions import Answers, AnyPrediction, Normal
from promptax.protocol.predictor import OBSERVATIONS, Inputs, Predictor, real_rows
from promptax.specs import check


class Estimate(NamedTuple):
    """The belief: what the rule keeps of the answers, and `asked` [dimension]: the last row's x."""

    kept: Any
    asked: Float[Array, " dimension"]


class LinearReference(Predictor):
    """Answers a question x by w · x, with weights w that a rule makes of the answers so far, and
    predicts N(w · x, noise_scale²). Reads rows of points; w is 0 before the first answer.

    A member owes the fields `dimensions` and `noise_scale`, and the rule:

    - `nothing()`: what it keeps before any answer;
    - `learn(kept, x, y, count)`: what it keeps after y answered x, `count` times;
    - `weights(kept)`: w.

    An answer that counts half is half an answer. Internal states: "weights" [time, dimension].
    """

    reads: ClassVar[frozenset[str]] = frozenset({OBSERVATIONS})

    dimensions: eqx.AbstractVar[int]
    noise_scale: eqx.AbstractVar[float | Array]

    @abc.abstractmethod
    def nothing(self) -> Any:
        """What is kept before any answer, of fixed shape."""

    @abc.abstractmethod
    def learn(
        self, kept: Any, x: Float[Array, " dimension"], y: Float[Array, ""], count: Float[Array, ""]
    ) -> Any:
        """What is kept after an answer."""

    @abc.abstractmethod
    def weights(self, kept: Any) -> Float[Array, " dimension"]:
        """The estimate w."""

    @property
    def outcome(self) -> Points:
        return Points(self.dimensions, Gaussian())

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    def start(self, capacity: int | None = None) -> Estimate:
        del capacity  # the state never grows
        return Estimate(self.nothing(), jnp.zeros(self.dimensions))

    def advance(self, state: Estimate, inputs: Inputs) -> tuple[Estimate, AnyPrediction]:
        rows = real_rows(inputs, self.outcome).astype(state.asked.dtype)

        def read(estimate: Estimate, row: Array) -> tuple[Estimate, tuple[Array, Array]]:
            answer = self.weights(estimate.kept) @ estimate.asked
            x, y, count = row[:-2], row[-2], jnp.maximum(row[-1], 0.0)
            kept = self.learn(estimate.kept, x, y, count)
            return Estimate(kept, x), (answer, self.weights(kept))

        state, (answers, weights) = jax.lax.scan(read, state, rows)
        return state, said(self.outcome, answers, self.noise_scale, {"weights": weights})


def said(
    points: Points,
    answers: Float[Array, " time"],
    noise_scale: float | Float[Array, ""],
    internals: dict[str, Array] | None = None,
) -> AnyPrediction:
    """The prediction N(answer, noise_scale²) at every row."""
    log_scales = jnp.full_like(answers, jnp.log(noise_scale))
    return Answers(Normal(answers, log_scales), points, internals or {})


class Products(NamedTuple):
    """Sums over answers: `squares` [dimension, dimension] Σ x xᵀ, `products` [dimension] Σ y x, and
    how many there were."""

    squares: Float[Array, "dimension dimension"]
    products: Float[Array, " dimension"]
    count: Float[Array, ""]


def no_products(dimensions: int) -> Products:
    """The sums before any answer."""
    zeros = jnp.zeros(dimensions)
    return Products(jnp.zeros((dimensions, dimensions)), zeros, jnp.zeros(()))


def add_answer(
    kept: Products, x: Float[Array, " dimension"], y: Float[Array, ""], count: Float[Array, ""]
) -> Products:
    """The sums after one more answer."""
    squares, products = kept.squares + count * jnp.outer(x, x), kept.products + count * y * x
    return Products(squares, products, kept.count + count)


def check_reference(dimensions: int, noise_scale: Any) -> None:
    """Complain about fields that every reference has."""
    check(dimensions >= 1, f"Expected at least 1 dimension; got {dimensions}.")
    if isinstance(noise_scale, float):
        check(
            0 < noise_scale < float("inf"),
            "Expected a noise_scale above 0 and finite, the standard deviation that is predicted; "
            f"got {noise_scale}.",
        )
