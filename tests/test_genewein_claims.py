"""The study of Genewein et al. 2025: the paper's own numbers satisfy its claims as judged here."""

import json
import math

import numpy as np
import pytest
import xarray as xr
from made_up import some_results, some_states

from promptax import store, study_runs
from promptax.experiment import PRETRAINING
from promptax.studies import Genewein2025
from promptax.studies.base import Check, Claim
from promptax.studies.genewein_2025.conditions import SINGLE, name_of
from promptax.studies.genewein_2025.reading import printed
from promptax.sweeps import result_path

STUDY = Genewein2025(pretraining_seeds=5)
GROUPS = {"prompt": "prompts", "weights": "weights", "low rank": "weights"}
# What the paper prints no number of: networks on the pretraining task, internal states, prompts
# that were found, tuning losses, narrow and large networks, more steps.
WITHOUT_NUMBERS = {"M01", "M07", "M25", "M26", "M27", "M28", "M29", "M30", "M32", "M33"}


def group_of(method):
    if "random" in method or "bayes" in method or method == "untuned":
        return "baselines"
    return "prompts" if "prompt" in method else "weights"


def as_printed(shift=None, seeds=5, jitter=0.0):
    """Results whose regret is what the paper prints, in as many networks; `shift`: nats to add,
    by (network, variant, target, method)."""
    rows = {}
    for place, value in printed().items():
        value += (shift or {}).get(tuple(place[:4]), 0.0)
        rows.setdefault(place[:3], {}).setdefault(place.method, {})[place.steps] = value
    found = {}
    for (network, variant, target), methods in rows.items():
        for seed in range(seeds):
            ends = {}
            for method, at in methods.items():
                own = ends.setdefault(group_of(method), {})
                own[method] = tuple(at[n] + jitter * (seed - seeds // 2) for n in (50, 200))
            results = some_results(target, ends, repetitions=2, jitter=0.0).drop_dims("step")
            results.attrs |= {"network": network, "training_length": 100}
            groups = {PRETRAINING: xr.Dataset(), target.replace(" ", "-"): results}
            found[name_of(network, variant, target, seed)] = xr.DataTree.from_dict(groups)
    return found


def verdicts(results):
    return {claim.name: claim.verdict for claim in STUDY.claims(results)}


def test_the_printed_numbers_satisfy_the_claims():
    found = verdicts(as_printed())
    measured = {name for name in found if name[0] == "M" and " " not in name}
    assert measured == {f"M{number:02}" for number in range(1, 34)}
    for name in measured - {"M10"}:
        assert found[name] == ("not run" if name in WITHOUT_NUMBERS else "holds"), name
    assert found["D01"] == "holds"


@pytest.mark.parametrize(
    ("claim", "place"),
    [
        ("M03", ("LSTM", "pretrained", SINGLE, "soft prompt")),
        ("M08", ("Transformer", "pretrained", SINGLE, "embedding")),
        ("M15", ("Transformer", "pretrained", "two coins", "low rank")),
        ("M19", ("Transformer", "untrained", "two coins", "soft prompt")),
        ("M18", ("Transformer", "pretrained, prompt length 25", "two coins", "soft prompt")),
    ],
)
def test_a_number_that_is_off_makes_its_claim_fail(claim, place):
    assert verdicts(as_printed({place: 2.0}))[claim] == "fails"
    assert verdicts(as_printed({place: 2.0}, seeds=2))[claim] == "undecided"


def test_every_printed_number_is_compared():
    rows = STUDY.comparison(as_printed(jitter=0.01))
    assert len(rows) == len(printed()) == 240
    assert all(row["within"] and row["pretrainings"] == 5 for row in rows)
    assert {round(row["between_pretrainings"], 4) for row in rows} == {round(0.01 * 2.5**0.5, 4)}
    place = ("LSTM", "untrained", "two coins", "soft prompt")
    off = [row for row in STUDY.comparison(as_printed({place: 5.0})) if not row["within"]]
    assert [(row["network"], row["method"], row["steps"]) for row in off] == [
        ("LSTM", "soft prompt", 50)  # a fifth of the regret after 200 steps is more than 5 nats
    ]


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


def test_a_claim_is_as_good_as_its_worst_number():
    good, bad = Check("it", (0.5,), 0.0, 1.0), Check("it", (2.0,), 0.0, 1.0)
    worse = Check("it", (2.0,), 0.0, 1.0, exact=True)
    missing = Check("it", (), 0.0, 1.0)
    claim = lambda *checks: Claim("", "", "", checks).verdict  # noqa: E731
    assert claim(good) == "holds" and claim(good, missing) == "not run"
    assert claim(good, bad, missing) == "undecided" and claim(good, bad, worse) == "fails"


@pytest.mark.slow
def test_the_page_shows_claims_figures_and_printed_numbers(tmp_path):
    study = Genewein2025(pretraining_seeds=2)
    study_runs.begin(tmp_path, "promptax study genewein_2025", study, "small")
    conditions = study.conditions("small")
    study_runs.write_index(tmp_path, conditions)
    for name, tree in as_printed(seeds=2, jitter=0.01).items():
        if name in conditions and "two coins" in name:
            if "pretrained ·" in name:
                groups = {key: node.to_dataset() for key, node in tree.children.items()}
                groups["two-coins"]["scores"] = (
                    ("repetition", "candidate"),
                    np.tile(np.arange(64.0), (2, 1)),
                )
                groups["two-coins.states"] = some_states("two coins")
                tree = xr.DataTree.from_dict(groups)
            store.save(result_path(tmp_path, conditions[name]), tree)
    page, claims = study_runs.report(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert len(claims) == len(STUDY.claims({})) and text.count('class="claim"') == len(claims)
    for heading in ("Figures 3 and A6", "Figures 4 and A8", "Figure A10", "Figure A7", "Ranking"):
        assert heading in text
    assert "Figures 1 and A5" not in text  # not measured
    assert text.count("<img ") >= 14 and "Printed numbers" in text
    rows = (tmp_path / "numbers.csv").read_text().splitlines()
    assert rows[0].startswith("condition,predictor,repetition,regret_50") and len(rows) > 50
    assert json.loads((tmp_path / "conditions.json").read_text()).keys() == conditions.keys()
