"""What a task yields, what a network reads of it, and how a prediction of it is scored.

An outcome is a spec with whole numbers only. Two outcomes with equal fields are equal, so that an
outcome can be a static argument of a compiled function. Outcomes are an open set:

- `Symbols(count)`: letters of an alphabet. Episodes hold tokens [time].
- `Gaussian()`: real numbers. Episodes hold rows [time, 1].
- `Points(features, answer)`: points whose answers are another outcome. `Points(2, Gaussian())` is
  regression, `Points(2, Symbols(3))` is classification. Episodes hold rows [time, input].

Only symbols have an alphabet. What needs one (hard prompts, simplex prompts, sampling, compression,
sums over all sequences) asks for `alphabet` first.
"""

import abc
import math
import numbers
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from promptax.protocol.many_symbols import Unembedded
from promptax.protocol.predictions import Answers, AnyPrediction, Normal, Prediction
from promptax.specs import Spec, check

MANY_SYMBOLS = 512  # from that many on, losses are computed without keeping all log probabilities

# Nothing trains the scale of a row that does not count. Without a bound it can overflow there, and
# 0 · ∞ makes the gradient NaN. A noise of 1e-4 is the smallest that float32 rows can show.
LEAST_LOG_SCALE = math.log(1e-4)


class Episode(eqx.Module):
    """One sequence. `observations`: tokens [time], or rows [time, input] where the task's outcome
    has no alphabet; `latent`: what was hidden; `scored` [time]: the steps that count (None: all of
    them), for sequences that are shorter than their array."""

    observations: Array
    latent: Any = None
    scored: Bool[Array, "*batch time"] | None = None

    @property
    def tokens(self) -> Array:
        """The observations, by the name that they have in tasks over an alphabet."""
        return self.observations

    @property
    def inputs(self) -> Array:
        """What a predictor reads."""
        return self.observations


class Outcome(Spec, open_as="outcome", default="Symbols"):
    """What comes, as a spec of whole numbers.

    A member owes:

    - `words()`: what comes, in words, for messages;
    - `input_width()` and `parameter_width()`: numbers in a row that a network reads, and in one
      that its last layer gives;
    - `encode(observations)` and `decode(rows)`: from what is scored to rows, and back;
    - `draw(key, length)`: random inputs that a prompt may start from;
    - `prediction(parameters)` and `of_outputs(rows, layer)`: predictions of exact numbers, and of
      a network's outputs. What they say of the number 0 is finite, and so is its gradient, also
      where 0 cannot come: questions of `Points` hold it, and 0 · ∞ would be NaN.

    Optional: `alphabet`, the number of symbols where there are symbols; `log_loss`; `examples()`.
    """

    @property
    def alphabet(self) -> int | None:
        """How many symbols there are; None where what comes are no symbols."""
        return None

    @abc.abstractmethod
    def words(self) -> str:
        """What comes, in words, for messages: "2 symbols"."""

    @abc.abstractmethod
    def input_width(self) -> int:
        """How many numbers a row has that a network reads."""

    @abc.abstractmethod
    def parameter_width(self) -> int:
        """How many numbers make a prediction: those of a network's last layer."""

    @abc.abstractmethod
    def encode(self, observations: Any) -> Float[Array, "*rows input"]:
        """The rows that a network reads, of what `Prediction.of` scores."""

    @abc.abstractmethod
    def decode(self, rows: Any) -> Any:
        """What `Prediction.of` scores, of rows or of what an episode holds."""

    @abc.abstractmethod
    def draw(self, key: Key[Array, ""], length: int) -> Array:
        """Inputs to start a prompt from, at random [prompt] or [prompt, input]."""

    @abc.abstractmethod
    def prediction(self, parameters: Float[Array, "*batch time parameter"]) -> AnyPrediction:
        """The prediction that exact parameters make: those of an oracle or of Bayes."""

    @abc.abstractmethod
    def of_outputs(self, rows: Float[Array, "*batch time width"], layer: Any) -> AnyPrediction:
        """The prediction that a network makes of its outputs [time, width] by its last layer."""

    def log_loss(self, prediction: AnyPrediction, episode: Episode) -> Float[Array, "*batch time"]:
        """Minus the log probability or log density of what came [time], nats; 0 where a step is
        not scored."""
        losses = -prediction.of(self.decode(episode.observations))
        return losses if episode.scored is None else jnp.where(episode.scored, losses, 0.0)


class Symbols(Outcome):
    """Letters of an alphabet. Parameters are log probabilities."""

    count: int  # no default: a repr leaves defaults out, and messages print outcomes
    """Size of the alphabet."""

    def __check_init__(self) -> None:
        check(self.count >= 2, f"Expected an alphabet of at least 2 symbols; got {self.count}.")

    @classmethod
    def examples(cls) -> "tuple[Symbols, ...]":
        return cls(2), cls(3)

    @property
    def alphabet(self) -> int:
        return self.count

    def words(self) -> str:
        return f"{self.count} symbols"

    def input_width(self) -> int:
        return self.count

    def parameter_width(self) -> int:
        return self.count

    def encode(self, observations: Any) -> Float[Array, "*rows input"]:
        return jax.nn.one_hot(observations, self.count)

    def decode(self, rows: Any) -> Any:
        """The symbol of the largest weight; tokens as they are."""
        return rows if jnp.issubdtype(rows.dtype, jnp.integer) else jnp.argmax(rows, axis=-1)

    def draw(self, key: Key[Array, ""], length: int) -> Array:
        return jax.random.randint(key, (length,), 0, self.count)

    def prediction(self, parameters: Float[Array, "*batch time symbol"]) -> Prediction:
        return Prediction(parameters)

    def of_outputs(self, rows: Float[Array, "*batch time width"], layer: Any) -> Prediction:
        scores = Unembedded(rows, layer) if self.count >= MANY_SYMBOLS else None
        return Prediction(jax.nn.log_softmax(layer(rows)), scores=scores)


