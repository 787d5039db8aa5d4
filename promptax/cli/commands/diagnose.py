"""Prompt or tune? Say exactly what the best prompts can do for a target, what a mixture of prompts
could, and what a network's regret is made of.

It leaves behind, where a folder is named:

diagnosis.nc             the table of `promptax.analysis.diagnose`, with the verdict
table.csv                the lengths that were shown
regret-by-length.png     the figure
ledger.csv, priors.csv   of the predictors, where some were given
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from promptax import files, report, store
from promptax.analysis import EffectivePrior, diagnose, effective_prior, ledger
from promptax.axes import NATS
from promptax.cli import saved
from promptax.cli.alphabets import check_names
from promptax.cli.arguments import choice
from promptax.cli.printing import note, print_rows, say
from promptax.experiments import run_folder
from promptax.fit.settings import USUAL_LENGTH
from promptax.protocol.predictor import Predictor
from promptax.report.wording import precise, precise_change, shown, spelled
from promptax.specs import check, to_json
from promptax.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """What is compared, how far prompts are searched, and which predictors are explained."""

    prior: Task
    """What was pretrained on: the name of a task, JSON, or @FILE."""
    target: Task = choice("Categorical")
    """What to steer to: the name of a task, JSON, or @FILE."""
    length: int = 6
    """Try every prompt of up to that many symbols."""
    steps: int = 50
    """Steps of a sequence of the target that regret is summed over."""
    longest: int = 1000
    """Also try longer prompts, up to this length: all of them or the likely ones, as time allows;
    where order matters, short words that are repeated."""
    tolerance: float = 0.01
    """Nats: regret that close to the least that any predictor has counts as having reached it."""
    mixture: int = 2
    """How many prompts a mixture has."""
    predictor: tuple[str, ...] = ()
    """Run folders or files of predictors to judge as well; NAME=PATH names one."""
    trained_length: int | None = None
    """Symbols in the sequences that the predictors were pretrained on; by default what their run
    folders say, or 100."""
    sequences: int = 2048
    """Number of sequences to judge the predictors on."""
    seed: int = 0
    """Makes the sequences."""
    out: str = ""
    """Run folder to write the numbers and the figure to; none by default."""
    overwrite: bool = False
    """Replace the results of an earlier run in that folder."""


def run(flags: Flags, command: str) -> None:
    """Print what prompts can do and what predictors lose; write it where a folder is named."""
    paths = saved.named(flags.predictor)
    predictors = {name: saved.one_predictor(path) for name, path in paths.items()}
    check_names(paths.values(), target=flags.target, prior=flags.prior)
    check_alphabets(predictors, flags.prior, flags.target)
    histories = {name: history_of(name, Path(path), flags) for name, path in paths.items()}
    sizes = (flags.length, flags.steps, flags.longest, flags.mixture, flags.tolerance)
    with contextlib.ExitStack() as stack:
        folder = None
        if flags.out:
            held = run_folder.at_work(
                flags.out, overwrite=flags.overwrite, reads=paths.values(), tell=note
            )
            folder = stack.enter_context(held).folder
        table = diagnose(flags.prior, flags.target, *sizes).table
        explanations = list(explain_predictors(flags, predictors, histories))
        if folder is not None:
            specs = {"prior": flags.prior, "target": flags.target}
            run_folder.write_spec(folder, command, flags.seed, **specs)
            write(folder, table, explanations)
    print_rows(*length_rows(table))
    say(f"the best prompt's regret {table.attrs['limit']}")
    for explanation in explanations:
        print_rows(*term_rows(explanation))
        say(f"{explanation.name}, as a prior: {explanation.prior.words()}")
    say(table.attrs["verdict"], style="bold")
    if flags.out:
        note(f"written to {flags.out}")


Rows = tuple[str, tuple[str, ...], list[tuple[str, ...]]]  # title, headings, rows


class Explanation(NamedTuple):
    """A predictor's name, its `ledger` and its `effective_prior`."""

    name: str
    ledger: xr.Dataset
    prior: EffectivePrior


def check_alphabets(predictors: dict[str, Predictor], prior: Task, target: Task) -> None:
    """Complain, before anything is computed, unless all are over one alphabet."""
    sizes = {"the prior": prior.symbols, "the target": target.symbols}
    sizes |= {name: predictor.symbols for name, predictor in predictors.items()}
    listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
    check(len(set(sizes.values())) == 1, f"Expected one alphabet; got symbols: {listed}.")


