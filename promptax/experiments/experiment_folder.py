"""The folder of one experiment, such as the demo's: its predictors, results, table and page.

spec.json                the experiment, seed, command, versions, platform
metrics.jsonl            the loss and cost of every step of every fit, as they go
base.safetensors         the pretrained network
TARGET/METHOD.safetensors  every steered predictor
results.nc               groups: pretraining, TARGET (regret, tuning losses), TARGET.states
table.csv, figures/, page.html   made from these by `write_page`, at any time
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from promptax import files, report, store
from promptax.experiments.experiment import Experiment
from promptax.experiments.groups import PRETRAINING, STATES, groups_of, slug, target_groups
from promptax.experiments.measurement import Announce, silent
from promptax.experiments.run_folder import details_of, read_spec, write_spec
from promptax.experiments.stages import run_stages
from promptax.fit.fitted import Fitted
from promptax.fit.logs.metrics_file import MetricsFile
from promptax.progress import FITS, METRICS, Callback
from promptax.specs import check

QUESTION = (
    "Prompts change what a network reads first; weight methods change the network itself. How near "
    "does each come to the exact optimum?"
)


def run(
    experiment: Experiment,
    seed: int,
    folder: Path,
    command: str,
    announce: Announce,
    say: Any,
    workers: int = 1,
    hearers: Announce = silent,
) -> Iterator[xr.Dataset]:
    """Run an experiment into a folder. Yields each target's results as soon as they are written.

    Every fit keeps a checkpoint in the folder until all are done. A run of the same experiment and
    seed goes on from there.

    `say` hears what is done, in words; `hearers`: the name of a fit → who hears how far it is.
    """
    write_spec(folder, command, seed, experiment=experiment)
    for name, tuner in experiment.methods.items():
        alphabet = experiment.prior.outcome.alphabet
        if alphabet and (plan := tuner.plan(alphabet)):
            say(f"{name}: will try {plan}, for each repetition and target")
    groups: dict[str, xr.Dataset] = {}

    def keep(name: str) -> store.Checkpoint:
        return store.Checkpoint(folder / FITS / f"{name}.safetensors")

    def log(name: str) -> tuple[Callback, ...]:
        return (MetricsFile(folder / METRICS, name), *hearers(name))

    for stage in run_stages(experiment, seed, announce, workers, keep, log):
        groups.update(groups_of(stage))
        if isinstance(stage, Fitted):
            say(f"pretrained {type(experiment.network).__name__} on {experiment.prior}")
            store.save(folder / "base.safetensors", stage.predictor)
            continue
        name = slug(stage.results.attrs["target"])
        for method in experiment.methods:
            store.save(folder / name / f"{slug(method)}.safetensors", stage.predictors[method])
        store.save(folder / "results.nc", xr.DataTree.from_dict(groups))
        yield stage.results
    files.remove(folder / FITS)


def write_page(folder: Path) -> Path:
    """Write table, figures and page of a run folder from its results.

    Returns:
        The page's path.

    Raises:
        FileNotFoundError, StoreError: there are no results, or they cannot be read.
        ValueError: the results are not those of an experiment.
    """
    tree = store.load(folder / "results.nc")
    spec = read_spec(folder, "command", "seed", "started", "environment", "experiment")
    check(
        isinstance(tree, xr.DataTree) and PRETRAINING in tree.children,
        f"Expected the results of a demo, with a group for each target; {folder}/results.nc has "
        "none. `promptax demo` writes such a folder.",
    )
    groups = {name: node.to_dataset() for name, node in tree.children.items()}
    targets = [(groups[name], groups.get(name + STATES)) for name in target_groups(tree)]
    files.write_text(folder / "table.csv", tables_as_csv([results for results, _ in targets]))
    for results, states in targets:
        stem = slug(results.attrs["target"])
        drawn = {
            "tuning": report.figures.tuning_curves(results),
            "regret": report.figures.regret_over_time(results),
            "bars": report.figures.regret_bars(results),
        }
        if states is not None:
            drawn["states"] = report.figures.internal_states(states)
        for name, figure in drawn.items():
            store.write_figure(folder / "figures" / f"{stem}-{name}.png", figure)
    return files.write_text(folder / "page.html", _page(targets, spec))


def _page(targets: list, spec: dict) -> str:
    first = targets[0][0]
    network, prior = first.attrs["network"], first.attrs["pretraining"]
    title = f"{network}, pretrained on {prior}: nine ways to steer it"
    summary = "\n\n".join([QUESTION, *(report.readings.gist(results) for results, _ in targets)])
    return report.page(title, summary, targets, details_of(spec, "experiment"))


def tables_as_csv(results: list[xr.Dataset]) -> str:
    """The tables of all targets, one below the other. The first column is the target."""
    return report.to_csv(
        [
            {"target": target_results.attrs["target"], **row}
            for target_results in results
            for row in report.table(target_results)
        ]
    )
