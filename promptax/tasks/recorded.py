"""A user's own sequences as a task: no oracle, no exact predictor.

This is the one place outside the store that reads a file: the text a user names is the task.
"""

from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Key

from promptax.protocol.outcomes import Episode
from promptax.specs import check
from promptax.tasks.base import Task

PAD = -1


def as_rows(sequences: Any) -> Any:
    """Rows of whole numbers [sequence, time], shorter rows filled with -1."""
    if sequences is None:
        return None
    if isinstance(sequences, jax.Array):
        sequences = np.asarray(sequences)
    if not isinstance(sequences, np.ndarray):
        rows = [np.asarray(row) for row in sequences]
        check(len(rows) > 0, "Expected at least one sequence; got none.")
        for index, row in enumerate(rows):
            whole = np.issubdtype(row.dtype, np.integer) or row.size == 0
            check(
                row.ndim == 1 and whole,
                "Expected whole numbers, one row for each sequence; got shape "
                f"{row.shape}, {row.dtype} in row {index}.",
            )
        width = max(len(row) for row in rows)
        sequences = np.stack(
            [np.pad(row, (0, width - len(row)), constant_values=PAD) for row in rows]
        )
    check(
        sequences.ndim == 2 and sequences.size > 0 and np.issubdtype(sequences.dtype, np.integer),
        f"Expected whole numbers of shape [sequence, time]; got shape {sequences.shape}, "
        f"{sequences.dtype}.",
    )
    return sequences.astype(np.int32)


def draw_row(key: Key[Array, ""], sequences: Any, length: int) -> tuple[Array, Array]:
    """The index of a row drawn at random, and the first `length` of its tokens, -1 past the end."""
    sequences = jnp.asarray(sequences)
    index = jax.random.randint(key, (), 0, sequences.shape[0])
    row = sequences[index, :length]
    return index, jnp.pad(row, (0, length - row.shape[0]), constant_values=PAD)


class Recorded(Task):
    """Sequences from an array or from a text file with one sequence a line.

    Each episode is a recorded sequence drawn at random, read from its beginning; steps past its end
    are not scored. In a file, a line is a row of words if it has spaces or commas, else a row of
    characters.
    """

    path: str = eqx.field(default="", static=True)
    """Text file with one sequence a line."""
    alphabet: tuple[str, ...] = eqx.field(default=(), static=True)
    """The symbols in order, as they are written in the file; by default those found, sorted."""
    sequences: Annotated[Any, tyro.conf.Suppress] = None
    """Tokens [sequence, time], -1 past the end; read from `path` if not given."""

    def __post_init__(self) -> None:
        self.alphabet = tuple(self.alphabet)
        self.sequences = as_rows(self.sequences)
        if self.sequences is None:
            check(self.path != "", "Expected sequences or the path of a text file; got neither.")
            lines = _read(self.path)
            self.alphabet = self.alphabet or _alphabet(lines)
            self.sequences = _encode(self.path, lines, self.alphabet)
        largest = int(self.sequences.max())
        if not self.alphabet:
            self.alphabet = tuple(str(i) for i in range(max(2, largest + 1)))
        check(
            int(self.sequences.min()) >= PAD and largest < len(self.alphabet),
            f"Expected tokens from 0 to {len(self.alphabet) - 1} (and {PAD} past the end); got "
            f"{int(self.sequences.min())} to {largest}. Give the whole alphabet.",
        )

    @property
    def symbols(self) -> int:
        return len(self.alphabet)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        index, row = draw_row(key, self.sequences, length)
        return Episode(jnp.maximum(row, 0), latent=index, scored=row != PAD)

    @classmethod
    def examples(cls) -> "tuple[Recorded, ...]":
        return cls(sequences=((0, 1, 1), (1, 0), (1, 1, 1, 0))), cls(sequences=((0, 2, 1), (1, 0)))


def _read(path: str) -> dict[int, list[str]]:
    """The symbols of each line with text, by the line's number in the file."""
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    rows = {
        number: line.replace(",", " ").split() if any(c in line for c in ", \t") else list(line)
        for number, line in enumerate(lines, start=1)
        if line
    }
    check(len(rows) > 0, f"Expected one sequence a line; {path} has no line with text.")
    return rows


def _alphabet(rows: dict[int, list[str]]) -> tuple[str, ...]:
    symbols = {symbol for row in rows.values() for symbol in row}
    numbers = all(symbol.isdecimal() for symbol in symbols)
    ordered = sorted(symbols, key=(lambda symbol: (int(symbol), symbol)) if numbers else None)
    check(
        len(ordered) >= 2,
        f"Expected at least 2 different symbols; the file has only {ordered}. Name the whole "
        "alphabet: alphabet=('0', '1').",
    )
    return tuple(ordered)


def _encode(path: str, rows: dict[int, list[str]], alphabet: tuple[str, ...]) -> np.ndarray:
    index = {symbol: token for token, symbol in enumerate(alphabet)}
    for number, row in rows.items():
        unknown = next((symbol for symbol in row if symbol not in index), None)
        check(
            unknown is None,
            f"Expected symbols from {alphabet}; line {number} of {path} has {unknown!r}. Add it "
            "to the alphabet or correct the line.",
        )
    return as_rows([[index[symbol] for symbol in row] for row in rows.values()])
