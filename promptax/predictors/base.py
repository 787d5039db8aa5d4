"""Networks: embedding → torso → unembedding, and how a prompt enters.

An `Architecture` is the spec; `build` makes the `Network` from it. An architecture's file defines
its `Torso`: a state, and how rows of the embedding move it.

The network's state is the torso's state and its last output. So a prompt, its last row included, is
fully read before the batch begins, and `log_probs` are those of [state.last, outputs[:-1]].
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from promptax import platforms
from promptax.predictors.parts.layers import Dense, Layer, Transposed, dense
from promptax.predictors.torso import AnyRows, Attended, Internals, Rows, Torso
from promptax.protocol.outcomes import Outcome, Symbols, alphabet_of, as_outcome
from promptax.protocol.predictions import AnyPrediction
from promptax.protocol.predictor import (
    KEYS_AND_VALUES,
    OBSERVATIONS,
    ROWS,
    TOKENS,
    WEIGHTS,
    Embedded,
    Inputs,
    KeyValues,
    Predictor,
    check_context,
    check_keys_and_values,
    real_rows,
    rows_in,
)
from promptax.specs import Spec, as_key, check, later

MOST_SIZE = 2**24  # a width, say: JAX counts the places of some times as many in 32 bits
FEW_SYMBOLS = 8  # up to that many, a batch computes the rows of all symbols once


def _look_at_build(network: "Architecture", key: Any, outcome: Any) -> tuple[Any, ...]:
    """A key, and what is predicted."""
    del network
    outcome = as_outcome(outcome)
    return as_key(key), outcome


class Architecture(Spec, open_as="network", default="Transformer"):
    """The spec of a network: what to build, as plain fields.

    A member owes:

    - `embedding_width()` and `output_width()`: the widths of rows into and out of the torso;
    - `torso(key)`: a freshly initialised `Torso`, which is written in the same file.

    Optional: `small()`, where the defaults are too large for the demo; `begin_token()`, where a
    symbol opens every sequence; `build` and `trained`, where weights come from elsewhere; and
    `examples()`, small instances by which the contract tests judge it.
    """

    doors: ClassVar[Mapping[str, Callable[..., tuple[Any, ...]]]] = {"build": _look_at_build}

    def __check_init__(self) -> None:
        for field in dataclasses.fields(self):  # sizes that nobody can count are refused
            size = getattr(self, field.name)
            check(
                not isinstance(size, int) or size <= MOST_SIZE,
                f"Expected a {field.name} of at most {MOST_SIZE:,}; got {size} in "
                f"{type(self).__name__}. Choose a smaller one.",
            )

    @classmethod
    def small(cls) -> "Architecture":
        """What the demo trains: small enough for everything that it does to take three minutes on
        two cores. To override where the defaults are larger than that."""
        return cls()

    @abc.abstractmethod
    def embedding_width(self) -> int:
        """How many numbers a row behind the embedding has."""

    @abc.abstractmethod
    def output_width(self) -> int:
        """The width of the torso's outputs."""

    @abc.abstractmethod
    def torso(self, key: Key[Array, ""]) -> Torso:
        """A freshly initialised torso."""

    def begin_token(self) -> int | None:
        """The symbol that opens every sequence; None: a row of its own, outside the alphabet."""
        return None

    @property
    def trained(self) -> bool:
        """Whether `build` gives weights that others trained."""
        return False

    def build(self, key: Key[Array, ""], outcome: Outcome | int) -> Any:
        """An untrained network that reads and predicts an outcome. A whole number stands for that
        many symbols. To override where weights come from elsewhere."""
        outcome = as_outcome(outcome)
        first, middle, last = jax.random.split(key, 3)
        return Network(
            architecture=self,
            embedding=dense(first, outcome.input_width(), self.embedding_width(), bias=True),
            torso=self.torso(middle),
            unembedding=dense(last, self.output_width(), outcome.parameter_width(), bias=True),
            row_outcome=None if outcome.alphabet else outcome,
        )


