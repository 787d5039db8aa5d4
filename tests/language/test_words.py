"""Word tasks: which pairs there are, and on which side of a split."""

import re

import pytest

from promptax.language.word_tasks import pairs as words
from promptax.language.word_tasks.pairs import Pair, WordTask

COMMON = (
    "take work overtake find found founded can put water walk talk study stud great love loved "
    "lovely lover awful good awfully kind table terrible war took worked overtook walked talked "
    "studied watered run ran"
)
DIGITS = WordTask("digits", tuple(Pair(str(n), words.in_words(n)) for n in range(30)))


# --- pairs ----------------------------------------------------------------------------------


def test_numbers_in_words():
    said = {0: "zero", 13: "thirteen", 40: "forty", 47: "forty-seven", 100: "one hundred"}
    said |= {407: "four hundred and seven", 999: "nine hundred and ninety-nine"}
    assert {number: words.in_words(number) for number in said} == said
    pairs = words.number_words().pairs
    assert len({pair.answer for pair in pairs}) == len(pairs) == 999
    for number in (-1, 1000):
        with pytest.raises(ValueError, match=f"from 0 to 999; got {number}"):
            words.in_words(number)


def test_capitals_of_countries():
    pytest.importorskip("countryinfo")
    task = words.capitals()
    found = dict(task.pairs)
    assert task.pairs[0] == ("China", "Beijing") and found["New Zealand"] == "Wellington"
    assert "Mexico" not in found  # Mexico City: the country's name gives it away
    assert "Myanmar" not in found and found["Burma"] == "Naypyidaw"  # two names of one country
    assert len(found) == len(set(found.values())) > 140
    assert all(name.isascii() and capital.isascii() for name, capital in task.pairs)


def test_past_tenses_of_common_verbs():
    pytest.importorskip("lemminflect")
    pairs = words.past_tenses(COMMON.split()).pairs
    assert pairs == (
        ("take", "took"),
        ("work", "worked"),  # not: overtake, of the family of take
        ("find", "found"),
        ("water", "watered"),
        ("walk", "walked"),  # not: can, which has no other forms
        ("talk", "talked"),  # not: put, whose form is itself
        ("study", "studied"),  # not: stud, whose form is no common word
        ("love", "loved"),
        ("run", "ran"),
    )


def test_no_answer_is_given_away_by_another_pair():
    pairs = Pair("lie", "lay"), Pair("lay", "laid"), Pair("rest", "laid"), Pair("go", "went")
    assert words._with_new_answers(pairs) == (("lay", "laid"), ("go", "went"))


def test_sentiments_of_common_words():
    pytest.importorskip("vaderSentiment.vaderSentiment")
    task = words.sentiments(COMMON.split())
    good, bad = (
        [pair.given for pair in task.pairs if pair.answer == each]
        for each in ("positive", "negative")
    )
    assert (good, bad) == (["great", "love", "good"], ["awful", "terrible", "war"])
    assert task.labels == ("negative", "positive")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "countryinfo", None)
    with pytest.raises(ValueError, match=r"package countryinfo, .* pip install '\.\[words\]'$"):
        words.capitals()


# --- sides ----------------------------------------------------------------------------------


def test_a_split_has_each_pair_on_one_side():
    split = DIGITS.split(3, demonstrations=5, held_out=8)
    assert [len(side) for side in split] == [5, 17, 8]
    assert sorted(pair for side in split for pair in side) == sorted(DIGITS.pairs)
    assert DIGITS.split(3, demonstrations=5, held_out=8) == split != DIGITS.split(4)
    assert len(DIGITS.split().held_out) == 15  # half of all


@pytest.mark.parametrize(("demonstrations", "held_out"), [(0, 5), (5, 0), (20, 10)])
def test_a_split_needs_pairs_on_all_sides(demonstrations, held_out):
    message = f"got demonstrations={demonstrations} and held_out={held_out} of 30 pairs."
    with pytest.raises(ValueError, match=re.escape(message)):
        DIGITS.split(demonstrations=demonstrations, held_out=held_out)


def test_bad_pairs_are_refused():
    with pytest.raises(ValueError, match=r"Expected each input once; got \['a'\]"):
        WordTask("twice", (Pair("a", "b"), Pair("a", "c")))
    with pytest.raises(ValueError, match=r"among the labels \('x',\); got \['b'\]"):
        WordTask("other", (Pair("a", "b"),), labels=("x",))