def history_of(name: str, path: Path, flags: Flags) -> run_folder.History:
    """How a predictor came about, by its folder or else by the flags; what is assumed of it, and
    what contradicts the flags, is told."""
    found = run_folder.history_of(path)
    if found.prior is None:
        what = f"sequences of {flags.trained_length or USUAL_LENGTH} symbols of the prior"
        note(f"{name}: assumed to be pretrained on {what}, for no run folder says so")
    if found.has_tuned_weights is None:
        note(f"{name}: assumed to have its pretrained weights, for what tuned it is not known here")
    if found.prior is not None and to_json(found.prior) != to_json(flags.prior):
        note(
            f"warning: {name} was pretrained on {found.prior}; its terms take {flags.prior} for "
            "its prior. Name that one: --prior.",
            style="yellow",
        )
    length = flags.trained_length or found.trained_length
    if found.trained_length not in (None, length):
        note(
            f"warning: {name} was pretrained on sequences of {found.trained_length} symbols; "
            f"--trained-length says {length}.",
            style="yellow",
        )
    return found._replace(trained_length=length)


def length_rows(table: xr.Dataset) -> Rows:
    """The lengths worth a row; "≤" where the best prompt that was tried is an upper bound."""
    mixed = "mixture" in table
    headings = ("length", "best prompt", "exactly that long", "best up to it")
    if mixed:
        headings += (f"best mixture of {table.sizes['component']}", "its prompts")
    rows = []
    for length in np.atleast_1d(table.attrs["shown"]):  # one number comes back from a file bare
        at = table.sel(prompt_length=length)
        bound = "" if at["exhaustive"] else "≤ "
        row = (
            f"{length:,}",
            spelled(at["tokens"].values) if "tokens" in table else shown(at["counts"].values),
            bound + precise(at["regret"]),
            precise(at["best_up_to"]),
        )
        if mixed:
            bound = "" if at["mixture_exhaustive"] else "≤ "
            row += bound + precise(at["mixture"]), _side_by_side(at["mixture_counts"].values)
        rows.append(row)
    title = f"regret over {table.attrs['steps']} steps in {NATS}, exactly; the least that any "
    return f"{title}predictor has: {precise(table['floor'])}", headings, rows


def _side_by_side(components: np.ndarray) -> str:
    """The prompts of a mixture, counts [component, symbol]: where all are alike, one of them."""
    prompts = [shown(counts) for counts in components]
    alike = len(set(prompts)) == 1 and prompts[0] != "no prompt"
    return f"all {prompts[0]}" if alike else " | ".join(dict.fromkeys(prompts))


def term_rows(explanation: Explanation) -> Rows:
    """The terms of a predictor's regret, and their sum."""
    terms = explanation.ledger
    rows = [
        (str(term), precise_change(value), f"± {2 * float(error):.4f}" if error else "exact")
        for term, value, error in zip(
            terms["term"].values, terms["nats"].values, terms["standard_error"].values, strict=True
        )
    ]
    error = float(terms["regret_standard_error"])
    rows.append(("= regret", precise_change(terms["regret"]), f"± {2 * error:.4f}"))
    return f"{explanation.name}: regret in {NATS}", ("term", NATS, "2 standard errors"), rows


def explain_predictors(
    flags: Flags, predictors: dict[str, Predictor], histories: dict[str, run_folder.History]
) -> Iterator[Explanation]:
    """Each predictor's ledger and effective prior; `histories`: how each came about."""
    target, steps, sequences = flags.target, flags.steps, flags.sequences
    for name, predictor in predictors.items():
        first, second = jax.random.split(jax.random.key(flags.seed))
        terms = ledger(
            first,
            predictor,
            flags.prior,
            target,
            steps,
            histories[name].trained_length or USUAL_LENGTH,
            tuned_weights=bool(histories[name].has_tuned_weights),
            sequences=sequences,
            longest=flags.longest,
        )
        prior = effective_prior(predictor, target, steps, key=second, sequences=sequences)
        yield Explanation(name, terms, prior)


def write(folder: Path, table: xr.Dataset, explanations: list[Explanation]) -> None:
    """The dataset, the figure and the tables."""
    store.save(folder / "diagnosis.nc", table)
    store.write_figure(folder / "regret-by-length.png", report.figures.regret_by_length(table))
    _, headings, rows = length_rows(table)
    records: list[dict[str, object]] = [dict(zip(headings, row, strict=True)) for row in rows]
    files.write_text(folder / "table.csv", report.to_csv(records))
    if explanations:
        terms = [row for explanation in explanations for row in _term_records(explanation)]
        files.write_text(folder / "ledger.csv", report.to_csv(terms))
        priors = [_prior_record(explanation) for explanation in explanations]
        files.write_text(folder / "priors.csv", report.to_csv(priors))


def _term_records(explanation: Explanation) -> list[dict[str, object]]:
    terms = explanation.ledger
    return [
        {
            "predictor": explanation.name,
            "term": str(term),
            "nats": float(terms["nats"].sel(term=term)),
            "standard_error": float(terms["standard_error"].sel(term=term)),
        }
        for term in terms["term"].values
    ]


def _prior_record(explanation: Explanation) -> dict[str, object]:
    prior = explanation.prior
    return {
        "predictor": explanation.name,
        "strength": prior.strength,
        "fit_error": prior.fit_error,
        **{f"pseudo_count_{symbol}": count for symbol, count in enumerate(prior.pseudo_counts)},
        "words": prior.words(),
    }
