"""Laws that every study obeys."""

import json

import pytest
from support import judges as laws
from support.command_line import _keep_compilation_settings, complaint  # noqa: F401

from promptax import specs
from promptax.experiments.conditions import Condition, matching
from promptax.experiments.measurement import Measurement
from promptax.studies import Study, study_folder

every_study = pytest.mark.parametrize("study", laws.examples(Study))


@pytest.mark.slow
@every_study
def test_conditions_are_data_with_names_of_their_own(study):
    for place, scale in enumerate(study.scales):
        conditions = study.conditions(scale)
        assert conditions and all(isinstance(each, Condition) for each in conditions.values())
        identities = {name: each.identity() for name, each in conditions.items()}
        assert len(set(identities.values())) == len(conditions)
        assert all(list(matching(conditions, name)) == [name] for name in conditions), "--only"
        for name, each in list(conditions.items())[: None if place == 0 else 1]:
            again = specs.from_json(json.loads(json.dumps(specs.to_json(each))))
            assert again == each and again.identity() == identities[name]


@every_study
def test_an_unknown_scale_is_named(study):
    with pytest.raises(ValueError, match=r"Expected a scale from .*; got 'huge'"):
        study.conditions("huge")


@pytest.mark.slow
@every_study
def test_nothing_is_written_before_it_is_known_that_all_can_be_measured(
    study, tmp_path, monkeypatch, capsys
):
    """Also not where the folder has a study already: it stays as it is."""
    monkeypatch.chdir(tmp_path)

    def refuse(self):
        raise FileNotFoundError("Expected weights; there are none.")

    for measurement in specs.members(Measurement).values():
        monkeypatch.setattr(measurement, "verify", refuse)
    command = ["study", type(study).__name__, "--out", "results"]
    assert "Expected weights; there are none." in complaint(capsys, *command)
    assert "Expected --only to match" in complaint(capsys, *command, "--only", "nothing")
    assert list(tmp_path.iterdir()) == []
    study_folder.begin(tmp_path / "results", "earlier", study, "small")
    before = (tmp_path / "results" / "spec.json").read_bytes()
    complaint(capsys, *command)
    complaint(capsys, *command, "--only", "nothing")
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {"spec.json", study_folder.LOCK}
    assert (tmp_path / "results" / "spec.json").read_bytes() == before


@pytest.mark.slow
@every_study
def test_claims_have_names_numbers_and_a_verdict_before_anything_was_measured(study):
    claims = study.claims({})
    names = [claim.name for claim in claims]
    assert claims and len(set(names)) == len(names)
    for claim in claims:
        assert claim.text.endswith(".") and claim.source and claim.checks
        exact = all(check.exact for check in claim.checks)
        assert claim.verdict in (("holds", "fails") if exact else ("not run",)), claim.name
        for check in claim.checks:
            assert check.what and check.least <= check.most
            assert check.least > -float("inf") or check.most < float("inf"), "it could not fail"
    assert study.parts({}) == [] and study.comparison({}) == []