class NetworkState(eqx.Module):
    """The state of the `torso`, and its output after the `last` row [width]."""

    torso: Any
    last: Float[Array, "*batch width"]


class Reading(NamedTuple):
    """What a network makes of inputs, before it predicts.

    `state`: after all of them; `before` [time, width]: row t is the output that predicts inputs[t];
    `internals`: as in `Prediction`.
    """

    state: NetworkState
    before: Float[Array, "*batch time width"]
    internals: Internals

    def outputs(self) -> Float[Array, "*batch time width"]:
        """Those that predict inputs, and the one that predicts what comes next: one more row."""
        return jnp.concatenate([self.before, self.state.last[..., None, :]], axis=-2)


class Network(Predictor):
    """A neural predictor. Its leaves are float arrays and all of them can be trained.

    `architecture`: what it was built from. `embedding`: from a symbol, or a row of an outcome, to a
    row of `embedding_width` numbers. `torso`: what turns these rows into outputs, one after the
    other.
    """

    merges: ClassVar[bool] = False  # hidden states are real numbers, which never come again

    architecture: Architecture = eqx.field(static=True)
    embedding: Dense
    torso: Torso
    unembedding: Layer | None
    """None: the embedding's transpose."""
    row_outcome: Outcome | None = later(None, static=True)
    """What it reads rows of and predicts; None: symbols, one for each row of the embedding."""

    @property
    def outcome(self) -> Outcome:
        return self.row_outcome or Symbols(self.embedding.weight.shape[0])

    @property
    def symbols(self) -> int:
        return alphabet_of(self)

    @property
    def reads(self) -> frozenset[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        data = {OBSERVATIONS} if self.outcome.alphabet is None else {TOKENS, WEIGHTS}
        attention = {KEYS_AND_VALUES} if self.torso.has_attention else set()
        return frozenset(data | attention | {ROWS})

    @property
    def embedding_width(self) -> int:
        return self.embedding.weight.shape[1]

    def start(self, capacity: int | None = None) -> NetworkState:
        return self.begin(self.blank(capacity))

    def blank(self, capacity: int | None = None) -> NetworkState:
        room = None if capacity is None else capacity + 1  # for the begin row
        return NetworkState(self.torso.start(room), jnp.zeros(self.architecture.output_width()))

    def begin(self, state: NetworkState) -> NetworkState:
        """Reads the begin token; without one, a row of zeros, whose embedding is the bias."""
        return self.advance(state, self._opening())[0]

    def _opening(self) -> Array:
        token = self.architecture.begin_token()
        if token is None:
            return jnp.zeros((1, self.outcome.input_width()))
        return jnp.array([token])

    def advance(self, state: NetworkState, inputs: Inputs) -> tuple[NetworkState, AnyPrediction]:
        return self._predict(self.read(state, inputs))

    def advance_batch(
        self, state: NetworkState, inputs: Inputs
    ) -> tuple[NetworkState, AnyPrediction]:
        return self._predict(self.read_batch(state, inputs))

    @platforms.in_float32
    def predict_behind(
        self, state: NetworkState, prompts: Inputs, inputs: Inputs
    ) -> AnyPrediction | None:
        """Only where weights are many. Every product has the rows of all candidates, and the layer
        that predicts meets only rows that are scored."""
        if not self.torso.is_large:
            return None

        def outputs_behind(prompt: Inputs) -> Float[Array, "sequence time width"]:
            if len(inputs) == 1:  # prompt and sequence in one reading, so that weights come once
                rows = jnp.concatenate([self.embed(prompt), self.embed(inputs[0])])[:-1]
                return self.read(state, Embedded(rows)).outputs()[None, len(prompt) :]
            prompted = self.read(state, prompt).state
            return self.read_batch(prompted, inputs[:, :-1]).outputs()

        return self.outcome.of_outputs(jax.vmap(outputs_behind)(prompts), self.out)

    def most_inputs(self, behind: tuple[Inputs, ...] = ()) -> int | None:
        context = self.torso.context_length
        if context is None:
            return None
        return context - 1 - sum(map(rows_in, behind))  # a row opens every sequence

    def _check_context(self, state: NetworkState, rows: int) -> None:
        """Complain about more rows than the torso was trained to read, where the state grows: that
        of states of fixed shape is known where they are made (`check_most_inputs`)."""
        before, context = self.torso.rows_before(state.torso), self.torso.context_length
        if context is not None and before is not None:
            check_context(before + rows, context)

    @property
    def forgets(self) -> bool:
        return self.torso.forgets

    def advance_first(
        self,
        state: NetworkState,
        tokens: Int[Array, " time"],
        count: Int[Array, ""],
        capacity: int | None = None,
    ) -> NetworkState:
        self._check_forgets()
        return self._first(state, self.embed(tokens), count, capacity)

    def opened(
        self, tokens: Int[Array, " time"], count: Int[Array, ""], capacity: int
    ) -> NetworkState:
        """With what opens every sequence in the same reading: weights are read once."""
        self._check_forgets()
        rows = jnp.concatenate([self.embed(self._opening()), self.embed(tokens)])
        return self._first(self.blank(), rows, count + 1, capacity + 1)

    def _check_forgets(self) -> None:
        if not self.forgets:
            raise TypeError(f"{type(self.architecture).__name__} cannot drop what it read last.")

    @platforms.in_float32
    def _first(
        self, state: NetworkState, rows: Rows, count: Array, capacity: int | None
    ) -> NetworkState:
        torso, outputs, _ = self.torso.advance(state.torso, rows)
        if capacity is not None:
            before, kept = map(self.torso.remembered, (state.torso, torso))
            assert before is not None and kept is not None, "what forgets has keys and values"
            already = before[0].shape[-2]
            if kept[0].shape[-2] != already + len(rows):
                raise TypeError(
                    "Expected a state that grows to give room to: start(); got one of fixed shape."
                )
            room = already + capacity
            torso = self.torso.remember(self.torso.start(room), *kept)
        last = jnp.concatenate([state.last[None], outputs])[count]
        return NetworkState(self.torso.forget(torso, len(rows) - count), last)

    @platforms.in_float32
    def read(self, state: NetworkState, inputs: Inputs) -> Reading:
        """`advance` without predictions. The log probabilities of a few symbols cost less than
        those of all."""
        if isinstance(inputs, KeyValues):
            own = eqx.filter_eval_shape(self.remembered, state)
            check_keys_and_values(inputs, own.keys.shape, type(self.architecture).__name__)
            torso = self.torso.remember(state.torso, inputs.keys, inputs.values)
            nothing = jnp.zeros((0, *state.last.shape), state.last.dtype)
            return Reading(NetworkState(torso, state.last), nothing, {})
        self._check_context(state, rows_in(inputs))
        return self._reading(state, self.torso.advance(state.torso, self.embed(inputs)))

    @platforms.in_float32
    def read_batch(self, state: NetworkState, inputs: Inputs) -> Reading:
        """`advance_batch` without predictions."""
        rows = inputs.rows if isinstance(inputs, Embedded) else inputs
        self._check_context(state, rows.shape[1])
        few = 0 < (self.outcome.alphabet or 0) <= FEW_SYMBOLS
        if few and not isinstance(inputs, Embedded) and jnp.issubdtype(inputs.dtype, jnp.integer):
            table = self.embedding(jnp.eye(self.symbols))
            return self._reading(state, self.torso.advance_tokens(state.torso, table, inputs))
        return self._reading(state, self.torso.advance_batch(state.torso, self.embed(inputs)))

    def _reading(self, state: NetworkState, read: tuple[Any, Array, Internals]) -> Reading:
        torso, outputs, internals = read
        first = jnp.broadcast_to(state.last, (*outputs.shape[:-2], 1, outputs.shape[-1]))
        rows = jnp.concatenate([first, outputs], axis=-2)
        return Reading(NetworkState(torso, rows[..., -1, :]), rows[..., :-1, :], internals)

    @platforms.in_float32
    def _predict(self, reading: Reading) -> tuple[NetworkState, AnyPrediction]:
        state, before, internals = reading
        prediction = self.outcome.of_outputs(before, self.out)
        return state, dataclasses.replace(prediction, internals=internals)

    @property
    def out(self) -> Layer:
        """The layer that makes log probabilities, up to a constant, of the torso's outputs."""
        if self.unembedding is None:
            return Transposed(self.embedding.weight)
        return self.unembedding

    def remembered(self, state: NetworkState) -> KeyValues:
        """Keys and values of all that the state has read; TypeError without attention."""
        memory = self.torso.remembered(state.torso)
        if memory is None:
            raise TypeError(
                f"Expected a network with attention; {type(self.architecture).__name__} has no "
                "keys and values. SoftPrompt works on any network."
            )
        return KeyValues(*memory)

    @platforms.in_float32
    def attended(self, inputs: Inputs) -> Attended:
        """What the heads of attention do while inputs are read from the start. Row 0 is what opens
        every sequence, row t + 1 reads inputs[t].

        Raises:
            TypeError: the network has no heads, or does not show them.
        """
        rows = jnp.concatenate([self.embed(self._opening()), self.embed(inputs)])
        shown = self.torso.attended(rows)
        if shown is None:
            raise TypeError(
                "Expected a network that shows its heads of attention, such as a Transformer; "
                f"{type(self.architecture).__name__} does not. A torso shows them by `attended`."
            )
        return shown

    def embed(self, inputs: Inputs) -> AnyRows:
        """Rows [..., time, embedding] of tokens, of weights over symbols, of rows of the outcome,
        or as they are."""
        if isinstance(inputs, Embedded):
            return self._checked_rows(inputs.rows)
        if self.outcome.alphabet is None:
            return self.embedding(real_rows(inputs, self.outcome))
        if jnp.issubdtype(inputs.dtype, jnp.integer):
            if self.symbols > 64:
                rows, bias = self.embedding.weight[inputs], self.embedding.bias
                return rows if bias is None else rows + bias
            # a small product: on CPUs gathers have slow derivatives
            return self.embedding(jax.nn.one_hot(inputs, self.symbols))
        if inputs.shape[-1] == self.symbols:
            return self.embedding(inputs)
        return self._checked_rows(inputs)

    def _checked_rows(self, rows: Array) -> AnyRows:
        if rows.ndim < 2 or rows.shape[-1] != self.embedding_width:
            if self.outcome.alphabet is None:
                raise ValueError(
                    f"Expected embedding rows [time, {self.embedding_width}]; got shape "
                    f"{rows.shape}."
                )
            raise ValueError(
                f"Expected weights [time, {self.symbols}] over the symbols or embedding rows "
                f"[time, {self.embedding_width}]; got shape {rows.shape}."
            )
        return rows

    def reading_bytes(self, rows: int) -> int:
        widths = self.embedding_width + self.outcome.parameter_width()
        return 4 * rows * widths + self.torso.reading_bytes(rows)

    def reading_operations(self, rows: int) -> float:
        """2 for each weight of torso and output layer; rows of the embedding are looked up."""
        layer = self.embedding.weight if self.unembedding is None else self.unembedding
        leaves = jax.tree.leaves(eqx.filter((self.torso, layer), eqx.is_array))
        return 2.0 * rows * sum(leaf.size for leaf in leaves)

    def micro_batch(self, batch: int, length: int) -> int:
        return self.torso.micro_batch(batch, length)

    def prompts_at_once(self, prompts: int, sequences: int, length: int) -> int:
        return self.torso.prompts_at_once(prompts, sequences, length)

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        return self.torso.reading_lengths(length)
