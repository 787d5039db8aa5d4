"""A run folder is its run's own; earlier results stay until others are whole, or a run goes on."""

import os
import signal
import subprocess
import sys

import jax.numpy as jnp
import pytest

from promptax import files, store
from promptax.experiments import folder_swap, run_folder
from promptax.experiments.run_folder import CHECKPOINT, at_work
from promptax.progress import FITS, RUN_MARK


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write_results(folder, text, **options):
    with at_work(str(folder), **options) as at:
        files.write_text(at.folder / "deep" / "results.txt", text)
    return folder


def test_a_run_folder_is_new_or_its_own(tmp_path):
    folder = write_results(tmp_path / "runs" / "one", "old")
    with pytest.raises(files.StoreError, match=r"another --out, or replace them with --overwrite"):
        write_results(folder, "new")
    heard = []
    write_results(folder, "new", overwrite=True, tell=heard.append)
    assert contents(folder) == {RUN_MARK: b"", "deep/results.txt": b"new"}
    assert heard == [f"the results in {folder} will be replaced when this run is done"]
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


def test_what_promptax_did_not_make_stays(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years")
    with pytest.raises(files.StoreError, match=r"promptax did not make this folder"):
        write_results(theirs, "new", overwrite=True)
    with pytest.raises(files.StoreError, match="is a file"):
        write_results(theirs / "thesis.tex", "new")
    assert contents(theirs) == {"thesis.tex": b"years"}


def test_old_results_stay_until_the_new_ones_are_whole(tmp_path):
    folder = write_results(tmp_path / "run", "old")
    for error in (ValueError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), at_work(str(folder), overwrite=True) as at:
            files.write_text(at.folder / "deep" / "results.txt", "half")
            raise error
        assert contents(folder) == {RUN_MARK: b"", "deep/results.txt": b"old"}
        assert [path.name for path in tmp_path.iterdir()] == ["run"]


class Killed(BaseException):
    """No `except` of promptax hears of it, as of a kill."""


def killed_while_it_replaces(monkeypatch, folder, **left):
    """A run that dies once the earlier results are put aside; `left` are files in its folder."""
    rename = os.replace

    def die(old, new):
        if str(old).endswith(".unfinished"):
            raise Killed
        rename(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(Killed), at_work(str(folder), overwrite=True) as at:
            for name, text in {"deep/results.txt": "new", **left}.items():
                files.write_text(at.folder / name, text)
    assert not folder.exists() and len(list(folder.parent.glob(".run.*.old"))) == 1


def test_a_kill_between_two_names_loses_no_earlier_results(tmp_path, monkeypatch):
    folder = write_results(tmp_path / "run", "old")
    killed_while_it_replaces(monkeypatch, folder)
    with pytest.raises(files.StoreError, match="replace them with --overwrite"):
        write_results(folder, "newer")
    assert contents(folder)["deep/results.txt"] == b"old"
    killed_while_it_replaces(monkeypatch, folder)
    with pytest.raises(ValueError, match="no"), at_work(str(folder), overwrite=True):
        raise ValueError("no")
    assert contents(folder)["deep/results.txt"] == b"old"
    killed_while_it_replaces(monkeypatch, folder)
    write_results(folder, "newer", overwrite=True)
    assert contents(folder)["deep/results.txt"] == b"newer"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_goes_on_after_a_kill_between_two_names(tmp_path, monkeypatch):
    folder = write_results(tmp_path / "run", "old")
    killed_while_it_replaces(monkeypatch, folder, **{CHECKPOINT: "state"})
    write_results(folder, "newer", resume=True)
    assert contents(folder)["deep/results.txt"] == b"newer"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_takes_a_name_that_became_free(tmp_path):
    (tmp_path / "new").mkdir()
    folder_swap.replace_folder(tmp_path / "old", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_a_killed_removal_left_goes_with_the_next_run(tmp_path):
    folder, left = write_results(tmp_path / "run", "old"), tmp_path / f".run.{'0' * 12}.old"
    left.mkdir()
    with pytest.raises(ValueError, match="no"), at_work(str(folder), overwrite=True):
        raise ValueError("no")
    assert left.exists()  # until whole results are there
    write_results(folder, "new", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_that_failed_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="no"), at_work(str(tmp_path / "run")) as at:
        files.write_text(at.folder / "spec.json", "{}")
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", ["run", "run/deep/results.txt", "link", "run/../run"])
def test_what_a_command_reads_is_not_replaced(tmp_path, monkeypatch, read):
    folder = write_results(tmp_path / "run", "old")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(files.StoreError, match="that the command does not use"):
        write_results(folder, "new", overwrite=True, reads=[read])
    monkeypatch.chdir(folder)
    with pytest.raises(files.StoreError, match="that the command does not use"):
        write_results(folder, "new", overwrite=True)
    assert contents(folder)["deep/results.txt"] == b"old"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("state", [CHECKPOINT, f"{FITS}/pretraining.safetensors"])
def test_a_stopped_run_stays_and_says_how_it_goes_on(tmp_path, overwrite, state):
    folder = tmp_path / "a run"
    if overwrite:
        write_results(folder, "old")
    command = f"promptax pretrain --out '{folder}'" + " --overwrite" * overwrite
    held = at_work(str(folder), command, overwrite=overwrite)
    with pytest.raises(KeyboardInterrupt) as stop, held as at:
        files.write_text(at.folder / state, "state")
        files.write_text(at.folder / f".x.nc.{'0' * 12}.tmp", "left by a kill")
        raise KeyboardInterrupt
    assert f"promptax pretrain --out '{folder}' --resume" in stop.value.__notes__[0]
    assert not overwrite or contents(folder)["deep/results.txt"] == b"old"
    with at_work(str(folder), resume=True) as at:
        assert at.is_resumed and (at.folder / state).read_text() == "state"
        assert not list(at.folder.glob(".*.tmp"))
        files.write_text(at.folder / "deep" / "results.txt", "new")
    assert contents(folder)["deep/results.txt"] == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a run"]


def test_advice_leads_out_of_every_folder(tmp_path):
    """Whatever a message names does."""
    with pytest.raises(files.StoreError, match="To start anew, leave it out"):
        write_results(tmp_path / "none", "new", resume=True)
    write_results(tmp_path / "none", "new")
    with pytest.raises(files.StoreError, match="To start anew, put --overwrite in its place"):
        write_results(tmp_path / "none", "newer", resume=True)
    write_results(tmp_path / "none", "newer", overwrite=True)
    assert contents(tmp_path / "none")["deep/results.txt"] == b"newer"


@pytest.mark.parametrize("error", [store.OtherRun("other", "a", "b"), store.OtherArrays("other")])
def test_a_checkpoint_of_another_run_is_no_reason_to_try_again(tmp_path, error):
    with pytest.raises(KeyboardInterrupt), at_work(str(tmp_path / "run")) as at:
        files.write_text(at.folder / CHECKPOINT, "state")
        raise KeyboardInterrupt
    with pytest.raises(type(error)) as refused, at_work(str(tmp_path / "run"), "it", resume=True):
        raise error
    assert not hasattr(refused.value, "__notes__")
    assert (tmp_path / "run" / CHECKPOINT).read_text() == "state"


@pytest.mark.parametrize("name", ["no/../run", "run/.", "no/../run/", "./run", "run/no/.."])
def test_a_folder_is_known_by_all_its_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_results("run", "old")
    with pytest.raises(files.StoreError, match="has files in it"):
        write_results(name, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["n" * 300, "a/" * 2000, "a/" * 600 + "n" * 300, "a\0b"])
def test_paths_that_no_system_has_are_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(files.StoreError, match=r"Expected (a path; got|at most 500 folders)"):
        write_results(name, "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_folder_in_work_is_refused_and_freed_by_a_kill(tmp_path):
    hold = (
        "import sys, time\nfrom promptax.experiments.run_folder import at_work\n"
        "with at_work(sys.argv[1]) as at:\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        for options in ({}, {"overwrite": True}):
            with pytest.raises(files.StoreError, match="in use by another process"):
                write_results(tmp_path / "run", "new", **options)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    write_results(tmp_path / "run", "new")


def test_a_link_stays_a_link(tmp_path):
    write_results(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_results(tmp_path / "link", "new", overwrite=True)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").is_dir()
    assert contents(tmp_path / "real")["deep/results.txt"] == b"new"


def test_files_heed_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        from promptax import store

        folder = write_results(tmp_path / "run", "text")
        store.save(folder / "it.safetensors", jnp.ones(2))
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
        assert modes == {
            RUN_MARK: 0o640,
            "deep": 0o750,
            "results.txt": 0o640,
            "it.safetensors": 0o640,
        }
    finally:
        os.umask(before)


def test_advice_names_the_program_that_runs(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "promptax"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", ["bin/promptax"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_folder.as_run_here("promptax demo") == "bin/promptax demo"
    monkeypatch.setenv("PATH", str(program.parent))  # its name alone calls it
    assert run_folder.as_run_here("promptax demo") == "promptax demo"
