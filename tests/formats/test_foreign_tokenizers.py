"""Tokenizers, chats and patterns that others wrote: read as they mean them, refused by name, ended.

`test_as_transformers` compares with `transformers`; the values are written out for those without.
"""

import json
import os
import time

import numpy as np
import pytest
from support import small_llama, small_tokenizer

from promptax.files import StoreError
from promptax.formats import evaluating, llama
from promptax.formats.evaluating_process import MOST_CHARACTERS
from promptax.language import TextModel, Tokenizer, text_model
from promptax.predictors import Llama

BEGINS = {  # config.json, what tokenizer_config.json says, the begin token
    "both agree": (1, "<|a|>", 1),
    "the tokenizer wins": (0, "<|a|>", 1),
    "config.json alone": (2, None, 2),
    "the tokenizer alone": (None, "<s>", 0),
    "a list": ([1, 2], None, 1),
    "nobody": (None, None, None),
    "the tokenizer wins over one outside": (9999, "<s>", 0),
    "an object": (None, {"__type": "AddedToken", "content": "<s>"}, 0),
}


@pytest.mark.parametrize(("number", "word", "expected"), BEGINS.values(), ids=BEGINS)
def test_the_begin_token_is_one_for_weights_and_text(tmp_path, number, word, expected):
    folder = small_llama.write(tmp_path / "a", {"bos_token_id": number}, {"bos_token": word})
    assert llama.from_folder(folder, np.float32).fields["opens_with"] == expected
    assert Tokenizer.named(str(folder)).begin == expected


def test_a_chat_is_read_as_the_template_writes_it(tmp_path):
    about = {"bos_token": "<|a|>", "chat_template": "{{ bos_token }}{{ messages[0].content }}"}
    model = TextModel.named(small_llama.write(tmp_path / "a", {"bos_token_id": 0}, about))
    tokens = model.tokenizer.chat([{"role": "user", "content": "hi"}])
    opened = [model.predictor.architecture.opens_with, *tokens[1:]]
    assert model.tokenizer.decode(opened) == model.tokenizer.decode(tokens) == "<|a|>hi"


def test_a_tokenizer_with_another_begin_token_is_refused(tmp_path):
    network = Llama.from_safetensors(small_llama.write(tmp_path / "a"))
    other = Tokenizer.named(str(small_llama.write(tmp_path / "b", about={"bos_token": "<s>"})))
    with pytest.raises(ValueError, match="begin token is the predictor's, 1; got one with 0"):
        TextModel(network, other)


ENDS = {  # config.json, generation_config.json, all ends; the tokenizer says 2
    "one": (2, None, {2}),
    "several": ([2, 1], None, {1, 2}),
    "of generation alone": (None, [2, 0], {0, 2}),
    "generation wins": ([2, 1], 0, {0, 2}),
    "generation says nothing": ([2, 1], {}, {1, 2}),
    "none but the tokenizer's": (None, None, {2}),
    "one outside the alphabet, which never comes": ([2, 7000], None, {2}),
}


@pytest.mark.parametrize(("config", "generation", "expected"), ENDS.values(), ids=ENDS)
def test_all_end_tokens_end_a_reply(tmp_path, config, generation, expected):
    given = generation if isinstance(generation, dict) else {"eos_token_id": generation}
    folder = small_llama.write(tmp_path / "a", {"eos_token_id": config}, generation_config=given)
    tokenizer = Tokenizer.named(str(folder))
    assert set(tokenizer.ends) == expected and tokenizer.end == 2


def test_ends_of_gguf_files(tmp_path):
    model = small_tokenizer.trained()
    words = [model.id_to_token(token) for token in range(model.get_vocab_size())]
    path = tmp_path / "a.gguf"
    small_tokenizer.write_gguf(path, words, ["t h"], eot=1)
    tokenizer = Tokenizer.from_gguf(path)
    assert tokenizer.ends == (2, 1) and tokenizer.end == 2
    small_tokenizer.write_gguf(path, words, ["t h"], eot=len(words))
    with pytest.raises(StoreError, match=r"eot_token_id from 0 to .*a\.gguf; got"):
        Tokenizer.from_gguf(path)


