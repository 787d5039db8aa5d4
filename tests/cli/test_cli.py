"""The command line as a person meets it: help, mistakes, a whole small demo."""

import collections
import csv
import functools
import json
import shutil

import numpy as np
import pytest
from support.browser import inspect
from support.command_line import _keep_compilation_settings, complaint, run  # noqa: F401

import promptax as px
from promptax import cli
from promptax.cli import overview
from promptax.experiments import bench

pytestmark = pytest.mark.slow  # the file

TINY = ["--network.width", "8", "--network.heads", "2"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo too small to learn anything, with everything in it."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_use_compilation_cache", lambda: None)
        run(
            "demo", "--out", folder, "--network", "lstm", "--network.width", 8,
            "--pretraining-steps", 4, "--steps", 3, "--repetitions", 2, "--sequences", 64,
        )  # fmt: skip
    return folder


def test_every_command_documents_every_flag(capsys):
    for command in overview.command_names():
        with pytest.raises(SystemExit) as stop:
            run(*command.split(), "--help")
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert f"usage: promptax {command}" in text
        for bare in ("INT (default", "STR (default", "FLOAT (default", "JSON (default"):
            assert bare not in text, f"a flag of {command} has no description"


def test_demo_writes_everything(demo):
    spec = json.loads((demo / "spec.json").read_text())
    assert spec["seed"] == 0 and spec["command"].startswith("promptax demo")
    assert {"jax", "python", "platform"} <= set(spec["environment"])
    tree = px.load(demo / "results.nc")
    for target in ("single-coin", "two-coins"):
        results = tree[target].to_dataset()
        assert results.sizes["time"] == 200
        assert set(results.group.values.tolist()) == {"prompts", "weights", "baselines"}
        assert results.regret.dims == ("predictor", "repetition", "time")
        exact = results.sel(predictor="prior bayes", repetition=0, time=50).regret
        np.testing.assert_allclose(exact, 1.477224, atol=1e-5)
        for kind in ("tuning", "regret", "bars", "states"):
            assert (demo / "figures" / f"{target}-{kind}.png").stat().st_size > 5_000
        assert (demo / target / "soft-prompt.safetensors").exists()
    steps = collections.Counter(line["fit"] for line in metrics_of(demo))
    assert steps.pop("pretraining") == 4 and steps["two-coins-soft-prompt"] == 2 * 3
    assert len(steps) == 2 * (len(spec["experiment"]["methods"]) - 1)  # a drawn prompt has no step
    rows = list(csv.DictReader((demo / "table.csv").read_text().splitlines()))
    assert {row["target"] for row in rows} == {"single coin", "two coins"}


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("width", [1280, 390])
def test_page_of_the_demo_in_a_browser(demo, width):
    if not shutil.which("chromium"):
        pytest.skip("no Chromium here: the page was not opened in a browser")
    seen = inspect((demo / "page.html").read_text(), width)
    assert seen["console"] == [] and seen["requests"] == []
    assert len(seen["figures"]) == 8
    assert seen["scroll_width"] <= seen["inner_width"]


def test_report_draws_again(demo, capsys):
    before = (demo / "page.html").read_text()
    (demo / "page.html").unlink()
    assert "page.html" in run("report", demo, capsys=capsys)
    assert (demo / "page.html").read_text() == before


def test_pretrain_tune_evaluate(tmp_path, capsys):
    fit = ["--fit.steps", 3, "--fit.batch", 8]
    run("pretrain", "--out", tmp_path / "base", "--network", "transformer", *TINY, *fit)
    run(
        "tune", "--predictor", tmp_path / "base", "--out", tmp_path / "soft", "--tuner",
        "soft-prompt", "--tuner.length", 2, "--target", "categorical",
        "--target.probabilities", 0.3, 0.7, *fit, "--fit.repetitions", 2,
    )  # fmt: skip
    results, lines = px.load(tmp_path / "soft" / "results.nc"), metrics_of(tmp_path / "soft")
    for name in ("loss", "tokens_forward", "operations"):
        kept = results[name].transpose("step", "repetition").values.ravel()
        np.testing.assert_array_equal(np.asarray([line[name] for line in lines], kept.dtype), kept)
    capsys.readouterr()
    out = run(
        "evaluate", f"untuned={tmp_path / 'base'}", tmp_path / "soft", "--sequences", 64,
        "--length", 50, "--prior", '{"class": "DirichletCategorical"}', "--prior-prompt-length", 6,
        "--out", tmp_path / "table", capsys=capsys,
    )  # fmt: skip
    for name in ("untuned", "soft", "bayes", "prior bayes", "1.477", "0.571"):
        assert name in out
    assert (tmp_path / "table" / "table.csv").exists()


def test_diagnose_says_what_prompts_can_do(tmp_path, capsys):
    out = run("diagnose", "--out", tmp_path / "one", capsys=capsys)
    for number in ("1.4772", "0.5711", "0.0006", "A prompt suffices"):
        assert number in out
    assert (tmp_path / "one" / "regret-by-length.png").stat().st_size > 5_000
    assert len((tmp_path / "one" / "table.csv").read_text().splitlines()) == 15
    found = px.load(tmp_path / "one" / "diagnosis.nc")
    assert found.attrs["status"] == "a prompt suffices" and found.sizes["prompt_length"] == 1001
    out = run(
        "diagnose", "--target", "categorical-mixture", "--longest", 200, "--prior",
        '{"class": "DirichletCategorical", "concentration": [1, 1]}', capsys=capsys,
    )  # fmt: skip
    assert "A prompt cannot suffice" in out and "mixture of 2 longer prompts would suffice" in out


