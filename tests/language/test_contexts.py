"""Facts asked for in sentences behind contexts: what is read, what is answered."""

import re

import numpy as np
import pytest
from support import small_tokenizer

from promptax.language.tokenizer import Tokenizer
from promptax.language.word_tasks.contexts import ContextQuestions, Sentences, apart
from promptax.language.word_tasks.pairs import Pair
from promptax.protocol.exchangeable import Uniform
from promptax.tasks import DirichletCategorical

WORDS = Sentences(said="on {}: {}. ", asked="on {}:")
PAIRS = Pair("a", "cat"), Pair("b", "mat"), Pair("c", "hat"), Pair("d", "sat")
KNOWN = {"a": "cat", "b": "mat", "c": "cat", "d": "sat"}  # one of them wrong


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    name = str(small_tokenizer.write(tmp_path_factory.mktemp("tokenizer")) / "small.gguf")
    return ContextQuestions(PAIRS, tokenizer=name, sentences=WORDS)


def test_each_kind_of_context_has_its_answer(questions):
    kinds = "relevant", "counterfactual", "irrelevant", "empty"
    texts = questions.texts(KNOWN, kinds, copies=3)
    written = []
    for row, length in zip(texts.sequences, texts.prompt_lengths, strict=True):
        whole = [questions.tokenizer.decode(part[part >= 0]) for part in np.split(row, [length])]
        written.append(whole)
    asked = np.reshape(written, (4, 4, 3, 2))
    for pair, by_kind in zip(PAIRS, asked, strict=True):
        known, question = f" {KNOWN[pair.given]}", f"on {pair.given}:"
        for kind, rows in zip(kinds, by_kind, strict=True):
            for prompt, answer in rows:
                assert prompt.endswith(question)
                context = re.fullmatch(r"(?:on (.):( .*)\. )?", prompt.removesuffix(question))
                assert context
                spoken_of, said = context.groups()
                assert (answer == known) == (kind != "counterfactual")
                if kind == "empty":
                    assert said is None
                elif kind == "irrelevant":
                    assert Pair(spoken_of, said[1:]) in PAIRS
                    assert spoken_of != pair.given and said != known
                else:
                    assert spoken_of == pair.given and said == answer
    assert len({prompt for prompt, _ in asked[0, 1]}) == 3  # contexts differ


def test_who_counts_words_follows_every_context(questions):
    counter = DirichletCategorical((1.0,) * questions.tokenizer.symbols).bayes()
    known = questions.own_answers(counter)  # nothing was counted: the first candidate
    assert known == dict.fromkeys("abcd", "cat")
    shares = questions.grounding(counter, known, contexts=2)
    means = {name: float(shares[name].mean()) for name in shares}
    assert means == {
        "own": 1.0,
        "relevant": 1.0,
        "controllability": 1.0,
        "robustness": 0.0,
        "distracted": 1.0,
        "right": 0.25,
    }


def test_what_cannot_be_asked_is_refused(questions):
    with pytest.raises(ValueError, match="begin with different tokens, all answers among them"):
        ContextQuestions((*PAIRS, Pair("e", "cat")), tokenizer=questions.name)
    twice = apart((*PAIRS, Pair("e", "cat")), Tokenizer.named(questions.name))
    assert twice == PAIRS
    with pytest.raises(ValueError, match="Name its own tokenizer"):
        questions.own_answers(Uniform(3))
    with pytest.raises(ValueError, match="Expected kinds from"):
        questions.texts(KNOWN, ("late",))
    with pytest.raises(ValueError, match="Expected a known answer to each input"):
        questions.texts({}, ("empty",))
