"""What tasks refuse, and a user's own sequences as a task."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import specs, tasks
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical, Recorded

# --- words ----------------------------------------------------------------------------------

BAD = {
    "one symbol": (
        lambda: Categorical((1.0,)),
        "Expected probabilities of at least 2 symbols; got 1.",
    ),
    "not one": (
        lambda: Categorical((0.3, 0.3)),
        "Expected probabilities that are not negative and sum to 1; got (0.3, 0.3), which sum to "
        "0.6. Divide by the sum, or correct the entry that is off.",
    ),
    "negative": (
        lambda: Categorical((1.5, -0.5)),
        "Expected probabilities that are not negative and sum to 1; got (1.5, -0.5), which sum to "
        "1. Divide by the sum, or correct the entry that is off.",
    ),
    "component": (
        lambda: CategoricalMixture(((0.5, 0.5), (0.5, 0.6))),
        "Expected probabilities of component 1 that are not negative and sum to 1; got (0.5, 0.6), "
        "which sum to 1.1. Divide by the sum, or correct the entry that is off.",
    ),
    "ragged": (
        lambda: CategoricalMixture(((0.5, 0.5), (0.2, 0.3, 0.5))),
        "Expected every component to give the probabilities of the same symbols, at least 2; got "
        "rows of [2, 3].",
    ),
    "no component": (
        lambda: CategoricalMixture((), ()),
        "Expected every component to give the probabilities of the same symbols, at least 2; got "
        "rows of [].",
    ),
    "three weights": (
        lambda: CategoricalMixture(weights=(0.2, 0.3, 0.5)),
        "Expected one weight for each of the 2 components; got 3 weights.",
    ),
    "weights": (
        lambda: CategoricalMixture(weights=(0.5, 0.6)),
        "Expected weights that are not negative and sum to 1; got (0.5, 0.6), which sum to 1.1. "
        "Divide by the sum, or correct the entry that is off.",
    ),
    "one concentration": (
        lambda: DirichletCategorical((1.0,)),
        "Expected a concentration for each of at least 2 symbols; got 1.",
    ),
    "negative concentration": (
        lambda: DirichletCategorical((1.0, -1.0)),
        "Expected concentrations that are not negative, at least one of them positive; got "
        "(1.0, -1.0). (1.0, 1.0) is the uniform prior over coins.",
    ),
    "no sequence": (
        lambda: Recorded(sequences=()),
        "Expected at least one sequence; got none.",
    ),
    "neither": (
        lambda: Recorded(),
        "Expected sequences or the path of a text file; got neither.",
    ),
    "fractions": (
        lambda: Recorded(sequences=((0.5, 1.5), (1.0,))),
        "Expected whole numbers, one row for each sequence; got shape (2,), float64 in row 0.",
    ),
    "one row": (
        lambda: Recorded(sequences=(0, 1, 1)),
        "Expected whole numbers, one row for each sequence; got shape (), int64 in row 0.",
    ),
    "fractions in an array": (
        lambda: Recorded(sequences=np.array([[0.5, 1.5]])),
        "Expected whole numbers of shape [sequence, time]; got shape (1, 2), float64.",
    ),
    "outside the alphabet": (
        lambda: Recorded(sequences=((0, 1, 2),), alphabet=("a", "b")),
        "Expected tokens from 0 to 1 (and -1 past the end); got 0 to 2. Give the whole alphabet.",
    ),
}


@pytest.mark.parametrize(("build", "message"), BAD.values(), ids=BAD)
def test_bad_numbers_are_refused_with_the_way_out(build, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build()


def test_a_task_without_oracle_says_so():
    with pytest.raises(NotImplementedError) as error:
        Recorded(sequences=((0, 1),)).bayes()
    assert str(error.value) == (
        "Recorded has no exact predictor. Compare predictors with each other (promptax.regret with "
        "reference=NAME), or use a task that has one."
    )


# --- recorded sequences ---------------------------------------------------------------------


def test_recorded_from_an_array_and_from_ragged_rows():
    array = np.array([[0, 1, 1], [1, 0, -1]])
    for given in (array, jnp.asarray(array), [[0, 1, 1], [1, 0]], ((0, 1, 1), (1, 0))):
        task = Recorded(sequences=given)
        np.testing.assert_array_equal(task.sequences, array)
        assert task.symbols == 2 and task.alphabet == ("0", "1")
    assert Recorded(sequences=((0, 0),)).symbols == 2
    assert Recorded(sequences=((0, 1),), alphabet=("a", "b", "c")).symbols == 3


def test_recorded_steps_past_the_end_are_not_scored():
    task = Recorded(sequences=((0, 1, 1, 1), (1, 0)))
    keys = jax.random.split(jax.random.key(0), 50)
    episodes = tasks.base.sample_batch(specs.traced(task), keys, 6)
    lengths = np.where(np.asarray(episodes.latent) == 0, 4, 2)
    assert set(lengths) == {2, 4}
    np.testing.assert_array_equal(episodes.scored, np.arange(6) < lengths[:, None])
    short = task.sample(keys[0], 1)
    assert short.tokens.shape == (1,) and bool(short.scored.all())


@pytest.mark.parametrize(
    ("text", "alphabet", "rows"),
    [
        ("aab\n\nba\n", ("a", "b"), [[0, 0, 1], [1, 0, -1]]),
        ("the cat\ncat the cat\n", ("cat", "the"), [[1, 0, -1], [0, 1, 0]]),
        ("2 10 2\n10\t10\n", ("2", "10"), [[0, 1, 0], [1, 1, -1]]),
        ("0,1,1\n1, 0\n", ("0", "1"), [[0, 1, 1], [1, 0, -1]]),
        ("011\n10\n", ("0", "1"), [[0, 1, 1], [1, 0, -1]]),
    ],
    ids=["characters", "words", "numbers", "commas", "digits"],
)
def test_recorded_from_a_text_file(tmp_path, text, alphabet, rows):
    path = tmp_path / "sequences.txt"
    path.write_text(text, encoding="utf-8")
    task = Recorded(path=str(path))
    assert task.alphabet == alphabet
    np.testing.assert_array_equal(task.sequences, rows)
    path.unlink()  # what was read travels with the description
    assert eqx.tree_equal(specs.from_json(specs.to_json(task)), task)


def test_recorded_keeps_the_given_order_of_symbols(tmp_path):
    path = tmp_path / "sequences.txt"
    path.write_text("aab\n")
    task = Recorded(path=str(path), alphabet=("b", "a", "c"))
    np.testing.assert_array_equal(task.sequences, [[1, 1, 0]])


@pytest.mark.parametrize(
    ("text", "alphabet", "message"),
    [
        (
            "ab\n\nabx\n",
            ("a", "b"),
            "Expected symbols from ('a', 'b'); line 3 of {path} has 'x'. Add "
            "it to the alphabet or correct the line.",
        ),
        ("\n \n", (), "Expected one sequence a line; {path} has no line with text."),
        ("", (), "Expected one sequence a line; {path} has no line with text."),
        (
            "aaa\n",
            (),
            "Expected at least 2 different symbols; the file has only ['a']. Name the "
            "whole alphabet: alphabet=('0', '1').",
        ),
    ],
    ids=["unknown symbol", "blank lines", "empty", "one symbol"],
)
def test_a_bad_file_is_refused_with_the_way_out(tmp_path, text, alphabet, message):
    path = tmp_path / "sequences.txt"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        Recorded(path=str(path), alphabet=alphabet)
    assert str(error.value) == message.format(path=path)
