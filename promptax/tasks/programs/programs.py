"""Outputs of random programs: sequences of every structure that a small machine can make.

Grau-Moya et al. 2024, "Learning Universal Predictors" (arXiv 2401.14953), train networks on them,
to make of them what Solomonoff's predictor would be: the mixture of all programs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from promptax.axes import LogProbs, Tokens
from promptax.protocol.outcomes import Episode
from promptax.specs import check
from promptax.tasks.base import Task
from promptax.tasks.markov.contexts import MOST_NUMBERS, check_whole
from promptax.tasks.programs.interpreter import run_program
from promptax.tasks.programs.machine import INSTRUCTIONS, Run, run
from promptax.tasks.programs.outputs import ProgramPosterior, all_outputs

MOST_PROGRAMS = len(INSTRUCTIONS) ** 7  # that the exact predictor runs: 823,543
MOST_BYTES = 2**26  # of all their outputs
MOST_SYMBOLS = 255  # outputs are kept as bytes


class Programs(Task):
    """What a random program writes: `program_length` instructions, each one of seven, all equally
    likely, run on the machine of `promptax.tasks.programs.machine`.

    *Conventions.* Cells hold the symbols of the alphabet and count modulo their number; the tape is
    a circle. A program ends where it needs an instruction that it does not have, or after `steps`
    steps. From then on symbols 0 come, for ever: its *silence*. With more instructions than steps
    no program halts; with as many, one does if each step needs a new instruction, as "++++" in 4.

    *Most programs write nothing but 0.* With the defaults 94,239 of the 117,649 do (80 %), and
    47,152 (40 %) write nothing at all; with 5 instructions 14,103 of 16,807 (84 %). A loss
    that scores silence is then mostly that of saying 0 for ever. To train on what programs write,
    take `silence_scored=False`, as the paper does, and judge by `while_writing()`.

    The latent of an episode is its `Run`: the program, how much of it was needed, what it wrote,
    and its status. The oracle knows the program, and loses nothing.

    `bayes()` is the exact mixture of all programs, which are run once, side by side. There are 7^n
    of them: n is at most 7. Longer programs can be drawn, and have no exact predictor. What a run
    needed is a bound for any mixture of programs that are read as they are here: it loses at most
    `read` · log 7 nats on the output.

    Example: `Programs(symbols=17, program_length=100, cells=10, steps=100)`, as long as those of
    the paper's public example.
    """

    symbols: int = 2
    """Size of the alphabet, and of what a cell holds."""
    program_length: int = 6
    """Instructions of a program."""
    cells: int = 8
    """Cells of the circular tape."""
    steps: int = 64
    """After so many steps a program is stopped."""
    silence_scored: bool = True
    """Whether what follows the last symbol that a program writes is scored. In the paper it is not;
    then there is no `bayes()`, which speaks of all steps, but `while_writing()`."""

    def __check_init__(self) -> None:
        check_whole("symbols", self.symbols, 2, "2 are the least that can differ.")
        check(
            self.symbols <= MOST_SYMBOLS,
            f"Expected at most {MOST_SYMBOLS} symbols; got {self.symbols}.",
        )
        check_whole("program_length", self.program_length, 1, "1 instruction is the least.")
        check_whole("cells", self.cells, 1, "1 cell is the least.")
        check_whole("steps", self.steps, 1, "1 step is the least.")
        numbers = 3 * self.program_length + self.cells + self.steps
        check(
            numbers <= MOST_NUMBERS,
            f"Expected a machine of at most {MOST_NUMBERS:,} numbers, 3 for each instruction, 1 "
            f"for each cell and each step; got {numbers:,}.",
        )

    @property
    def has_bayes(self) -> bool:
        return self.silence_scored and self._can_run_all()

    def _can_run_all(self) -> bool:
        # the exponent first: the power of a long program has many digits
        few = self.program_length <= 7 and len(INSTRUCTIONS) ** self.program_length <= MOST_PROGRAMS
        return few and len(INSTRUCTIONS) ** self.program_length * self.steps <= MOST_BYTES

    def run(self, program: Int[Array, " place"], length: int) -> Run:
        """What becomes of a program whose output is read up to that length."""
        return run(program, self.symbols, self.cells, self.steps, length)

    def sample(self, key: Key[Array, ""], length: int) -> Episode:
        shape, kinds = (self.program_length,), len(INSTRUCTIONS)
        ran = self.run(jax.random.randint(key, shape, 0, kinds, jnp.int32), length)
        scored = None if self.silence_scored else jnp.arange(length) < ran.written
        return Episode(ran.output, latent=ran, scored=scored)

    def oracle(self, latent: Run, inputs: Tokens) -> LogProbs:
        """Log probabilities [time, symbol]: 0 for what the program writes."""
        length = len(inputs)
        enough = length <= latent.output.shape[0]
        output = latent.output[:length] if enough else self.run(latent.program, length).output
        return jnp.where(output[:, None] == jnp.arange(self.symbols), 0.0, -jnp.inf)

    def oracle_entropy(self, length: int) -> Float[Array, " time"]:
        return jnp.zeros(length)

    def bayes(self) -> ProgramPosterior:
        """The exact mixture of all programs.

        Raises:
            NotImplementedError: there are too many programs, or silence is not scored.
        """
        if not self.silence_scored:
            raise NotImplementedError(
                "Expected silence_scored=True: an exact predictor of all steps speaks of the "
                "silence, too. Take while_writing(), which predicts the steps that are scored."
            )
        return self._posterior(filler=0)

    def while_writing(self) -> ProgramPosterior:
        """The exact predictor of the next symbol that a program writes, given that there is one:
        none is better on steps where the program has not fallen silent.

        Raises:
            NotImplementedError: there are too many programs.
        """
        return self._posterior(filler=self.symbols)

    def _posterior(self, filler: int) -> ProgramPosterior:
        self._refuse_many()
        table = all_outputs(self.symbols, self.program_length, self.cells, self.steps, filler)
        return ProgramPosterior(table.rows, table.before, self.symbols, filler)

    def _refuse_many(self) -> None:
        """Complain if there are too many programs to run them all."""
        if not self._can_run_all():
            raise NotImplementedError(
                f"Expected at most {MOST_PROGRAMS:,} programs whose outputs take at most "
                f"{MOST_BYTES:,} bytes; got 7^{self.program_length} of {self.steps} steps. Take "
                "programs of at most 7 instructions, or fewer steps."
            )

    def log_evidence(self, tokens: Tokens) -> Float[Array, ""]:
        """log (the share of programs whose output, silence included, begins with the tokens), nats;
        the programs are run one by one in plain Python.

        Raises:
            NotImplementedError: there are too many programs.
        """
        self._refuse_many()
        outputs = _outputs_one_by_one(self.symbols, self.program_length, self.cells, self.steps)
        wide = max(outputs.shape[1], len(tokens))
        outputs = np.pad(outputs, ((0, 0), (0, wide - outputs.shape[1])))[:, : len(tokens)]
        return jnp.log(jnp.mean(jnp.all(outputs == tokens, axis=1), dtype=jnp.zeros(()).dtype))

    @classmethod
    def examples(cls) -> "tuple[Programs, ...]":
        return (cls(program_length=4, cells=2, steps=12),)


@functools.lru_cache(maxsize=4)
def _outputs_one_by_one(
    symbols: int, program_length: int, cells: int, steps: int
) -> Int[np.ndarray, "program time"]:
    """What every program writes, and 0 behind it."""
    kinds = len(INSTRUCTIONS)
    outputs = np.zeros((kinds**program_length, steps), np.int32)
    for number, row in enumerate(outputs):
        places = [number // kinds**place % kinds for place in range(program_length)]
        program = "".join(INSTRUCTIONS[place] for place in places)
        written = run_program(program, symbols, cells, steps, steps).output
        row[: len(written)] = written
    return outputs
