"""What commands say where a run and a target call their symbols by other names."""

import json
import re

import pytest
from support.command_line import _keep_compilation_settings, complaint, run  # noqa: F401

import promptax as px
from promptax import specs
from promptax.cli.alphabets import check_names
from promptax.experiments import run_folder
from promptax.tasks import Categorical, DirichletCategorical, Recorded


@pytest.fixture
def base(tmp_path):
    """The folder of a run over a and b, whose file is gone."""
    (tmp_path / "ab.txt").write_text("abb\nba\n")
    task = Recorded(path=str(tmp_path / "ab.txt"))
    (tmp_path / "ab.txt").unlink()
    px.save(tmp_path / "base" / "predictor.safetensors", DirichletCategorical().bayes())
    run_folder.write_spec(tmp_path / "base", "", 0, task=task)
    return tmp_path / "base"


def test_names_of_symbols_must_match(base, tmp_path, capsys):
    """A network knows numbers alone: over other names it would read one symbol as another."""
    (tmp_path / "xy.txt").write_text("xyy\nyx\n")
    tuned, target = tmp_path / "tuned", ["--target", "recorded", "--target.path"]
    px.save(tuned / "predictor.safetensors", DirichletCategorical().bayes())
    run_folder.write_spec(tuned, "", 0, predictor=str(base), target=Categorical((0.3, 0.7)))
    for path, *arguments in (
        (base, "evaluate", base),
        (tuned, "evaluate", tuned),
        (base, "tune", "--predictor", base, "--tuner", "softprompt", "--out", tmp_path / "out"),
        (base, "diagnose", "--predictor", base),
    ):
        text = complaint(capsys, *arguments, *target, tmp_path / "xy.txt")
        assert f"{path} was trained over a b; {tmp_path / 'xy.txt'} has x y." in text
        assert f"If x stands for a and y for b, rewrite the file (tr xy ab < {tmp_path}" in text
    named = [*target, tmp_path / "xy.txt", "--target.alphabet", "a", "b"]
    assert "does not translate them: if x stands" in complaint(capsys, "evaluate", base, *named)
    for text, alphabet, message in (
        ("xyy\nyx\n", ("a", "b", "x", "y"), "If x stands for a and y for b, rewrite"),
        ("bbc\nba\n", (), "c cannot be read over that alphabet, whatever --target.alphabet"),
        ("bb\nbbc\n", (), "c cannot be read over that alphabet"),  # b is the same or another
        ("bab\n", ("a", "b", "c"), "give --target.alphabet a b;"),
    ):
        (tmp_path / "xy.txt").write_text(text)
        with pytest.raises(ValueError, match=re.escape(message)):
            task = Recorded(path=str(tmp_path / "xy.txt"), alphabet=alphabet)
            check_names([str(base)], target=task)
    read = specs.to_json(Recorded(path=str(tmp_path / "xy.txt")))
    beside = ["--target", json.dumps(read), "--target.alphabet", "b", "a"]
    assert "Expected alphabet inside the JSON" in complaint(capsys, "evaluate", base, *beside)
    exact = ["--prior", "dirichletcategorical", "--prior.concentration", 1, 3]
    said = complaint(capsys, "evaluate", base, *named, *exact, "--reference", "prior bay")
    assert "from 'base', 'prior bayes'; got 'prior bay'. Did you mean 'prior bayes'?" in said
    kept, sizes = tmp_path / "kept", ["--sequences", 4, "--length", 3]
    run("evaluate", base, *named, *exact, *sizes, "--reference", "prior bayes", "--out", kept)
    said = capsys.readouterr()
    assert "nats above prior bayes" in said.out and "in the order a b" in said.err
    with pytest.raises(ValueError, match="got regret, already taken to 'prior bayes'"):
        px.regret(px.load(kept / "results.nc"), "base")
    run("evaluate", base, *named, *sizes)
    said = capsys.readouterr()
    assert "Recorded: 2 symbols (a b), 1 sequences of 3 steps" in said.err
    # the coin of unknown bias: (1/2)·(1/3)·(2/4); and 3 log 2
    assert "base: log loss 2.485 nats" in said.out and "(± 2 errors)" in said.out
    assert "uniform over 2 symbols: log loss 2.079 nats" in said.out
