"""A study's folder that is filled on several machines."""

import contextlib
import json

import numpy as np
import pytest

from promptax import platforms, store
from promptax.experiments.executors import _Keeper
from promptax.studies import Genewein2025, GrauMoya2024, study_folder


def test_it_is_said_and_kept_where_results_were_measured_before(tmp_path, monkeypatch):
    study = GrauMoya2024()
    there = {**platforms.environment(), "jax": "0.0.1", "platform": "elsewhere"}
    with monkeypatch.context() as patch:
        patch.setattr(platforms, "environment", lambda: there)
        assert study_folder.begin(tmp_path, "first", study, "small") == ""
    said = study_folder.begin(tmp_path, "second", study, "small")
    now = platforms.environment()
    assert said == f"jax 0.0.1 ({now['jax']} now), platform elsewhere ({now['platform']} now)"
    for command in ("third", "fourth"):  # it is kept, once
        assert study_folder.begin(tmp_path, command, study, "small") == said
        spec = json.loads((tmp_path / "spec.json").read_text(encoding="utf-8"))
        assert spec["earlier_environments"] == [there] and spec["environment"] == now
    assert "0.0.1" in study_folder.write_page(tmp_path)[0].read_text(encoding="utf-8")


OURS, THEIRS = '{"key": 1, "weights": "ours"}', '{"key": 1, "weights": "theirs"}'
OTHER_KEY = '{"key": 2, "weights": "theirs"}'


def own_fit(folder):
    """The checkpoint of a fit that no other condition shares."""
    keeper = _Keeper(folder, GrauMoya2024().conditions("smoke")["small LSTM · seed 0"])
    return contextlib.nullcontext(), keeper("training")


def shared_fit(folder):
    """The checkpoint of a pretraining, while its lock is held."""
    keeper = _Keeper(folder, next(iter(Genewein2025().conditions("smoke").values())))
    with contextlib.ExitStack() as stack:
        stack.enter_context(keeper.first_stage())
        checkpoint = keeper("pretraining")
        assert checkpoint.checkpoint.path.parent.name == "pretraining"
        return stack.pop_all(), checkpoint


@pytest.mark.parametrize("begin", [own_fit, shared_fit])
def test_a_fit_that_other_versions_began_starts_anew(begin, tmp_path):
    lock, checkpoint = begin(tmp_path)
    with lock:
        checkpoint.save(THEIRS, {"step": 3})
        assert checkpoint.restore(THEIRS, {"step": 0}) == {"step": 3}
        with pytest.warns(UserWarning, match="begun from other first weights, and is the same"):
            assert checkpoint.restore(OURS, {"step": 0}) is None
        with pytest.warns(UserWarning, match=r"Expected \['step'\].*start anew. The fit does so"):
            assert checkpoint.restore(THEIRS, {"step": np.zeros(2)}) is None
        with pytest.warns(UserWarning, match=r"\['moments'\]: int; got None"):
            assert checkpoint.restore(THEIRS, {"step": 0, "moments": 1}) is None
        checkpoint.save(OURS, {"step": 1})
        assert checkpoint.restore(OURS, {"step": 0}) == {"step": 1}


@pytest.mark.parametrize("begin", [own_fit, shared_fit])
def test_a_fit_of_other_settings_is_refused_with_what_differs(begin, tmp_path):
    lock, checkpoint = begin(tmp_path)
    with lock:
        checkpoint.save(OTHER_KEY, {"step": 3})
        for other in (OURS, THEIRS):
            with pytest.raises(store.OtherRun, match=r"\['key'\] was 2 and is 1 now.*remove this"):
                checkpoint.restore(other, {"step": 0})
        checkpoint.checkpoint.path.write_bytes(b"damaged")
        with pytest.raises(store.StoreError, match="truncated or damaged"):
            checkpoint.restore(OURS, {"step": 0})
