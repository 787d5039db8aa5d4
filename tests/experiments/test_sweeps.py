"""Sweeps: every condition exactly once, whatever fails, stops or is lost."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest
import xarray as xr
from support.judges import same
from support.processes import ROOT, environment

from promptax import FitSettings, files, load, specs
from promptax.experiments.conditions import (
    Condition,
    Failure,
    Measurements,
    matching,
    result_path,
    unfinished_path,
)
from promptax.experiments.executors import locally, measure
from promptax.experiments.experiment import Experiment
from promptax.experiments.groups import slug
from promptax.experiments.measurement import Measurement, keep_nothing, silent
from promptax.experiments.sweeps import sweep
from promptax.predictors import LSTM
from promptax.progress import METRICS
from promptax.steering import HardPrompt, LowRank, SoftPrompt
from promptax.tasks import Categorical, CategoricalMixture, Recorded

SHORT = FitSettings(steps=2, batch=4, length=5)


def condition(seed, **changes):
    spec = dict(
        network=LSTM(width=4),
        targets={"single coin": Categorical()},
        methods={"hard prompt": HardPrompt(length=1, sequences=4)},
        pretraining=SHORT,
        tuning=SHORT,
        sequences=8,
        length=6,
    )
    return Condition(Experiment(**spec | changes), seed)


def counting(started):
    """An executor that notes what it is asked to measure."""

    def run(conditions, announce):
        for name, each in conditions.items():
            started.append(name)
            yield from locally({name: each}, announce)

    return run


@pytest.mark.slow
def test_every_condition_is_measured_once(tmp_path):
    conditions = {f"seed {seed}": condition(seed) for seed in range(3)}
    started, heard = [], []
    stop = lambda done, total, note: heard.append((done, total)) or done == 2  # noqa: E731
    assert sweep(conditions, tmp_path, counting(started), callbacks=[stop]) == {}
    assert started == ["seed 0", "seed 1"] and heard == [(0, 3), (1, 3), (2, 3)]
    assert sweep(conditions, tmp_path, counting(started), callbacks=()) == {}
    assert started == ["seed 0", "seed 1", "seed 2"]
    files = {path.name for path in (tmp_path / "conditions").iterdir()}
    assert files == {result_path(tmp_path, each).name for each in conditions.values()}
    tree = load(result_path(tmp_path, conditions["seed 1"]))
    assert {"pretraining", "single-coin"} <= set(tree.children)
    again = measure(specs.to_json(conditions["seed 1"]))
    same(tree["single-coin"].regret.values, again["single-coin"].regret.values)


def test_conditions_are_chosen_by_the_words_of_their_names():
    every = {
        f"LSTM · {kind} · seed {n}": condition(n) for kind in ("one", "one, long") for n in (1, 10)
    }
    assert matching(every, "") == every
    with pytest.raises(ValueError, match="got ' ,', which names none"):  # of empty variables
        matching(every, " ,")
    assert list(matching(every, "one · seed 1")) == ["LSTM · one · seed 1"]
    assert len(matching(every, "long,one · seed 10")) == 3
    with pytest.raises(
        ValueError, match=r"match one of 4 conditions, such as .*; got 'seed 2,GRU'"
    ):
        matching(every, "seed 2,GRU")


@pytest.mark.slow
def test_what_another_process_has_in_work_is_left_to_it(tmp_path):
    """Conditions that pretrain alike share a network, and nothing unfinished stays behind."""
    mine, theirs = condition(0), condition(0, targets={"two coins": CategoricalMixture()})
    assert mine.shared() == theirs.shared() and mine.identity() != theirs.identity()
    with files.alone(tmp_path / "unfinished" / theirs.identity() / "lock"):
        heard = []
        told = lambda done, total, note: heard.append((done, note))  # noqa: E731
        assert sweep({"theirs": theirs, "mine": mine}, tmp_path, callbacks=[told]) == {}
        assert heard == [(0, ""), (1, "mine, 1 taken by other processes; all done")]
        assert set(Measurements({"mine": mine, "theirs": theirs}, tmp_path)) == {"mine"}
    assert sweep({"mine": mine, "theirs": theirs}, tmp_path, callbacks=()) == {}
    found = Measurements({"mine": mine, "theirs": theirs}, tmp_path)
    assert list(found) == ["mine", "theirs"] and len(found) == 2
    loss = [tree["pretraining"].loss.values for tree in found.values()]
    same(*loss)
    assert len(list((tmp_path / "pretraining").glob("*.safetensors"))) == 1
    assert list((tmp_path / "unfinished").iterdir()) == []


@pytest.mark.slow
def test_a_condition_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    """Its result is that of a run without a break, what was finished being kept."""
    whole = condition(0, methods={"soft prompt": SoftPrompt(length=2), "low rank": LowRank()})
    uninterrupted = measure(specs.to_json(whole))

    def break_down(*given, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LowRank, "tune", break_down)
        with pytest.raises(KeyboardInterrupt):
            sweep({"it": whole}, tmp_path, callbacks=())
    kept = sorted(path.name for path in (tmp_path / "unfinished").glob("*/*.safetensors"))
    assert kept == ["single-coin-soft-prompt.safetensors"]
    assert sweep({"it": whole}, tmp_path, callbacks=()) == {}
    resumed = load(result_path(tmp_path, whole))
    for name in ("regret", "tuning_loss"):
        same(uninterrupted["single-coin"][name].values, resumed["single-coin"][name].values)


@pytest.mark.slow
def test_a_condition_that_fails_is_reported_and_the_others_go_on(tmp_path):
    bad = condition(0, methods={"low rank": LowRank(layers=("nowhere",))})
    failed = sweep({"bad": bad, "good": condition(1)}, tmp_path, callbacks=())
    assert list(failed) == ["bad"] and isinstance(failed["bad"], Failure)
    assert "Expected dense layers named" in failed["bad"].reason
    assert result_path(tmp_path, condition(1)).exists()
    assert not result_path(tmp_path, bad).exists()


def test_every_fit_of_a_condition_in_work_is_logged(tmp_path):
    file = unfinished_path(tmp_path, condition(0)) / METRICS
    heard = {}

    def announce(what):
        def look(done, total, note=""):
            if what.endswith("evaluation"):
                lines = [json.loads(line) for line in file.read_text().splitlines()]
                heard.update({fit: [] for fit in {line["fit"] for line in lines}})
                for line in lines:
                    heard[line["fit"]].append((line["step"], line["repetition"]))

        return (look,)

    sweep({"one": condition(0)}, tmp_path, announce=announce, callbacks=())
    wanted = condition(0).experiment
    fits = {
        f"{slug(target)}-{slug(method)}" for target in wanted.targets for method in wanted.methods
    }
    assert heard.keys() == {"pretraining", *fits}
    assert all(len(steps) == len(set(steps)) for steps in heard.values())
    assert not file.exists()  # its result holds the losses


def test_identities_follow_the_description():
    assert condition(0).identity() == condition(0).identity() != condition(1).identity()
    other = condition(0, methods={"soft prompt": SoftPrompt(length=2)})
    assert other.identity() != condition(0).identity()


def test_a_measurement_of_another_kind_is_swept_too(tmp_path):
    """It shares nothing, keeps its fits with what is unfinished, and may refuse beforehand."""
    kept = []

    class Fixed(Measurement):
        names: tuple[str, ...] = ("first", "second")
        is_here: bool = True

        def stages(self, seed, announce=silent, keep=keep_nothing):
            specs.check(len(self.names) > 1, "Expected two names; got one.")
            for name in self.names:
                kept.append(keep(name))
                yield name, xr.Dataset({"value": float(seed)})

        def work(self):
            return 1.0

        def verify(self):
            specs.check(self.is_here, "Expected it here; it is not. Fetch it.")

    fine, twice = Condition(Fixed(), 3), Condition(Fixed(("same", "same")), 3)
    once = Condition(Fixed(("same",)), 3)
    failures = sweep({"fine": fine, "twice": twice, "once": once}, tmp_path, callbacks=())
    place = unfinished_path(tmp_path, once) / "traceback.txt"  # the last frame is promptax's
    assert failures["once"].reason.endswith(f"; all of it is in {place}")
    assert "got one. (test_sweeps.py, line" in failures["once"].reason
    assert "ValueError: Expected two names; got one." in place.read_text()
    assert failures["twice"].reason.startswith(
        "ValueError: Expected stages of different names; got 'same' twice."
    )
    groups = load(result_path(tmp_path, fine)).children
    values = {name: float(group["value"]) for name, group in groups.items()}
    assert values == {"first": 3.0, "second": 3.0}
    folder = unfinished_path(tmp_path, fine)
    assert [checkpoint.path for checkpoint in kept[:2]] == [
        folder / "first.safetensors",
        folder / "second.safetensors",
    ]
    assert not (tmp_path / "pretraining").exists() and fine.shared() is None
    with pytest.raises(ValueError, match="Expected it here; it is not"):
        away = Condition(Fixed(is_here=False), 3)
        sweep({"seed 4": Condition(Fixed(), 4), "away": away}, tmp_path, callbacks=())
    assert not result_path(tmp_path, Condition(Fixed(), 4)).exists()


LOST = """
import sys, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
sys.path.insert(0, sys.argv[1])
from experiments.test_sweeps import condition
from promptax import FitSettings
from promptax.experiments.executors import by_ray
from promptax.experiments.conditions import result_path
from promptax.experiments.sweeps import sweep

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, log_to_driver=False)
conditions = {str(seed): condition(seed) for seed in range(6)}
heard = []

