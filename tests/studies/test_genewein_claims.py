"""The study of Genewein et al. 2025: the paper's own numbers satisfy its claims as judged here, and
each claim fails in a world where what it says is not so."""

import functools
import json
import math
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from support.command_line import _keep_compilation_settings, complaint, run  # noqa: F401
from support.made_up import some_results, some_states
from support.processes import ROOT

from promptax import store
from promptax.experiments.conditions import result_path
from promptax.experiments.groups import ON_PRIOR, PRETRAINING, STATES, slug
from promptax.studies import Genewein2025
from promptax.studies.genewein_2025.claims import CLAIMS
from promptax.studies.genewein_2025.conditions import (
    FULL,
    LARGE,
    LONG,
    LSTM_NAME,
    MORE_STEPS,
    NARROW,
    SINGLE,
    TRANSFORMER,
    TWO,
    kind,
    name_of,
)
from promptax.studies.genewein_2025.reading import Checker, Reader, printed
from promptax.studies.judging import Check, Claim, negative, positive

STUDY = Genewein2025(pretraining_seeds=5)
NETWORKS = (TRANSFORMER, LSTM_NAME)
OWN, BARE = kind(True), kind(False)
UNPRINTED = {  # regret after 50 and after 200 steps where the paper has curves alone
    **{
        (network, kind(True, change), target): {
            **dict.fromkeys(("hard prompt", "simplex prompt", "real prompt"), (1.2, 2.0)),
            "soft prompt": (0.01, 0.2) if target == SINGLE else (1.1, 2.0),
            "full weights": (0.0, 0.02) if target == SINGLE else (0.7, 0.75),
        }
        for network in NETWORKS
        for change in (NARROW, LARGE)
        for target in (SINGLE, TWO)
    },
    (LSTM_NAME, kind(False, MORE_STEPS), TWO): {"soft prompt": (20.0, 90.0)},
}
LAST_LOSS = 0.1  # of tuning, above exact Bayes


def group_of(method):
    if "random" in method or "bayes" in method or method == "untuned":
        return "baselines"
    return "prompts" if "prompt" in method else "weights"


