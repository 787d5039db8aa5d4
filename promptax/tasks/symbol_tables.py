"""What in numbered rows may be no sequences: one symbol a line, names of lines, times.

What is read here are tokens [sequence, time], of a file or of an array, of which nobody named the
symbols. Each function says in words what it found; "" if that is nothing.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Int

PAD = -1  # past the end of a sequence
LEAST_LINES = 10  # in fewer, what is said below may be a matter of chance
LEAST_COUNTED = 20  # lines, for a column that counts
MOST_COLUMNS = (
    20  # of a table; in longer lines the first and the last column may be of another kind
)
MOSTLY = 0.9  # of the entries or symbols of a column
LEAST_REPEATS = 10  # entries for each symbol of the other columns: of texts there are fewer
TOKENS_AT_ONCE = 2**22  # to look at
LEAST_COUNT = 4  # numbers of a column that counts

Names = Callable[[np.ndarray], str]  # some tokens in words, shortened

ALONE = "Write the symbols of each sequence alone, without names, times and labels"


def pieces(sequences: Int[np.ndarray, "sequence time"]) -> Iterator[tuple[int, np.ndarray]]:
    """Some rows at a time, with the index of their first, since they may fill the memory."""
    at_once = max(1, TOKENS_AT_ONCE // sequences.shape[1])
    for first in range(0, len(sequences), at_once):
        yield first, sequences[first : first + at_once]


def doubt(sequences: Int[np.ndarray, "sequence time"], symbols: int, names: Names) -> str:
    """What makes rows look like something else than sequences, in words, and what to do."""
    lines, columns = sequences.shape
    if lines < LEAST_LINES:
        return ""
    if columns == 1:
        return (
            f"all {lines:,} have one symbol alone. If they are one sequence, write it in one row, "
            "or cut it into rows of like length: by xargs -n 50 < FILE > NEW, in NumPy by "
            "array[: len(array) // 50 * 50].reshape(-1, 50)"
        )
    total = np.zeros(symbols + 1, np.int64)  # first -1, past the end
    for _, rows in pieces(sequences):
        total += np.bincount(rows.ravel() + 1, minlength=symbols + 1)
    is_table = total[0] == 0
    places = [0] if not is_table else [0, columns - 1] if columns > MOST_COLUMNS else range(columns)
    distinct = []
    for place in places:
        column = np.bincount(sequences[:, place] + 1, minlength=symbols + 1)
        distinct.append(np.count_nonzero(column[1:]))
        if own := _own_symbols(column[1:], total[1:]):
            shown = names(np.flatnonzero((column == total)[1:] & (column[1:] > 0)))
            return (
                f"column {place + 1} of {columns} has {own:,} symbols ({shown}) that no other one "
                f"has, as names of rows do. {ALONE}"
            )
    if not is_table or columns > MOST_COLUMNS or lines < LEAST_COUNTED:
        return ""
    for place, count in enumerate(distinct):
        # columns of the same kind have about as many symbols; a single one: all rows begin alike
        unlike = any(2 * other < count or other > 2 * count for other in distinct if other > 1)
        if unlike and _counts_on(sequences[:, place]):
            return (
                f"column {place + 1} of {columns} counts on from row to row, as times do. {ALONE}"
            )
    return ""


def _own_symbols(column: np.ndarray, total: np.ndarray) -> int:
    """How many symbols, by how often each occurs there and in all, a column has that no other one
    has, if these are nearly all of its own; 0 unless they are so many that they tell lines apart:
    one for nearly every line, or far more than all others have."""
    occur = int(np.count_nonzero(column))
    own = int(np.count_nonzero((column > 0) & (column == total)))
    others = int(np.count_nonzero(total - column))
    tell_apart = occur >= MOSTLY * column.sum() or occur >= LEAST_REPEATS * others
    # a single one, as where all rows begin alike, says nothing
    repeated = others > 1 and total.sum() - column.sum() >= LEAST_REPEATS * others
    is_name = tell_apart and repeated and own >= MOSTLY * occur and occur >= LEAST_LINES
    return own if is_name else 0


def _counts_on(column: np.ndarray) -> bool:
    """Whether each entry is the one after the entry before it, or the first one again."""
    values, ranks = np.unique(column, return_inverse=True)
    return bool(
        len(values) >= LEAST_COUNT and ((np.diff(ranks) == 1) | (ranks[1:] == ranks[0])).all()
    )


def of_one_row(
    sequences: Int[np.ndarray, "sequence time"], symbols: int
) -> Int[np.ndarray, " token"]:
    """The tokens that occur in a single row of at least `LEAST_LINES`, as those of a header do."""
    if len(sequences) < LEAST_LINES:
        return np.empty(0, int)
    first, last = np.full(symbols + 1, -1), np.full(symbols + 1, -2)
    for begin, rows in pieces(sequences):
        numbers = np.repeat(np.arange(begin, begin + len(rows)), rows.shape[1])
        last[rows.ravel()] = numbers  # the last one assigned stays
        new = np.full(symbols + 1, -1)
        new[rows.ravel()[::-1]] = numbers[::-1]
        first = np.where(first < 0, new, first)
    return np.flatnonzero(first[:-1] == last[:-1])  # the last one: -1


def counts_columns(sequences: Int[np.ndarray, "sequence time"]) -> bool:
    """Whether the first row is 0, 1, 2, ... or 1, 2, ..., up to what comes nowhere else."""
    first = sequences[0]
    if len(sequences) < 3 or len(first) < 3 or first[0] not in (0, 1) or any(np.diff(first) != 1):
        return False
    return sum(int(np.sum(rows == first[-1])) for _, rows in pieces(sequences)) == 1
