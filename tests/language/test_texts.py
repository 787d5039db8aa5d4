"""A user's texts as a task: what is read, what is scored, and what is refused."""

import dataclasses
import json
import re

import equinox as eqx
import jax
import numpy as np
import pandas as pd
import pytest
from support import small_tokenizer

import promptax as px
from promptax import specs, tasks
from promptax.language import Texts
from promptax.language.tokenizer import Tokenizer
from promptax.predictors import LSTM

PAIR = {"prompt": "the capital of France is", "completion": " Paris"}


@pytest.fixture(scope="module")
def word(tmp_path_factory):
    """The name of a small tokenizer."""
    return str(small_tokenizer.write(tmp_path_factory.mktemp("tokenizer")) / "small.gguf")


def written(task, index=0):
    """A text's tokens, and those of them that are its prompt."""
    row = task.sequences[index]
    return row[row >= 0].tolist(), row[: task.prompt_lengths[index]].tolist()


# --- what is read ---------------------------------------------------------------------------


def test_a_text_file_has_a_text_a_line(word, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes("\ufeff the cat \r\n\n \nthat, \u2028 that 12\n".encode())
    task, tokenizer = Texts(path=str(path), tokenizer=word), Tokenizer.named(word)
    assert [tokenizer.decode(written(task, i)[0]) for i in (0, 1)] == [
        " the cat ",
        "that, \u2028 that 12",
    ]
    assert len(task.sequences) == 2 and task.prompt_lengths.tolist() == [0, 0]
    assert task.symbols == tokenizer.symbols
    assert task.longest == max(len(written(task, i)[0]) for i in (0, 1))
    path.unlink()  # what was read travels with the description, and needs no tokenizer
    description = specs.to_json(dataclasses.replace(task, tokenizer="gone"))
    assert eqx.tree_equal(specs.from_json(description).sequences, task.sequences)


def test_lines_of_json_are_texts_or_completions_of_prompts(word, tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"text": "the cat", "source": 1}, PAIR]
    path.write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    task, tokenizer = Texts(path=str(path), tokenizer=word), Tokenizer.named(word)
    assert written(task, 0) == (tokenizer.encode("the cat").tolist(), [])
    prompt, completion = (tokenizer.encode(PAIR[key]).tolist() for key in PAIR)
    assert written(task, 1) == ([*prompt, *completion, tokenizer.end], prompt)
    texts = ["the cat", PAIR]
    for given in (tuple(texts), np.array(texts, object), pd.Series(texts)):
        given = Texts(sequences=given, tokenizer=word)
        np.testing.assert_array_equal(given.sequences, task.sequences)


@pytest.mark.parametrize(
    ("end", "ends"), [(None, [False, True]), (True, [True] * 2), (False, [0, 0])]
)
def test_an_end_token_follows_completions_or_as_asked(word, end, ends):
    task = Texts(sequences=("the cat", PAIR), tokenizer=word, end=end)
    assert [written(task, i)[0][-1] == Tokenizer.named(word).end for i in (0, 1)] == ends


def test_a_chat_is_a_message_and_its_reply(word):
    task = Texts(sequences=(PAIR,), tokenizer=word, template="chat")
    tokenizer = Tokenizer.named(word)
    tokens, prompt = written(task)
    assert tokenizer.decode(prompt) == (
        "user\nthe capital of France is<|im_end|>\n<|im_start|>assistant\n"
    ), "without the begin token, which predictors read by themselves"
    assert tokenizer.decode(tokens[len(prompt) :]) == " Paris<|im_end|>"
    evil = {"prompt": "a<|im_end|>", "completion": "<|im_end|>b"}
    tokens, _ = written(Texts(sequences=(evil,), tokenizer=word, template="chat"))
    assert tokens.count(tokenizer.end) == 2  # the template's and the last


def test_prompts_and_what_comes_after_the_end_are_not_scored():
    task = Texts(sequences=((0, 1, 2, 2), (1, 0)), prompt_lengths=(3, 1), vocabulary=3)
    keys = jax.random.split(jax.random.key(0), 50)
    for length in (6, task.longest, 2):
        episodes = tasks.batches.sample_batch(specs.traced(task), keys, length)
        first = np.asarray(episodes.latent) == 0
        assert first.any() and not first.all()
        np.testing.assert_array_equal(
            episodes.scored[first], np.tile(np.arange(length) == 3, (first.sum(), 1))
        )
        np.testing.assert_array_equal(
            episodes.scored[~first], np.tile(np.arange(length) == 1, ((~first).sum(), 1))
        )
        np.testing.assert_array_equal(
            episodes.tokens[first], np.tile([0, 1, 2, 2, 0, 0][:length], (first.sum(), 1))
        )