def test_diagnose_judges_predictors(demo, tmp_path, capsys):
    folder = demo / "single-coin"
    out = run(
        "diagnose", "--predictor", f"base={demo}", folder / "soft-prompt.safetensors",
        f"weights={folder / 'full-weights.safetensors'}",
        f"hard={folder / 'hard-prompt.safetensors'}",
        "--sequences", 32, "--steps", 8, "--longest", 10, "--trained-length", 10,
        "--out", tmp_path / "run", capsys=capsys,
    )  # fmt: skip
    assert out.count("prior mismatch") == out.count("as a prior:") == 4
    assert out.count("beyond any prompt of tokens") == 2 and out.count("search gap") == 2
    rows = list(csv.DictReader((tmp_path / "run" / "ledger.csv").read_text().splitlines()))
    assert len(rows) == 2 * 6 + 2 * 4 and {row["predictor"] for row in rows} == {
        "base", "soft-prompt", "weights", "hard"
    }  # fmt: skip
    assert "pseudo_count_1" in (tmp_path / "run" / "priors.csv").read_text()


def test_resume_continues_from_the_checkpoint(tmp_path, capsys):
    flags = ["--out", tmp_path / "a", "--network", "lstm", "--network.width", 4, "--fit.batch", 4]
    run("pretrain", *flags, "--fit.steps", 5)
    first = px.load(tmp_path / "a" / "predictor.safetensors")
    run("pretrain", *flags, "--fit.steps", 5, "--resume")
    again = px.load(tmp_path / "a" / "predictor.safetensors")
    np.testing.assert_array_equal(first.embedding.weight, again.embedding.weight)
    assert "checkpoint" in complaint(capsys, "pretrain", *flags, "--fit.steps", 6, "--resume")


MISTAKES = {
    "a misspelt command": (["evalute"], "Did you mean 'evaluate'?"),
    "an unknown network": (
        ["pretrain", "--out", "x", "--network", "transfomer"],
        "Did you mean 'Transformer'?",
    ),
    "an unknown task": (["pretrain", "--out", "x", "--task", "dirichlet"], "DirichletCategorical"),
    "an unknown flag": (["demo", "--step", "3"], "--steps"),
    "heads that do not divide": (["demo", "--network.heads", "5"], "heads that divide the width"),
    "not a distribution": (
        ["pretrain", "--out", "x", "--task", "categorical", "--task.probabilities", "0.5", "0.6"],
        "sum to 1",
    ),
    "negative concentration": (
        ["pretrain", "--out", "x", "--task.concentration", "-1", "1"],
        "not negative",
    ),
    "nothing to diagnose": (["diagnose", "--steps", "0"], "--steps from 1 to"),
    "too much to diagnose": (
        [
            "diagnose",
            "--target.probabilities",
            *["0.1"] * 10,
            "--prior",
            '{"class": "Categorical", "probabilities": [' + ", ".join(["0.1"] * 10) + "]}",
        ],
        "Choose fewer steps",
    ),
    "two alphabets": (["diagnose", "--target.probabilities", "0.2", "0.3", "0.5"], "one alphabet"),
    "no such file": (["report", "nowhere"], "nowhere"),
    "an unknown plugin": (["list", "--plugin", "no_such_module"], "no_such_module"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, expected = MISTAKES[mistake]
    assert expected in complaint(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_that_exists_is_left_alone(demo, capsys):
    before = sorted(demo.rglob("*"))
    assert "--overwrite" in complaint(capsys, "demo", "--out", demo)
    assert sorted(demo.rglob("*")) == before


def test_truncated_and_foreign_files(demo, tmp_path, capsys):
    whole = (demo / "base.safetensors").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    assert "cut" in complaint(capsys, "evaluate", tmp_path / "cut")
    (tmp_path / "text").write_text("hello")
    assert "text" in complaint(capsys, "evaluate", tmp_path / "text")


def test_alphabets_must_match(demo, capsys):
    text = complaint(
        capsys, "evaluate", demo / "base.safetensors", "--target", "categorical",
        "--target.probabilities", 0.2, 0.3, 0.5,
    )  # fmt: skip
    assert "2 symbols" in text and "3" in text


def test_bench_shows_a_share_where_the_work_can_be_counted(capsys, monkeypatch):
    peak, job = bench.matrix_product_peak, functools.partial(bench.ours, batch=4)
    monkeypatch.setattr(bench, "matrix_product_peak", functools.partial(peak, 256, 1))
    monkeypatch.setattr(bench, "ours", job)
    quick = ["--updates", 2, "--rounds", 1]
    assert run("bench", *TINY, *quick, capsys=capsys).count("%") == 4
    monkeypatch.setattr(bench, "JOBS", ("soft prompt",))
    recurrent = run("bench", "--network", "lstm", "--network.width", 4, *quick, capsys=capsys)
    assert "%" not in recurrent and "soft prompt" in recurrent
