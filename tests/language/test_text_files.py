"""What a file of texts is, its content says, not its name."""

import numpy as np
import pytest
from support import small_tokenizer

from promptax.language import Texts, Tokenizer


@pytest.fixture(scope="module")
def word(tmp_path_factory):
    """The name of a small tokenizer."""
    return str(small_tokenizer.write(tmp_path_factory.mktemp("tokenizer")) / "small.gguf")


PAIRS = '{"prompt": "the", "completion": " cat"}\n{"text": "12"}\n'
BY_CONTENT = {  # name, content, and whether it is JSON
    "mine.jsonl": (PAIRS, True),
    "mine.ndjson": (PAIRS, True),
    "mine.jsonlines": (PAIRS, True),
    "MINE.JSONL": (PAIRS, True),
    "mine.json": (PAIRS, True),
    "mine.txt": (PAIRS, True),
    "mine": (PAIRS, True),
    "spaces": ("\n  " + PAIRS.replace("\n", "\r\n"), True),
    "mark.jsonl": ("\ufeff" + PAIRS, True),
    "list.json": ("[" + PAIRS.strip().replace("\n", ",\n") + "]", True),
    "list.jsonl": ("[" + PAIRS.strip().replace("\n", ",") + "]", True),
    "list": ("[\n" + PAIRS.strip().replace("\n", ",\n") + "\n]", True),
    "lyrics.txt": ("[Chorus]\nthe cat\n[Verse 1]\n", False),
    "code.txt": ("int main()\n{\n}\n", False),
    "brackets.txt": ("[1] the cat\n{12}\n", False),
    "numbers.txt": ("[1, 2]\n12\n", False),
    "quoted.txt": ('"the"\n{ a set }\n', False),
}


@pytest.mark.parametrize("name", BY_CONTENT)
def test_what_a_file_is_its_content_says(word, tmp_path, name):
    content, is_json = BY_CONTENT[name]
    (tmp_path / name).write_bytes(content.encode())
    task = Texts(path=str(tmp_path / name), tokenizer=word)
    if is_json:
        given = ({"prompt": "the", "completion": " cat"}, {"text": "12"})
    else:
        given = tuple(content.strip().split("\n"))
    expected = Texts(sequences=given, tokenizer=word)
    np.testing.assert_array_equal(task.sequences, expected.sequences)
    np.testing.assert_array_equal(task.prompt_lengths, expected.prompt_lengths)


ONE = {  # a file that is one JSON value, and the texts in it
    "over lines.txt": ('{\n  "prompt": "the",\n  "completion": " cat"\n}\n', 1),
    "texts.json": ('["the cat", "12"]', 2),
    "texts": ('[\n "the cat",\n {"text": "12"}\n]', 2),
}


@pytest.mark.parametrize("name", ONE)
def test_a_file_may_be_one_json_value(word, tmp_path, name):
    (tmp_path / name).write_text(ONE[name][0])
    task = Texts(path=str(tmp_path / name), tokenizer=word)
    assert len(task.sequences) == ONE[name][1]
    decoded = Tokenizer.named(word).decode(task.sequences[0][: task.longest])
    assert decoded.startswith("the cat")
