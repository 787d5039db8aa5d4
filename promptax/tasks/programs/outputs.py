"""What all programs of one length write, and the exact prediction from it.

The outputs of all programs, sorted, are a table in which those that begin with what was read are
neighbours. So a belief is two places in the table. The n-th symbol has the probability

    p(s | x_<n)  =  (programs whose output begins with x_<n s) / (programs that begin with x_<n)

which is the predictor of Solomonoff, truncated to programs of one length and so many steps.
"""

import functools
import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_context
from jaxtyping import Array, Float, Int

from promptax.protocol.exchangeable import uniform_if
from promptax.protocol.predictions import Prediction
from promptax.protocol.predictor import TOKENS, Inputs, Predictor
from promptax.tasks.markov.contexts import only_tokens
from promptax.tasks.programs.machine import INSTRUCTIONS, Run, run

PROGRAMS_AT_ONCE = 2**14  # to run side by side: some megabytes


class Outputs(NamedTuple):
    """`rows` [output, column]: the distinct outputs, sorted, and one column behind the last;
    `before` [output + 1]: how many programs write an earlier one."""

    rows: Int[np.ndarray, "output column"]
    before: Int[np.ndarray, " output_and_end"]


@functools.lru_cache(maxsize=16)
def all_outputs(symbols: int, program_length: int, cells: int, steps: int, filler: int) -> Outputs:
    """The outputs of all programs of that length, with `filler` behind what they wrote."""
    programs = len(INSTRUCTIONS) ** program_length
    kept, counts = np.zeros(0, f"S{steps + 1}"), np.zeros(0, np.int64)
    for first in range(0, programs, PROGRAMS_AT_ONCE):
        number = first + np.arange(PROGRAMS_AT_ONCE)[: programs - first, None]
        digits = len(INSTRUCTIONS) ** np.arange(program_length - 1, -1, -1)
        ran = _run_all(
            (number // digits % len(INSTRUCTIONS)).astype(np.int32), symbols, cells, steps
        )
        silent = np.arange(steps + 1) >= ran.written[:, None]
        padded = np.pad(ran.output, ((0, 0), (0, 1)))
        rows = np.where(silent, filler, padded).astype(np.uint8)  # bytes, so that they sort fast
        words, times = np.unique(rows.view(kept.dtype)[:, 0], return_counts=True)
        kept, place = np.unique(np.concatenate([kept, words]), return_inverse=True)
        weights = np.concatenate([counts, times])
        counts = np.bincount(place, weights, len(kept)).astype(np.int64)
    table = kept.view(np.uint8).reshape(len(kept), steps + 1)
    columns = 1 + np.flatnonzero(np.any(table != filler, axis=0)).max(initial=-1) + 1
    before = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Outputs(np.ascontiguousarray(table[:, :columns], np.int32), before)


def _run_all(programs: Int[np.ndarray, "program place"], *bounds: int) -> Run:
    """What becomes of programs, computed now, on a CPU, also while something else is traced."""
    with (
        eval_context(),
        jax.disable_jit(False),
        jax.default_device(jax.local_devices(backend="cpu")[0]),
    ):
        return jax.tree.map(np.asarray, _run_side_by_side(programs, bounds))


@functools.partial(jax.jit, static_argnums=1)
def _run_side_by_side(programs: Int[Array, "program place"], bounds: tuple[int, int, int]) -> Run:
    symbols, cells, steps = bounds

    def run_one(program: Int[Array, " place"]) -> Run:
        return run(program, symbols, cells, steps, steps)

    return jax.vmap(run_one)(programs)


class Consistent(NamedTuple):
    """The belief: `first` and `end`, between which the outputs of the table lie that begin with
    what was read, and `column`, how much was read; the last column goes on for ever."""

    first: Int[Array, ""]
    end: Int[Array, ""]
    column: Int[Array, ""]


class ProgramPosterior(Predictor):
    """The exact posterior over programs, all equally likely before anything is read.

    `rows` [output, column]: what programs write, each output once, sorted; `before` [output + 1]:
    how many programs write one of the outputs before. `filler` is what follows the last symbol that
    a program writes. Where it is no symbol of the alphabet, but the number behind the last one,
    what is predicted is the next symbol given that there is one. After what no program writes, all
    symbols are equally likely.
    """

    reads: ClassVar[frozenset[str]] = frozenset({TOKENS})

    rows: Int[np.ndarray, "output column"] | Int[Array, "output column"]
    before: Int[np.ndarray, " output_and_end"] | Int[Array, " output_and_end"]
    symbols: int = eqx.field(static=True)
    filler: int = eqx.field(static=True)

    def start(self, capacity: int | None = None) -> Consistent:
        del capacity  # the state never grows
        zero = jnp.zeros((), jnp.int32)
        return Consistent(zero, zero + len(self.rows), zero)

    def advance(self, state: Consistent, inputs: Inputs) -> tuple[Consistent, Prediction]:
        tokens, last = only_tokens(inputs), self.rows.shape[1] - 1

        def step(state: Consistent, token: Int[Array, ""]) -> tuple[Consistent, Array]:
            bounds = self._bounds(state)
            column = jnp.minimum(state.column + 1, last)
            following = Consistent(bounds[token], bounds[token + 1], column)
            return following, self._log_row(bounds)

        state, log_probs = jax.lax.scan(step, state, tokens)
        return state, Prediction(log_probs)

    def _bounds(self, state: Consistent) -> Int[Array, " symbol_and_end"]:
        """Where in the table each symbol begins in the belief's column, by bisection."""
        rows, goals = jnp.asarray(self.rows), jnp.arange(self.symbols + 1)
        low, high = (jnp.full(goals.shape, end, jnp.int32) for end in (state.first, state.end))

        def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) // 2
            is_before = rows[jnp.minimum(middle, len(rows) - 1), state.column] < goals
            below, above = (low < high) & is_before, (low < high) & ~is_before
            return jnp.where(below, middle + 1, low), jnp.where(above, middle, high)

        halvings = math.ceil(math.log2(len(rows) + 1)) + 1
        return jax.lax.fori_loop(0, halvings, halve, (low, high))[0]

    def _log_row(self, bounds: Int[Array, " symbol_and_end"]) -> Float[Array, " symbol"]:
        """log (programs for each symbol / programs for any), nats."""
        programs = jnp.diff(jnp.asarray(self.before)[bounds]).astype(jnp.zeros(()).dtype)
        total = jnp.sum(programs)
        return uniform_if(total == 0, jnp.log(programs) - jnp.log(jnp.maximum(total, 1)))

    def reading_bytes(self, rows: int) -> int:
        return 4 * self.rows.size + 8 * rows * self.symbols
