"""Laws that every study obeys."""

import json

import pytest
from support import judges as laws

from promptax import specs
from promptax.experiments.conditions import Condition, matching
from promptax.studies import Study

every_study = pytest.mark.parametrize("study", laws.examples(Study))


@pytest.mark.slow
@every_study
def test_conditions_are_data_with_names_of_their_own(study):
    for scale in study.scales:
        conditions = study.conditions(scale)
        assert conditions and all(isinstance(each, Condition) for each in conditions.values())
        assert len({each.identity() for each in conditions.values()}) == len(conditions)
        assert all(list(matching(conditions, name)) == [name] for name in conditions), "--only"
        for each in conditions.values():
            again = specs.from_json(json.loads(json.dumps(specs.to_json(each))))
            assert again == each and again.identity() == each.identity()


@every_study
def test_an_unknown_scale_is_named(study):
    with pytest.raises(ValueError, match=r"Expected a scale from .*; got 'huge'"):
        study.conditions("huge")


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
