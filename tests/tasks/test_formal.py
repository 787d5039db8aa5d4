"""Every rule against its plain Python, on all of its words of one length."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax.evaluation.exact.all_sequences import all_sequences
from promptax.evaluation.exact.expectations import can_be_expected, expected_losses
from promptax.tasks import FormalLanguage
from promptax.tasks.formal import (
    BinaryAddition,
    BinaryMultiplication,
    BucketSort,
    ComputeSqrt,
    CycleNavigation,
    DuplicateString,
    EvenPairs,
    MissingDuplicate,
    ModularArithmetic,
    ModularArithmeticBrackets,
    OddsFirst,
    ParityCheck,
    ReverseString,
    SolveEquation,
    StackManipulation,
)
from promptax.tasks.formal.rule import TerminatedRule

RULES = (
    (EvenPairs(), 6),
    (ParityCheck(), 6),
    (CycleNavigation(), 5),
    (ModularArithmetic(2), 5),
    (ReverseString(), 5),
    (StackManipulation(), 4),
    (ModularArithmeticBrackets(2), 9),
    (SolveEquation(2), 11),
    (DuplicateString(), 4),
    (MissingDuplicate(), 5),
    (OddsFirst(), 5),
    (BinaryAddition(), 6),
    (BinaryMultiplication(), 6),
    (ComputeSqrt(), 7),
    (BucketSort(3), 4),
)


@eqx.filter_jit
def follow(rule, words):
    """Answers, what counts of them, and the probability of each word as the rule says it."""

    def one(word):
        rows = jax.vmap(lambda place: rule.chances(word, place))(jnp.arange(len(word)))
        answer = rule.answer(word)
        return answer, rule.counts(answer), jnp.prod(rows[jnp.arange(len(word)), word]), rows

    return jax.vmap(one)(words)


@pytest.mark.parametrize(("rule", "length"), RULES, ids=[type(r).__name__ for r, _ in RULES])
def test_a_rule_does_what_its_plain_python_says(rule, length):
    weights = {word: rule.weigh(word) for word in rule.words(length)}
    weights = {word: weight for word, weight in weights.items() if weight > 0}
    np.testing.assert_allclose(sum(weights.values()), 1.0, rtol=1e-9)
    answers, counts, chances, rows = map(
        np.asarray, follow(rule, np.array(list(weights), np.int32))
    )
    np.testing.assert_array_equal(answers, [rule.solve(word) for word in weights])
    assert answers.shape[1] == rule.answer_length(length) and answers.max() < rule.answer_symbols
    np.testing.assert_allclose(chances, list(weights.values()), rtol=1e-5)
    np.testing.assert_allclose(rows.sum(axis=-1), 1.0, atol=1e-5)  # so that no other word can come
    if isinstance(rule, TerminatedRule):
        ends = np.argmax(answers == 2, axis=1)
        np.testing.assert_array_equal(counts, np.arange(answers.shape[1]) <= ends[:, None])
    else:
        assert counts.all()


def test_exact_sums_over_sequences_refuse_a_task_that_scores_some_steps():
    task = FormalLanguage(word_length=2)
    assert not task.scores_every_step and not can_be_expected(task)
    with pytest.raises(ValueError, match="of which every step is scored; got FormalLanguage"):
        expected_losses(task.bayes(), task, 4)
    with pytest.raises(ValueError, match="of which every step is scored; got FormalLanguage"):
        all_sequences(task, task.bayes(), 4)


def test_a_sequence_is_words_dots_answers_and_colons():
    task = FormalLanguage(StackManipulation(), word_length=4)
    episode = task.sample(jax.random.key(3), 2 * task.example_length)
    for start in (0, task.example_length):
        example = np.asarray(episode.tokens)[start : start + task.example_length].tolist()
        word, answer = tuple(example[:4]), tuple(example[5:-1])
        assert (example[4], example[-1]) == (task.dot, task.dot + 1) == (5, 6)
        assert answer == task.rule.solve(word)
        scored = np.flatnonzero(np.asarray(episode.scored)[start : start + task.example_length])
        np.testing.assert_array_equal(scored, 5 + np.arange(answer.index(2) + 1))


REFUSED = {
    "odd length": (ModularArithmetic(), 4),
    "at least 3 symbols": (BinaryAddition(), 2),
    "at most 48 symbols": (SolveEquation(), 49),
}


@pytest.mark.parametrize(("message", "given"), REFUSED.items(), ids=REFUSED)
def test_lengths_without_words_are_refused(message, given):
    with pytest.raises(ValueError, match=message):
        FormalLanguage(*given)
