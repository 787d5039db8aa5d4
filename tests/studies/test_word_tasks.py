"""The study of word tasks, fed with what the papers say and with its opposite."""

import re

import numpy as np
import pytest
import xarray as xr

from promptax import FitSettings
from promptax.experiments.conditions import Condition
from promptax.experiments.sweeps import sweep
from promptax.language.word_tasks import few_shot
from promptax.language.word_tasks.measurements import SHOWN, TUNED, Demonstrations, PairTuning
from promptax.predictors import Llama
from promptax.steering import LowRank, SoftPrompt
from promptax.studies import WordTasks
from promptax.studies.word_tasks import conditions

STUDY = WordTasks()
INPUTS = [f"word {index}" for index in range(20)]


def spread_over_inputs(mean, share):
    """Losses [sequence] of that mean, and so large a share of right answers."""
    losses = mean + np.linspace(-0.05, 0.05, len(INPUTS)) * mean
    return losses, np.arange(len(INPUTS)) < round(share * len(INPUTS))


def shown(measurement, losses, shares, labels):
    """Scores behind demonstrations, alike for all draws; `losses`, `shares`: by shots."""
    by_shots = [spread_over_inputs(losses[n], shares[n]) for n in measurement.shots]
    shape = 1, len(by_shots), measurement.draws, len(INPUTS)
    stacked = [np.array(values)[None, :, None] for values in zip(*by_shots, strict=True)]
    loss, correct = (np.broadcast_to(values, shape) for values in stacked)
    axes = ("answers", "shots", "draw", "sequence")
    variables = {"log_loss": (axes, loss), "correct": (axes, correct)}
    coordinates = {
        "answers": list(measurement.answers),
        "shots": list(measurement.shots),
        "draw": range(measurement.draws),
        "sequence": INPUTS,
    }
    if labels:
        plain = correct & (np.arange(len(INPUTS)) > np.arange(measurement.draws)[:, None])
        by_prior = {"none": plain, "content free": correct, "training inputs": correct}
        stacked = np.stack([by_prior[prior] for prior in few_shot.PRIORS])
        variables["label_correct"] = (("calibration", *axes), stacked)
        variables["label_log_loss"] = (("calibration", *axes), np.stack([loss] * 3))
        coordinates["calibration"] = list(few_shot.PRIORS)
    return xr.Dataset(variables, coordinates, {"task": measurement.task})


def tuned(measurement, end):
    """A curve that falls to its end."""
    steps = [0, measurement.tuning.steps]
    curve = [spread_over_inputs(mean, 0.5) for mean in (5.0, end)]
    loss, correct = (np.array(values)[:, None] for values in zip(*curve, strict=True))
    axes = ("step", "repetition", "sequence")
    variables = {"log_loss": (axes, loss), "correct": (axes, correct)}
    coordinates = {"step": steps, "repetition": [0], "sequence": INPUTS}
    dataset = xr.Dataset(variables, coordinates, {"task": measurement.task})
    return dataset.assign(processor_seconds=("step", [1.0, 2.0]))


LOSSES = {0: 10.0, 1: 5.0, 2: 3.0, 5: 1.5, 10: 1.0}
SHARES = {0: 0.0, 1: 0.3, 2: 0.4, 5: 0.6, 10: 0.7}
ENDS = {
    conditions.SOFT: 0.5,
    conditions.LOW_RANK: 0.4,
    conditions.KEY_VALUE: 0.3,
    conditions.RANDOM_TOKENS: 0.7,
    conditions.FEW_PAIRS: 0.9,
}


def tree(measurement, way, opposite):
    """What a way would give in a world where the papers are right, or wrong."""
    if isinstance(measurement, PairTuning):
        end = 30 - 10 * ENDS[way] if opposite else ENDS[way]
        return xr.DataTree.from_dict({TUNED: tuned(measurement, end)})
    losses, shares = LOSSES, SHARES
    if opposite:
        losses = {shots: 10.0 + shots - 3 * (shots == 10) for shots in LOSSES}
        shares = dict.fromkeys(SHARES, 0.1 if way == conditions.SHUFFLED else 0.9)
    if way == conditions.INSTRUCTED:
        losses = {0: 12.0, 5: 14.0} if opposite else {0: 4.0, 5: 1.2}
    labels = measurement.task == conditions.SENTIMENTS
    dataset = shown(measurement, losses, shares, labels)
    if labels and opposite:  # calibrated ones and those that are not change places
        dataset = dataset.assign_coords(calibration=["content free", "none", "training inputs"])
    return xr.DataTree.from_dict({SHOWN: dataset})


