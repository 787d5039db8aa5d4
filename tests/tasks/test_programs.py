"""The compiled machine against the one in plain Python, and predictions while a program writes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import protocol
from promptax.tasks import Programs
from promptax.tasks.programs.interpreter import run_program
from promptax.tasks.programs.machine import INSTRUCTIONS, PLUS, Status, run

SYMBOLS, CELLS, STEPS, LENGTH = 3, 2, 13, 4
PROGRAMS = np.indices((7,) * 4).reshape(4, -1).T.astype(np.int32)


def in_characters(program):
    return "".join(INSTRUCTIONS[place] for place in program)


def run_side_by_side(programs):
    def run_one(program):
        return run(program, SYMBOLS, CELLS, STEPS, LENGTH)

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(run_one))(programs))


def test_the_compiled_machine_does_what_the_plain_one_does():
    """Every program of up to four instructions, and random long ones, in one program: shorter ones
    are those whose reading ends before."""
    longer = np.random.default_rng(0).integers(0, 7, (300, STEPS), np.int32)
    longer[0] = PLUS  # as many instructions as steps: it halts
    for programs in (PROGRAMS, longer):
        ran = run_side_by_side(programs)
        for index, program in enumerate(programs):
            plain = run_program(in_characters(program), SYMBOLS, CELLS, STEPS, LENGTH)
            written = ran.written[index]
            assert tuple(ran.output[index, :written]) == plain.output
            assert not ran.output[index, written:].any()
            counts = ran.status[index], ran.read[index], ran.steps[index]
            assert counts == (plain.status, plain.read, plain.steps)
    assert set(ran.status) == set(Status) and ran.status[0] == Status.HALTED


RUNS = {
    "": ((), Status.HALTED),
    "+.+.+.": ((1, 2, 0), Status.HALTED),  # cells count modulo 3
    "-.>.>.": ((2, 0, 2), Status.HALTED),  # two cells are a circle
    "+[.]": ((1, 1, 1, 1), Status.OUTPUT_FULL),
    "+[]": ((), Status.OUT_OF_STEPS),
    STEPS * "+": ((), Status.HALTED),  # as many instructions as steps
    (STEPS + 1) * "+": ((), Status.OUT_OF_STEPS),
    (STEPS - 1) * "+" + "]": ((), Status.HALTED),  # nothing to close
    "+[" + (STEPS - 3) * "-" + "]": ((), Status.OUT_OF_STEPS),  # it needs one more to look again
    "].": ((0,), Status.HALTED),  # nothing to close
    "+[.+].": ((1, 2, 0), Status.HALTED),  # behind the loop its continuation comes
    "[.": ((0,), Status.HALTED),  # at a cell of 0 the continuation comes first,
    "+[>[<-]+.": ((1,), Status.HALTED),  # and a `]` closes the body that is open
}


@pytest.mark.parametrize(("program", "expected"), RUNS.items())
def test_runs_known_by_hand(program, expected):
    ran = run_program(program, SYMBOLS, CELLS, STEPS, LENGTH)
    assert (ran.output, ran.status) == expected


def test_a_program_that_is_no_longer_than_what_was_read_writes_the_same():
    """What was not read does not matter."""
    for program in map(in_characters, PROGRAMS[::7]):
        whole = run_program(program, SYMBOLS, CELLS, STEPS, LENGTH)
        cut = run_program(program[: whole.read], SYMBOLS, CELLS, STEPS, LENGTH)
        assert cut.output == whole.output and cut.read == whole.read


def test_while_writing_predicts_the_next_symbol_given_that_there_is_one():
    task = Programs(2, program_length=4, cells=2, steps=12, silence_scored=False)
    outputs = [run_program(in_characters(p), 2, 2, 12, 12).output for p in PROGRAMS]
    rows = np.exp(jax.vmap(lambda x: protocol.predict(task.while_writing(), x))(WORDS))
    for word, predicted in zip(np.asarray(WORDS).tolist(), rows, strict=True):
        for step in range(len(word)):
            goes_on = [o[step] for o in outputs if list(o[:step]) == word[:step] and len(o) > step]
            share = np.mean(goes_on) if goes_on else 0.5
            np.testing.assert_allclose(predicted[step], (1 - share, share), atol=1e-6)


WORDS = jnp.array(list(itertools.product((0, 1), repeat=4)))


def test_steps_of_silence_are_not_scored_if_asked():
    task = Programs(2, program_length=4, cells=2, steps=12, silence_scored=False)
    episodes = jax.vmap(lambda key: task.sample(key, 6))(jax.random.split(jax.random.key(0), 50))
    written = np.asarray(episodes.latent.written)
    np.testing.assert_array_equal(np.sum(episodes.scored, axis=1), written)
    assert written.min() < 6 and not task.has_bayes
    with pytest.raises(NotImplementedError, match="silence_scored=True"):
        task.bayes()
    with pytest.raises(NotImplementedError, match="7\\^8 of 64 steps"):
        Programs(program_length=8).bayes()
    with pytest.raises(NotImplementedError, match="7\\^12 of 64 steps"):
        Programs(program_length=12).log_evidence(jnp.zeros(3, jnp.int32))
    with pytest.raises(NotImplementedError, match="7\\^7 of 500 steps"):
        Programs(program_length=7, steps=500).log_evidence(jnp.zeros(3, jnp.int32))


def test_as_many_programs_write_nothing_but_0_as_is_told():
    """The share of the docstring at 4 instructions; those of 5 and 6 were counted alike."""
    counted = [run_program(in_characters(p), 2, 8, 64, 64).output for p in PROGRAMS]
    assert sum(not any(output) for output in counted) == 2_109 and len(counted) == 2_401
    task = Programs(program_length=4)
    zeros = np.exp(task.log_evidence(jnp.zeros(64, jnp.int32)))
    np.testing.assert_allclose(zeros, 2_109 / 2_401, rtol=1e-5)
