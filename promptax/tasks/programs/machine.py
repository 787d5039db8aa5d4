"""BrainPhoque, a small machine on which every program is valid, compiled.

Grau-Moya et al. 2024, "Learning Universal Predictors" (arXiv 2401.14953). The machine has a tape of
cells, a circle, all 0 at first; a cell holds a symbol. Its instructions are

    +  -     add 1 to the cell, or subtract it, modulo the number of symbols
    >  <     move to the next cell, or back; behind the last cell comes the first
    .        write the cell's symbol to the output
    [  ]     repeat what is between them as long as the cell at `[` is not 0

*Programs are read once, from left to right, and only as far as the run needs them.* That is where
the machine differs from its model, in which a `[` at a cell of 0 must find its `]` first:

- `[` has a body and a continuation. The cell picks one of them. One that was not needed before is
  what the program says next: the following unread instructions. So after a `[` at a cell of 0 the
  continuation comes first in the text, and the body once it is needed.
- `]` that is read for the first time closes the body that was opened last, and is not closed yet.
  It jumps back to that `[`, which then looks at its cell: a step of its own. Without an open body
  `]` does nothing.
- An instruction is a step, a jump too.

A run ends, in this order: `HALTED` where it needs an instruction behind the program's last one,
`OUT_OF_STEPS`, `OUTPUT_FULL`.
"""

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

INSTRUCTIONS = "+-><[]."
PLUS, MINUS, RIGHT, LEFT, OPEN, CLOSE, WRITE = range(len(INSTRUCTIONS))
UNSET = -1


class Status(enum.IntEnum):
    """Why a run ended."""

    HALTED = 0
    OUT_OF_STEPS = 1
    OUTPUT_FULL = 2


class Run(NamedTuple):
    """What became of a program.

    `program` [place]: its instructions, as places in `INSTRUCTIONS`; `output` [time]: the symbols
    that it wrote, and 0 behind them; `written`: how many it wrote; `read`: how many instructions it
    needed; `steps`: how many it took; `status`: a `Status`.
    """

    program: Int[Array, "*batch place"]
    output: Int[Array, "*batch time"]
    written: Int[Array, "*batch"]
    read: Int[Array, "*batch"]
    steps: Int[Array, "*batch"]
    status: Int[Array, "*batch"]


class _Machine(NamedTuple):
    """A machine between two steps.

    `place`: of the next instruction; `read`: how many are known; `targets` [place, 2]: where each
    instruction leads from a cell of 0 and from another cell, if it has a choice; `open_bodies`
    [place + 1], of which `depth` count: those without an end; `tape` [cell], `head`: the cell;
    `output` [time + 1], `written` and `steps` as in `Run`. The last place of two arrays takes what
    a step does not write: one scatter for every instruction.
    """

    place: Array
    read: Array
    targets: Array
    open_bodies: Array
    depth: Array
    tape: Array
    head: Array
    output: Array
    written: Array
    steps: Array


def run(program: Int[Array, " place"], symbols: int, cells: int, steps: int, length: int) -> Run:
    """Run one program, for at most so many steps and `length` symbols of output; `jax.vmap` runs
    many side by side.

    A program of n instructions takes 4 (3 n + cells + length) bytes while it runs.
    """
    zero = jnp.zeros((), jnp.int32)
    start = _Machine(
        place=zero,
        read=zero,
        targets=jnp.full((len(program), 2), UNSET, jnp.int32),
        open_bodies=jnp.zeros(len(program) + 1, jnp.int32),
        depth=zero,
        tape=jnp.zeros(cells, jnp.int32),
        head=zero,
        output=jnp.zeros(length + 1, jnp.int32),
        written=zero,
        steps=zero,
    )

    def goes_on(machine: _Machine) -> Array:
        within = (machine.steps < steps) & (machine.written < length)
        return within & (machine.place < len(program))

    def step(machine: _Machine) -> _Machine:
        return _step(program, symbols, machine)

    end = jax.lax.while_loop(goes_on, step, start)
    ended = jnp.where(end.steps < steps, Status.OUTPUT_FULL, Status.OUT_OF_STEPS)
    status = jnp.where(end.place < len(program), ended, Status.HALTED)
    output = end.output[:length]
    return Run(program, output, end.written, end.read, end.steps, status.astype(jnp.int32))


def _step(program: Int[Array, " place"], symbols: int, machine: _Machine) -> _Machine:
    """One instruction."""
    place, instruction = machine.place, program[machine.place]
    cell, read = machine.tape[machine.head], jnp.maximum(machine.read, machine.place + 1)
    opens, closes, writes = instruction == OPEN, instruction == CLOSE, instruction == WRITE

    # Where a bracket leads: to a target that is set, or that is set now
    side = (opens & (cell != 0)).astype(jnp.int32)
    target = machine.targets[place, side]
    is_new = target == UNSET
    last_open = machine.open_bodies[jnp.maximum(machine.depth - 1, 0)]
    fresh = jnp.where(opens, read, jnp.where(machine.depth > 0, last_open, place + 1))
    target = jnp.where(is_new, fresh, target)
    begins_body = opens & is_new & (cell != 0)
    ends_body = closes & is_new & (machine.depth > 0)

    change = (instruction == PLUS).astype(jnp.int32) - (instruction == MINUS)
    move = (instruction == RIGHT).astype(jnp.int32) - (instruction == LEFT)
    body = jnp.where(begins_body, machine.depth, len(machine.open_bodies) - 1)
    symbol = jnp.where(writes, machine.written, len(machine.output) - 1)
    return _Machine(
        place=jnp.where(opens | closes, target, place + 1),
        read=read,
        targets=machine.targets.at[place, side].set(target),
        open_bodies=machine.open_bodies.at[body].set(place),
        depth=machine.depth + begins_body - ends_body,
        tape=machine.tape.at[machine.head].set((cell + change) % symbols),
        head=(machine.head + move) % len(machine.tape),
        output=machine.output.at[symbol].set(cell),
        written=machine.written + writes,
        steps=machine.steps + 1,
    )
