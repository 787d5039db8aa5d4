"""Pretrain a small network on random coins, steer it to one coin and to two coins by every method,
and write a page that shows each against the exact Bayes optimum."""

import dataclasses
from collections.abc import Sequence

from promptax import files, platforms
from promptax.cli.arguments import choice
from promptax.cli.printing import print_regrets, say
from promptax.experiments import experiment_folder, run_folder
from promptax.experiments.demo import demo_experiment
from promptax.predictors import Architecture
from promptax.progress import Bar, Callback


def _small(architecture: type[Architecture]) -> Architecture:
    return architecture.small()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """What the demo trains, and for how long."""

    network: Architecture = choice(make=_small)
    """Architecture: transformer, lstm, JSON, or @FILE."""
    out: str = ""
    """Run folder; by default a new one below runs/."""
    overwrite: bool = False
    """Replace the results of an earlier run in that folder."""
    seed: int = 0
    """Makes weights, data and prompts."""
    pretraining_steps: int = 700
    """Updates of the pretraining."""
    steps: int = 300
    """Updates of each tuning."""
    repetitions: int = 3
    """Repetitions of each tuning."""
    sequences: int = 512
    """Sequences to evaluate on."""


def run(flags: Flags, command: str) -> None:
    """Run the demo's experiment into a folder; print each target's table, then the page's path."""
    experiment = demo_experiment(
        flags.network, flags.pretraining_steps, flags.steps, flags.repetitions, flags.sequences
    )
    out = flags.out or run_folder.unused_name("runs/demo")
    folder = files.new_run_folder(out, flags.overwrite)
    workers = platforms.tunings_at_once()
    for results in experiment_folder.run(
        experiment, flags.seed, folder, command, _bar, say, workers
    ):
        print_regrets(results)
    if platforms.leads():
        page = experiment_folder.write_page(folder)
        say(f"\n{page}  ← open this in a browser", style="bold")


def _bar(what: str) -> Sequence[Callback]:
    return (Bar(what),)
