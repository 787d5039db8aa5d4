"""What the contract tests share: examples of open sets, all short sequences, standard errors."""

import functools
import inspect
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

from promptax import specs
from promptax.evaluation.exact import enumeration
from promptax.tasks import Task

TESTS = Path(__file__).parents[1]
SLOW = pytest.mark.slow


def members(base):
    """The members of an open set, by name, without those that tests define for themselves: which of
    them are there depends on what else a worker has imported."""
    return {
        name: member
        for name, member in specs.members(base).items()
        if not Path(inspect.getfile(member)).is_relative_to(TESTS)
    }


def examples(base, quick=1):
    """Every example of every member of an open set, with its name as the test's id. Those after a
    member's first are judged by the slow tests, unless a law says that more of them are quick: a
    new member costs `make test` one example."""
    return [
        pytest.param(example, id=f"{name}-{index}", marks=SLOW if index >= quick else ())
        for name, member in members(base).items()
        for index, example in enumerate(member.examples())
    ]


def firsts(cases):
    """Those that `make test` judges: members' first examples. For laws that another example of the
    same member cannot break."""
    return [case for case in cases if not case.marks]


def build(architecture, seed, outcome):
    """A network; one program for all seeds, since each operation alone would be another one."""
    return _build(architecture, np.int32(seed), outcome)


@eqx.filter_jit
def _build(architecture, seed, outcome):
    return architecture.build(jax.random.key(seed), outcome)


def fill(architecture, outcome):
    """A network whose leaves hold any numbers: it has the shapes of a built one, and nothing is
    compiled."""
    shapes = eqx.filter_eval_shape(architecture.build, jax.random.key(0), outcome)
    draw = np.random.default_rng(0).normal

    def numbers_for(leaf):
        return specs.on_device(draw(size=leaf.shape).astype(leaf.dtype))

    return jax.tree.map(numbers_for, shapes)


def exact_tasks(over_alphabets=True):
    """Every example of a task that has an oracle and an exact predictor: of those over an alphabet,
    whose short sequences can all be read, or of the others."""
    return [
        case
        for case in examples(Task)
        if case.values[0].has_bayes
        and case.values[0].has_oracle
        and (case.values[0].outcome.alphabet is not None) == over_alphabets
    ]


def tasks_with_quadrature():
    """Every example of a task whose brute force is a quadrature over its latent."""
    return [
        case
        for case in examples(Task)
        if type(case.values[0]).latent_quadrature is not Task.latent_quadrature
    ]


@functools.cache
def all_sequences(symbols, length):
    """Every sequence [sequence, time] of that length, in the order of their symbols."""
    tokens = np.indices((symbols,) * length).reshape(length, symbols**length).T
    return specs.on_device(np.ascontiguousarray(tokens, np.int32))


@eqx.filter_jit
def read(predictor, tokens):
    """Log probabilities [sequence, time, symbol] after reading each of the sequences."""
    return predictor.advance_batch(predictor.start(), tokens)[1].log_probs


@eqx.filter_jit
def predictions(predictor, inputs):
    """What a predictor says [sequence, time] while it reads each of the sequences."""
    return predictor.advance_batch(predictor.start(), inputs)[1]


def of_tokens(log_probs, tokens):
    """The log probability of each token that came [..., time]."""
    return np.take_along_axis(np.asarray(log_probs), np.asarray(tokens)[..., None], -1)[..., 0]


@eqx.filter_jit
def _log_evidences(task, tokens, lengths):
    return [jax.vmap(task.log_evidence)(tokens[:, :length]) for length in lengths]


def log_evidences(task, tokens, lengths):
    """log P(beginning) [sequence] of each length by the task's brute force, float64, nats; one
    program for all lengths."""
    tokens = np.asarray(tokens)
    precise = tokens.astype(float) if np.issubdtype(tokens.dtype, np.floating) else tokens
    with enumeration.double_precision():
        evidences = _log_evidences(task, specs.on_device(precise), tuple(lengths))
    return [np.asarray(evidence) for evidence in evidences]


def log_evidence(task, tokens):
    """log P(sequence) [sequence] by the task's brute force, float64, nats."""
    return log_evidences(task, tokens, (tokens.shape[1],))[0]


def judge(task, tokens):
    """Brute force, float64: (log P(next symbol | tokens before) [sequence, time, symbol], log P(
    tokens up to and with that step) [sequence, time]); NaN after a history of probability zero.

    The evidence of a beginning is the sum over all ways to go on: one program for all lengths.
    """
    symbols, length = task.symbols, tokens.shape[1]
    layers = [log_evidence(task, all_sequences(symbols, length))]
    for _ in range(length):
        layers.insert(0, np.logaddexp.reduce(layers[0].reshape(-1, symbols), axis=1))
    number = np.zeros(len(tokens), int)  # of the beginning, in the order of `all_sequences`
    conditional = np.empty((*tokens.shape, symbols))
    evidence = np.empty(tokens.shape)
    for step, token in enumerate(np.asarray(tokens).T):
        with np.errstate(invalid="ignore"):  # -inf minus -inf
            joint = layers[step + 1].reshape(-1, symbols)[number]
            conditional[:, step] = joint - layers[step][number][:, None]
        number = number * symbols + token
        evidence[:, step] = layers[step + 1][number]
    return conditional, evidence


def assert_at_most_zero(values, what, sigmas=3.0):
    """The mean of independent values is not above zero by more than that many standard errors."""
    mean, error = np.mean(values), np.std(values) / np.sqrt(len(values))
    assert mean <= sigmas * error + 1e-6, (
        f"{what}: expected a mean of at most 0; got {mean:.3g}, standard error {error:.3g}, "
        f"{mean / max(error, 1e-30):.2f} sigma"
    )


def assert_zero(values, what, sigmas=4.0):
    """The mean of independent values is zero within that many standard errors."""
    assert_at_most_zero(values, what, sigmas)
    assert_at_most_zero(-np.asarray(values), f"minus {what}", sigmas)


def normalised(log_probs, tolerance=1e-5):
    """Every row is a distribution: no NaN, and the probabilities sum to 1."""
    np.testing.assert_allclose(np.exp(np.asarray(log_probs)).sum(-1), 1.0, atol=tolerance)


def same(one, other, **tolerance):
    """The same tree: dtype, shape and every bit, or leaves within the tolerance."""
    assert tolerance or jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if tolerance:
            np.testing.assert_allclose(left, right, **tolerance)
        elif eqx.is_array(left):
            assert left.dtype == right.dtype and left.shape == right.shape
            assert np.asarray(left).tobytes() == np.asarray(right).tobytes()
        else:
            assert left == right


class Traces:
    """Counts how often JAX traces `function`: `compiled(*arguments)` and then `count`."""

    def __init__(self, function):
        self.count = 0

        def counted(*arguments):
            self.count += 1
            return function(*arguments)

        self.compiled = eqx.filter_jit(counted)
