"""Train a fresh network on a task: meta-training if the task is a mixture."""

import dataclasses

import jax

from promptax.cli.fitting import Fitting, keep, show_fit, tell_data
from promptax.experiments import run_folder
from promptax.fit.logs.metrics_file import MetricsFile
from promptax.fit.loop import pretrain
from promptax.fit.objectives import LogLoss, Objective
from promptax.predictors import Architecture
from promptax.progress import METRICS, Bar
from promptax.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Fitting):
    """What is trained on what."""

    network: Architecture
    """Architecture: its name, JSON, or @FILE."""
    task: Task
    """What to train on: the name of a task, JSON, or @FILE."""
    objective: Objective
    """What to make small: the log loss, or the name of another objective, JSON, or @FILE."""


def run(flags: Flags, command: str) -> None:
    """Train a network and keep it in its run folder."""
    what = {"network": flags.network, "task": flags.task, "fit": flags.fit}
    if type(flags.objective) is not LogLoss:
        what["objective"] = flags.objective
    tell_data(flags.task)
    with flags.at_work(command) as at:
        if not at.is_resumed:
            run_folder.write_spec(at.folder, command, flags.seed, **what)
        fitted = pretrain(
            jax.random.key(flags.seed),
            flags.network,
            flags.task,
            flags.fit,
            objective=flags.objective,
            checkpoint=at.checkpoint,
            callbacks=(Bar("pretraining"), MetricsFile(at.folder / METRICS, "pretraining")),
        )
        keep(at.folder, fitted)
    show_fit(fitted, flags.out)
