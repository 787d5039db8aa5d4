"""What every predictor is: a belief, and how tokens move it.

    state = predictor.start()                               # the belief before any token
    state, prediction = predictor.advance(state, inputs)    # prediction.log_probs: [time, symbol]

Both are written for one sequence. `log_probs[t]` predicts `inputs[t]` from the state and
`inputs[:t]`; this alignment holds everywhere, also where what comes are no symbols (`outcomes`).
Prompting is `advance` over the prompt, once, outside the batch: the state that comes out is shared
by all sequences. No other code may know what a state contains.
"""

import abc
import math
from typing import TYPE_CHECKING, Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from promptax import platforms
from promptax.protocol.outcomes import Outcome, Symbols
from promptax.protocol.predictions import AnyPrediction
from promptax.specs import Record, check

State = Any
"""A belief: any tree of arrays. Only the predictor that made it knows what it contains."""

Inputs = Any
"""What a predictor reads: tokens `[time]`, weights over symbols `[time, symbol]`, rows of an
outcome `[time, input]`, `Embedded` rows, or `KeyValues`; `Predictor.reads` says which of them."""

# Kinds of inputs, the words of `Predictor.reads`.
TOKENS, WEIGHTS, OBSERVATIONS = "tokens", "weights", "observations"
ROWS, KEYS_AND_VALUES = "rows", "keys and values"


class Embedded(Record):
    """Rows that enter a neural predictor behind its embedding: soft prompts; `rows` [time,
    embedding]."""

    rows: Float[Array, "*batch time embedding"]


class KeyValues(Record):
    """What attention looks back at, put there without being read: rows of keys and values in every
    layer. They predict nothing, so they have to come before the row that starts a sequence.

    `keys`, `values` [layer, head, time, head_width]: what a layer would have made of rows.
    """

    keys: Float[Array, "layer head time head_width"]
    values: Float[Array, "layer head time head_width"]


def rows_in(inputs: Inputs) -> int:
    """How many rows there are to read."""
    if isinstance(inputs, KeyValues):
        return inputs.keys.shape[-2]
    return jax.tree.leaves(inputs)[0].shape[0]


def kind_of(inputs: Inputs, outcome: Outcome) -> str:
    """Which kind of inputs these are, for a predictor of that outcome: a word of `reads`."""
    if isinstance(inputs, Embedded):
        return ROWS
    if isinstance(inputs, KeyValues):
        return KEYS_AND_VALUES
    if outcome.alphabet is None:
        return OBSERVATIONS
    return WEIGHTS if jnp.issubdtype(inputs.dtype, jnp.floating) else TOKENS


def real_rows(inputs: Inputs, outcome: Outcome) -> Float[Array, "*batch time input"]:
    """The inputs, after a look whether they are rows of an outcome without an alphabet.

    Raises:
        TypeError: tokens, embedding rows, or keys and values.
        ValueError: rows of another width.
    """
    width = outcome.input_width()
    kinds = {Embedded: "embedding rows", KeyValues: "keys and values"}
    kind = kinds.get(type(inputs))
    if kind is None and jnp.issubdtype(inputs.dtype, jnp.integer):
        kind = "tokens"
    wanted = f"Expected rows [time, {width}] of {outcome.words()}, which the predictor reads; got"
    if kind is not None:
        raise TypeError(f"{wanted} {kind}.")
    if inputs.ndim < 2 or inputs.shape[-1] != width:
        raise ValueError(f"{wanted} shape {inputs.shape}.")
    return inputs


def check_reads(predictor: Any, kind: str, hint: str = "") -> None:
    """Complain, before any compute, unless the predictor reads that kind of inputs.

    Raises:
        TypeError: it says what the predictor reads instead.
    """
    if kind not in predictor.reads:
        raise TypeError(
            f"Expected {' or '.join(sorted(predictor.reads))}, which {type(predictor).__name__} "
            f"reads; got {kind}.{hint}"
        )


WAY_BEYOND = "To read beyond its context all the same: promptax.predictors.llama.longer(predictor)."


