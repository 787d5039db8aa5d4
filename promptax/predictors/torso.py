"""What sits between embedding and unembedding: the part that makes one network unlike another."""

import abc
from typing import Any, ClassVar, NamedTuple

import jax
from jaxtyping import Array, Float, Int

from promptax import platforms
from promptax.predictors.parts.layers import choose
from promptax.specs import Record

Rows = Float[Array, "time embedding"]
AnyRows = Float[Array, "*batch time embedding"]
Table = Float[Array, "symbol embedding"]
Outputs = Float[Array, "time width"]
BatchRows = Float[Array, "sequence time embedding"]
BatchTokens = Int[Array, "sequence time"]
BatchOutputs = Float[Array, "sequence time width"]
Internals = dict[str, Float[Array, "*batch time _state"]]
Remembered = Float[Array, "layer head row head_width"]


class Attended(NamedTuple):
    """What attention heads do while rows are read from the start.

    `weights` [layer, head, row, other]: how much a row attends to each other one, 0 to those behind
    it; `writes` [layer, head, row, width]: what each head adds to the row. The sum over the heads
    of a layer is all that its attention adds.
    """

    weights: Float[Array, "layer head row row"]
    writes: Float[Array, "layer head row width"]


class Torso(Record):
    """What sits between embedding and unembedding, for one sequence.

    A member owes:

    - `start(capacity)`: the state before any row;
    - `advance(state, rows)`: the new state, outputs [time, width], and internal states by name;
    - `low_rank_layers()`: the names of the dense layers that `LowRank` adapts by default.

    With attention also `remember` and `remembered`, for prompts of keys and values; with these,
    `forget` and `forgets = True` where a state can drop what was read last. For analyses of heads
    `attended`.

    Optional, for speed: `advance_batch` and `advance_tokens`, where a batch can share work; for
    memory: `reading_bytes`, `micro_batch`, `prompts_at_once`, `reading_lengths`. `is_large` says
    whether the weights are what a reading waits for.
    """

    forgets: ClassVar[bool] = False  # True with `forget`, `remember` and `remembered`

    @abc.abstractmethod
    def start(self, capacity: int | None) -> Any:
        """The state before any row; with room for `capacity` rows and a fixed shape if given."""

    @abc.abstractmethod
    def advance(self, state: Any, rows: Rows) -> tuple[Any, Outputs, Internals]:
        """The new state, outputs [time, width], and internal states [time, state] by name."""

    def advance_batch(self, state: Any, rows: BatchRows) -> tuple[Any, BatchOutputs, Internals]:
        """The same for a batch that starts from one state. To override where `advance` takes any
        number of axes before time, which saves `vmap`'s products of more than two axes."""
        return jax.vmap(self.advance, in_axes=(None, 0))(state, rows)

    def advance_tokens(
        self, state: Any, table: Table, tokens: BatchTokens
    ) -> tuple[Any, BatchOutputs, Internals]:
        """The same for a batch of tokens and the rows of all symbols. To override where work on
        distinct rows can be shared."""
        return self.advance_batch(state, choose(table, tokens))

    @property
    def context_length(self) -> int | None:
        """How many rows it was trained to read one after the other; None: any number. With one,
        `rows_before` tells how many a state that grows has read."""
        return None

    def rows_before(self, state: Any) -> int | None:
        """How many rows a state has read; None where that is not known while compiling."""
        del state
        return None

    def forget(self, state: Any, rows: Int[Array, ""]) -> Any:
        """A state of fixed shape without its last rows, where `forgets`: rows are kept apart."""
        raise TypeError(f"{type(self).__name__} cannot drop what it read last.")

    def remember(self, state: Any, keys: Remembered, values: Remembered) -> Any:
        """The state with rows of keys and values that were not read; for attention alone."""
        raise TypeError(
            f"Expected a network with attention; {type(self).__name__} has no keys and values."
        )

    def remembered(self, state: Any) -> tuple[Remembered, Remembered] | None:
        """Keys and values of everything that the state has read; None without attention."""
        del state
        return None

    @property
    def has_attention(self) -> bool:
        """Whether it has keys and values: `remember` and `remembered` are then its own."""
        return type(self).remember is not Torso.remember

    def attended(self, rows: Rows) -> Attended | None:
        """What the heads do while the rows are read from the start; None: it has no heads, or does
        not show them."""
        del rows
        return None

    @abc.abstractmethod
    def low_rank_layers(self) -> tuple[str, ...]:
        """The names of the dense layers that a low-rank tuner adapts by default; () without any."""

    def reading_bytes(self, rows: int) -> int:
        """A lower bound on the memory for reading that many rows at once, in bytes."""
        del rows
        return 0

    def micro_batch(self, batch: int, length: int) -> int:
        """How many of `batch` sequences to differentiate at a time on this platform."""
        del length
        return batch

    def prompts_at_once(self, prompts: int, sequences: int, length: int) -> int:
        """How many of `prompts` to read side by side on this platform (`Predictor`)."""
        del sequences, length
        return platforms.prompts_at_once(prompts)

    @property
    def is_large(self) -> bool:
        """Whether reading its weights takes so long that they are read as rarely as possible, for
        as many rows as possible (`Predictor.predict_behind`)."""
        return False

    def reading_lengths(self, length: int) -> tuple[int, ...]:
        """Where to stop reading sequences that are scored no further (`Predictor`)."""
        return (length,)
