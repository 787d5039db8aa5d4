"""Word tasks to learn from: those of `WORD_TASKS` are what is then asked.

Inputs are common words that are in no pair of `WORD_TASKS`, and numbers above theirs. So what is
learned of a word here cannot help there: only how demonstrations are read can.
"""

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from promptax.language.word_tasks.pairs import WORD_TASKS, Pair, WordTask, package

MOST_WORDS = 2000  # of a task that any word fits
FIRST_NUMBER, LAST_NUMBER = 1000, 1999  # beyond those that are written out


def plurals(common: Sequence[str]) -> WordTask:
    """Common nouns and their plurals (lemminflect): "child", "children"."""
    return WordTask("plurals", tuple(_inflected(common, "NNS", "NOUN")))


def gerunds(common: Sequence[str]) -> WordTask:
    """Common verbs and their gerunds (lemminflect): "learn", "learning"."""
    return WordTask("gerunds", tuple(_inflected(common, "VBG", "VERB")))


def comparatives(common: Sequence[str]) -> WordTask:
    """Common adjectives and their comparatives (lemminflect): "high", "higher"."""
    return WordTask("comparatives", tuple(_inflected(common, "JJR", "ADJ")))


def capital_letters(common: Sequence[str]) -> WordTask:
    """Words and how they begin a sentence: "green", "Green"."""
    return _spelled(common, "capital letters", str.capitalize)


def first_letters(common: Sequence[str]) -> WordTask:
    """Words and their first letter: "green", "g"."""
    return _spelled(common, "first letters", operator.itemgetter(0))


def doubled_words(common: Sequence[str]) -> WordTask:
    """Words and the same twice: "green", "green green"."""
    return _spelled(common, "doubled words", _twice)


def endings(common: Sequence[str]) -> WordTask:
    """Words, and whether their last letter is a vowel or a consonant, as many of each."""
    labels = "consonant", "vowel"
    free = _free(tuple(common))
    by_label = [
        [word for word in free if (word[-1] in "aeiou") == vowel] for vowel in (False, True)
    ]
    pairs = [
        Pair(word, label)
        for words in zip(*by_label, strict=False)  # the shorter of the two lists ends both
        for word, label in zip(words, labels, strict=True)
    ]
    return WordTask("endings", tuple(pairs), labels)


def parities(common: Sequence[str] = ()) -> WordTask:
    """Numbers of four digits, and whether they are even or odd: "1347", "odd"."""
    del common
    labels = "even", "odd"
    pairs = [Pair(str(number), labels[number % 2]) for number in _numbers()]
    return WordTask("parities", tuple(pairs), labels)


def successors(common: Sequence[str] = ()) -> WordTask:
    """Numbers of four digits and those that follow them: "1347", "1348"."""
    del common
    return WordTask("successors", tuple(Pair(str(n), str(n + 1)) for n in _numbers()))


FURTHER_TASKS: dict[str, Callable[[Sequence[str]], WordTask]] = {
    "plurals": plurals,
    "gerunds": gerunds,
    "comparatives": comparatives,
    "capital letters": capital_letters,
    "first letters": first_letters,
    "doubled words": doubled_words,
    "endings": endings,
    "parities": parities,
    "successors": successors,
}
"""By name, as `WORD_TASKS`."""


@functools.lru_cache(maxsize=2)  # the lemmas of all words take seconds
def _free(common: tuple[str, ...]) -> list[str]:
    """The words that are in no pair of `WORD_TASKS`, neither as input nor as answer."""
    tasks = [make(common) for make in WORD_TASKS.values()]
    taken = {text for task in tasks for pair in task.pairs for text in pair}
    return [word for word in common if word not in taken]


def _inflected(common: Sequence[str], form: str, kind: str) -> Iterator[Pair]:
    """Words that have one such form, which is a common word and another than themselves."""
    lemminflect: Any = package("lemminflect")
    words = set(common)
    for word in _free(tuple(common)):
        forms = lemminflect.getInflection(word, form, inflect_oov=False)
        is_lemma = lemminflect.getLemma(word, kind, lemmatize_oov=False)[:1] == (word,)
        if is_lemma and len(forms) == 1 and forms[0] in words - {word}:
            yield Pair(word, forms[0])


def _spelled(common: Sequence[str], name: str, change: Callable[[str], str]) -> WordTask:
    """Words and what a change of their letters makes of them."""
    return WordTask(
        name, tuple(Pair(word, change(word)) for word in _free(tuple(common))[:MOST_WORDS])
    )


def _twice(word: str) -> str:
    return f"{word} {word}"


def _numbers() -> range:
    return range(FIRST_NUMBER, LAST_NUMBER + 1)
