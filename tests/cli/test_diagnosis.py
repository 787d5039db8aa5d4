"""A diagnosis as rows of words and as a figure."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from support.exact_tasks import Sticky

from promptax import store
from promptax.analysis import diagnose
from promptax.cli.commands import diagnose as diagnosis
from promptax.experiments.experiment import Experiment
from promptax.experiments.run_folder import History, history_of
from promptax.fit.settings import FitSettings
from promptax.report import figures
from promptax.specs import to_json
from promptax.steering import FullWeights, SoftPrompt
from promptax.tasks import Categorical, CategoricalMixture, DirichletCategorical

COINS, COIN, TWO = DirichletCategorical(), Categorical(), CategoricalMixture()
SIZES = {"length": 3, "steps": 5, "longest": 10}
DIAGNOSES = {
    "one coin": lambda: diagnose(COINS, COIN, **SIZES),
    "two coins": lambda: diagnose(COINS, TWO, **SIZES),
    "impossible": lambda: diagnose(Categorical((1.0, 0.0)), COIN, **SIZES),
    "order matters": lambda: diagnose(Sticky(), Sticky((0.9, 0.9)), 3, 4),
    "no prompt": lambda: diagnose(COINS, COIN, length=0, steps=5, longest=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DIAGNOSES)
def test_every_diagnosis_has_rows_and_a_figure_and_can_be_saved(name, tmp_path):
    table = DIAGNOSES[name]().table
    _, headings, rows = diagnosis.length_rows(table)
    assert len(rows) == len(table.attrs["shown"]) and {len(row) for row in rows} == {len(headings)}
    figure = figures.regret_by_length(table)
    assert isinstance(figure, Figure)
    texts = " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))
    assert "floor" in texts and "symbols in the prompt" in texts
    diagnosis.write(tmp_path, table, [])
    again = store.load(tmp_path / "diagnosis.nc")
    np.testing.assert_array_equal(again["regret"], table["regret"])
    assert diagnosis.length_rows(again) == diagnosis.length_rows(table)


def test_rows_show_prompts_and_bounds():
    _, headings, rows = diagnosis.length_rows(diagnose(COINS, TWO, **SIZES).table)
    assert headings[-2:] == ("best mixture of 2", "its prompts")
    assert rows[0][:2] == ("0", "no prompt") and rows[2][1] == "1×0 1×1"
    assert rows[-1][-1] == "2×0 8×1 | 8×0 2×1"
    _, headings, rows = diagnosis.length_rows(diagnose(Sticky(), Sticky((0.9, 0.9)), 3, 4).table)
    assert len(headings) == 4 and set(rows[3][1].split()) <= {"0", "1"}


def test_the_terms_of_a_predictor_as_rows():
    sizes = {"steps": 5, "trained_length": 10, "sequences": 32}
    flags = diagnosis.Flags(prior=COINS, target=COIN, **sizes)
    (explanation,) = diagnosis.explain_predictors(flags, {"it": COINS.bayes()}, {"it": History()})
    title, _, rows = diagnosis.term_rows(explanation)
    assert title.startswith("it:") and rows[1] == ("prior mismatch", "+0.0000", "exact")
    assert rows[3] == ("search gap", "+0.0000", "exact")
    assert sum(float(row[1]) for row in rows[:-1]) == pytest.approx(float(rows[-1][1]), abs=3e-4)


def test_how_a_predictor_came_about_is_read_from_the_folders_of_all_runs(tmp_path, capsys):
    def spec(folder, **what):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.json").write_text(json.dumps(to_json(what)))
        return str(folder)

    base = spec(tmp_path / "base", task=TWO, fit=FitSettings(length=30))
    full = spec(tmp_path / "full", predictor=base, tuner=FullWeights())
    soft = spec(tmp_path / "soft", predictor=base, tuner=SoftPrompt())
    both = spec(tmp_path / "both", predictor=full, tuner=SoftPrompt())
    lost = spec(tmp_path / "lost", predictor="nowhere", tuner=FullWeights())
    usual = spec(tmp_path / "usual", task=COINS, fit=FitSettings())
    gone = spec(tmp_path / "gone", task={"class": "OfAPlugin"}, fit=FitSettings(length=30))
    alien = spec(tmp_path / "alien", predictor=base, tuner={"class": "OfAPlugin"})
    after = spec(tmp_path / "after", predictor=alien, tuner=SoftPrompt())
    moved = spec(tmp_path / "moved", predictor=alien, tuner=FullWeights())
    words = [
        spec(tmp_path / f"{i}", predictor=base, tuner=it) for i, it in enumerate(("a", [1], COIN))
    ]
    nameless = spec(tmp_path / "nameless", predictor="a" * 5000, tuner=SoftPrompt())
    odd = spec(tmp_path / "odd", experiment=[1], task=TWO, fit=FitSettings(length=30))
    circle = spec(tmp_path / "circle", predictor=str(tmp_path / "circle"), tuner=SoftPrompt())
    methods = {"full weights": FullWeights(), "soft prompt": SoftPrompt()}
    experiment = Experiment(prior=TWO, methods=methods, pretraining=FitSettings(length=40))
    demo = Path(spec(tmp_path / "demo", experiment=experiment))
    (demo / "coin").mkdir()
    files = {
        name: demo / "coin" / f"{name}.safetensors" for name in ("full-weights", "soft-prompt")
    }
    for file in files.values():
        file.touch()
    expected = {
        base: (TWO, 30, False), full: (TWO, 30, True), soft: (TWO, 30, False),
        both: (TWO, 30, True),
        lost: (None, None, True), usual: (COINS, 100, False), circle: (None, None, None),
        gone: (None, None, False), alien: (TWO, 30, None), after: (TWO, 30, None),
        moved: (TWO, 30, True), odd: (TWO, 30, False), nameless: (None, None, None),
        str(tmp_path / 'elsewhere' / 'it.safetensors'): (None, None, None),
        **dict.fromkeys(words, (TWO, 30, None)),
        files["full-weights"]: (TWO, 40, True), files["soft-prompt"]: (TWO, 40, False),
    }  # fmt: skip
    assert {path: tuple(history_of(Path(path))) for path in expected} == expected
    for flags, words in (
        ({"prior": TWO}, ""),
        ({"prior": COINS}, "was pretrained on CategoricalMixture"),
        ({"prior": TWO, "trained_length": 50}, "of 30 symbols; --trained-length says 50"),
    ):
        found = diagnosis.history_of("it", Path(full), diagnosis.Flags(target=COIN, **flags))
        said = " ".join(capsys.readouterr().err.split())
        assert words in said and ("warning" in said) == (words != "")
        assert found.trained_length == flags.get("trained_length", 30)
    diagnosis.history_of("it", Path(alien), diagnosis.Flags(prior=TWO, target=COIN))
    assert "assumed to have its pretrained weights, for what tuned" in capsys.readouterr().err
    diagnosis.history_of("it", tmp_path / "nowhere", diagnosis.Flags(prior=COINS, target=COIN))
    said = capsys.readouterr().err
    assert "assumed to be pretrained on sequences of 100 symbols" in said
    assert "assumed to have its pretrained weights" in said


def test_alphabets_are_compared_first():
    with pytest.raises(ValueError, match=r"the prior 2, the target 2, it 3"):
        diagnosis.check_alphabets({"it": Categorical((0.2, 0.3, 0.5)).bayes()}, COINS, COIN)