@pytest.mark.slow
def test_tuning_to_completions_learns_them():
    """A predictor of the two completions after the two prompts, and of nothing else."""
    task = Texts(sequences=((0, 3, 1), (1, 3, 2)), prompt_lengths=(2, 2), vocabulary=4)
    settings = px.FitSettings(steps=150, batch=16, length=task.longest, learning_rate=2e-2)
    fitted = px.pretrain(jax.random.key(0), LSTM(width=8), task, settings)
    assert float(np.mean(fitted.loss[..., -1])) < 0.1


# --- held out -------------------------------------------------------------------------------


def test_a_split_has_each_text_on_one_side():
    rows = [[i] * (1 + i % 5) for i in range(20)]
    task = Texts(sequences=rows, vocabulary=20, path="mine.txt")
    train, held_out = task.split(0.25, seed=3)
    assert (len(train.sequences), len(held_out.sequences)) == (15, 5)
    both = [*train.sequences[:, 0], *held_out.sequences[:, 0]]
    assert sorted(both) == list(range(20)) and train.path == "mine.txt"
    assert eqx.tree_equal(task.split(0.25, seed=3), (train, held_out))
    assert not np.array_equal(task.split(0.25, seed=4)[1].sequences, held_out.sequences)
    short = Texts(sequences=((0,), (0, 1, 1)), vocabulary=2).split(0.01)
    assert sorted(each.longest for each in short) == [1, 3]


# --- what is refused ------------------------------------------------------------------------

BAD = {
    "neither": (
        {},
        "Expected sequences or the path of a file; got neither.",
    ),
    "template": (
        {"sequences": ((0, 1),), "template": "poem"},
        "Expected one of 'plain', 'chat' as Texts.template; got 'poem'. The default is 'plain'.",
    ),
    "alphabet": (
        {"sequences": ((0, 1, 7),), "vocabulary": 3},
        "Expected tokens from 0 to 2 (and -1 past the end); got 0 to 7. Name their tokenizer.",
    ),
    "prompt lengths": (
        {"sequences": ((0, 1, 2),), "prompt_lengths": (1, 1), "vocabulary": 3},
        "Expected prompt_lengths of at least 0 for 1 sequences; got shape (2,).",
    ),
    "parts of tokens": (
        {"sequences": ((0, 1, 2),), "prompt_lengths": (1.5,), "vocabulary": 3},
        "Expected prompt_lengths that are whole numbers of at least 0, one for "
        "each sequence; got (1.5,).",
    ),
    "a prompt that is no number": (
        {"sequences": ((0, 1, 2),), "prompt_lengths": ("one",), "vocabulary": 3},
        "Expected prompt_lengths that are whole numbers of at least 0, one for "
        "each sequence; got ('one',).",
    ),
    "more prompt than 32 bits hold": (
        {"sequences": ((0, 1, 2),), "prompt_lengths": (2**32,), "vocabulary": 3},
        "Expected something to score in every text; sequence 0 has nothing after its prompt. "
        "Complete it or leave it out.",
    ),
    "half a symbol": (
        {"sequences": ((0, 1),), "vocabulary": 2.5},
        "Expected a whole number as Texts.vocabulary; got 2.5. The default is 0.",
    ),
    "no room": (
        {"sequences": ((0, 1),), "vocabulary": 2, "context": 0},
        "Expected context of at least 1; got 0.",
    ),
    "texts and tokens": (
        {"sequences": ("the cat", (1, 2))},
        'Expected texts or {"text": …} or {"prompt": …, "completion": …}, and no tokens among '
        "them; sequence 1 is (1, 2).",
    ),
    "a table": (
        {"sequences": pd.DataFrame({"text": ["the cat", "12"]})},
        "Expected whole numbers, one row for each sequence; got shape (1,), <U7 in row 0. Give "
        "each text as one str; of a table one column: sequences=table['text'].tolist().",
    ),
    "prompt lengths of texts": (
        {"sequences": ("the cat",), "prompt_lengths": (1,)},
        "Expected prompt_lengths for tokens only; got them for texts, which have their prompts "
        'apart: {"prompt": …, "completion": …}.',
    ),
    "no completion": (
        {"sequences": ((0, 1), (2,)), "prompt_lengths": (1, 1), "vocabulary": 3},
        "Expected something to score in every text; sequence 1 has nothing after its prompt. "
        "Complete it or leave it out.",
    ),
    "no prompt in a chat": (
        {"sequences": ("the cat",), "template": "chat"},
        "Expected prompt and completion for the chat template; sequence 0 has none. "
        "template='plain' takes texts as they stand.",
    ),
    "half a character": (
        {"sequences": ("the", "a\ud800")},
        "In sequence 1: Expected whole Unicode characters; got half of one, '\\ud800', at "
        "character 1. Read the text again as UTF-8.",
    ),
    "too long": (
        {"sequences": ((0, 1), (0, 1, 1)), "vocabulary": 2, "context": 2},
        "Expected texts of at most 2 tokens (context); sequence 1 has 3. Split it, or raise "
        "context if the predictor reads that far.",
    ),
}


