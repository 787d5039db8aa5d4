"""A prompt that is phased out while weights are tuned."""

import json

import jax
import numpy as np
import pytest

import promptax as px
from promptax.fit import MetricsFile
from promptax.predictors import RNN
from promptax.steering import LowRank, SoftPrompt, intern_prompt
from promptax.tasks import Categorical

NETWORK = RNN(width=4).build(jax.random.key(0), 2)
COIN, PIECES = Categorical((0.2, 0.8)), [[0, 1], [1], [1, 1]]
SETTINGS = px.FitSettings(steps=5, batch=4, length=6)


def run(**changes):
    arguments = {
        "tuner": LowRank(rank=1), "predictor": NETWORK, "pieces": PIECES, "target": COIN,
        "settings": SETTINGS, "shares": (1.0, 0.5, 0.0), "callbacks": (),
    }  # fmt: skip
    return intern_prompt(jax.random.key(1), **arguments | changes)


@pytest.mark.slow
def test_each_stage_reads_less_of_the_prompt_and_the_last_one_none(tmp_path, monkeypatch):
    log, ends = MetricsFile(tmp_path / "metrics.jsonl"), []
    monkeypatch.setattr(log, "close", lambda: ends.append("closed"))
    interned = run(callbacks=(log,))
    prompts = [stage.predictor.prompt.tolist() for stage in interned.stages[:2]]
    assert prompts == [[0, 1, 1, 1, 1], [0, 1, 1]]  # half of three pieces, rounded up, are two
    assert interned.predictor is interned.stages[2].predictor
    assert interned.predictor.prompt_rows() == 0
    assert [stage.loss.shape[1] for stage in interned.stages] == [2, 2, 1]
    assert interned.tokens == 2 * (5 + 24) + 2 * (3 + 24) + 24
    # a log hears of all stages as of one fit
    heard = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["step"] for line in heard] == [1, 2, 3, 4, 5]
    assert {line["steps"] for line in heard} == {5} and ends == ["closed"]
    losses = np.concatenate([stage.loss[0] for stage in interned.stages])
    np.testing.assert_array_equal(np.float32([line["loss"] for line in heard]), losses)
    assert [line["tokens_forward"] for line in heard] == [29, 58, 85, 112, 136]
    # one low-rank change of all stages, on weights that stay as they were
    layer = interned.predictor.torso.layers[0].recurrent
    np.testing.assert_array_equal(layer.base.weight, NETWORK.torso.layers[0].recurrent.weight)
    assert (np.asarray(layer.up) != 0).any()
    handed_on = interned.stages[1].predictor.predictor.torso.layers[0].recurrent
    assert (np.asarray(handed_on.up) != np.asarray(layer.up)).any()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"shares": (1.0, 0.5)}, ValueError, "fall from at most 1 to 0"),
        ({"shares": (0.5, 1.0, 0.0)}, ValueError, "fall from at most 1 to 0"),
        ({"pieces": [[0, 2]]}, ValueError, r"tokens from 0 to 1; got 0 to 2"),
        (
            {"pieces": [[0.7, 1.2]]},
            ValueError,
            r"each a row of symbols .*; got shape \(2,\), float",
        ),
        (
            {"pieces": [[True, False]]},
            ValueError,
            r"each a row of symbols .*; got shape \(2,\), bool",
        ),
        ({"pieces": [0, 1]}, ValueError, r"each a row of symbols \(int\); got shape \(\), int"),
        ({"pieces": None}, TypeError, "a Sequence as pieces of intern_prompt; got None"),
        ({"shares": np.full((2, 2), np.nan)}, ValueError, "fall from at most 1 to 0"),
        ({"settings": 5}, TypeError, r"a FitSettings, such as .*; got int"),
        ({"target": None}, TypeError, r"a Task, such as .*; got NoneType"),
        ({"predictor": None}, TypeError, r"a predictor to steer; got NoneType"),
        ({"settings": px.FitSettings(steps=2)}, ValueError, "a step for each of 3 stages; got 2"),
        ({"settings": px.FitSettings(repetitions=2)}, ValueError, "Expected one repetition"),
        ({"tuner": SoftPrompt()}, TypeError, "(?s)tuner.*SoftPrompt"),
    ],
)
@pytest.mark.usefixtures("as_users_see_it")
def test_a_plan_that_is_none_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        run(**changes)
