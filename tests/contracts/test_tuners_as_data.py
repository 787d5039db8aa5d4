"""Laws of every tuner as data, before anything is tuned."""

import json

import pytest
from support import judges as laws

from promptax import load, save, specs
from promptax.steering import Tuner


@pytest.mark.parametrize("tuner", laws.examples(Tuner))
def test_a_tuner_survives_json(tuner, tmp_path):
    assert specs.from_json(json.loads(json.dumps(specs.to_json(tuner)))) == tuner
    assert load(save(tmp_path / "tuner.json", tuner)) == tuner
    assert tuner.group in ("prompts", "weights", "baselines")
