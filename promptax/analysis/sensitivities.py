"""How an answer depends on the question: the weights that a predictor of numbers works with.

Whoever answers w · x has the derivative w in x. Two predictors that give nearly the same answers
may still have learned other weights; von Oswald et al. 2023 (arXiv 2212.07677, Figure 2) hold a
trained layer against a step of gradient descent by the difference of their answers, by the
difference of these derivatives, and by the cosine of the angle between them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from promptax.checks import as_numbers
from promptax.doors import door
from promptax.protocol.entries import one
from promptax.protocol.outcomes import Gaussian, Points
from promptax.protocol.predictor import Predictor
from promptax.specs import check, traced


@door
def answer_gradients(
    predictor: Predictor, rows: Float[Array, "sequence time input"]
) -> Float[np.ndarray, "sequence feature"]:
    """∂ mean / ∂ x of the last question of each sequence, in y's unit over x's.

    Args:
        predictor: of points whose answers are numbers.
        rows: questions and answers in turn, as many of both; the last question is the one.

    Raises:
        TypeError: not one predictor.
        ValueError: an outcome of another kind, rows of another shape or that are not finite.
    """
    points = one(predictor).outcome
    check(
        isinstance(points, Points) and isinstance(points.answer, Gaussian),
        f"Expected a predictor of points answered by numbers; it predicts {points.words()}.",
    )
    assert isinstance(points, Points)
    given, width = as_numbers("rows", rows), points.input_width()
    check(
        given.ndim == 3 and given.size > 0 and given.shape[2] == width and given.shape[1] % 2 == 0,
        f"Expected rows [sequence, time, {width}], as many answers as questions; got shape "
        f"{given.shape}.",
    )
    check(bool(np.isfinite(given).all()), "Expected finite rows; got some that are not.")
    numbers = jnp.asarray(given, jnp.float32)
    return np.asarray(_gradients(traced(predictor), numbers, points.features))


@eqx.filter_jit
def _gradients(predictor: Predictor, rows: Array, features: int) -> Array:
    def answer(x: Float[Array, " feature"], read: Float[Array, "time input"]) -> Array:
        asked = read.at[-2, :features].set(x)
        prediction = predictor.advance(predictor.start(), asked)[1]
        return prediction.shown()[-1, 0]

    return jax.vmap(jax.grad(answer))(rows[:, -2, :features], rows)


@door
def mean_cosine(
    ours: Float[np.ndarray, "sequence feature"], theirs: Float[np.ndarray, "sequence feature"]
) -> float:
    """The mean cosine of the angle between two vectors of each sequence; 1: the same directions.
    Sequences where one of them is 0 are left out; NaN if none is left.

    Raises:
        ValueError: shapes that differ.
    """
    ours, theirs = as_numbers("ours", ours), as_numbers("theirs", theirs)
    check(
        ours.ndim == 2 and ours.shape == theirs.shape,
        "Expected two arrays [sequence, feature] of one shape; got shapes "
        f"{ours.shape} and {theirs.shape}.",
    )
    sizes = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    kept = sizes > 0
    if not kept.any():
        return float("nan")
    return float(np.mean(np.sum(ours * theirs, axis=1)[kept] / sizes[kept]))
