"""Tuners whose leaves the one loop fits: prompts of numbers, and weights."""

import abc
import math
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.fit.fitted import Fitted
from promptax.fit.loop import fit
from promptax.fit.objectives import LogLoss, Objective
from promptax.fit.settings import FitSettings
from promptax.predictors.base import Network
from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Prompt, Prompted, Wrapper
from promptax.specs import Spec, check
from promptax.steering.base import Mask, Tuner, Tuning, check_length
from promptax.tasks.base import Task

USUAL_RATE = 5e-3  # Adam's, of the main paper
MANY_SYMBOLS = 1_000  # an alphabet of so many is one of a language


class GradientTuner(Tuner):
    """A tuner whose leaves the one loop fits.

    A member owes:

    - `learning_rate`: a field or property, Adam's rate where the fit settings give none; None
      leaves it to `rate_on`;
    - `suits(predictor)`: raise TypeError if the predictor lacks what is tuned;
    - `steer(key, predictor)`: the predictor with the tuner's leaves in it;
    - `where(steered)`: which leaves are tuned;
    - `watched(steered)`: which frozen leaves count in the clipped norm;
    - `affordable(predictor, settings)`: raise MemoryError if the tuned leaves cannot fit.

    `PromptTuner` and `WeightTuner` write most of these. Optional: `objective`, and
    `language_rate`, Adam's rate on language models where nobody gives one.
    """

    takes_probes: ClassVar[bool] = True
    language_rate: ClassVar[float] = USUAL_RATE

    if TYPE_CHECKING:  # a field or a property, at the member's choice

        @property
        def learning_rate(self) -> float | None: ...
    else:
        learning_rate: eqx.AbstractVar[float | None]

    def __check_init__(self) -> None:
        check(
            self.learning_rate is None or 0 < self.learning_rate < math.inf,
            f"Expected a learning_rate above 0; got {self.learning_rate}. It must be finite, too.",
        )

    @property
    def default_learning_rate(self) -> float:
        return USUAL_RATE if self.learning_rate is None else self.learning_rate

    def rate_on(self, predictor: Predictor) -> float:
        if self.learning_rate is None and is_language_model(predictor):
            return self.language_rate
        return self.default_learning_rate

    @property
    def objective(self) -> Objective:
        """What the tuned leaves make small; the log loss unless a member says otherwise."""
        return LogLoss()

    @abc.abstractmethod
    def steer(self, key: Key[Array, ""], predictor: Predictor) -> Predictor:
        """The predictor with the tuner's leaves in it, at their initial values. Each repetition has
        its own key."""

    @abc.abstractmethod
    def where(self, steered: Predictor) -> Mask:
        """A tree of booleans: the tuned leaves."""

    @abc.abstractmethod
    def watched(self, steered: Predictor) -> Mask:
        """The frozen leaves that count in the clipped norm under clip_over="all"."""

    @abc.abstractmethod
    def affordable(self, predictor: Predictor, settings: FitSettings) -> None:
        """Raise MemoryError, with the numbers, if the tuned leaves cannot fit."""

    def tuned(self, steered: Predictor) -> Mask:
        """What `where` marks, after a look that it marks something.

        Raises:
            TypeError: it marks no leaf, or looks for one where the network has nothing.
        """
        name, inner = type(self).__name__, below_prompts(steered)
        network = type(inner.architecture if isinstance(inner, Network) else inner).__name__
        wanted = f"Expected {name}.where to mark leaves to tune; in this {network} it"
        remedy = f" Let {name}.suits raise a TypeError for networks that lack them."
        try:
            mask = self.where(steered)
        except AttributeError as error:
            raise TypeError(f"{wanted} fails: {error}.{remedy}") from error
        if not any(jax.tree.leaves(mask)):
            raise TypeError(f"{wanted} marks none.{remedy}")
        return mask

    def check_plan(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        del target
        self.affordable(predictor, settings)

    def run_tuning(self, tuning: Tuning) -> Fitted:
        def make(key: Key[Array, ""]) -> Predictor:
            return self.steer(key, tuning.predictor)

        return fit(
            tuning.key,
            make,
            self.tuned,
            tuning.target,
            tuning.settings,
            objective=self.objective,
            probes=tuning.probes,
            watched=self.watched if tuning.settings.clip_over == "all" else None,
            checkpoint=tuning.checkpoint,
            callbacks=tuning.callbacks,
            description=type(self).__name__,
        )


def below_prompts(predictor: Any) -> Any:
    """The predictor inside all wrappers, such as prompts."""
    while isinstance(predictor, Wrapper):
        predictor = predictor.predictor
    return predictor


def network_of(predictor: Predictor, who: Spec) -> Network:
    """The network inside a predictor, below any prompts it reads."""
    inner = below_prompts(predictor)
    if not isinstance(inner, Network):
        raise TypeError(
            f"Expected a neural network, whose leaves {type(who).__name__} tunes; got "
            f"{type(inner).__name__}, which has none. HardPrompt works on any predictor."
        )
    return inner


def is_language_model(predictor: Predictor) -> bool:
    """Whether a network below any prompts reads 1,000 symbols or more. Learning rates and starts
    that nobody chose are then others: those of the main paper suit networks that it trained."""
    inner = below_prompts(predictor)
    return isinstance(inner, Network) and (inner.outcome.alphabet or 0) >= MANY_SYMBOLS


def mark(predictor: Predictor, select: Any) -> Mask:
    """A tree of booleans over the predictor: true at the float arrays below select(network). What
    is None there has no leaf to mark."""

    def leaves(tree: Any) -> list[Any]:
        return jax.tree.leaves(select(below_prompts(tree)))

    nothing = jax.tree.map(lambda _: False, predictor)
    chosen = jax.tree.map(eqx.is_inexact_array, leaves(predictor))
    return eqx.tree_at(leaves, nothing, chosen)


def replace_network(predictor: Predictor, network: Network) -> Predictor:
    """The same predictor with another network below its prompts."""
    if isinstance(predictor, Wrapper):
        below = replace_network(predictor.predictor, network)
        return eqx.tree_at(lambda wrapper: wrapper.predictor, predictor, below)
    return network


class PromptTuner(GradientTuner):
    """Tunes the float arrays of a prompt, which the predictor reads before the data.

    A member owes:

    - `length` and `learning_rate`, as fields;
    - `prompt(key, predictor)`: the prompt at the start (`promptax.protocol.Prompt`);
    - `row_width(predictor)`: how many numbers a row of it has;
    - `suits(predictor)`: raise TypeError if the predictor cannot read it.

    Optional: `objective`; `reading_bytes`, where no layer reads the prompt.
    """

    group: ClassVar[str] = "prompts"
    length: eqx.AbstractVar[int]

    @abc.abstractmethod
    def prompt(self, key: Key[Array, ""], predictor: Predictor) -> Prompt:
        """The prompt at the start."""

    @abc.abstractmethod
    def row_width(self, predictor: Predictor) -> int:
        """How many numbers a row of the prompt has."""

    def reading_bytes(self, predictor: Predictor) -> int:
        """A lower bound in bytes on the memory for reading the prompt. To override where the
        network does not read it."""
        return predictor.reading_bytes(self.length)

    def __check_init__(self) -> None:
        check_length(self.length)

    def steer(self, key: Key[Array, ""], predictor: Predictor) -> Prompted:
        return Prompted(predictor, self.prompt(key, predictor))

    def where(self, steered: Predictor) -> Mask:
        assert isinstance(steered, Prompted)
        nothing = jax.tree.map(lambda _: False, steered)
        tuned = jax.tree.map(eqx.is_inexact_array, steered.context)
        return eqx.tree_at(lambda p: p.context, nothing, tuned)

    def watched(self, steered: Predictor) -> Mask:
        return jax.tree.map(lambda _: False, steered)

    def affordable(self, predictor: Predictor, settings: FitSettings) -> None:
        leaves = 16 * settings.repetitions * self.length * self.row_width(predictor)
        needed = leaves + 4 * self.reading_bytes(predictor)
        free = platforms.free_bytes()
        if free is not None and needed > free:
            raise MemoryError(
                f"Expected a prompt that fits into {free / 2**30:.1f} GiB of free memory; a prompt "
                f"of length {self.length:,} needs at least {needed / 2**30:,.1f} GiB. Choose a "
                "shorter prompt or fewer repetitions."
            )


class WeightTuner(GradientTuner):
    """Tunes weights of the network below any prompts, or weights that it adds.

    A member owes:

    - `learning_rate`, as a field;
    - `suits(predictor)`: raise TypeError if the predictor lacks what is tuned;
    - `steer(key, predictor)`: the predictor, with the new weights if there are any;
    - `where(steered)`: which leaves are tuned; `mark` selects leaves of the network.

    At the start predictions are as before (`starts_unchanged`): what is added is zero.
    """

    group: ClassVar[str] = "weights"
    starts_unchanged: ClassVar[bool] = True

    def watched(self, steered: Predictor) -> Mask:
        return mark(steered, lambda network: network)

    def affordable(self, predictor: Predictor, settings: FitSettings) -> None:
        steered = self.steer(jax.random.key(0), predictor)
        leaves = jax.tree.leaves(eqx.filter(steered, self.tuned(steered)))
        needed = 16 * settings.repetitions * sum(leaf.size for leaf in leaves)
        free = platforms.free_bytes()
        if free is not None and needed > free:
            raise MemoryError(
                f"Expected weights, gradients and moments that fit into {free / 2**30:.1f} GiB of "
                f"free memory; {settings.repetitions} repetitions need up to "
                f"{needed / 2**30:,.1f} GiB. Use fewer repetitions, or LowRank."
            )


def initial_rows(
    key: Key[Array, ""], how: str, length: int, width: int
) -> Float[Array, "prompt width"]:
    """Rows to start a prompt from: random one-hot rows, U[0, 1], or zeros."""
    uniform = jax.random.uniform(key, (length, width))
    if how == "one_hot":
        return jax.nn.one_hot(jnp.argmax(uniform, axis=-1), width)
    return uniform if how == "uniform" else jnp.zeros((length, width))


def initial_inputs(
    key: Key[Array, ""], given: tuple[int, ...], length: int, outcome: Outcome
) -> Int[Array, " prompt"] | Float[Array, "prompt input"]:
    """Inputs to start a prompt from: the given symbols, repeated or cut to its length; or random
    symbols, or, where the outcome has no alphabet, random rows of it."""
    symbols = outcome.alphabet
    if not given:
        return outcome.draw(key, length)
    if symbols is None:
        raise TypeError(
            f"Expected no initial_tokens, since {outcome.words()} have none; got {given}. Leave "
            "them out to start from random rows."
        )
    check_tokens(given, symbols)
    return jnp.resize(jnp.asarray(given, jnp.int32), (length,))


def check_tokens(given: tuple[int, ...], symbols: int) -> None:
    """Complain about tokens to start from that are not in the alphabet."""
    check(
        min(given, default=0) >= 0 and max(given, default=0) < symbols,
        f"Expected initial_tokens from 0 to {symbols - 1}; got {given}. The predictor's alphabet "
        f"has {symbols} symbols.",
    )


def check_initial_tokens(how: str | None, given: tuple[int, ...]) -> None:
    """Complain about tokens to start from where a prompt starts from something else."""
    check(
        not given or how in ("tokens", None),
        f"Expected initial_tokens with initial='tokens' alone; got them with initial={how!r}.",
    )
