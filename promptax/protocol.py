"""What every predictor is: a belief, and how tokens move it.

    state = predictor.start()                               # the belief before any token
    state, prediction = predictor.advance(state, inputs)    # prediction.log_probs: [time, symbol]

Both are written for one sequence. `log_probs[t]` predicts `inputs[t]` from the state and
`inputs[:t]`; this alignment holds everywhere. Prompting is `advance` over the prompt, once, outside
the batch: the state that comes out is shared by all sequences. No other code may know what a state
contains.
"""

import abc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from promptax.axes import LogProbs
from promptax.specs import Record, on_device, traced

State = Any
Inputs = Any  # Tokens, Weights over symbols, Embedded rows, or KeyValues


class Embedded(Record):
    """Rows that enter a neural predictor behind its embedding: soft prompts."""

    rows: Float[Array, "*batch time embedding"]


class KeyValues(Record):
    """What attention looks back at, put there without being read: rows of keys and values in every
    layer. They predict nothing, so they have to come before the row that starts a sequence."""

    keys: Float[Array, "layer head time each"]
    values: Float[Array, "layer head time each"]


def rows_in(inputs: Inputs) -> int:
    """How many rows there are to read."""
    if isinstance(inputs, KeyValues):
        return inputs.keys.shape[-2]
    return jax.tree.leaves(inputs)[0].shape[0]


@runtime_checkable
class Scores(Protocol):
    """What knows log probabilities of single symbols without those of all."""

    def log_probs_of(self, tokens: Int[Array, "*batch time"]) -> Float[Array, "*batch time"]: ...


class Prediction(eqx.Module):
    """What a predictor says about the inputs it was just given.

    `log_probs` [time, symbol], nats: row t predicts inputs[t] from the state and inputs[:t].
    `internals`: named arrays [time, state]; row t is the internal state after reading inputs[t].
    `scores`: where symbols are many, what `of` asks; inside a compiled function `log_probs` cost
    nothing unless they are used.
    """

    log_probs: Float[Array, "*batch time symbol"]
    internals: dict[str, Float[Array, "*batch time _state"]] = eqx.field(default_factory=dict)
    scores: Scores | None = None

    def of(self, tokens: Int[Array, "*batch time"]) -> Float[Array, "*batch time"]:
        """The log probability of the symbol that came, nats."""
        if self.scores is not None:
            return self.scores.log_probs_of(tokens)
        symbols = self.log_probs.shape[-1]
        if symbols <= 64:  # a masked sum: on CPUs gathers have slow derivatives
            hit = tokens[..., None] == jnp.arange(symbols)
            return jnp.sum(jnp.where(hit, self.log_probs, 0.0), axis=-1)
        return jnp.take_along_axis(self.log_probs, tokens[..., None], axis=-1)[..., 0]


class Predictor(Record):
    """To implement one: a field or property `symbols`, and the methods `start` and `advance`."""

    if TYPE_CHECKING:  # a field or a property, at the member's choice

        @property
        def symbols(self) -> int: ...
    else:
        symbols: eqx.AbstractVar[int]
    # True where only the counts of what was read matter, not their order: sums over sequences
    # become sums over counts (`enumeration`).
    exchangeable: ClassVar[bool] = False

    @abc.abstractmethod
    def start(self, capacity: int | None = None) -> State:
        """The belief before any token. `capacity=n`: a state of fixed shape with room for n
        inputs, for single steps inside a scan; without it the state may grow with each reading."""

    @abc.abstractmethod
    def advance(self, state: State, inputs: Inputs) -> tuple[State, Prediction]:
        """Read inputs: tokens (int [time]), weights over symbols (float [time, symbol]) or, for
        neural predictors, `Embedded` rows [time, embedding]."""

    def blank(self, capacity: int | None = None) -> State:
        """The state before whatever opens every sequence, such as a begin token, for prompts that
        stand before it: start() is begin(blank())."""
        return self.start(capacity)

    def begin(self, state: State) -> State:
        """Read what opens every sequence."""
        return state

    def advance_batch(self, state: State, inputs: Inputs) -> tuple[State, Prediction]:
        """Read a batch [sequence, time, ...] from one shared state; equals `vmap` of `advance`."""
        return jax.vmap(self.advance, in_axes=(None, 0))(state, inputs)

    @property
    def forgets(self) -> bool:
        """Whether a state can drop what was read last: `advance_first` and `opened` exist, each one
        program for any number of tokens up to `time`."""
        return False

    def advance_first(
        self,
        state: State,
        tokens: Int[Array, " time"],
        count: Int[Array, ""],
        capacity: int | None = None,
    ) -> State:
        """The state, of fixed shape, after the first `count` of the tokens. The given one is of
        fixed shape too, with room for all of the tokens; or it grows, and `capacity` says for how
        many inputs the new one has room, the tokens included."""
        del state, tokens, count, capacity
        raise TypeError(f"{type(self).__name__} cannot drop what it read last.")

    def opened(self, tokens: Int[Array, " time"], count: Int[Array, ""], capacity: int) -> State:
        """`advance_first` of start()."""
        return self.advance_first(self.start(), tokens, count, capacity)

    def reading_bytes(self, rows: int) -> int:
        """A lower bound in bytes on the memory needed to read that many rows at once."""
        return 8 * rows * self.symbols

    def micro_batch(self, batch: int, length: int) -> int:
        """How many of `batch` sequences to differentiate at a time on this platform."""
        del length
        return batch

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        """At how many steps to stop reading sequences of up to `length` that are scored no further;
        each is another program, which a large predictor is worth."""
        return (length,)


