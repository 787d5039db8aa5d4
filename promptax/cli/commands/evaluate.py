"""Measure saved predictors against the oracle and exact Bayes, on the same sequences."""

import contextlib
import dataclasses
import math
from pathlib import Path

import jax
import tyro
import xarray as xr

from promptax import files, store
from promptax.cli import saved
from promptax.cli.alphabets import check_names, tell_order
from promptax.cli.arguments import choice
from promptax.cli.fitting import tell_data
from promptax.cli.printing import note, print_regrets, say
from promptax.evaluation.control_variates import check_reference, regret
from promptax.evaluation.evaluate import BAYES, ORACLE, PRIOR_BAYES, PROMPTED_PRIOR, evaluate
from promptax.experiments import experiment_folder, run_folder
from promptax.progress import Bar
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.specs import check
from promptax.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """What is measured, on what, and how often."""

    predictors: tyro.conf.Positional[tuple[str, ...]]
    """Run folders or files of predictors; NAME=PATH names a row."""
    target: Task = choice("Categorical")
    """What to evaluate on: the name of a task, JSON, or @FILE."""
    prior: Task | None = None
    """Also show the exact predictor of this task, such as the prior, as the row `prior bayes`."""
    prior_prompt_length: int | None = None
    """Also show the predictor of --prior behind its best hard prompt of that length."""
    reference: str = ""
    """The row that regret is taken to: the oracle, or where there is none the first predictor."""
    sequences: int | None = None
    """Number of sequences: 2,048, of texts 256; of a file at most what it holds, each once."""
    length: int | None = None
    """Steps of each sequence: 200, of a file as many as its longest sequence has, up to 2,048."""
    seed: int = 0
    """Makes the sequences."""
    out: str = ""
    """Run folder to write results.nc and the table to; none by default."""
    overwrite: bool = False
    """Replace the results of an earlier run in that folder."""


imply = saved.with_tokenizer


def run(flags: Flags, command: str) -> None:
    """Print the table of regrets; write it beside the dataset where a folder is named."""
    check(len(flags.predictors) > 0, "Expected predictors to evaluate: promptax evaluate RUN …")
    paths = saved.named(flags.predictors)
    predictors = {name: saved.predictor(path) for name, path in paths.items()}
    check_names(paths.values(), target=flags.target, prior=flags.prior)
    tell_data(flags.target)
    tell_order(flags.prior, flags.target)
    reference = _reference(flags, predictors)
    with contextlib.ExitStack() as stack:
        folder = None
        if flags.out:
            held = run_folder.at_work(
                flags.out, overwrite=flags.overwrite, reads=paths.values(), tell=note
            )
            folder = stack.enter_context(held).folder
        losses = _losses(flags, predictors)
        results = _regrets(flags, losses, reference)
        if folder is not None:
            _write(folder, flags, command, results, paths)
    print_regrets(results)
    if reference != "oracle":
        say_losses(losses, flags.target)
    if flags.out:
        note(f"written to {flags.out}")


def say_losses(losses: xr.Dataset, target: Task) -> None:
    """Print the log loss of every predictor, and of the uniform prediction where there are symbols:
    t · log(symbols) nats over t scored steps. Regret to a predictor says nothing of that one."""
    drawn = f"mean of {_in_words(losses.sizes['sequence'], target.held)}"
    sums = losses["log_loss"].sum("time", skipna=False)  # of repetitions that are not there: NaN
    for name in losses["predictor"].values:
        mean = float(sums.sel(predictor=name).mean())
        say(f"{name}: log loss {mean:.3f} nats per sequence ({drawn})")
    if symbols := target.outcome.alphabet:
        whole = losses.sizes["time"]
        steps = float(losses["scored"].sum("time").mean()) if "scored" in losses else whole
        uniform = f"uniform over {symbols:,} symbols"
        say(f"{uniform}: log loss {steps * math.log(symbols):.3f} nats per sequence ({drawn})")


def _in_words(measured: int, held: int | None) -> str:
    """What sequences were measured."""
    if held is None:
        return f"{measured:,} drawn"
    return f"all {held:,}" if measured == held else f"{measured:,} of {held:,}"


def _regrets(flags: Flags, losses: xr.Dataset, reference: str) -> xr.Dataset:
    """Regret of every predictor, with the labels of a table."""
    results = regret(losses, reference)
    results = results.assign_coords(group=("predictor", [""] * results.sizes["predictor"]))
    tuning_length = min(50, losses.sizes["time"])
    return results.assign_attrs(target=type(flags.target).__name__, tuning_length=tuning_length)


def _reference(flags: Flags, predictors: dict[str, Predictor | Repeated]) -> str:
    """What regret is taken to: what was named; or else the oracle; or else, where there is none,
    the first predictor without repetitions."""
    if flags.reference:
        check_reference(flags.reference, _repetitions_of_rows(flags, predictors))
        return flags.reference
    if flags.target.has_oracle:
        return ORACLE
    single = [name for name, thing in predictors.items() if not isinstance(thing, Repeated)]
    check(
        len(single) > 0,
        f"Expected a predictor without repetitions to compare with, such as the untuned one: "
        f"{type(flags.target).__name__} has no oracle.",
    )
    return single[0]


def _repetitions_of_rows(
    flags: Flags, predictors: dict[str, Predictor | Repeated]
) -> dict[str, int]:
    """The rows that there will be, and how many repetitions each has."""
    is_added = {
        ORACLE: flags.target.has_oracle,
        BAYES: flags.target.has_bayes,
        PRIOR_BAYES: flags.prior is not None,
        PROMPTED_PRIOR: flags.prior_prompt_length is not None,
    }
    given = {
        name: len(thing) if isinstance(thing, Repeated) else 1 for name, thing in predictors.items()
    }
    return given | {name: 1 for name, is_there in is_added.items() if is_there}


def _losses(flags: Flags, predictors: dict[str, Predictor | Repeated]) -> xr.Dataset:
    is_text = flags.target.survivors is not None
    return evaluate(
        jax.random.key(flags.seed),
        predictors,
        flags.target,
        flags.sequences or (256 if is_text else 2048),
        flags.length,
        prior=flags.prior,
        prior_prompt_length=flags.prior_prompt_length,
        callbacks=(Bar("evaluation"),),
    )


def _write(
    folder: Path, flags: Flags, command: str, results: xr.Dataset, paths: dict[str, str]
) -> None:
    run_folder.write_spec(
        folder,
        command,
        flags.seed,
        target=flags.target,
        predictors={name: saved.lasting(path) for name, path in paths.items()},
    )
    store.save(folder / "results.nc", results)
    files.write_text(folder / "table.csv", experiment_folder.tables_as_csv([results]))
