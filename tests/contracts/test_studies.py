"""Laws that every study obeys."""

import json

import laws
import pytest

from promptax import specs
from promptax.studies import Study
from promptax.sweeps import Condition

every_study = pytest.mark.parametrize("study", laws.examples(Study))


@every_study
def test_conditions_are_data_with_names_of_their_own(study):
    for scale in study.scales:
        conditions = study.conditions(scale)
        assert conditions and all(isinstance(each, Condition) for each in conditions.values())
        assert len({each.identity() for each in conditions.values()}) == len(conditions)
        for each in conditions.values():
            again = specs.from_json(json.loads(json.dumps(specs.to_json(each))))
            assert again == each and again.identity() == each.identity()


@every_study
def test_an_unknown_scale_is_named(study):
    with pytest.raises(ValueError, match=r"Expected a scale from .*; got 'huge'"):
        study.conditions("huge")
