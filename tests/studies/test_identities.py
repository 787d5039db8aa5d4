"""What was measured before is found again: the names of results, which are hashes of conditions."""

import csv
import hashlib
import json

import pytest
from support.processes import ROOT

from promptax import specs
from promptax.studies import (
    Akyurek2022,
    CoinsInLanguage,
    Genewein2023,
    Genewein2025,
    GrauMoya2024,
    LearningToLearn,
    Reddy2023,
    Wurgaft2025,
)

AS_PUBLISHED = Genewein2025(as_published=True, pretraining_seeds=2, repetitions=3)
RESULTS = sorted((ROOT / "docs" / "results").glob("**/spec*.json"))


@pytest.mark.parametrize(
    ("study", "scale", "name", "identity", "shared"),
    [
        (
            Genewein2025(),
            "smoke",
            "Transformer · pretrained · two coins · seed 0",
            "82100c9c1f2facadeabe",
            "d6e43993aa159eba5915",
        ),
        (
            Genewein2025(),
            "small",
            "LSTM · untrained · two coins · seed 2",
            "9dffc8bb2de9ac8b1286",
            "c449cd3107285efc5fec",
        ),
        (
            Genewein2025(),
            "paper",
            "Transformer · untrained with prompt length 25 · two coins · seed 2",
            "4b8e87a14a4f9d3d2b7c",
            "8eec667055ef257658b4",
        ),
        (
            CoinsInLanguage(),
            "smoke",
            "H T · single coin · seed 0",
            "e66c9f78b805d537a65a",
            "ce2e0864f2bb1a1de530",
        ),
        (
            CoinsInLanguage(),
            "small",
            "heads, tails, · random coins · seed 3",
            "b6535dcc6b8ff48e5f2a",
            "f86c9f80d2919f90778e",
        ),
        (
            CoinsInLanguage(),
            "paper",
            "01 · random coins · seed 2",
            "db1121f1303d80389f39",
            "a03e1db4e67df0e7c942",
        ),
    ],
)
def test_identities_of_conditions_stay(study, scale, name, identity, shared):
    condition = study.conditions(scale)[name]
    assert condition.identity() == identity
    assert condition.shared().identity() == shared


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "scale", "digest"),
    [
        (Genewein2025(), "smoke", "1afcf315f0432710d048"),
        (Genewein2025(), "small", "80a146b8cb57c48c8335"),
        (Genewein2025(), "paper", "bbcee4521a09981e3eeb"),
        (AS_PUBLISHED, "smoke", "1495b89293a2b5afb787"),
        (AS_PUBLISHED, "small", "f36364d167878c50997e"),
        (AS_PUBLISHED, "paper", "c4ee0e143091bcb6c322"),
        (CoinsInLanguage(), "smoke", "7d8dce4803cf267296f9"),
        (CoinsInLanguage(), "small", "3047272ef2c5d5013dd3"),
        (CoinsInLanguage(), "paper", "24c32641372e5fb727c1"),
        (CoinsInLanguage(tuning_seeds=2), "smoke", "3a35a725a57b6a479151"),
        (CoinsInLanguage(tuning_seeds=2), "small", "a73d19e4eb2706278c8a"),
        (CoinsInLanguage(tuning_seeds=2), "paper", "630893d2721b5d642698"),
    ],
)
def test_so_do_all_of_them(study, scale, digest):
    lines = [
        f"{name} {condition.identity()} {condition.shared().identity()}"
        for name, condition in study.conditions(scale).items()
    ]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20] == digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "digest"),
    [
        (Akyurek2022(), "88e2163f1277ec329da3"),
        (Genewein2023(), "8e0ebf514efe46923856"),
        (GrauMoya2024(seeds=2), "fbf47080ec20c989ec81"),
        (LearningToLearn(), "2663c4a9b875d11cac1a"),
        (Reddy2023(), "6d94d5b49e0d098e851d"),
        (Wurgaft2025(), "7952ad32e0bb99d268e2"),
    ],
)
def test_so_do_those_of_kept_trainings(study, digest):
    conditions = study.conditions("small")
    lines = [f"{name} {condition.identity()}" for name, condition in conditions.items()]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:20] == digest


@pytest.mark.slow
@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_kept_results_name_conditions_of_their_study(path):
    spec = json.loads(path.read_text(encoding="utf-8"))
    conditions = specs.from_json(spec["study"]).conditions(spec["scale"])
    for table in path.parent.glob("numbers.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            named = {row["condition"] for row in csv.DictReader(file)}
        assert named, table
        if path.name == "spec.json":
            assert named & set(conditions), (table, named)
