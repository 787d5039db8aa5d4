"""Text in, text out: a whole language model in a folder, from Python and from the command line."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from predictors.test_llama import CONFIG, SPEC, named
from support import small_tokenizer
from support.command_line import _keep_compilation_settings, complaint, run  # noqa: F401

import promptax as px
from promptax.cli import saved
from promptax.formats import fetch
from promptax.language import TextModel, Texts, text_model
from promptax.predictors.llama import longer
from promptax.steering import LowRank, SoftPrompt
from promptax.tasks import Categorical

pytestmark = pytest.mark.slow  # the file

KEY = jax.random.key(0)
TEXT = "the cat sat on the mat, 12 times.\r\nnaïve 日本 😀"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tokenizer, weights and config of a tiny language model."""
    folder = small_tokenizer.write(tmp_path_factory.mktemp("model"))
    symbols = small_tokenizer.trained().get_vocab_size()
    network = dataclasses.replace(SPEC, opens_with=1).build(KEY, symbols)
    arrays = {name: 5 * array for name, array in named(network).items()}
    there = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(CONFIG | there))
    safetensors.numpy.save_file(arrays, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return TextModel.named(folder)


def test_what_is_written_is_what_is_sampled(model):
    said = "".join(model.write(KEY, "the cat", 8, temperature=0.7))
    tokens = px.generate(
        KEY, model.predictor, 8, model.tokens("the cat"), temperature=0.7, stop=(2,)
    )
    assert said == model.tokenizer.decode([t for t in np.asarray(tokens) if t != 2])


def test_a_reply_follows_the_template_without_a_second_begin_token(model):
    messages = [{"role": "user", "content": "the cat"}]
    chat = model.tokenizer.chat(messages)
    assert chat[0] == model.tokenizer.begin
    said = "".join(model.reply(KEY, messages, 6, temperature=0.0))
    tokens = px.generate(KEY, model.predictor, 6, chat[1:], temperature=0.0, stop=(2,))
    assert said == model.tokenizer.decode([t for t in np.asarray(tokens) if t != 2])


def test_texts_and_chats_of_a_batch_are_those_written_alone(model, monkeypatch):
    texts, keys = ["the cat", "", "on the mat"], [jax.random.fold_in(KEY, i) for i in range(3)]
    stop = model.tokens(" the")[:1]
    alone = [
        "".join(model.write(key, text, 6, temperature=0.7, stop=stop))
        for key, text in zip(keys, texts, strict=True)
    ]
    assert model.write_batch(KEY, iter(texts), 6, temperature=0.7, stop=iter(stop)) == alone
    chats = [[{"role": "user", "content": text}] for text in ("the cat", "a")]
    assert model.write_batch(KEY, [], 6) == []
    asked = lambda key, predictor, length, prompts, stop: prompts  # noqa: E731
    monkeypatch.setattr(text_model.batches, "generate_batch", asked)
    prompts = [model.tokenizer.chat(chat)[1:].tolist() for chat in chats]
    spoken = [[t for t in prompt if t not in model.tokenizer.ends] for prompt in prompts]
    assert model.reply_batch(KEY, iter(chats), 3) == list(map(model.tokenizer.decode, spoken))


def test_what_is_written_says_what_it_takes(model, as_users_see_it):
    chat, steered = [{"role": "user", "content": "a"}], px.condition(model.predictor, [5])
    for refuse, words in (
        (lambda: model.write_batch(KEY, "abc"), "a list of texts; got one text, 'abc'. Use write"),
        (lambda: model.write(KEY, ["abc"]), "one text; got .*Use write_batch"),
        (lambda: model.reply_batch(KEY, chat), "a list of chats, .*got one chat.*Use reply"),
        (lambda: model.reply_batch(KEY, chat[0]), "a list of chats"),
        (lambda: model.write_batch(KEY, ["a"], temprature=0.5), "got temprature. Did you mean"),
        (lambda: model.write(KEY, "a", temprature=0.5), "got temprature. Did you mean"),
        (lambda: model.reply(KEY, chat, temprature=0.5), "got temprature. Did you mean"),
        (lambda: model.write_batch(KEY, ["a"], stop=1), "a list of tokens as stop, .*; got 1"),
    ):
        with pytest.raises(TypeError, match=words):
            refuse()
    short = TextModel(longer(steered, 40), model.tokenizer)
    room = short.predictor.most_inputs() - len(model.tokenizer.chat(chat)[1:])
    assert short.has_room(chat, room + 1) and not short.has_room(chat, room + 2)
    short.reply(KEY, chat, room + 1)
    with pytest.raises(ValueError, match=r"at most 38 inputs.*Ask for a smaller length"):
        short.reply(KEY, chat, room + 2)
    prose = short.opened_by("<|endoftext|>")
    assert prose.tokenizer.begin == prose.predictor.predictor.architecture.opens_with == 0


@pytest.mark.parametrize("context", [None, 16])
def test_a_text_survives_compression(model, context):
    data = model.compress(TEXT, context)
    assert model.decompress(data) == TEXT
    assert 8 * len(data) <= 1.001 * model.bits(TEXT, context) + 64 + 8 * 32  # and the header


def test_another_tokenizer_is_refused(model):
    other = Categorical((0.5, 0.5)).bayes()
    with pytest.raises(
        ValueError, match="Expected a tokenizer over the predictor's 2 symbols; got"
    ):
        TextModel(other, model.tokenizer)


def test_texts_are_tuned_to_at_their_own_length(model, folder):
    pairs = [{"prompt": "the cat", "completion": " sat on the mat"}] * 2
    texts = Texts(sequences=pairs, tokenizer=str(folder))
    settings = px.FitSettings(steps=4, batch=2, learning_rate=0.05)
    tuned = SoftPrompt(length=2).tune(KEY, model.predictor, texts, settings, callbacks=())
    losses = px.evaluate(KEY, {"it": tuned.predictor}, texts, 4, texts.longest)
    scored = losses.scored.sum("time")
    assert (scored == len(model.tokens(" sat on the mat")) + 1).all()  # and the end
    assert tuned.loss[0, -1] < tuned.loss[0, 0]


# --- the command line -----------------------------------------------------------------------


def test_a_model_is_talked_to_from_the_command_line(folder, capsys, monkeypatch):
    few = ["--model", folder, "--length", 5, "--temperature", 0]
    assert run("lm", "write", "the cat", *few, capsys=capsys).startswith("the cat")
    assert run("lm", "chat", "the cat", *few, capsys=capsys)
    lines = iter(["the cat", "the mat", ""])
    monkeypatch.setattr("builtins.input", lambda: next(lines))
    monkeypatch.setattr(TextModel, "has_room", lambda model, messages, length: len(messages) < 2)
    run("lm", "chat", *few)
    assert next(lines, None) is None
    said = capsys.readouterr()
    assert said.out and "no longer sees the first 2 messages" in said.err
    assert "lm fetch" in complaint(capsys, "lm", "speak")


def test_a_file_is_compressed_from_the_command_line(folder, capsys, tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    small, back = tmp_path / "text.ptax", tmp_path / "back.txt"
    said = run("lm", "compress", tmp_path / "text.txt", "--out", small, "--model", folder,
               capsys=capsys)  # fmt: skip
    for row in ("as it is", "xz", "gzip"):
        assert row in said
    run("lm", "decompress", small, "--out", back, "--model", folder)
    assert back.read_bytes() == TEXT.encode()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "Expected a text in UTF-8" in complaint(
        capsys, "lm", "compress", tmp_path / "binary", "--out", small, "--model", folder
    )
    for read, out in ((small, small), (tmp_path / "text.txt", folder / "config.json"),
                      (tmp_path / "text.txt", tmp_path / "no" / ".." / "text.txt")):  # fmt: skip
        for command in ("compress", "decompress"):
            assert "Expected --out that the command does not read" in complaint(
                capsys, "lm", command, read, "--out", out, "--model", folder
            )
    for out, words in (("/", "/ is a folder"), (small / "new", f"{small} is a file")):
        for command in ("compress", "decompress"):  # at once: no model is there
            said = complaint(capsys, "lm", command, small, "--out", out, "--model", tmp_path / "no")
            assert words in said
    monkeypatch.setenv(fetch.PLACE, str(folder / "config.json"))  # where the default model lies
    assert "would replace smollm2" in complaint(
        capsys, "lm", "compress", tmp_path / "text.txt", "--out", folder / "config.json"
    )
    small.write_bytes(small.read_bytes()[:-3])
    complaint(capsys, "lm", "decompress", small, "--out", back, "--model", folder)
    assert back.read_bytes() == TEXT.encode()


def test_a_text_may_be_opened_by_another_token(model, folder, capsys, tmp_path):
    opened = ["--model", folder, "--opened-by", "<|endoftext|>"]
    prose = model.opened_by("<|endoftext|>")
    told = ["".join(each.write(KEY, "the cat", 8, temperature=0.0)) for each in (model, prose)]
    said = run("lm", "write", "the cat", *opened, "--length", 8, "--temperature", 0, capsys=capsys)
    assert said.rstrip("\n") == "the cat" + told[1] and told[0] != told[1]
    text, small, back = (tmp_path / name for name in ("text.txt", "small", "back.txt"))
    text.write_bytes(TEXT.encode())
    run("lm", "compress", text, "--out", small, *opened)
    assert small.read_bytes() == prose.compress(TEXT, 1024)
    complaint(capsys, "lm", "decompress", small, "--out", back, "--model", folder)
    run("lm", "decompress", small, "--out", back, *opened)
    assert back.read_bytes() == TEXT.encode()
    assert "one token" in complaint(capsys, "lm", "write", "a", "--model", folder,
                                    "--opened-by", "the cat sat")  # fmt: skip


def test_what_is_tuned_from_the_command_line_is_kept_as_an_adapter(folder, capsys, tmp_path):
    lines = [json.dumps({"prompt": "the", "completion": f" {word}"}) for word in ("cat", "mat")]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    texts = ["--target", "texts", "--target.path", tmp_path / "pairs.jsonl"]
    texts += ["--target.tokenizer", folder]
    few = ["--fit.steps", 3, "--fit.batch", 2]
    first = ["--tuner", "softprompt", "--tuner.length", 2, "--tuner.before-begin"]
    run("tune", "--predictor", folder, *first, *texts, *few, "--out", tmp_path / "soft")
    run(
        "tune", "--predictor", folder, "--tuner", "lowrank", *texts, *few, "--out", tmp_path / "low"
    )
    for name in ("soft", "low"):
        assert (tmp_path / name / "adapter" / "adapter_model.safetensors").exists()
        assert not (tmp_path / name / "predictor.safetensors").exists()
    assert isinstance(saved.predictor(str(tmp_path / "soft")), px.Prompted)
    said = run("evaluate", tmp_path / "soft", tmp_path / "low", f"base={folder}", *texts,
               "--sequences", 4, "--length", 4, capsys=capsys)  # fmt: skip
    for row in ("soft", "low", "base", "nats above soft", "soft: log loss"):
        assert row in said
    adapter = tmp_path / "low" / "adapter"
    run("lm", "write", "the", "--model", folder, "--length", 2, "--adapter", adapter)
    after = ["--tuner", "softprompt", "--tuner.length", 1]
    run("tune", "--predictor", folder, *after, *texts, *few, "--out", tmp_path / "after")
    assert "no adapter can hold it" in capsys.readouterr().err
    assert (tmp_path / "after" / "predictor.safetensors").exists()


def test_a_search_ends_at_its_budget_and_its_prompt_is_shown_as_text(folder, capsys, tmp_path):
    (tmp_path / "lines.txt").write_text("the cat\nthe mat\n")
    tune = ["tune", "--predictor", folder, "--tuner", "annealing", "--tuner.length", 2]
    tune += ["--target", "texts", "--target.path", tmp_path / "lines.txt", "--target.tokenizer"]
    tune += [folder, "--fit.steps", 9, "--fit.batch", 2, "--out", tmp_path / "out"]
    said = complaint(capsys, *tune, "--budget", 11)
    assert "Expected a budget of at least 12" in said  # two prompts of 2 tokens, two texts of 2
    said = complaint(capsys, *tune, "--budget", 11, "--fit.budget", 12)
    assert "Expected one budget" in said
    said = run(*tune, "--budget", 25, capsys=capsys)
    assert "cost: 2 updates, 8 sequences, 24 tokens forward" in said
    assert "as text: " in said and "is encoded to" in said


def test_mistakes_are_explained(folder, capsys, tmp_path, monkeypatch):
    texts = ["--target", "texts", "--target.tokenizer", folder, "--out", tmp_path / "out"]
    tune = ["tune", "--predictor", folder, *texts]
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n{"text": \n')
    assert "empty" in complaint(capsys, *tune, "--target.path", tmp_path / "empty.jsonl")
    assert "line 2" in complaint(capsys, *tune, "--target.path", tmp_path / "broken.jsonl")
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv(fetch.PLACE, str(tmp_path / "nothing"))
    assert "promptax lm fetch" in complaint(capsys, "lm", "write", "a")
    assert text_model.is_named("smollm2") and not text_model.is_named(tmp_path / "out")


def test_low_rank_changes_of_a_language_model_need_no_texts_with_completions(model, folder):
    texts = Texts(sequences=["the cat sat", "the mat"], tokenizer=str(folder))
    settings = px.FitSettings(steps=2, batch=2)
    fitted = LowRank(rank=1).tune(KEY, model.predictor, texts, settings, callbacks=())
    assert np.isfinite(fitted.loss).all()