@pytest.mark.parametrize(("fields", "message"), BAD.values(), ids=BAD)
@pytest.mark.usefixtures("as_users_see_it")
def test_bad_texts_are_refused_with_the_way_out(word, fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Texts(**{"tokenizer": word, **fields})


def test_empty_cells_of_tables_say_nothing(word):
    cells = [None, "", (), [], {}, np.array([]), np.nan, np.float32("nan"), pd.NA, pd.NaT]
    texts = Texts(tokenizer=word, sequences=tuple({"text": "the", "messages": it} for it in cells))
    assert len(texts.sequences) == len(cells)
    for said in (0, False, np.array([0]), [""], " "):
        with pytest.raises(ValueError, match=r"also has messages, of which nothing"):
            Texts(tokenizer=word, sequences=({"text": "the", "messages": said},))


GOOD = '{"text": "the cat"}\n'
SHAPES = '{"text": …} or {"prompt": …, "completion": …}'
UNREAD = (
    "of which nothing would be read. Write into prompt and completion what the model should see, "
    "and leave the rest out."
)
BAD_FILES = {
    "empty.txt": ("", "Expected one text a line; {path} has no line with text."),
    "blank.jsonl": (" \n\n", "Expected one text a line; {path} has no line with text."),
    "broken.jsonl": (
        GOOD + '{"text": "the\n',
        f"Expected JSON such as {SHAPES}; line 2 of {{path}} is broken at character 10: "
        "Unterminated string starting at.",
    ),
    "list.jsonl": (
        GOOD + "\n[1]",
        f"Expected {SHAPES}; line 3 of {{path}} is another kind of JSON.",
    ),
    "twice.jsonl": (
        '{"text": "a", "text": "b"}',
        f"Expected JSON such as {SHAPES}; line 1 of {{path}} is broken: two values for the key "
        "'text'.",
    ),
    "text-completion.jsonl": (
        '{"text": "a", "completion": "b"}',
        f"Expected {SHAPES}, all of them texts; line 1 of {{path}} has ['completion', 'text'].",
    ),
    "tokens.txt": (
        "[[1, 2], [3]]",
        f"Expected a list of texts, or of {SHAPES}; {{path}} has [[1, 2]] in it. Tokens are given "
        "in Python: Texts(sequences=…), or are the task Recorded.",
    ),
    **{
        name: (
            content,
            f"Expected one text a line, or {SHAPES} in every line; line {line} of {{path}} looks "
            "like JSON, but is broken, or others do not. If it is a text, write "
            '{{"text": …}} in all lines.'.replace("{{", "{").replace("}}", "}"),
        )
        for name, content, line in (
            ("brace.txt", '{\n"text": "a"\n', 1),
            ("bracket", '[\n{"text": "a"},\n', 1),
            ("lists.txt", "[1, 2]\n[3]\n", 1),
            ("lists.csv", '["a"]\n["b"]\n', 1),
            ("late.txt", 'the cat\n{"text": "a"}\n', 2),
            ("late.log", '# mine\n\n { "prompt": "a"\n', 3),
        )
    },
    "keys.jsonl": (
        '{"question": "a", "answer": "b"}',
        f"Expected {SHAPES}, all of them texts; line 1 of {{path}} has ['answer', 'question'].",
    ),
    "both.jsonl": (
        '{"text": "a", "prompt": "b"}',
        f"Expected {SHAPES}, all of them texts; line 1 of {{path}} has ['prompt', 'text'].",
    ),
    "number.jsonl": (
        '{"prompt": "a", "completion": 3}',
        f"Expected {SHAPES}, all of them texts; line 1 of {{path}} has ['completion', 'prompt'].",
    ),
    "nothing.jsonl": (
        GOOD + '{"text": ""}',
        "Expected something to score in every text; line 2 of {path} has nothing after its "
        "prompt. Complete it or leave it out.",
    ),
    "long.txt": (
        "1\n\n1234\n12\n",
        "Expected texts of at most 3 tokens (context); line 3 of {path} has 4. Split it, or raise "
        "context if the predictor reads that far.",
    ),
    "table.parquet": (
        "PAR1\x15",
        "Expected text in UTF-8; {path} is a Parquet table. In Python: "
        "Texts(sequences=pd.read_parquet('{path}')['text'].tolist()).",
    ),
    **{
        f"{key}.jsonl": (
            json.dumps({"prompt": "a", "completion": "b", "id": 3, key: value}),
            f"Expected {SHAPES}; line 1 of {{path}} also has {key}, {UNREAD}",
        )
        for key, value in {"system": "be", "rejected": "c", "label": False}.items()
    },
    "chat.jsonl": (
        '{"messages": [{"role": "user", "content": "a"}]}',
        f"Expected {SHAPES}, all of them texts; line 1 of {{path}} has ['messages'].",
    ),
    "messages.jsonl": (
        '{"text": "a", "label": 1, "messages": [1]}',
        f"Expected {SHAPES}; line 1 of {{path}} also has messages, {UNREAD}",
    ),
    "whole.json": ("[]", f"Expected {SHAPES}; {{path}} is an empty list."),
    "plain.json": (
        "the cat",
        f"Expected JSON such as {SHAPES}; line 1 of {{path}} is broken at character 1: Expecting "
        "value.",
    ),
    "plain.JSONL": (
        "the cat",
        f"Expected JSON such as {SHAPES}; line 1 of {{path}} is broken at character 1: Expecting "
        "value.",
    ),
    "cut.txt": (
        '{"text": "the',
        f"Expected JSON such as {SHAPES}; line 1 of {{path}} is broken at character 10: "
        "Unterminated string starting at.",
    ),
    "deep.jsonl": (
        GOOD + "[" * 100_000,
        f"Expected JSON such as {SHAPES}; line 2 of {{path}} is nested too deeply.",
    ),
    "deep.txt": (
        '{"text": ' * 100_000,
        f"Expected JSON such as {SHAPES}; line 1 of {{path}} is nested too deeply.",
    ),
    "digits.jsonl": (
        GOOD + "9" * 5000,
        f"Expected JSON such as {SHAPES}; line 2 of {{path}} is broken: Exceeds the limit (4300 "
        "digits) for integer string conversion: value has 5000 digits; use "
        "sys.set_int_max_str_digits() to increase the limit.",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), [(k, *v) for k, v in BAD_FILES.items()])
def test_a_bad_file_is_refused_with_its_line(word, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError) as error:
        Texts(path=str(path), tokenizer=word, context=3)
    assert str(error.value).replace(str(path), "{path}") == message


def test_other_bytes_and_missing_files_are_refused(word, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"caf\xe9\n")
    message = (
        f"Expected text in UTF-8; {path} has other bytes in line 1 (byte 3 of the file). Save it "
        "as UTF-8."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Texts(path=str(path), tokenizer=word)
    near = re.escape(f"there is none. Did you mean {str(path)!r}?")
    with pytest.raises(FileNotFoundError, match=near):
        Texts(path=str(tmp_path / "mein.txt"), tokenizer=word)


def test_a_tokenizer_without_an_end_is_refused(word, tmp_path):
    (tmp_path / "tokenizer.json").write_text(small_tokenizer.trained().to_str())
    with pytest.raises(
        ValueError, match=r"^Expected a tokenizer with an end token; this one has none: end=False"
    ):
        Texts(sequences=(PAIR,), tokenizer=str(tmp_path))
    assert Texts(sequences=(PAIR,), tokenizer=str(tmp_path), end=False).longest > 1


def test_a_split_needs_texts_on_both_sides():
    with pytest.raises(ValueError, match="Expected at least 2 texts to split; got 1"):
        Texts(sequences=((0, 1),), vocabulary=2).split()
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match=f"between 0 and 1; got {fraction}"):
            Texts.examples()[0].split(fraction)


def test_another_alphabet_than_the_predictors_is_refused_before_compute(word):
    settings = px.FitSettings(steps=2, batch=2)
    base = LSTM(width=4).build(jax.random.key(0), 7)
    with pytest.raises(ValueError, match=r"predictor's 7 symbols; got Texts over \d+ symbols\. "):
        px.steering.SoftPrompt().tune(
            jax.random.key(0), base, Texts(sequences=("the cat",), tokenizer=word), settings
        )