def check_most_inputs(predictor: Any, inputs: int, parts: str = "", remedy: str = "") -> None:
    """Complain, before any compute, about more inputs than the predictor was trained to read.

    Args:
        inputs: how many it is to read after `start`.
        parts: what they are, for the message, such as ": a prompt of 3 and 4 to sample".
        remedy: how to read fewer at this door, a sentence.

    Raises:
        ValueError: with both numbers, and what to do.
    """
    limit = predictor.most_inputs()
    if limit is None or inputs <= limit:
        return
    if limit < 0:
        raise ValueError(
            "Expected a prompt that leaves room in the context that the model was trained to "
            f"read; got one that is {-limit:,} rows too long. Take a shorter one. {WAY_BEYOND}"
        )
    raise ValueError(
        f"Expected at most {limit:,} inputs, since the model was trained to read no more behind "
        f"what opens a sequence and the prompts that it has read; got {inputs:,}{parts}. "
        f"{remedy or 'Read fewer, or score them in pieces: code_length(context=).'} {WAY_BEYOND}"
    )


def check_readable(predictor: Any, inputs: Inputs) -> None:
    """`check_most_inputs` of inputs at hand, of any kind."""
    left = predictor.most_inputs((inputs,))
    if left is not None and left < 0:
        check_most_inputs(predictor, rows_in(inputs))


def check_context(rows: int, context_length: int) -> None:
    """Complain about a state that has read more rows than its network was trained to read one
    after the other.

    Args:
        rows: of everything that was read from the first row on.

    Raises:
        ValueError: with both numbers, and what to do.
    """
    if rows > context_length:
        raise ValueError(
            f"Expected at most {context_length:,} rows, which the model was trained to read one "
            "after the other: what opens a sequence, prompts and the sequence together; got "
            f"{rows:,}. Take shorter sequences (length) or shorter prompts. {WAY_BEYOND}"
        )


def check_keys_and_values(given: KeyValues, wanted: tuple[int, ...], whose: str) -> None:
    """Complain about keys and values that a network could not have made.

    Args:
        wanted: the shape of what it has itself [layer, head, time, head_width], of any time.
        whose: the network, for the message.

    Raises:
        ValueError: with both shapes.
    """
    layers, heads, _, width = wanted
    keys, values = (tuple(array.shape) for array in (given.keys, given.values))
    check(
        keys == values and len(keys) == 4 and (*keys[:2], keys[3]) == (layers, heads, width),
        f"Expected keys and values [layer, head, time, head_width] alike: [{layers}, {heads}, "
        f"time, {width}], as this {whose} makes them; got {keys} and {values}. Those of another "
        "network mean nothing to this one: tune a KeyValuePrompt on it.",
    )