def test_words_of_a_gguf_user_are_whole_in_any_text(tmp_path):
    model = small_tokenizer.trained()
    words = [model.id_to_token(token) for token in range(model.get_vocab_size())] + ["<tool>"]
    path = tmp_path / "a.gguf"
    small_tokenizer.write_gguf(path, words, ["t h"], user_defined=("<tool>",))
    assert Tokenizer.from_gguf(path).encode("<tool>").tolist() == [len(words) - 1]


# --- special tokens -------------------------------------------------------------------------

END = {"content": "<|end|>", "special": True, "normalized": False}
TOKENS = {  # files, and the tokens of "a<|end|>"
    "added_tokens_decoder": ({"about": {"added_tokens_decoder": {"259": END}}}, [67, 259]),
    "added_tokens.json": (
        {"about": {"eos_token": "<|end|>"}, "added_tokens": {"<|end|>": 259}},
        [67, 259],
    ),
    "special_tokens_map.json": ({"special_tokens_map": {"eos_token": "<|end|>"}}, [67, 259]),
    "named alone": ({"about": {"pad_token": "<|end|>"}}, [67, 259]),
    "nowhere": ({}, [67, 30, 94, 71, 80, 70, 94, 32]),
}


@pytest.mark.parametrize(("files", "expected"), TOKENS.values(), ids=TOKENS)
def test_special_tokens_of_all_files_are_one_token(tmp_path, files, expected):
    tokenizer = Tokenizer.named(str(small_llama.write(tmp_path / "a", **files)))
    tokens = tokenizer.encode("a<|end|>", special=True).tolist()
    assert tokens == expected
    assert tokenizer.decode(tokens) == "a<|end|>"


CONTRADICTIONS = {
    "a number that is taken": (
        {"about": {"added_tokens_decoder": {"7": END}}},
        "number 7, .* it is 259",
    ),
    "a number too far": ({"added_tokens": {"<|end|>": 400}}, "number 400, .* it is 259"),
    "no number": ({"about": {"added_tokens_decoder": {"x": END}}}, "Expected tokens by number in"),
    "no text": (
        {"about": {"added_tokens_decoder": {"259": {"a": 1}}}},
        "Expected tokens by number",
    ),
    "a list": ({"about": {"added_tokens_decoder": [END]}}, "Expected tokens by number in"),
    "an end that is a list": ({"about": {"eos_token": ["<|b|>"]}}, "eos_token to be the text"),
    "an end below 0": (
        {"generation_config": {"eos_token_id": -1}},
        "eos_token_id .*generation_conf",
    ),
    "an end in words": ({"config": {"eos_token_id": "<|b|>"}}, "eos_token_id .*config.json; got"),
    "a template that is a number": ({"about": {"chat_template": 3}}, "text of a chat template in"),
    "special tokens that are split": (
        {"about": {"split_special_tokens": True}},
        "split_special_tokens False in .* makes special tokens mere characters",
    ),
    "additional tokens in a word": (
        {"about": {"additional_special_tokens": "<x>"}},
        "Expected a list of tokens as additional_special_tokens",
    ),
    "an additional token that is a number": (
        {"about": {"extra_special_tokens": [3]}},
        "extra_special_tokens 0 to be the text of a token",
    ),
    "a huge alphabet": ({"config": {"vocab_size": 2**40}}, "vocab_size .* whole number"),
}