def results(scale="paper", opposite=False, seeds=2):
    """The results of that world, alike for all seeds."""
    trees, described = {}, WordTasks(seeds=seeds).conditions(scale)
    for name, condition in described.items():
        task, way, _ = name.split(" · ")
        first = conditions.name_of(task, way, 0)
        trees[name] = trees[first] if first in trees else tree(condition.experiment, way, opposite)
    return trees


def test_every_claim_holds_in_a_world_where_the_papers_are_right():
    for claim in STUDY.claims(results()):
        told = [(check.what, check.number, check.expected) for check in claim.checks]
        assert claim.verdict == "holds", (claim.name, told)


def test_and_fails_where_they_are_wrong():
    for claim in STUDY.claims(results(opposite=True, seeds=5)):
        told = [(check.what, check.number, check.verdict) for check in claim.checks]
        assert claim.verdict == "fails", (claim.name, told)


def test_what_a_scale_leaves_out_is_not_run():
    verdicts = {claim.name: claim.verdict for claim in STUDY.claims(results("small", seeds=1))}
    assert {verdicts[name] for name in ("P3", "P4", "P5")} == {"not run"}
    assert verdicts["D1"] == verdicts["C1"] == "holds"


def test_the_page_has_two_figures_for_each_task():
    trees = results("small", seeds=2).items()
    (part,) = STUDY.parts({name: tree for name, tree in trees if name.startswith("past tenses")})
    assert len(part.figures) == 2 and part.heading.startswith("Past tenses")
    said = " ".join(text for text, _ in part.figures)
    assert "right answers, 10 demonstrations: 1.00 ± 0.00 nats per answer, 70% right" in said
    assert "low rank, 40 updates: 0.40" in said and "nan" not in said


def test_numbers_say_what_was_measured():
    trees = results("small", seeds=1)
    for name, condition in STUDY.conditions("small").items():
        rows = condition.experiment.numbers(trees[name])
        assert all(np.isfinite(row["log_loss"]) for row in rows), name
        if "sentiments · right" in name:
            assert rows[0]["label_accuracy_content_free"] > rows[0]["label_accuracy_none"] - 1
    with pytest.raises(ValueError, match="Expected seeds of at least 1; got 0"):
        WordTasks(seeds=0)


def test_seed_zero_of_the_paper_scale_is_the_experiment_of_the_docs():
    paper = STUDY.conditions("paper")
    soft = paper[conditions.name_of(conditions.PAST_TENSES, conditions.SOFT, 0)].experiment
    assert soft.tuning == FitSettings(steps=120, batch=8, schedule="cosine")
    assert soft.tuner == SoftPrompt(length=10, initial="tokens", learning_rate=5e-3)
    assert soft.instruction == "Write the past tense of each verb:\n"


# --- refusals and the smallest scale --------------------------------------------------------


def test_missing_weights_are_refused_before_anything_is_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMPTAX_SMOLLM2", str(tmp_path / "nowhere.gguf"))
    with pytest.raises(FileNotFoundError, match=r"there is no such file\. .*promptax lm fetch"):
        sweep(STUDY.conditions("small"), tmp_path, callbacks=())
    assert not (tmp_path / "conditions").exists()


def test_missing_packages_are_refused_before_anything_is_measured(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "countryinfo", None)
    capitals = Demonstrations("capitals", weights="bytes", network=Llama(), held_out=3)
    with pytest.raises(ValueError, match=r"package countryinfo.* pip install '\.\[words\]'"):
        sweep({"capitals": Condition(capitals)}, tmp_path, callbacks=())
    assert not (tmp_path / "conditions").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Demonstrations("colours"), "Expected a word task from ['capitals',"),
        (lambda: Demonstrations(weights="bytes"), "Expected a network for the tokenizer 'bytes'"),
        (lambda: Demonstrations(shots=(0, 12)), "fewer than the pool of 12; got (0, 12)"),
        (lambda: Demonstrations(answers=("wrong",)), "Expected answers from ('right', 'shuffled')"),
        (lambda: Demonstrations(draws=0), "Expected at least one draw; got 0"),
        (
            lambda: PairTuning(side="both"),
            "Expected one of 'training', 'demonstrations' as PairTuning.side",
        ),
        (lambda: PairTuning(every=0), "Expected every of at least 1 step; got 0"),
        (lambda: PairTuning(tuner=LowRank(), instruction="Write:"), "got LowRank. Leave the"),
    ],
)
@pytest.mark.usefixtures("as_users_see_it")
def test_what_cannot_be_measured_is_named(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_the_smoke_scale_needs_no_weights(monkeypatch, tmp_path):
    """What is like it, and smaller, is measured in the contracts."""
    monkeypatch.setenv("PROMPTAX_SMOLLM2", str(tmp_path / "nowhere.gguf"))
    for condition in STUDY.conditions("smoke").values():
        condition.experiment.verify()
        assert condition.work() > 0
