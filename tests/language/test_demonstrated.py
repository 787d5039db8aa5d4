"""Pairs behind demonstrations as a task, and what choice and order of demonstrations do."""

import collections
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import small_tokenizer

from promptax import specs
from promptax.axes import labelled
from promptax.evaluation.evaluate import evaluate
from promptax.language.demonstrated import Demonstrated, laid_out, pair_tokens
from promptax.language.word_tasks import few_shot, further_pairs, pairs
from promptax.language.word_tasks.exam import Exam
from promptax.language.word_tasks.pairs import Pair, WordTask
from promptax.language.word_tasks.spread import order_and_choice, summarise_spread
from promptax.protocol.exchangeable import Uniform
from promptax.tasks import DirichletCategorical
from promptax.tasks.batches import sample_batch

NUMBERS = WordTask("numbers", tuple(Pair(str(n), pairs.in_words(n)) for n in range(24)))
(EXAMPLE,) = Demonstrated.examples()


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    """Numbers in words, with a small tokenizer."""
    name = str(small_tokenizer.write(tmp_path_factory.mktemp("tokenizer")) / "small.gguf")
    return Exam(NUMBERS, NUMBERS.split(demonstrations=5, held_out=4), name)


# --- episodes -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 2, 8, 20])
def test_pairs_stand_one_after_the_other_and_the_first_are_left_out(length):
    rows = [[5, 6, 7, 1], [8, 9, 1], [5, 4, 4, 4, 1]]
    spans = [[1, 3], [1, 2], [1, 4]]
    numbers = [[0, 1, 1, 0], [0, 2, 0], [0, 3, 3, 3, 0]]
    first = next((n for n in range(3) if sum(map(len, rows[n:])) <= length), 2)
    wanted = [list(itertools.chain(*parts[first:]))[:length] for parts in (rows, numbers)]
    padded = np.array([row + [-1] * (6 - len(row)) for row in rows])
    laid = laid_out(jnp.asarray(padded), jnp.asarray(spans), length)
    for array, want in zip(laid, wanted, strict=True):
        assert np.asarray(array).tolist() == want + [0] * (length - len(want))


def test_all_pairs_of_all_tasks_come_in_any_order():
    draws = 3600
    keys = jax.random.split(jax.random.key(0), draws)
    episodes = sample_batch(specs.traced(EXAMPLE), keys, 10)
    counts = collections.Counter(map(tuple, np.asarray(episodes.tokens).tolist()))
    assert len(counts) == 12  # two tasks, three pairs, two of them in order
    error = np.sqrt(draws * (1 / 12) * (11 / 12))
    assert all(abs(count - draws / 12) < 4.5 * error for count in counts.values()), counts
    tokens, scored = np.asarray(episodes.tokens), np.asarray(episodes.scored)
    is_first = np.asarray(episodes.latent) == 0  # whose pairs have five tokens, the others four
    second = np.where(is_first, tokens[:, 6], tokens[:, 5])
    assert (tokens[:, 1] != second).all()  # never the query among the demonstrations
    np.testing.assert_array_equal(scored.sum(1), np.where(is_first, 2, 1))
    assert scored[is_first][:, [7, 8]].all() and scored[~is_first][:, 6].all()


def test_an_episode_reads_what_an_exam_reads(exam):
    name = exam.name
    task = Demonstrated(
        pairs=(pair_tokens(NUMBERS.pairs, exam.tokenizer),), tokenizer=name, shots=2, scored="all"
    )
    assert task.symbols == exam.tokenizer.symbols
    episode = task.sample(jax.random.key(3), task.longest)
    tokens, scored = np.asarray(episode.tokens), np.asarray(episode.scored)
    text = exam.tokenizer.decode(tokens).split("\n")[:3]
    shown = [Pair(*line.split(" → ")) for line in text]
    assert set(shown) <= set(NUMBERS.pairs) and len(set(shown)) == 3
    written = exam.tokens(shown)
    np.testing.assert_array_equal(tokens[: len(written)], written)
    answers = [exam.tokenizer.encode(f" {pair.answer}") for pair in shown]
    np.testing.assert_array_equal(tokens[scored], np.concatenate(answers))
    last = Demonstrated(
        pairs=task.pairs, spans=task.spans, members=task.members, tokenizer=name, shots=2
    )
    episode = last.sample(jax.random.key(3), task.longest)
    np.testing.assert_array_equal(np.asarray(episode.tokens)[episode.scored], answers[-1])


