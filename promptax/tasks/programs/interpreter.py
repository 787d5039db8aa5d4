"""The same machine in plain Python, one program at a time: slow, and easy to follow.

It judges the compiled one. `run_program("+[.]", symbols=2, cells=1, steps=8, length=3)` writes 1, 1
and 1, and is then stopped with its output full.
"""

from typing import NamedTuple

from promptax.specs import check
from promptax.tasks.programs.machine import INSTRUCTIONS, Status


class ProgramRun(NamedTuple):
    """What became of a program: the symbols that it wrote (`output`), why it ended (`status`), how
    many of its instructions it needed (`read`), and how many `steps` it took."""

    output: tuple[int, ...]
    status: Status
    read: int
    steps: int


def run_program(program: str, symbols: int, cells: int, steps: int, length: int) -> ProgramRun:
    """Run one program on the machine of `promptax.tasks.programs.machine`.

    Args:
        program: instructions, of the characters `+-><[].`.
        symbols: the size of the alphabet; cells count modulo that.
        cells: of the circular tape.
        steps: after so many the run ends, `OUT_OF_STEPS`.
        length: after so many symbols of output it ends, `OUTPUT_FULL`.

    Raises:
        ValueError: another character.
    """
    for character in program:
        check(
            character in INSTRUCTIONS,
            f"Expected a program of the instructions {INSTRUCTIONS}; got {character!r}.",
        )
    tape, head, output = [0] * cells, 0, []
    bodies, continuations, returns = {}, {}, {}  # places that brackets lead to, by their own place
    open_bodies = []
    place = read = taken = 0
    status = Status.HALTED

    while place < len(program):
        if taken == steps or len(output) == length:
            status = Status.OUT_OF_STEPS if taken == steps else Status.OUTPUT_FULL
            break
        read, taken = max(read, place + 1), taken + 1
        instruction, following = program[place], place + 1
        if instruction in "+-":
            tape[head] = (tape[head] + (1 if instruction == "+" else -1)) % symbols
        elif instruction in "><":
            head = (head + (1 if instruction == ">" else -1)) % cells
        elif instruction == ".":
            output.append(tape[head])
        elif instruction == "[":
            enters = tape[head] != 0
            ways = bodies if enters else continuations
            if place not in ways:
                ways[place] = read  # the text goes on with what is needed now
                if enters:
                    open_bodies.append(place)
            following = ways[place]
        else:
            if place not in returns:
                returns[place] = open_bodies.pop() if open_bodies else place + 1
            following = returns[place]
        place = following
    return ProgramRun(tuple(output), status, read, taken)
