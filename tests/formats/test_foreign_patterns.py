"""Patterns that others wrote are ended, wherever they are evaluated."""

import json
import time

import pytest
from support import small_llama

from promptax.formats import evaluating
from promptax.language import Tokenizer


def test_patterns_without_end_are_ended(monkeypatch):
    assert evaluating.match([r".*q_proj", "k"], ["a.q_proj", "b.k"]) == [
        [True, False],
        [False, True],
    ]
    monkeypatch.setattr(evaluating, "SECONDS", 0.5)
    with pytest.raises(evaluating.ForeignProblem, match="did not end within"):
        evaluating.match(["(a+)+b"], ["a" * 64])
    with pytest.raises(evaluating.ForeignProblem, match="unterminated"):
        evaluating.match(["("], ["a"])


def test_a_tokenizer_whose_pattern_has_no_end_gives_up(tmp_path, capfd):
    folder = small_llama.write(tmp_path / "a")
    written = json.loads((folder / "tokenizer.json").read_text())
    split = {
        "type": "Split",
        "pattern": {"Regex": "(a+)+$"},
        "behavior": "Isolated",
        "invert": False,
    }
    written["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [split, written["pre_tokenizer"]],
    }
    (folder / "tokenizer.json").write_text(json.dumps(written))
    tokenizer = Tokenizer.named(str(folder))
    assert tokenizer.encode("aa").tolist() == [67, 67]
    with pytest.raises(
        ValueError, match="a tokenizer that can read the text; its package gives up"
    ):
        tokenizer.encode("a" * 40 + "b")
    capfd.readouterr()  # where the package prints what it thinks of it


def splitting(folder, pattern, place="pre_tokenizer"):
    """Let a tokenizer cut a text by a pattern first."""
    written = json.loads((folder / "tokenizer.json").read_text())
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    if place == "normalizer":
        split = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "x"}
    parts = [split | {"invert": False}, *filter(None, [written[place]])]
    names = {"pre_tokenizer": "pretokenizers", "normalizer": "normalizers"}
    written[place] = {"type": "Sequence", names[place]: parts}
    (folder / "tokenizer.json").write_text(json.dumps(written))
    return Tokenizer.named(str(folder))


SLOW = ("a*a*a*a*b", "(a|aa)+b", "a*a*x?a*a*b", "(a*)*b", "([^ ]|a)+!")


@pytest.mark.parametrize("place", ["pre_tokenizer", "normalizer"])
@pytest.mark.parametrize("pattern", SLOW)
def test_patterns_that_are_slow_at_every_place_are_ended(tmp_path, monkeypatch, pattern, place):
    monkeypatch.setattr(evaluating, "SECONDS", 0.5)
    tokenizer = splitting(small_llama.write(tmp_path / "a"), pattern, place)
    assert len(tokenizer.encode("a a")) == 3
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"its package gives up: .*a pattern without end") as error:
        tokenizer.encode(("a" * 150 + "x") * 60 + " !b")
    assert pattern in str(error.value) and time.monotonic() - started < 5


def test_patterns_that_end_cut_as_they_do_elsewhere(tmp_path):
    folder = small_llama.write(tmp_path / "a")
    plain = Tokenizer.named(str(folder))
    text = "ab <|b|> é" * 50
    expected = {special: plain.encode(text, special).tolist() for special in (True, False)}
    tokenizer = splitting(folder, r"[ab]{2,3}\w?")
    for special in (True, False):
        assert tokenizer.encode(text, special).tolist() == expected[special]