def lose_a_machine(done, total, note):
    heard.append(done)
    if done == 1:
        threading.Thread(target=cluster.remove_node, args=(second, False)).start()

failed = sweep(conditions, Path("results"), by_ray(cluster.address), callbacks=[lose_a_machine])
assert failed == {}, failed
assert heard == list(range(7)), heard
assert len(list(Path("results/conditions").iterdir())) == 6
print("all six")
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install '.[ray]'")
def test_a_machine_lost_in_the_middle_loses_no_condition(tmp_path):
    alone = ["unshare", "-rn", "bash", "-c", 'ip link set lo up; exec "$@"', "bash"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("no network namespace of our own: Ray would listen on the machine's address")
    done = subprocess.run(
        [*alone, sys.executable, "-c", LOST, str(ROOT / "tests")],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0 and "all six" in done.stdout, done.stdout + done.stderr


def test_targets_that_cannot_be_enumerated_are_measured_too():
    """A user's sequences have no exact predictor; nor is the best prompt of the prior known."""
    mine = Recorded(sequences=((0, 1, 1, 0, 1, 1, 1), (1, 1, 0, 1, 1, 0, 1)))
    tree = measure(specs.to_json(condition(0, targets={"mine": mine})))
    rows = tree["mine"].predictor.values.tolist()
    assert "hard prompt" in rows and "prior bayes, best prompt" not in rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {"a b": Categorical(), "a-b": Categorical()}}, "letters and digits differ"),
        ({"targets": {"pretraining": Categorical()}}, "none named 'pretraining'"),
        ({"methods": {"bayes": HardPrompt(length=1)}}, "not named as baselines are"),
    ],
)
def test_names_that_would_hide_each_other_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        condition(0, **changes)