class Gaussian(Outcome):
    """Real numbers. Parameters are the mean and the log of the standard deviation."""

    @classmethod
    def examples(cls) -> "tuple[Gaussian, ...]":
        return (cls(),)

    def words(self) -> str:
        return "real numbers"

    def input_width(self) -> int:
        return 1

    def parameter_width(self) -> int:
        return 2

    def encode(self, observations: Any) -> Float[Array, "*rows input"]:
        return observations[..., None]

    def decode(self, rows: Any) -> Any:
        return rows[..., 0]

    def draw(self, key: Key[Array, ""], length: int) -> Array:
        return jax.random.normal(key, (length, 1))

    def prediction(self, parameters: Float[Array, "*batch time parameter"]) -> Normal:
        return Normal(parameters[..., 0], parameters[..., 1])

    def of_outputs(self, rows: Float[Array, "*batch time width"], layer: Any) -> Normal:
        """The second output is the log scale where it is well above the least one, 1e-4."""
        outputs = layer(rows)
        above = jax.nn.softplus(outputs[..., 1] - LEAST_LOG_SCALE)
        return Normal(outputs[..., 0], LEAST_LOG_SCALE + above)


class Points(Outcome):
    """Points with features x and an answer y, each read as two rows: the question (x, 0, 0), then
    the answer (x, y, 1).

    The last number says how often the answer counts: 0 at questions, so that no mask is needed; a
    row of a prompt may count half. Row t predicts row t from the rows before it, as everywhere, so
    an answer is predicted after its question. The answer repeats x: then one row is one example, of
    which one attention block can learn.
    """

    features: int
    """How many numbers x has."""
    answer: Outcome
    """What y is."""

    def __check_init__(self) -> None:
        check(self.features >= 1, f"Expected at least 1 feature; got {self.features}.")
        check(
            not isinstance(self.answer, Points),
            f"Expected an answer that is one symbol or number, such as Symbols(2); got "
            f"{self.answer}. Points do not answer points.",
        )

    @classmethod
    def examples(cls) -> "tuple[Points, ...]":
        return cls(2, Gaussian()), cls(1, Symbols(3))

    def words(self) -> str:
        features = "1 feature" if self.features == 1 else f"{self.features} features"
        return f"points of {features}, answered by {self.answer.words()}"

    def input_width(self) -> int:
        return self.features + self.answer.input_width() + 1

    def parameter_width(self) -> int:
        return self.answer.parameter_width()

    def encode(self, observations: Any) -> Float[Array, "*rows input"]:
        return observations

    def decode(self, rows: Any) -> Any:
        return rows

    def answers(self, rows: Float[Array, "*batch time input"]) -> Array:
        """What stands in the answers' place of rows [time], as `answer` decodes it."""
        return self.answer.decode(rows[..., self.features : -1])

    def draw(self, key: Key[Array, ""], length: int) -> Array:
        """Answered points: standard normal features, random answers, each counted once."""
        x, y = jax.random.split(key)
        features = jax.random.normal(x, (length, self.features))
        answers = self.answer.draw(y, length)
        encoded = self.answer.encode(self.answer.decode(answers))
        return jnp.concatenate([features, encoded, jnp.ones((length, 1))], axis=1)

    def prediction(self, parameters: Float[Array, "*batch time parameter"]) -> Answers:
        return Answers(self.answer.prediction(parameters), self)

    def of_outputs(self, rows: Float[Array, "*batch time width"], layer: Any) -> Answers:
        return Answers(self.answer.of_outputs(rows, layer), self)

    def rows(
        self, x: Float[Array, "point feature"], y: Any, length: int | None = None
    ) -> Float[Array, "time input"]:
        """The rows that points are read as, question and answer in turn.

        Args:
            x: features [point, feature].
            y: answers [point], as `answer` decodes them: numbers, or tokens.
            length: how many rows (None: two for each point). An odd one ends with a question.
        """
        encoded = self.answer.encode(y)
        ones = jnp.ones((len(x), 1))
        questions = jnp.concatenate([x, jnp.zeros_like(encoded), 0 * ones], axis=1)
        answers = jnp.concatenate([x, encoded, ones], axis=1)
        return jnp.stack([questions, answers], axis=1).reshape(-1, self.input_width())[:length]


def as_outcome(given: Outcome | int) -> Outcome:
    """The outcome; of a whole number, that many symbols.

    Raises:
        TypeError: neither an outcome nor a whole number.
    """
    if isinstance(given, Outcome):
        return given
    if isinstance(given, bool) or not isinstance(given, numbers.Integral):
        raise TypeError(
            f"Expected an outcome, such as Symbols(2) or task.outcome, or a number of symbols; got "
            f"{given!r}."
        )
    return Symbols(int(given))


def alphabet_of(thing: Any) -> int:
    """The size of the alphabet of a task or predictor.

    Raises:
        TypeError: its outcome has none.
    """
    size = thing.outcome.alphabet
    if size is None:
        raise TypeError(
            f"Expected a task or predictor over an alphabet; got {type(thing).__name__} over "
            f"{thing.outcome.words()}, which have none. Hard and simplex prompts, sampling, "
            "compression and sums over all sequences speak of symbols; SoftPrompt, RealPrompt and "
            "weight tuners work on any network."
        )
    return size