def as_printed(seeds=5, jitter=0.0):
    """Results whose regret is what the paper prints, in as many networks, and made up where it
    prints none."""
    rows = {place: dict(methods) for place, methods in UNPRINTED.items()}
    for place, value in printed().items():
        methods = rows.setdefault(place[:3], {})
        methods[place.method] = (*methods.get(place.method, ()), value)  # 50 before 200
    found = {}
    for (network, variant, target), methods in rows.items():
        for seed in range(seeds):
            ends = {}
            for method, both in methods.items():
                more = jitter * (seed - seeds // 2)
                ends.setdefault(group_of(method), {})[method] = tuple(each + more for each in both)
            results = some_results(target, ends, repetitions=2, jitter=0.0)
            results.attrs |= {"network": network, "training_length": 100}
            results["tuning_loss"][:] = results["target_entropy"] + LAST_LOSS
            groups = {PRETRAINING: xr.Dataset(), slug(target): results}
            if variant == OWN:
                prompts = ["1 1 1 0 1 1 · 1 1 1 1 1 1"] * results.sizes["predictor"]
                results.coords["found"] = ("predictor", prompts)
                reach = {"untuned": math.nan, "hard prompt": 0, "real prompt": 3, "soft prompt": 6}
                groups[slug(target) + STATES] = some_states(target, reach)
                rows_there = {"baselines": {"untuned": (0.05, 0.1)}}
                rows_there["weights"] = {"full weights": (1.5, 6.0)}
                groups[slug(target) + ON_PRIOR] = some_results(target, rows_there, 2, jitter=0.0)
            found[name_of(network, variant, target, seed)] = xr.DataTree.from_dict(groups)
    return found


paper = functools.cache(as_printed)


def changed(condition, change, suffix="", seeds=5):
    """The same, with the group of a condition's target changed in place, in every network."""
    found, key = dict(paper(seeds)), slug(condition[2]) + suffix
    for seed in range(seeds):
        name = name_of(*condition, seed)
        groups = {k: node.to_dataset().copy(deep=True) for k, node in found[name].children.items()}
        change(groups[key])
        found[name] = xr.DataTree.from_dict(groups)
    return found


def more(method, nats, suffix=""):
    """A change: so much more regret of a method, for each repetition."""

    def change(results):
        results["regret"].loc[{"predictor": method}] += nats

    return change, suffix


def becomes(variable, value, suffix="", **where):
    """A change: another value."""

    def change(results):
        results[variable].loc[where] = value

    return change, suffix


def compared(results, how):
    """The printed numbers that agree in that way, or do not."""
    rows = STUDY.comparison(results)
    return [(row["network"], row["method"], row["steps"]) for row in rows if row["agrees"] == how]


def judged(claim, results):
    """The checks of a claim about networks."""
    return CLAIMS.claim(claim, Checker(Reader(results)))


@pytest.mark.slow
def test_the_printed_numbers_satisfy_the_claims():
    found = {claim.name: claim.verdict for claim in STUDY.claims(paper())}
    measured = {name for name in found if name[0] == "M" and " " not in name}
    assert measured == {f"M{number:02}" for number in range(1, 34)}
    assert {name for name in CLAIMS.entries if found[name] != "holds"} == set()


OFF = [  # a claim, a condition, and what is otherwise there
    ("M01", (LSTM_NAME, OWN, SINGLE), more("untuned", 0.06, ON_PRIOR)),
    ("M02", (LSTM_NAME, OWN, TWO), more("untuned", 0.2)),
    ("M02", (TRANSFORMER, OWN, SINGLE), more("untuned", -0.3)),
    ("M03", (LSTM_NAME, OWN, SINGLE), more("soft prompt", 0.14)),
    ("M04", (LSTM_NAME, OWN, SINGLE), more("real prompt", -0.2)),
    ("M04", (TRANSFORMER, OWN, SINGLE), more("real prompt", 0.3)),
    ("M05", (TRANSFORMER, OWN, SINGLE), more("soft prompt", 0.3)),
    ("M06", (LSTM_NAME, OWN, SINGLE), more("hard prompt", 0.13)),
    ("M06", (LSTM_NAME, OWN, SINGLE), more("hard prompt", -0.13)),
    ("M07", (LSTM_NAME, OWN, SINGLE), becomes("found", "1 1 1 1 1 1 · 0 0 1 1 1 1")),
    ("M08", (TRANSFORMER, OWN, SINGLE), more("embedding", 0.12)),
    ("M09", (TRANSFORMER, OWN, SINGLE), more("soft prompt", 0.3)),
    ("M11", (LSTM_NAME, OWN, TWO), more("soft prompt", -0.6)),
    ("M12", (LSTM_NAME, OWN, TWO), more("soft prompt", 0.5)),
    ("M13", (TRANSFORMER, OWN, TWO), more("hard prompt", -0.3)),
    ("M14", (TRANSFORMER, OWN, TWO), more("simplex prompt", 0.4)),
    ("M14", (TRANSFORMER, OWN, TWO), more("simplex prompt", -0.4)),
    ("M15", (TRANSFORMER, OWN, TWO), more("low rank", 0.2)),
    ("M16", (LSTM_NAME, OWN, TWO), more("both embeddings", 0.2)),
    ("M16", (LSTM_NAME, OWN, TWO), more("unembedding", -0.5)),
    ("M17", (TRANSFORMER, OWN, TWO), more("embedding", -0.4)),
    ("M17", (TRANSFORMER, OWN, TWO), more("unembedding", 0.5)),
    ("M18", (TRANSFORMER, kind(True, LONG), TWO), more("soft prompt", 0.6)),
    ("M19", (TRANSFORMER, BARE, TWO), more("soft prompt", 2.0)),
    ("M20", (TRANSFORMER, BARE, TWO), more("soft prompt", 4.0)),
    ("M21", (TRANSFORMER, BARE, TWO), more("simplex prompt", -15.0)),
    ("M22", (LSTM_NAME, BARE, TWO), more("soft prompt", -10.0)),
    ("M23", (TRANSFORMER, BARE, TWO), more("low rank", 0.3)),
    ("M24", (LSTM_NAME, BARE, TWO), more("embedding", 0.2)),
    ("M25", (LSTM_NAME, kind(False, MORE_STEPS), TWO), more("soft prompt", -16.0)),
    ("M26", (LSTM_NAME, kind(True, NARROW), SINGLE), more("soft prompt", 1.3)),
    ("M27", (LSTM_NAME, kind(True, NARROW), TWO), more("soft prompt", -0.3)),
    ("M28", (TRANSFORMER, kind(True, LARGE), TWO), more("full weights", 0.2)),
    ("M29", (LSTM_NAME, OWN, SINGLE), becomes("tracks", 0.5, STATES, quantity=[0])),
    ("M30", (TRANSFORMER, OWN, SINGLE), becomes("distance", 3.0, STATES, time=10)),
    (
        "M30",
        (TRANSFORMER, OWN, SINGLE),
        becomes("prompt_distance", 1.5, STATES, predictor="real prompt"),
    ),
    (
        "M30",
        (TRANSFORMER, OWN, SINGLE),
        becomes("trajectory", np.inf, STATES, predictor="soft prompt", time=20),
    ),
    ("M31", (LSTM_NAME, OWN, TWO), more("random prompt", -1.5)),
    ("M32", (LSTM_NAME, OWN, TWO), becomes("tuning_loss", 26.0, predictor="embedding")),
    ("M33", (LSTM_NAME, OWN, SINGLE), more("full weights", -2.5, ON_PRIOR)),
    ("D01", (TRANSFORMER, OWN, TWO), more("soft prompt", 0.3)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("claim", "condition", "change"), OFF)
def test_a_number_that_is_off_makes_its_claim_fail(claim, condition, change):
    assert judged(claim, changed(condition, *change)).verdict == "fails"


def test_every_claim_about_networks_can_fail():
    assert {claim for claim, *_ in OFF} == set(CLAIMS.entries)


def test_two_networks_decide_nothing():
    place, change = (LSTM_NAME, OWN, SINGLE), more("soft prompt", 2.0)
    assert judged("M03", changed(place, *change, seeds=2)).verdict == "undecided"
    assert judged("M03", paper(2)).tentative and not judged("M03", paper(5)).tentative


def test_what_diverged_counts_against_a_claim():
    place, nan = (TRANSFORMER, OWN, SINGLE), becomes("regret", np.nan, predictor="soft prompt")
    some = dict(paper()) | {name_of(*place, 0): changed(place, *nan)[name_of(*place, 0)]}
    check = judged("M03", some).checks[0]
    assert (check.verdict, check.diverged, len(check.values)) == ("holds", 1, 5)
    for lost in (nan, becomes("regret", np.inf, predictor="soft prompt")):
        results = changed(place, *lost)
        assert judged("M03", results).verdict == "fails"
        here = {name: results[name] for name in (name_of(*place, seed) for seed in range(5))}
        assert compared(here, "no") == [(TRANSFORMER, "soft prompt", n) for n in (50, 200)]


@pytest.mark.slow
def test_every_printed_number_is_compared():
    rows = STUDY.comparison(as_printed(jitter=0.01))
    assert len(rows) == len(printed()) == 240
    assert all(row["agrees"] != "no" and row["pretrainings"] == 5 for row in rows)
    exact = {row["method"] for row in rows if row["agrees"] == "exact"}
    assert exact == {"bayes", "prior bayes", "prior bayes, best prompt"}
    assert {round(row["between_pretrainings"], 4) for row in rows} == {round(0.01 * 2.5**0.5, 4)}


def test_a_number_agrees_if_it_is_close_or_networks_differ_as_much():
    place = (LSTM_NAME, BARE, TWO)
    names = [name_of(*place, seed) for seed in range(5)]
    here = {name: paper()[name] for name in names}
    off = {name: changed(place, *more("soft prompt", 5.0))[name] for name in names}
    one = [(LSTM_NAME, "soft prompt", 50)]  # after 200 steps a fifth is more than 5 nats
    assert compared(off, "no") == one and not compared(off, "within the spread")
    some = off | {name: here[name] for name in names[:2]}
    assert compared(some, "within the spread") == one and not compared(some, "no")


@pytest.mark.parametrize(
    ("values", "verdict", "seeds"),
    [
        ((), "not run", 5),
        ((0.5,), "holds", 5),
        ((1.5,), "undecided", 5),
        ((1.5, 1.6, 1.7, 1.5), "undecided", 5),
        ((1.5, 1.6, 1.7, 1.5, 1.6), "fails", 5),
        ((0.2, 0.8, 1.1, 1.8, 2.4), "undecided", None),
    ],
)
def test_a_deviation_needs_seeds_to_count(values, verdict, seeds):
    check = Check("it", values, 0.0, 1.0)
    assert check.verdict == verdict and check.expected == "0 to 1"
    if seeds is None:
        error = math.sqrt(math.pi / 2) * np.std(values, ddof=1) / math.sqrt(5)
        seeds = math.ceil(5 * (2 * error / (check.number - 1.0)) ** 2)
        assert seeds > 5
    assert check.seeds_to_decide == seeds


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.0,), "undecided"),
        ((0.0,) * 6, "undecided"),
        ((-1.0, 0.0, 0.0, 0.0, 1.0), "undecided"),  # the median is a tie
        ((1e-9,), "holds"),
        ((-1.0,) * 5, "fails"),
        ((math.nan,) * 5, "fails"),
        ((), "not run"),
    ],
)
def test_a_tie_decides_no_sign(values, verdict):
    above, below = positive("it", values), negative("it", tuple(-value for value in values))
    assert above.verdict == below.verdict == verdict
    assert (above.expected, below.expected) == ("above 0", "below 0")
    assert Check("it", (0.0,), least=0.0).verdict == "holds"  # where a bound counts, it does


