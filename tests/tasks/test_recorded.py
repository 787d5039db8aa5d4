"""What tasks refuse, and a user's own sequences as a task."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptax import specs, tasks
from promptax.evaluation.evaluate import _loss_if_affordable
from promptax.evaluation.exact.expectations import Expectations
from promptax.protocol.exchangeable import Uniform
from promptax.tasks import (
    Categorical,
    CategoricalMixture,
    DirichletCategorical,
    Recorded,
    Task,
)

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
        "Expected whole numbers, one row for each sequence; got shape (2,), float64 in row 0. "
        "Write the class of each number in its place, from 0 on, and -1 past the end.",
    ),
    "one row": (
        lambda: Recorded(sequences=(0, 1, 1)),
        "Expected whole numbers, one row for each sequence; got shape (), int64 in row 0. Write "
        "a single sequence as [sequence].",
    ),
    "rows of letters": (
        lambda: Recorded(sequences=["aba", "bab"]),
        "Expected whole numbers, one row for each sequence; got shape (), <U3 in row 0. Number its "
        'symbols: [["ab".index(symbol) for symbol in row] for row in sequences].',
    ),
    "fractions in an array": (
        lambda: Recorded(sequences=np.array([[0.0, 1.0]])),
        "Expected whole numbers of shape [sequence, time]; got shape (1, 2), float64. Make whole "
        "numbers of them, such as by astype(int).",
    ),
    "NaN past the end": (
        lambda: Recorded(sequences=np.array([[0, 1], [1, np.nan]])),
        "Expected whole numbers of shape [sequence, time]; got shape (2, 2), float64. NaN is no "
        "symbol. Past the end of a row write -1 in its place: in pandas .fillna(-1).astype(int), "
        "in NumPy np.nan_to_num(array, nan=-1).astype(int).",
    ),
    "counts from 1": (
        lambda: Recorded(sequences=np.array([[1, 2], [2, -1]])),
        "Expected every symbol from 0 to the largest, 2, to occur, since nobody named them; 0 "
        "never occurs. If yours count from 1, subtract 1 from every token; or name the alphabet: "
        "alphabet=range(3).",
    ),
    "a gap": (
        lambda: Recorded(sequences=((0, 4), (2, 0, 2))),
        "Expected every symbol from 0 to the largest, 4, to occur, since nobody named them; 1, 3 "
        "never occur. Number those that occur from 0 on, without gaps; or name the alphabet: "
        "alphabet=range(5).",
    ),
    "padded by 0": (
        lambda: Recorded(sequences=np.array([[1, 2, 1, 0], [2, 1, 0, 0]] * 5)),
        "Expected symbols whose meaning is clear; 0 comes at ends of rows alone, as padding does. "
        "Subtract 1, so that it becomes -1 and symbols count from 0; or name the alphabet: "
        "alphabet=range(3).",
    ),
    "one symbol a row": (
        lambda: Recorded(sequences=np.array([[0], [1]] * 9)),
        "Expected one sequence in each row; all 18 have one symbol alone. If they are one "
        "sequence, write it in one row, or cut it into rows of like length: by xargs -n 50 < FILE "
        "> NEW, in NumPy by array[: len(array) // 50 * 50].reshape(-1, 50); or name the alphabet "
        "if each is a symbol: alphabet=range(2).",
    ),
    "names of columns": (
        lambda: Recorded(sequences=[[0, 1, 2, 3], [0, 2, 1, 1], [1, 0, 2, 0]]),
        "Expected sequences; row 0 counts its columns, and 3 comes nowhere else. Leave it out if "
        "it has the names of columns; or name the alphabet: alphabet=range(4).",
    ),
    "names of rows": (
        lambda: Recorded(sequences=[[(7 * n) % 30, *[0, 1, 2] * 9] for n in range(30)]),
        "Expected one sequence in each row; column 1 of 28 has 27 symbols (3, 4, ...) that no "
        "other one has, as names of rows do. Write the symbols of each sequence alone, without "
        "names, times and labels; or name the alphabet if each is a symbol: alphabet=range(30).",
    ),
    "missing": (
        lambda: Recorded(sequences=[[0, None, 1]]),
        "Expected whole numbers, one row for each sequence; got shape (3,), object in row 0. A "
        "missing value is no symbol. Past the end of a row write -1 in its place.",
    ),
    "masked within": (
        lambda: Recorded(sequences=np.ma.masked_equal([[0, 2, 1], [1, 0, 1]], 2)),
        "Expected -1 only past the end of a sequence; got a token after one in row 0. Cut the "
        "sequence there, or give a token.",
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


def test_a_task_says_which_of_its_exact_parts_nobody_wrote():
    class Unweighed(Task):
        symbols: int = 2
        oracle = Categorical.oracle

        def sample(self, key, length):
            raise NotImplementedError

        def bayes(self):
            return Uniform(2)

    lacks = "Unweighed has no expected loss of its oracle. In a class of your own, write oracle_ent"
    with pytest.raises(NotImplementedError, match=lacks):
        Unweighed().oracle_entropy(2)
    with pytest.raises(NotImplementedError, match=r"write log_evidence\(tokens\) or latent_q"):
        Unweighed().log_evidence(jnp.zeros(2, jnp.int32))
    expectations = Expectations(Unweighed(), 2)
    assert np.isnan(_loss_if_affordable(expectations, Unweighed())).all()  # evaluate goes on


# --- recorded sequences ---------------------------------------------------------------------


def test_recorded_from_an_array_and_from_ragged_rows():
    array = np.array([[0, 1, 1], [1, 0, -1]])
    rows = ((0, 1, 1), (1, 0))
    masked = np.ma.masked_equal(np.array([[0, 1, 1], [1, 0, 9]], np.uint8), 9)
    for given in (array, jnp.asarray(array), [[0, 1, 1], [1, 0]], rows, masked, list(masked)):
        task = Recorded(sequences=given)
        np.testing.assert_array_equal(task.sequences, array)
        assert task.symbols == 2 and task.alphabet == ("0", "1")
    assert Recorded(sequences=((0, 0),)).symbols == 2
    assert Recorded(sequences=((0, 1),), alphabet=("a", "b", "c")).symbols == 3
    whole = Recorded(sequences=((0, 2, 0), (2,), (0,)), alphabet=("0", "1", "2"))
    kept, held_out = whole.split(0.3)
    assert kept.alphabet == held_out.alphabet == ("0", "1", "2") and whole.symbol_names == ()
    assert [len(kept.sequences), len(held_out.sequences)] == [2, 1]
    parts = [[t for t in row if t >= 0] for part in (kept, held_out) for row in part.sequences]
    assert sorted(parts) == [[0], [0, 2, 0], [2]]


def test_recorded_steps_past_the_end_are_not_scored():
    task = Recorded(sequences=((0, 1, 1, 1), (1, 0)))
    keys = jax.random.split(jax.random.key(0), 50)
    episodes = tasks.batches.sample_batch(specs.traced(task), keys, 6)
    lengths = np.where(np.asarray(episodes.latent) == 0, 4, 2)
    assert set(lengths) == {2, 4}
    np.testing.assert_array_equal(episodes.scored, np.arange(6) < lengths[:, None])
    short = task.sample(keys[0], 1)
    assert short.tokens.shape == (1,) and bool(short.scored.all())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([[2**33, 2**33 + 1]]), "got 8,589,934,592 to 8,589,934,593"),
        (np.array([[2**63]], np.uint64), "got 9,223,372,036,854,775,808"),
        (np.array([[-(2**40)]]), "got -1,099,511,627,776"),
        (((0, 1), (2**40, 1)), "1,099,511,627,776"),
        (((0, -1, 1), (1,)), "-1 only past the end .* row 0"),
        (np.array([[0, 1], [-1, 1]]), "row 1"),
    ],
)
def test_tokens_are_looked_at_before_they_are_cast(rows, message):
    with pytest.raises(ValueError, match=message):
        Recorded(sequences=rows)
