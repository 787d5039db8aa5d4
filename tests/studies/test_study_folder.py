"""A study's folder that is filled on several machines."""

import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from promptax import files, platforms, store
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


def test_what_only_one_environment_tells_of_is_said(tmp_path, monkeypatch):
    now = platforms.environment()
    there = {name: value for name, value in now.items() if name != "jax"} | {"accelerator": "A"}
    with monkeypatch.context() as patch:
        patch.setattr(platforms, "environment", lambda: there)
        study_folder.begin(tmp_path, "first", GrauMoya2024(), "small")
    said = study_folder.begin(tmp_path, "second", GrauMoya2024(), "small")
    assert said == f"jax not told ({now['jax']} now), accelerator A (not told now)"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(files.StoreError, match=r"Expected a folder to write to at .*file"):
        study_folder.begin(tmp_path / "file", "command", GrauMoya2024(), "small")


def test_processes_that_begin_at_once_lose_no_environment(tmp_path, monkeypatch):
    """Each of them is in another environment, and reads spec.json slowly."""
    here = threading.local()
    monkeypatch.setattr(platforms, "environment", lambda: {"jax": here.version})
    read = files.read_json

    def read_slowly(path):
        content = read(path)
        time.sleep(0.02)
        return content

    monkeypatch.setattr(files, "read_json", read_slowly)

    def begin(version):
        here.version = str(version)
        study_folder.begin(tmp_path, "command", GrauMoya2024(), "small")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, range(4)))
    spec = read(tmp_path / "spec.json")
    environments = [*spec["earlier_environments"], spec["environment"]]
    assert {environment["jax"] for environment in environments} == set("0123")


@pytest.mark.parametrize("name", ["claims", "numbers", "printed", "Claims"])
def test_a_table_with_the_name_of_another_is_refused(name, tmp_path, monkeypatch):
    study_folder.begin(tmp_path, "command", GrauMoya2024(), "small")
    monkeypatch.setattr(GrauMoya2024, "tables", lambda self, results: {"b2": [], name: []})
    with pytest.raises(ValueError, match=f"names of their own; got \\['{name}'\\]"):
        study_folder.write_page(tmp_path)
    assert not (tmp_path / "claims.csv").exists()


@pytest.mark.parametrize("change", [{"study": None}, {"study": {"class": "LSTM"}}, {"scale": 3}])
def test_a_spec_of_no_study_is_refused(change, tmp_path):
    study_folder.begin(tmp_path, "command", GrauMoya2024(), "small")
    spec = files.read_json(tmp_path / "spec.json")
    files.write_json(tmp_path / "spec.json", spec | change)
    with pytest.raises(ValueError, match=r"Expected a study and its scale in .*spec\.json; got"):
        study_folder.write_page(tmp_path)


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
        assert checkpoint.path.parent.name == "pretraining"
        return stack.pop_all(), checkpoint


@pytest.mark.parametrize("begin", [own_fit, shared_fit])
def test_a_fit_that_other_versions_began_starts_anew(begin, tmp_path):
    lock, checkpoint = begin(tmp_path)
    with lock:
        checkpoint.save(THEIRS, {"step": 3})
        assert checkpoint.restore(THEIRS, {"step": 0}) == {"step": 3}
        with pytest.warns(UserWarning, match="begun from other first weights, or by other code"):
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
        checkpoint.path.write_bytes(b"damaged")
        with pytest.raises(store.StoreError, match="truncated or damaged"):
            checkpoint.restore(OURS, {"step": 0})