def test_a_claim_is_as_good_as_its_worst_number():
    good, bad = Check("it", (0.5,), 0.0, 1.0), Check("it", (2.0,), 0.0, 1.0)
    worse = Check("it", (2.0,), 0.0, 1.0, exact=True)
    missing = Check("it", (), 0.0, 1.0)
    claim = lambda *checks: Claim("", "", "", checks).verdict  # noqa: E731
    assert claim(good) == "holds" and claim(good, missing) == "not run"
    assert claim(good, bad, missing) == "undecided" and claim(good, bad, worse) == "fails"


def test_a_few_methods_leave_conditions_as_they_were_but_for_the_others():
    few = Genewein2025(methods=(FULL,)).conditions("paper")
    every = Genewein2025().conditions("paper")
    assert {name for name in every if f" {OWN}" in name and LONG not in name} == set(few)
    for name, condition in few.items():
        theirs = every[name].experiment
        assert condition.experiment == replace(theirs, methods={FULL: theirs.methods[FULL]})
    with pytest.raises(
        ValueError, match=r"that the scale smoke has, \('hard prompt', 'soft prompt"
    ):
        Genewein2025(methods=("low rank",)).conditions("smoke")


@pytest.mark.slow
def test_the_page_shows_claims_figures_and_printed_numbers(tmp_path, capsys):
    study = Genewein2025(pretraining_seeds=2)
    conditions = study.conditions("small")
    for name, tree in as_printed(seeds=2, jitter=0.01).items():
        if name in conditions and "two coins" in name:
            if OWN + " ·" in name:
                groups = {key: node.to_dataset() for key, node in tree.children.items()}
                scores = np.tile(np.arange(64.0), (2, 1))
                groups["two-coins"]["scores"] = ("repetition", "candidate"), scores
                tree = xr.DataTree.from_dict(groups)
            store.save(result_path(tmp_path, conditions[name]), tree)
    command = ["study", "genewein_2025", "--out", tmp_path, "--scale"]
    ours = ["small", "--study.pretraining-seeds", 2]
    said = run(*command, *ours, "--only", "two coins", capsys=capsys)
    assert "14 of 14 conditions" in said and "holds, tentatively" in said
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count('class="claim"') == len(STUDY.claims({})) and "tentatively" in text
    for heading in ("Figures 3 and A6", "Figures 4 and A8", "Figure A10", "Figure A7", "Ranking"):
        assert heading in text
    assert "Figures 1 and A5" not in text  # not measured
    assert text.count("<img ") >= 14 and "printed numbers (100%) are met" in text
    rows = (tmp_path / "numbers.csv").read_text().splitlines()
    assert rows[0].startswith("condition,predictor,repetition,regret_50") and len(rows) > 50
    kept = json.loads((tmp_path / "conditions.json").read_text()).keys()
    assert kept - {"digest", "digested"} == conditions.keys()
    said = complaint(capsys, *command, "small", "--study.repetitions", 3)
    assert "one with pretraining_seeds=2, repetitions=None, and this one has" in said
    assert "scale=small, and this one has scale=smoke" in complaint(
        capsys, *command, "smoke", *ours[1:]
    )


@pytest.mark.slow
def test_kept_numbers_are_judged_again(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import judge_again

    def judge(*folders):
        monkeypatch.setattr(sys, "argv", ["judge_again.py", *map(str, folders)])
        judge_again.main()
        return capsys.readouterr().out

    published = ROOT / "docs" / "results" / "genewein_2025" / "paper"
    kept, run = (shutil.copytree(published, tmp_path / name) for name in ("kept", "run"))
    assert judge(kept, run).startswith("0 rows")
    for table in published.glob("*.csv"):
        assert (kept / table.name).read_bytes() == table.read_bytes()
    rows = judge_again.read(run / "numbers.csv")
    whole = (run / "numbers.csv").read_text(encoding="utf-8")
    (run / "numbers.csv").write_text(whole.replace(rows[0]["regret_50"], "99"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"one set of numbers for Transformer.*got two"):
        judge(kept, run)
    spec = (run / "spec.json").read_text(encoding="utf-8")
    (run / "spec.json").write_text(spec.replace('"paper"', '"small"'), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"'scale': 'paper'.*got .*'scale': 'small'"):
        judge(kept, run)
