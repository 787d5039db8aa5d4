"""Pretrain a small network on random coins, steer it to one coin and to two coins by every method,
and write a page that shows each against the exact Bayes optimum."""

import dataclasses
from collections.abc import Sequence

from promptax import files, platforms
from promptax.cli.arguments import choice
from promptax.cli.printing import complaints, note, print_regrets, say
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
    resume: bool = False
    """Continue the run in that folder from its checkpoints."""
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
    workers = platforms.tunings_at_once()
    command = command if flags.out else f"{command} --out {out}"
    how = {"overwrite": flags.overwrite, "resume": flags.resume, "tell": note}
    with run_folder.at_work(out, command, **how) as at:
        for results in experiment_folder.run(
            experiment, flags.seed, at.folder, command, _bar, note, workers, _hearers
        ):
            print_regrets(results)
        if platforms.leads():
            experiment_folder.write_page(at.folder)
    say(f"\n{files.path_of(out).absolute() / 'page.html'}  ← open this in a browser", style="bold")


def _bar(what: str) -> Sequence[Callback]:
    return (Bar(what),)


def _hearers(fit: str) -> Sequence[Callback]:
    """Who hears of each fit: where no bar is seen, a line says when it is done."""
    is_told: list[bool] = []

    def tell(done: int, total: int, text: str = "") -> bool:
        if done >= total and not is_told:
            is_told.append(True)
            note(f"done: {fit}" + f" ({text})" * bool(text))
        return False

    return () if complaints.is_terminal else (tell,)
