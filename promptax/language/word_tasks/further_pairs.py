"""Word tasks to learn from: those of `WORD_TASKS` are what is then asked.

Inputs are common words that are in no pair of `WORD_TASKS`, and numbers above theirs. So what is
learned of a word here cannot help there: only how demonstrations are read can.
"""

import functools
import mimetypes
import operator
import zoneinfo
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from promptax.language.word_tasks.pairs import NAME, WORD_TASKS, Pair, WordTask, package

MOST_WORDS = 2000  # of a task that any word fits
OPPOSITE_PREFIXES = ("dis", "im", "in", "un")
CONTINENTS = ("Africa", "America", "Asia", "Australia", "Europe")
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


def last_letters(common: Sequence[str]) -> WordTask:
    """Words and their last letter: "green", "n"."""
    return _spelled(common, "last letters", operator.itemgetter(-1))


def adverbs(common: Sequence[str]) -> WordTask:
    """Common adjectives and their adverbs (lemminflect): "quick", "quickly"."""
    words = set(common)
    pairs = [
        Pair(word, f"{word}ly")
        for word in _free(tuple(common))
        if f"{word}ly" in words and "ADJ" in _classes(word) and "ADV" in _classes(f"{word}ly")
    ]
    return WordTask("adverbs", tuple(pairs))


def opposites(common: Sequence[str]) -> WordTask:
    """Common adjectives and what a prefix makes of them (lemminflect): "able", "unable"."""
    words = set(common)
    pairs = {
        word: Pair(word, prefix + word)
        for word in _free(tuple(common))
        for prefix in OPPOSITE_PREFIXES
        if prefix + word in words and "ADJ" in _classes(word) & _classes(prefix + word)
    }
    return WordTask("opposites", tuple(pairs.values()))


def word_classes(common: Sequence[str]) -> WordTask:
    """Common words that are nouns, verbs or adjectives and nothing else (lemminflect), as many of
    each: "system", "noun"."""
    labels = {"ADJ": "adjective", "NOUN": "noun", "VERB": "verb"}
    groups: dict[str, list[str]] = {name: [] for name in labels}
    for word in _free(tuple(common)):
        classes = _classes(word)
        if len(classes) == 1 and classes <= set(labels):
            groups[classes.pop()].append(word)
    return _balanced("word classes", {labels[name]: words for name, words in groups.items()})


def endings(common: Sequence[str]) -> WordTask:
    """Words, and whether their last letter is a vowel or a consonant, as many of each."""
    groups: dict[str, list[str]] = {"consonant": [], "vowel": []}
    for word in _free(tuple(common)):
        groups["vowel" if word[-1] in "aeiou" else "consonant"].append(word)
    return _balanced("endings", groups)


def continents(common: Sequence[str] = ()) -> WordTask:
    """Cities that time zones are named for, no capitals, and their continents, as many of each:
    "Chicago", "America"."""
    taken = _taken(tuple(common))
    groups: dict[str, list[str]] = {name: [] for name in CONTINENTS}
    for zone in sorted(zoneinfo.available_timezones()):
        continent, _, city = zone.replace("_", " ").partition("/")
        if continent in groups and NAME.fullmatch(city) and city not in taken:
            groups[continent].append(city)
    return _balanced("continents", groups)


def media_types(common: Sequence[str] = ()) -> WordTask:
    """Endings of file names and what such files hold (mimetypes): "png", "image"."""
    del common
    known = mimetypes.MimeTypes().types_map[True]
    pairs = [Pair(ending[1:], known[ending].partition("/")[0]) for ending in sorted(known)]
    return WordTask("media types", tuple(pairs))


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
    "last letters": last_letters,
    "adverbs": adverbs,
    "opposites": opposites,
    "word classes": word_classes,
    "continents": continents,
    "media types": media_types,
}
"""By name, as `WORD_TASKS`."""


@functools.lru_cache(maxsize=2)  # the lemmas of all words take seconds
def _taken(common: tuple[str, ...]) -> frozenset[str]:
    """All inputs and answers of `WORD_TASKS`."""
    tasks = [make(common) for make in WORD_TASKS.values()]
    return frozenset(text for task in tasks for pair in task.pairs for text in pair)


def _free(common: tuple[str, ...]) -> list[str]:
    """The words that are in no pair of `WORD_TASKS`, neither as input nor as answer."""
    taken = _taken(common)
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


def _balanced(name: str, groups: dict[str, list[str]]) -> WordTask:
    """Words and the label of their group, label after label; the shortest group ends all."""
    pairs = [
        Pair(word, label)
        for words in zip(*groups.values(), strict=False)
        for word, label in zip(words, groups, strict=True)
    ]
    return WordTask(name, tuple(pairs), tuple(groups))


def _classes(word: str) -> set[str]:
    """The classes of words of which this is the first form: NOUN, VERB, ADJ, ADV."""
    lemmas: dict[str, tuple[str, ...]] = package("lemminflect").getAllLemmas(word)
    return {name for name, forms in lemmas.items() if word in forms}


def _twice(word: str) -> str:
    return f"{word} {word}"


def _numbers() -> range:
    return range(FIRST_NUMBER, LAST_NUMBER + 1)
