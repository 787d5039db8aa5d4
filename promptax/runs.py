"""Run folders: what a command leaves behind, so that the next one, and people, can use it.

spec.json                what was run: specs, seed, command, versions, platform
base.safetensors         the pretrained network
TARGET/METHOD.safetensors  every steered predictor
results.nc               groups: pretraining, TARGET (regret, tuning losses), TARGET.states
table.csv, figures/, page.html   made from these by `report`, at any time
"""

import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from promptax import files, platforms, store
from promptax.axes import NATS
from promptax.conduct import STATES, Announce, Measured, conducted, target_groups
from promptax.experiment import METHODS, PRETRAINING, Experiment, slug
from promptax.fit import Fitted
from promptax.predictors import Architecture
from promptax.report import figures, page, readings, table, to_csv
from promptax.settings import FitSettings
from promptax.specs import check, to_json
from promptax.steering import HardPrompt
from promptax.studies import Study
from promptax.sweeps import Condition, result_path

# Networks small enough for three minutes on two cores, for everything the demo does.
DEMO_NETWORK: dict[str, dict[str, int]] = {
    "Transformer": {"width": 32, "heads": 2},
    "LSTM": {"width": 32},
}


def demo_experiment(
    network: Architecture, pretraining_steps: int, steps: int, repetitions: int, sequences: int
) -> Experiment:
    """The main paper's experiment in small: a quarter of its batch, less than half of its steps, at
    four times its learning rates, which fall to zero."""
    pretraining = FitSettings(
        steps=pretraining_steps,
        batch=64,
        learning_rate=4e-3,
        schedule="cosine",
        warmup=pretraining_steps // 20,
    )
    tuning = FitSettings(
        steps=steps, batch=64, learning_rate=2e-2, schedule="cosine", repetitions=repetitions
    )
    return Experiment(
        network=network,
        methods={**METHODS, "hard prompt": HardPrompt(sequences=256)},
        pretraining=pretraining,
        tuning=tuning,
        sequences=sequences,
    )


def write_spec(folder: Path, command: str, seed: int, **what: Any) -> None:
    """spec.json: what was run, and on what."""
    about = {"command": command, "seed": seed, **{k: to_json(v) for k, v in what.items()}}
    about |= {"environment": platforms.environment(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    files.write_text(folder / "spec.json", json.dumps(about, indent=1))


def begin_study(folder: Path, command: str, study: Study, scale: str) -> None:
    """spec.json of a study's folder, which holds one study at one scale and no other."""
    spec = folder / "spec.json"
    if spec.exists():
        there = json.loads(files.read_text(spec))
        here = {"study": to_json(study), "scale": scale}
        differ = [name for name, value in here.items() if there.get(name) != value]
        check(
            not differ,
            f"Expected the folder of this {differ}; {folder} holds "
            f"{[there.get(name) for name in differ]}. Choose another --out.",
        )
    write_spec(folder, command, 0, study=study, scale=scale)


def study_tables(
    folder: Path, conditions: dict[str, Condition]
) -> dict[str, list[tuple[str, ...]]]:
    """For each network and target: regret at the tuning length, over the conditions in the folder
    (each one's median over repetitions): predictor, least, median, most."""
    seen: dict[str, dict[str, list[float]]] = {}
    for condition in conditions.values():
        path = result_path(folder, condition)
        if not path.exists():
            continue
        tree = store.load(path)
        for name in target_groups(tree):
            results, length = tree[name].to_dataset(), condition.experiment.lengths()[0]
            at = results["median"].sel(time=min(length, results.sizes["time"]))
            title = f"{results.attrs['network']}, {results.attrs['target']}: regret in {NATS}"
            for row in results.predictor.values.tolist():
                values = seen.setdefault(title, {}).setdefault(row, [])
                values.append(float(at.sel(predictor=row)))
    spread = lambda v: (min(v), statistics.median(v), max(v))  # noqa: E731
    return {
        title: [(row, *(f"{x:.3f}" for x in spread(values))) for row, values in rows.items()]
        for title, rows in seen.items()
    }


def run(
    experiment: Experiment,
    seed: int,
    folder: Path,
    command: str,
    announce: Announce,
    say: Any,
    workers: int = 1,
) -> Iterator[xr.Dataset]:
    """Run an experiment into a folder; yields each target's results as they are written."""
    write_spec(folder, command, seed, experiment=experiment)
    for name, tuner in experiment.methods.items():
        if plan := tuner.plan(experiment.prior.symbols):
            say(f"{name}: will try {plan}, for each repetition and target")
    measured = Measured()
    for stage in conducted(experiment, seed, announce, workers):
        measured.add(stage)
        if isinstance(stage, Fitted):
            say(f"pretrained {type(experiment.network).__name__} on {experiment.prior}")
            store.save(folder / "base.safetensors", stage.predictor)
            continue
        name = slug(stage.results.attrs["target"])
        for method in experiment.methods:
            store.save(folder / name / f"{slug(method)}.safetensors", stage.predictors[method])
        store.save(folder / "results.nc", measured.tree())
        yield stage.results


def report(folder: Path) -> Path:
    """Write table, figures and page of a run folder from its results; returns the page's path."""
    tree = store.load(folder / "results.nc")
    spec = json.loads(files.read_text(folder / "spec.json"))
    check(
        isinstance(tree, xr.DataTree) and PRETRAINING in tree.children,
        f"Expected the results of a demo, with a group for each target; {folder}/results.nc has "
        "none. `promptax demo` writes such a folder.",
    )
    groups = {name: node.to_dataset() for name, node in tree.children.items()}
    targets = [(groups[name], groups.get(name + STATES)) for name in target_groups(tree)]
    files.write_text(folder / "table.csv", csv([results for results, _ in targets]))
    for results, states in targets:
        stem = slug(results.attrs["target"])
        drawn = {
            "tuning": figures.tuning_curves(results),
            "regret": figures.regret_over_time(results),
            "bars": figures.regret_bars(results),
        }
        if states is not None:
            drawn["states"] = figures.internal_states(states)
        for name, figure in drawn.items():
            store.write_figure(folder / "figures" / f"{stem}-{name}.png", figure)
    return files.write_text(folder / "page.html", _page(targets, spec))


def _page(targets: list, spec: dict) -> str:
    first = targets[0][0]
    network, prior = first.attrs["network"], first.attrs["pretraining"]
    title = f"{network}, pretrained on {prior}: nine ways to steer it"
    summary = " ".join(readings.headline(results) for results, _ in targets)
    details = {
        "command": spec["command"],
        "seed": str(spec["seed"]),
        "started": spec["started"],
        **{name: str(value) for name, value in spec["environment"].items()},
        "experiment": json.dumps(spec.get("experiment")),
    }
    return page(title, summary, targets, details)


def csv(results: list[xr.Dataset]) -> str:
    """The tables of all targets below each other, the target in the first column."""
    rows = [{"target": each.attrs["target"], **row} for each in results for row in table(each)]
    return to_csv(rows)
