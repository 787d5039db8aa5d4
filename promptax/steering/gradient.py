"""Tuners whose leaves the one loop fits: prompts of numbers, and weights."""

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.fit.fitted import Checkpoint, Fitted
from promptax.fit.loop import fit
from promptax.fit.objectives import LogLoss, Objective
from promptax.fit.probes import Probe
from promptax.fit.settings import FitSettings
from promptax.predictors.base import Network
from promptax.progress import Callback
from promptax.protocol.outcomes import Outcome
from promptax.protocol.predictor import Predictor
from promptax.protocol.prompted import Prompt, Prompted, Wrapper
from promptax.specs import Spec, check
from promptax.steering.base import Mask, Tuner, filled
from promptax.tasks.base import Task


class GradientTuner(Tuner):
    """A tuner whose leaves the one loop fits."""

    if TYPE_CHECKING:  # a field or a property, at the member's choice

        @property
        def learning_rate(self) -> float: ...
    else:
        learning_rate: eqx.AbstractVar[float]

    def __check_init__(self) -> None:
        check(
            self.learning_rate > 0, f"Expected a learning_rate above 0; got {self.learning_rate}."
        )

    @property
    def objective(self) -> Objective:
        """What the tuned leaves make small; the log loss unless a member says otherwise."""
        return LogLoss()

    @abc.abstractmethod
    def steer(self, key: Key[Array, ""], predictor: Predictor) -> Predictor:
        """The predictor with the tuner's leaves in it, at their initial values."""

    @abc.abstractmethod
    def where(self, steered: Predictor) -> Mask:
        """A tree of booleans: the tuned leaves."""

    @abc.abstractmethod
    def watched(self, steered: Predictor) -> Mask:
        """The frozen leaves that count in the clipped norm under clip_over="all"."""

    @abc.abstractmethod
    def affordable(self, predictor: Predictor, settings: FitSettings) -> None:
        """Raise MemoryError, with the numbers, if the tuned leaves cannot fit."""

    def verify(self, predictor: Predictor, target: Task, settings: FitSettings) -> None:
        super().verify(predictor, target, settings)
        self.affordable(predictor, settings)

    def tune(
        self,
        key: Key[Array, ""],
        predictor: Predictor,
        target: Task,
        settings: FitSettings | None = None,
        *,
        probes: Sequence[Probe] = (),
        checkpoint: Checkpoint | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> Fitted:
        """`Tuner.tune`; `probes` measure along the way, and `Fitted.probes` keeps what they saw."""
        settings = filled(settings, target, self.learning_rate)
        self.verify(predictor, target, settings)
        return fit(
            key,
            lambda key: self.steer(key, predictor),
            self.where,
            target,
            settings,
            objective=self.objective,
            probes=probes,
            watched=self.watched if settings.clip_over == "all" else None,
            checkpoint=checkpoint,
            callbacks=callbacks,
            description=type(self).__name__,
        )


def network_of(predictor: Predictor, who: Spec) -> Network:
    """The network inside a predictor, below any prompts it reads."""
    inner = predictor
    while isinstance(inner, Wrapper):
        inner = inner.predictor
    if not isinstance(inner, Network):
        raise TypeError(
            f"Expected a neural network, whose leaves {type(who).__name__} tunes; got "
            f"{type(inner).__name__}, which has none. HardPrompt works on any predictor."
        )
    return inner


def mark(predictor: Predictor, select: Any) -> Mask:
    """A tree of booleans over the predictor: true at the float arrays below select(network)."""

    def leaves(tree: Any) -> Any:
        while isinstance(tree, Wrapper):
            tree = tree.predictor
        return select(tree)

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
    """To implement one: fields `length` and `learning_rate`, and the methods `prompt`, `row_width`
    and `suits`. The prompt's float arrays are what is tuned."""

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
        check(self.length >= 0, f"Expected a prompt length of at least 0; got {self.length}.")

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
    """To implement one: a field `learning_rate`, and `steer`, `where` and `suits`."""

    group: ClassVar[str] = "weights"
    starts_unchanged: ClassVar[bool] = True

    def watched(self, steered: Predictor) -> Mask:
        return mark(steered, lambda network: network)

    def affordable(self, predictor: Predictor, settings: FitSettings) -> None:
        steered = self.steer(jax.random.key(0), predictor)
        leaves = jax.tree.leaves(eqx.filter(steered, self.where(steered)))
        needed = 16 * settings.repetitions * sum(leaf.size for leaf in leaves)
        free = platforms.free_bytes()
        if free is not None and needed > free:
            raise MemoryError(
                f"Expected weights, gradients and moments that fit into {free / 2**30:.1f} GiB of "
                f"free memory; {settings.repetitions} repetitions need up to "
                f"{needed / 2**30:,.1f} GiB. Use fewer repetitions, or LowRank."
            )


INITIAL = ("one_hot", "uniform", "zeros")


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


def check_initial_tokens(how: str, given: tuple[int, ...]) -> None:
    """Complain about tokens to start from where a prompt starts from something else."""
    check(
        not given or how == "tokens",
        f"Expected initial_tokens with initial='tokens' alone; got them with initial={how!r}.",
    )


def check_initial(how: str, known: tuple[str, ...] = INITIAL) -> None:
    """Complain about an unknown way to start a prompt."""
    check(how in known, f"Expected initial to be one of {known}; got {how!r}.")