@pytest.mark.parametrize(("files", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_files_that_contradict_one_another_are_named(tmp_path, files, message):
    folder = small_llama.write(tmp_path / "a", **files)
    with pytest.raises(StoreError, match=message) as error:
        Tokenizer.named(str(folder))
    assert str(folder) in str(error.value)


def test_numbers_of_tokens_may_have_gaps(tmp_path):
    folder = small_llama.write(tmp_path / "a")
    written = json.loads((folder / "tokenizer.json").read_text())
    for number, symbols in ((300, 301), (2**31, None)):
        written["model"]["vocab"]["a word"] = number
        (folder / "tokenizer.json").write_text(json.dumps(written))
        if symbols is None:
            with pytest.raises(StoreError, match="numbers of tokens below 16,777,216 in"):
                Tokenizer.named(str(folder))
        else:
            assert Tokenizer.named(str(folder)).symbols == symbols


# --- chats ----------------------------------------------------------------------------------

SAYS = "if a < b & c: <|b|> é"
WRITTEN = {  # templates, what they write of a message that holds a special token
    "tojson": ("{{ messages[0].content | tojson }}", f'"{SAYS}"'),
    "keys in their order": (
        "{{ messages[0] | tojson }}",
        f'{{"role": "user", "content": "{SAYS}"}}',
    ),
    "ASCII": (
        "{{ messages[0].content | tojson(ensure_ascii=True) }}",
        '"if a < b & c: <|b|> \\u00e9"',
    ),
    "upper": ("{{ messages[0].content | upper }}", SAYS.upper()),
    "generation": ("{% generation %}{{ messages[0].content }}{% endgeneration %}", SAYS),
    "pad_token": ("{{ pad_token }}{{ messages[0].content }}{{ eos_token }}", f"<s>{SAYS}<|b|>"),
    "not named": ("{{ cls_token }}{{ bos_token is defined }}", "False"),
    "the year": ("{{ strftime_now('%Y') }}", time.strftime("%Y")),
}


@pytest.mark.parametrize(("template", "expected"), WRITTEN.values(), ids=WRITTEN)
def test_templates_write_what_they_say(tmp_path, template, expected):
    about = {"chat_template": template, "pad_token": "<s>"}
    tokenizer = Tokenizer.named(str(small_llama.write(tmp_path / "a", about=about)))
    tokens = tokenizer.chat([{"role": "user", "content": SAYS}])
    assert tokenizer.decode(tokens) == expected
    special = [token for token in tokens.tolist() if token < len(small_llama.SPECIAL)]
    assert special == ([0, 2] if "pad_token" in template else [])  # none is of the message


def test_a_template_that_reads_special_tokens_of_messages_is_told_apart(tmp_path):
    template = "{{ messages[0].content.split('<|b|>')[0] }}|{{ messages[0].content | length }}"
    about = {"chat_template": template}
    tokenizer = Tokenizer.named(str(small_llama.write(tmp_path / "a", about=about)))
    with pytest.raises(ValueError, match=r"without special tokens, since .*got \['<\|b\|>'\]"):
        tokenizer.chat([{"role": "user", "content": SAYS}])
    assert tokenizer.decode(tokenizer.chat([{"role": "user", "content": "ab"}])) == "ab|2"


ENDLESS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a power": "{{ 10 ** (10 ** 10) }}",
    "a long text": "{{ 'a' * 10 ** 10 }}",
    "doubling": (
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}"
        "{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
    ),
    "a wide text": "{{ 'a'.center(10 ** 10) }}",
    "a format": "{{ '%10000000000d' % 1 }}",
    "padding": "{{ 'a' | indent(10 ** 10) }}",
    "a call of itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a long answer": "{{ 'a' * MOST }}".replace("MOST", str(MOST_CHARACTERS + 1)),
}


@pytest.mark.parametrize("template", ENDLESS.values(), ids=ENDLESS)
def test_templates_without_end_are_ended(tmp_path, monkeypatch, template):
    monkeypatch.setattr(evaluating, "SECONDS", 0.5)
    about = {"chat_template": template}
    tokenizer = Tokenizer.named(str(small_llama.write(tmp_path / "a", about=about)))
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"chat template takes; it says: "):
        tokenizer.chat([{"role": "user", "content": "a"}])
    assert time.monotonic() - started < 10
    monkeypatch.undo()
    assert evaluating.render("{{ messages[0] }}", {}, [["ok"]]) == ["ok"]  # the next one is served


