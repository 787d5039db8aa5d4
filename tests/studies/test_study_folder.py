"""A study's folder that is filled on several machines."""

import json

import pytest

from promptax import platforms, store
from promptax.experiments.executors import _Keeper
from promptax.studies import GrauMoya2024, study_folder


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


def test_a_fit_of_a_condition_that_began_from_other_weights_starts_anew(tmp_path):
    condition = GrauMoya2024().conditions("smoke")["small LSTM · seed 0"]
    ours, theirs = '{"weights": "ours"}', '{"weights": "theirs"}'
    checkpoint = _Keeper(tmp_path, condition)("training")
    checkpoint.save(theirs, {"step": 3})
    assert checkpoint.restore(theirs, {"step": 0}) == {"step": 3}
    with pytest.warns(UserWarning, match="begun from other first weights"):
        assert checkpoint.restore(ours, {"step": 0}) is None
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"damaged")
    with pytest.raises(store.StoreError):
        store.Checkpoint(path).restore(ours, {"step": 0})