def test_its_errors_are_said_to_be_those_of_draws():
    with pytest.warns(UserWarning, match="draws from 6 pairs of 2 word tasks. Standard errors"):
        evaluate(jax.random.key(0), {"uniform": Uniform(6)}, EXAMPLE, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": -1}, "Expected shots of at least 0; got -1."),
        ({"tasks": ()}, "Expected names of word tasks; got none."),
        ({"tasks": ("rhymes",), "tokenizer": "bytes"}, "got 'rhymes'."),
        (
            {"pairs": ((((1,), (2,), ()),),)},
            "than 5 shots, for a query comes after them; got a task of 1.",
        ),
        ({"pairs": ((((1,), (), ()),),), "shots": 0}, "an answer that is not empty"),
        ({"pairs": ((((9,), (2,), ()),),), "shots": 0}, "Expected tokens from 0 to 5; got 9."),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Demonstrated(**{"vocabulary": 6, **arguments})


# --- words ----------------------------------------------------------------------------------


def test_further_tasks_share_no_word_with_those_that_judge(monkeypatch):
    pytest.importorskip("lemminflect")
    common = ["take", "took", "great", "learn", "learning", "child", "children", "high", "higher"]
    common += ["quick", "quickly", "fair", "unfair"]
    asked = {
        "held out": lambda common: WordTask("held out", (Pair("take", "took"), Pair("lie", "lay")))
    }
    monkeypatch.setattr(further_pairs, "WORD_TASKS", asked)
    further_pairs._taken.cache_clear()
    made = {name: make(common) for name, make in further_pairs.FURTHER_TASKS.items()}
    further_pairs._taken.cache_clear()
    assert ("child", "children") in made["plurals"].pairs
    assert ("learn", "learning") in made["gerunds"].pairs
    assert made["comparatives"].pairs == (("high", "higher"),)
    assert made["first letters"].pairs[0] == ("great", "g")
    assert made["doubled words"].pairs[0] == ("great", "great great")
    assert made["capital letters"].pairs[0] == ("great", "Great")
    assert made["last letters"].pairs[0] == ("great", "t")
    assert ("quick", "quickly") in made["adverbs"].pairs
    assert ("fair", "unfair") in made["opposites"].pairs
    assert ("Anchorage", "America") in made["continents"].pairs
    assert ("png", "image") in made["media types"].pairs
    assert made["endings"].pairs == ()  # no free word ends in a vowel
    assert made["parities"].pairs[347] == ("1347", "odd")
    assert made["successors"].pairs[-1] == ("1999", "2000")
    given = {pair.given for task in made.values() for pair in task.pairs}
    assert not given & {"take", "took"}


# --- spread ---------------------------------------------------------------------------------


def test_orders_and_choices_are_told_apart():
    rng = np.random.default_rng(0)
    choices, orders = 400, 3
    by_choice, by_order = (
        rng.normal(0, 0.5, (choices, 1, 1)),
        rng.normal(0, 0.2, (choices, orders, 1)),
    )
    inputs = np.linspace(-1, 1, 5)
    loss = 2.0 + by_choice + by_order + inputs
    axes = ("draw", "order", "sequence")
    scores = labelled({"log_loss": (axes, loss), "correct": (axes, loss > 2)})
    summary = summarise_spread(scores)
    assert abs(summary["by_choice"] - 0.5) < 4 * 0.5 / np.sqrt(2 * choices)
    assert abs(summary["by_order"] - 0.2) < 4 * 0.2 / np.sqrt(4 * choices)
    np.testing.assert_allclose(summary["log_loss"], loss.mean())
    np.testing.assert_allclose(summary["standard_error"], inputs.std(ddof=1) / np.sqrt(5))


def test_who_counts_alone_cares_for_no_order(exam):
    counter = DirichletCategorical((1.0,) * exam.tokenizer.symbols).bayes()
    loss = order_and_choice(counter, exam, 4, choices=2, orders=2, callbacks=()).log_loss
    np.testing.assert_allclose(loss.sel(order=0), loss.sel(order=1), rtol=1e-5)
    assert (abs(loss.sel(draw=0) - loss.sel(draw=1)) > 1e-3).any()
    shown = few_shot.draw_demonstrations(exam.split, 4, seed=1)
    judged = exam.judge(counter, shown, room=exam.room(4)).log_loss
    np.testing.assert_allclose(loss.sel(draw=1, order=0), judged, rtol=1e-5)
    with pytest.raises(ValueError, match=r"at least 2 choices and 2 orders, .* got 1 and 2"):
        order_and_choice(counter, exam, 4, choices=1)