FAILING = {  # what is put into tokenizer.json, and what becomes of it
    "no word for what is unknown": (
        {"model": {"type": "WordLevel", "vocab": {"hi": 0}, "unk_token": "[UNK]"}},
        "its package gives up",
    ),
    "nothing for what is unknown": (
        {"model": {"type": "Unigram", "vocab": [["h", -1.0]], "unk_id": None}},
        "its package gives up",
    ),
    "an empty vocabulary": (
        {"model": {"type": "Unigram", "vocab": [], "unk_id": 0}},
        "Expected a tokenizer of the package",
    ),
    "replacements that grow": (
        {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Replace", "pattern": {"Regex": "."}, "content": "x" * 100}
                ]
                * 5,
            }
        },
        "replacements make it 10,000,000,000 times as long",
    ),
    "a text before that is long": (
        {"normalizer": {"type": "Prepend", "prepend": "x" * 2000}},
        "replacements make it 2,000 times as long",
    ),
    "a decoder with a pattern": (
        {"decoder": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}},
        "Expected a decoder without regular expressions",
    ),
    "a decoder that grows": (
        {"decoder": {"type": "Replace", "pattern": {"String": "a"}, "content": "x" * 2000}},
        "replacements make it 2,000 times as long",
    ),
}


@pytest.mark.parametrize(("parts", "message"), FAILING.values(), ids=FAILING)
def test_tokenizers_that_fail_on_a_text_are_named(tmp_path, parts, message):
    folder = small_llama.write(tmp_path / "a")
    written = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(written | {"added_tokens": []} | parts))
    with pytest.raises(ValueError, match=message):
        Tokenizer.named(str(folder)).encode("hello")


def test_folders_may_have_names_that_are_no_text(tmp_path):
    folder = small_llama.write(tmp_path / "a").rename(tmp_path / os.fsdecode(b"caf\xe9 [b]"))
    assert TextModel.named(folder).tokens("a").tolist() == [67]
    (folder / "config.json").write_text("[1]")
    with pytest.raises(StoreError, match=r"Expected a JSON object in .*config\.json"):
        TextModel.named(folder)


def test_a_text_is_cut_in_one_way(tmp_path):
    """Some tokenizers were trained with random cuts, and say so for ever."""
    folder = small_llama.write(tmp_path / "a")
    written = json.loads((folder / "tokenizer.json").read_text())
    letters = written["model"]["vocab"]
    letters["ab"] = len(letters)
    written["model"] |= {"merges": [["a", "b"]], "dropout": 0.9}
    (folder / "tokenizer.json").write_text(json.dumps(written))
    tokenizer = Tokenizer.named(str(folder))
    assert tokenizer.encode("ab" * 20).tolist() == [letters["ab"]] * 20


@pytest.mark.parametrize("word", ["x" * 5000, "no\0name", "", "~nobody-of-that-name/a"])
def test_names_that_are_no_paths_are_refused(word):
    assert not text_model.is_named(word)
    for read in (Tokenizer.named, TextModel.named):
        with pytest.raises((StoreError, FileNotFoundError), match=r"^Expected "):
            read(word)


# --- texts that come back -------------------------------------------------------------------

CHANGING = {
    "NFC": ({"type": "NFC"}, "cafe\u0301", "'e\\\\u0301' at character 3"),
    "lower case": ({"type": "Lowercase"}, "Hi", "'Hi' at character 0"),
    "spaces stripped": (
        {"type": "Strip", "strip_left": True, "strip_right": True},
        "hi ",
        "'' of ' '",
    ),
    "replaced": (
        {"type": "Replace", "pattern": {"String": "x"}, "content": "yy"},
        "axb",
        "at character 1",
    ),
}


@pytest.mark.parametrize(("normalizer", "text", "message"), CHANGING.values(), ids=CHANGING)
def test_a_text_that_would_not_come_back_is_not_compressed(tmp_path, normalizer, text, message):
    folder = small_llama.write(tmp_path / "a")
    written = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(written | {"normalizer": normalizer}))
    model = TextModel.named(folder)
    with pytest.raises(ValueError, match=f"so that it comes back exactly.*{message}"):
        model.compress(text)