class Prompt(Record):
    """What is read before the data: a tuned or given tree that yields inputs."""

    @property
    def before_begin(self) -> bool:
        """Whether it stands before what opens a sequence (`Predictor.begin`), not after."""
        return False  # a member may make it a field

    @abc.abstractmethod
    def inputs(self) -> Inputs:
        """What the predictor reads."""

    def shown(self) -> Array:
        """What was found, for people: tokens [prompt], weights [prompt, symbol], rows
        [prompt, embedding], or keys and values [part, layer, head, prompt, each]."""
        inputs = self.inputs()
        return inputs.rows if isinstance(inputs, Embedded) else inputs


class GivenPrompt(Prompt):
    """A prompt of tokens or of weights over symbols, as it is."""

    values: Array

    def inputs(self) -> Inputs:
        return self.values


class Wrapper(Predictor):
    """A predictor around another one, whose weights it shares: what reads prompts before it."""

    predictor: eqx.AbstractVar[Predictor]

    @property
    def symbols(self) -> int:
        return self.predictor.symbols


class Prompted(Wrapper):
    """A predictor that has read a prompt; the prompt is one of its leaves."""

    predictor: Predictor
    reads: Prompt

    @property
    def prompt(self) -> Array:
        """What is read before the data."""
        return self.reads.shown()

    @property
    def exchangeable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.predictor.exchangeable

    def start(self, capacity: int | None = None) -> State:
        return self.begin(self.blank(capacity))

    def blank(self, capacity: int | None = None) -> State:
        room = None if capacity is None else capacity + rows_in(self.reads.inputs())
        state = self.predictor.blank(room)
        return self._read(state)[0] if self.reads.before_begin else state

    def begin(self, state: State) -> State:
        state = self.predictor.begin(state)
        return state if self.reads.before_begin else self._read(state)[0]

    def reading(self) -> Prediction:
        """What the predictor says while it reads the prompt."""
        first = self.reads.before_begin
        return self._read(self.predictor.blank() if first else self.predictor.start())[1]

    def _read(self, state: State) -> tuple[State, Prediction]:
        return self.predictor.advance(state, self.reads.inputs())

    def advance(self, state: State, inputs: Inputs) -> tuple[State, Prediction]:
        return self.predictor.advance(state, inputs)

    def advance_batch(self, state: State, inputs: Inputs) -> tuple[State, Prediction]:
        return self.predictor.advance_batch(state, inputs)

    @property
    def forgets(self) -> bool:
        return self.predictor.forgets

    def advance_first(
        self,
        state: State,
        tokens: Int[Array, " time"],
        count: Int[Array, ""],
        capacity: int | None = None,
    ) -> State:
        return self.predictor.advance_first(state, tokens, count, capacity)

    def reading_bytes(self, rows: int) -> int:
        return self.predictor.reading_bytes(rows)

    def micro_batch(self, batch: int, length: int) -> int:
        return self.predictor.micro_batch(batch, length)

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        return self.predictor.reading_lengths(length)