class Predictor(Record):
    """Predicts the next symbol from those before it: `start` gives a state, `advance` moves it.

    A network and an exact Bayes rule are both predictors. All methods are for one sequence.

    A member owes three things:

    - `symbols`: the size of its alphabet, a field or a property. Where what comes are no symbols,
      a property `outcome`; `symbols` then refuses by name: `alphabet_of(self)`;
    - `start(capacity)`: the belief before any token;
    - `advance(state, inputs)`: the belief after the inputs, and what was predicted on the way.

    Everything else is optional, and right as it is:

    - `reads`: say so where not both tokens and weights over symbols can be read;
    - `exchangeable` and `merges`: which exact expectations can be computed, and how;
    - `blank` and `begin`: apart where a row opens every sequence;
    - `most_inputs`: where it was trained to read so many and no more;
    - `with_room`: where states grow, and tasks are made of the predictor's task;
    - `learns`: False where nothing that is read changes what is said;
    - `advance_batch`, `predict_behind`, `forgets`, `advance_first`, `opened`: faster ways to the
      same result;
    - `reading_bytes`, `reading_operations`, `micro_batch`, `prompts_at_once`, `reading_lengths`:
      what reading costs, and how much of it to do at once; `prompt_rows`, `readers`: for what
      reads prompts.
    """

    if TYPE_CHECKING:  # a field or a property, at the member's choice

        @property
        def symbols(self) -> int: ...
    else:
        symbols: eqx.AbstractVar[int]
    # What `advance` takes: "tokens", "weights" over symbols, "observations" (rows of an outcome
    # without an alphabet), "rows" behind an embedding, "keys and values". Others are refused.
    reads: ClassVar[frozenset[str]] = frozenset({TOKENS, WEIGHTS})
    # True where only the counts of what was read matter, not their order: sums over sequences
    # become sums over counts (`enumeration`).
    exchangeable: ClassVar[bool] = False
    # False where no two histories leave equal states, as in networks: `evaluate` does not try to
    # merge them (`beliefs`), which would read every sequence.
    merges: ClassVar[bool] = True
    # False where what it says does not depend on what it read, as for known independent symbols.
    learns: ClassVar[bool] = True

    @property
    def outcome(self) -> Outcome:
        """What it predicts."""
        return Symbols(self.symbols)

    def most_inputs(self, behind: tuple[Inputs, ...] = ()) -> int | None:
        """How many inputs it was trained to read after `start`, or, where it reads other inputs
        first, behind these (their shapes suffice); negative where these are too many already.
        None: any number. Doors refuse more."""
        del behind
        return None

    @abc.abstractmethod
    def start(self, capacity: int | None = None) -> State:
        """The belief before any token. `capacity=n`: a state of fixed shape with room for n
        inputs, for single steps inside a scan; without it the state may grow with each reading."""

    @abc.abstractmethod
    def advance(self, state: State, inputs: Inputs) -> tuple[State, AnyPrediction]:
        """Read inputs: tokens (int [time]), weights over symbols (float [time, symbol]), rows of an
        outcome without an alphabet (float [time, input]) or, for neural predictors, `Embedded` rows
        [time, embedding]."""

    def with_room(self, state: State, rows: int) -> State:
        """The state, of fixed shape, with room for so many more rows: for single steps inside a
        scan that began with `start(0)`. A member whose states grow writes it."""
        del rows
        return state

    def blank(self, capacity: int | None = None) -> State:
        """The state before whatever opens every sequence, such as a begin token, for prompts that
        stand before it: start() is begin(blank())."""
        return self.start(capacity)

    def begin(self, state: State) -> State:
        """Read what opens every sequence."""
        return state

    def advance_batch(self, state: State, inputs: Inputs) -> tuple[State, AnyPrediction]:
        """Read a batch [sequence, time, ...] from one shared state; equals `vmap` of `advance`."""
        return jax.vmap(self.advance, in_axes=(None, 0))(state, inputs)

    def predict_behind(self, state: State, prompts: Inputs, inputs: Inputs) -> AnyPrediction | None:
        """What is said of each sequence [sequence, time] behind each prompt, tokens [candidate,
        prompt] or weights over symbols [candidate, prompt, symbol], all from one state: a
        prediction [candidate, sequence, time], without internal states. Nothing comes afterwards,
        so the last step of a sequence is predicted and need not be read. None: that is no faster
        than `advance` over each prompt and `advance_batch`, which say the same."""
        del state, prompts, inputs
        return None

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
        return 4 * rows * (self.outcome.input_width() + self.outcome.parameter_width())

    def prompt_rows(self) -> int:
        """How many rows of prompts `start` reads; what opens every sequence does not count."""
        return 0

    def readers(self) -> int:
        """How often each row of the data is read: once, or behind each of several prompts."""
        return 1

    def reading_operations(self, rows: int) -> float:
        """An estimate of the floating-point operations to read that many rows: 2 for each weight
        that a row meets. NaN: nobody said. Of a tree with some of its leaves missing, the weights
        that are there count."""
        del rows
        return math.nan

    def micro_batch(self, batch: int, length: int) -> int:
        """How many of `batch` sequences to differentiate at a time on this platform."""
        del length
        return batch

    def prompts_at_once(self, prompts: int, sequences: int, length: int) -> int:
        """How many of `prompts` to read side by side on this platform, where `sequences` of
        `length` steps follow each."""
        del sequences, length
        return platforms.prompts_at_once(prompts)

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        """At how many steps to stop reading sequences of up to `length` that are scored no further;
        each is another program, which a large predictor is worth."""
        return (length,)
