"""What the command line takes: bad words are refused at once, and nothing is left behind."""

import json
import os

import numpy as np
import pytest
from support.command_line import _keep_compilation_settings, complaint, run  # noqa: F401

from promptax import cli, files
from promptax.cli import fitting, saved, words
from promptax.cli.arguments import NUMBERS
from promptax.language.tokenizer import Tokenizer
from promptax.protocol.entries import condition
from promptax.report import to_csv
from promptax.tasks import DirichletCategorical

SMALL = ["pretrain", "--out", "o", "--network", "lstm", "--network.width", "4"]
MISTAKES = {
    "a huge seed": ([*SMALL, "--seed", str(10**30)], "--seed from -2,147,483,648"),
    "no sequences": (["evaluate", "x", "--sequences", "0"], "--sequences from 1"),
    "endless sequences": (["evaluate", "x", "--sequences", str(10**12)], "--sequences from 1"),
    "no updates": (["bench", "--updates", "0"], "--updates from 1"),
    "a model of others": (["bench", "--network", "languagemodel"], "a network to train from its"),
    "a pipe as a task": ([*SMALL, "--task", "@pipe"], "a device or a pipe"),
    "deep folders": (["pretrain", "--out", "a/" * 2000], "at most 500 folders"),
    "a long name": (["pretrain", "--out", "n" * 300], "Expected a path"),
    "a zero byte": (["pretrain", "--out", "a\0b"], "with a zero byte"),
    "millions of seeds": (["study", "reddy2023", "--study.seeds", "100000000"], "at most 10,000"),
    "no rounds": (["bench", "--rounds", "-1"], "--rounds from 1"),
    "no prompts": (["diagnose", "--mixture", "0"], "--mixture from 1"),
    "no tolerance": (["diagnose", "--tolerance", "nan"], "--tolerance of at least 0"),
    "a hot model": (["lm", "write", "x", "--temperature", "inf"], "--temperature of at least 0"),
    "a flag twice": ([*SMALL, "--network=rnn"], "Expected --network once"),
    "no plugin": (["list", "--plugin"], "no module"),
    "a plugin's path": (["list", "--plugin", "../x.py"], "Use PYTHONPATH=.. and --plugin x."),
    "a plugin's file": (["list", "--plugin", "half.py"], "got 'half.py'. Use --plugin half."),
    "two plugins in one": (["list", "--plugin", "a,b"], "Give --plugin once for each module."),
    "an empty plugin": (["list", "--plugin="], "no path"),
    "half a network": (
        [*SMALL[:3], "--plugin", "half", "--network", "half-done"],
        "HalfDone in half was found but lacks embedding_width, output_width, torso; see",
    ),
    "a member that is none": (["list", "netwrks"], "got 'netwrks'. Did you mean 'networks'?"),
    "a wrong value before what is missing": (
        [*SMALL[:1], "--fit.steps", "1.5"],
        "Expected a whole number; got '1.5'.",
    ),
    "nothing but what is missing": (SMALL[:1], "Expected --out STR; got none."),
    "two letters swapped": ([*SMALL, "--tsak", "x"], "Did you mean --task instead of --tsak?"),
    "a flag cut short": (
        [*SMALL, "--task.conc", "1", "1"],
        "Did you mean --task.concentration instead of --task.conc?",
    ),
    "a prior without a name": (
        ["evaluate", "x", "--prior.concentration", "1", "3"],
        "Expected --prior NAME beside --prior.concentration; got no name.",
    ),
    "commas": ([*SMALL, "--task.concentration", "8,2"], "Separate numbers by spaces: 8 2"),
    "a page of what has none": (["report", "trained"], "trained was written by promptax pretrain."),
    "a broken plugin": (["list", "--plugin", "broken"], "'broken' ends in ZeroDivisionError"),
    "no folder": (["pretrain", "--out", ""], "path for --out; got an empty one"),
    "a circle of links": ([*SMALL[:2], "loop"], "leads somewhere; got loop"),
    "a broken spec": (["report", "broken_spec"], "spec.json"),
    "an empty spec": (["report", "empty_spec"], "results.nc"),
    "a class that is a number": ([*SMALL, "--task", '{"class": 3}'], "got 3"),
    "brackets without end": ([*SMALL, "--task", "[" * 100_000], "Expected JSON such as"),
    "the whole disk": (["pretrain", "--out", "/"], "a folder with a name"),
    "a command that acts": (["\x1b[2J"], "got '\\x1b[2J'"),
}
HALF = """
from promptax.predictors import Architecture

class HalfDone(Architecture):
    width: int = 8
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "half.py").write_text(HALF)
    trained = json.dumps({"command": "promptax pretrain --out trained"})
    for name, text in {"trained": trained, "broken_spec": "{", "empty_spec": "{}"}.items():
        files.write_text(tmp_path / name / "spec.json", text)
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused_at_once(mistake, capsys, place):
    before = sorted(place.rglob("*"))
    arguments, expected = MISTAKES[mistake]
    assert expected in complaint(capsys, *arguments)
    assert [path for path in sorted(place.rglob("*")) if "__pycache__" not in str(path)] == before


@pytest.mark.parametrize(
    ("what", "error", "told"),
    [
        ("error:", ValueError("Expected it."), "error: Expected it. Do this.\n"),
        ("stopped:", KeyboardInterrupt(), "stopped. Do this.\n"),
    ],
)
def test_advice_is_ours_alone(capsys, what, error, told):
    error.add_note("-----\nFor simplicity, JAX has removed its internal frames from the traceback")
    error.add_note("Do this.")
    cli._complain(what, error)
    assert capsys.readouterr().err == told


def test_bounds_are_bounds():
    assert all(bounds.least <= bounds.most for bounds in NUMBERS.values())


# --- paths ----------------------------------------------------------------------------------


def test_paths_are_taken_as_people_name_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("runs/lr=0.01", "base.v2", "a=b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "it.safetensors").write_text("")
    assert saved.named(("runs/lr=0.01", "base.v2", "mine=it.safetensors", "it.safetensors")) == {
        "lr=0.01": "runs/lr=0.01",
        "base.v2": "base.v2",
        "mine": "it.safetensors",
        "it": "it.safetensors",
    }
    assert saved.named(("x=a=b", "~/a=b")) == {"x": "a=b", "a=b": f"{tmp_path}/a=b"}
    assert saved.named(("x=~/it.safetensors",)) == {"x": f"{tmp_path}/it.safetensors"}
    given = ["--out=~/runs/a", "--a.path=~", "x=~/b", "--text", "~"]
    assert words.with_home(given) == [
        f"--out={tmp_path}/runs/a", f"--a.path={tmp_path}", "x=~/b", "--text", "~"
    ]  # fmt: skip
    assert saved.lasting("a=b") == f"{tmp_path}/a=b" and saved.lasting("smollm2") == "smollm2"


def test_a_base_that_was_kept_as_a_relative_path_is_found_from_elsewhere(tmp_path, monkeypatch):
    files.write_json(tmp_path / "runs" / "a" / "spec.json", {"predictor": "models/small"})
    (tmp_path / "models" / "small").mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    for folder in (tmp_path, other):
        monkeypatch.chdir(folder)
        found = saved._base_of(tmp_path / "runs" / "a")
        assert os.path.samefile(found, tmp_path / "models" / "small")


@pytest.mark.parametrize("named", ["model", "it=model", "run"])
def test_a_target_of_text_takes_the_models_own_tokenizer(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    files.write_text(tmp_path / "model" / "config.json", "{}")
    (tmp_path / "run" / "adapter").mkdir(parents=True)
    files.write_json(tmp_path / "run" / "spec.json", {"predictor": "model"})
    texts = [named, "--target", "texts"]
    assert saved.with_tokenizer(texts) == [*texts, "--target.tokenizer", "model"]
    for others in (
        [named, "--target", "categorical"],
        [named],
        [*texts, "--target.tokenizer", "bytes"],
        [*texts, "--target.tokenizer=bytes"],
        ["elsewhere", "--target=texts"],
        [named, "--target", '{"class": "Texts"}'],
    ):
        assert saved.with_tokenizer(others) == others


# --- tables ---------------------------------------------------------------------------------


def test_no_cell_of_a_table_is_a_formula():
    words = ["=1+1", "+a", "-x", "@SUM(A1)", "\t=1", "\r=1"]
    plain = ["-0.5", "+3", "−0.5", "-", "a=b", "", "≤ 0.2", "-inf", 0.5, -1]
    rows = [{"cell": value} for value in [*words, *plain, np.nan]]
    lines = to_csv(rows).split("\n")[1:-1]
    text = to_csv(rows)
    for word in words:
        assert "'" + word in text
    for value in plain[:3]:
        assert str(value) in lines
    assert "-1" in lines and "'-" in lines  # a dash alone begins a formula too


# --- prompts --------------------------------------------------------------------------------


def test_a_prompt_is_shown_as_text_with_what_becomes_of_it():
    tokenizer = Tokenizer.of_bytes()
    tokens = tokenizer.encode("née").tolist()
    assert fitting.in_text(tokenizer, tokens) == "'née', which is encoded to these tokens"
    assert fitting.in_text(tokenizer, tokens[:2]).endswith("is encoded to other tokens: keep these")


def test_every_prompt_of_tokens_is_shown():
    coins = DirichletCategorical().bayes()
    prompted = condition(coins, [1, 0, 1])
    assert fitting.prompts_of(prompted) == [[1, 0, 1]] and fitting.prompts_of(coins) == []
    assert fitting.prompts_of(condition(coins, np.ones((2, 2), np.float32) / 2)) == []