class Repeated(Record):
    """Predictors that share a frozen half: each tuned leaf has a leading `repetition` axis.

    `repeated[i]` is the predictor of repetition i; iterating yields all of them.
    """

    tuned: Any
    frozen: Any
    repetitions: int = eqx.field(static=True)

    def __len__(self) -> int:
        return self.repetitions

    def __getitem__(self, index: int) -> Predictor:
        if not -self.repetitions <= index < self.repetitions:
            raise IndexError(
                f"Expected a repetition from 0 to {self.repetitions - 1}; got {index}."
            )
        which = on_device(np.int32(index % self.repetitions))  # one program picks any
        return eqx.combine(_picked(self.tuned, which), self.frozen)

    def __iter__(self) -> Iterator[Predictor]:
        return (self[index] for index in range(self.repetitions))

    @property
    def symbols(self) -> int:
        return self[0].symbols

    @property
    def prompt(self) -> Array:
        """The prompts that were found [repetition, prompt, ...]."""
        return jnp.stack([each.prompt for each in self])  # pyright: ignore


def cut(predictors: Sequence[Predictor], mask: Any) -> Repeated:
    """Predictors that differ in their tuned leaves only, as one tree in two halves."""
    tuned = [eqx.filter(predictor, mask) for predictor in predictors]
    return Repeated(_stacked(tuned), eqx.filter(predictors[0], mask, inverse=True), len(predictors))


@eqx.filter_jit
def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@eqx.filter_jit
def _picked(stacked: Any, index: Int[Array, ""]) -> Any:
    return jax.tree.map(lambda leaf: leaf[index], stacked)


def one_or_all(repeated: Repeated) -> Predictor | Repeated:
    """The only repetition, or all of them."""
    return repeated[0] if len(repeated) == 1 else repeated


@eqx.filter_jit
def _read(predictor: Predictor, inputs: Inputs) -> LogProbs:
    return predictor.advance(predictor.start(), inputs)[1].log_probs


def predict(predictor: Predictor, tokens: Any) -> LogProbs:
    """Log probabilities [time, symbol] in nats; row t predicts tokens[t] from tokens[:t].

    `tokens`: an array or a list of whole numbers [time].

    Example: `promptax.predict(coins.bayes(), jnp.array([1, 1, 1]))[2]` is log (1/4, 3/4).
    """
    return _read(traced(one(predictor)), checked(predictor, tokens))


def condition(predictor: Predictor, prompt: Any) -> Prompted:
    """The predictor after reading `prompt`: tokens [prompt], weights [prompt, symbol], or lists."""
    return Prompted(one(predictor), GivenPrompt(checked(predictor, prompt)))


def one(predictor: Any) -> Predictor:
    """The predictor, after a look at what it is.

    Raises:
        TypeError: several repetitions, or no predictor at all.
    """
    if isinstance(predictor, Repeated):
        raise TypeError(
            f"Expected one predictor; got {len(predictor)} repetitions. Pick one: predictor[0]."
        )
    if not isinstance(predictor, Predictor):
        raise TypeError(
            f"Expected a promptax Predictor; got {type(predictor).__name__}. An architecture is "
            "built first: architecture.build(key, symbols), or trained: promptax.pretrain."
        )
    return predictor


def checked(predictor: Predictor | Repeated, inputs: Any) -> Any:
    """The inputs as arrays, after a look at their shape and, where values are known, at them."""
    if isinstance(inputs, Embedded | Tracer):
        return inputs
    if not isinstance(inputs, Array):
        inputs = np.asarray(inputs)
    if jnp.issubdtype(inputs.dtype, jnp.floating) and inputs.ndim == 2:
        return inputs if isinstance(inputs, Array) else on_device(inputs)
    if inputs.ndim != 1 or not (jnp.issubdtype(inputs.dtype, jnp.integer) or inputs.size == 0):
        raise ValueError(
            f"Expected tokens of shape [time] (int) or weights [time, symbol] (float); got shape "
            f"{inputs.shape}, {inputs.dtype}. For a batch use jax.vmap or promptax.evaluate."
        )
    tokens = np.asarray(inputs)  # whatever their width: what 32 bits cannot hold is named too
    if tokens.size and not (tokens.min() >= 0 and tokens.max() < predictor.symbols):
        raise ValueError(
            f"Expected tokens from 0 to {predictor.symbols - 1}; got {tokens.min()} to "
            f"{tokens.max()}. The predictor's alphabet has {predictor.symbols} symbols."
        )
    here = isinstance(inputs, Array) and inputs.dtype == jnp.int32
    return inputs if here else on_device(tokens.astype(np.int32))
