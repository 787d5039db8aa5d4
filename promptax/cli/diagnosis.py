"""`promptax diagnose`: its tables of words, the predictors it judges, and what it leaves behind.

diagnosis.nc             the table of `promptax.analysis.diagnose`, with the verdict
table.csv                the lengths that were shown
regret-by-length.png     the figure
ledger.csv, priors.csv   of the predictors, where some were given
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from promptax import files, store
from promptax.analysis import EffectivePrior, effective_prior, ledger
from promptax.axes import NATS
from promptax.experiments.groups import slug
from promptax.protocol.predictor import Predictor
from promptax.report import figures, to_csv
from promptax.report.wording import precise, shown, spelled
from promptax.specs import check, from_json
from promptax.steering import Tuner
from promptax.tasks import Task

Shown = tuple[str, tuple[str, ...], list[tuple[str, ...]]]  # title, headings, rows


class Judged(NamedTuple):
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


def by_length(table: xr.Dataset) -> Shown:
    """The lengths worth a row; "≤" where the best that was found is an upper bound."""
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
            prompts = " | ".join(shown(each) for each in at["mixture_counts"].values)
            row += bound + precise(at["mixture"]), prompts
        rows.append(row)
    title = f"regret over {table.attrs['steps']} steps in {NATS}, exactly; the least that any "
    return f"{title}predictor has: {precise(table['floor'])}", headings, rows


def by_term(judged: Judged) -> Shown:
    """The terms of a predictor's regret, and their sum."""
    its = judged.ledger
    rows = [
        (str(term), _signed(value), f"± {2 * float(error):.4f}" if error else "exact")
        for term, value, error in zip(
            its["term"].values, its["nats"].values, its["standard_error"].values, strict=True
        )
    ]
    error = float(its["regret_standard_error"])
    rows.append(("= regret", _signed(its["regret"]), f"± {2 * error:.4f}"))
    return f"{judged.name}: regret in {NATS}", ("term", NATS, "2 standard errors"), rows


def _signed(value: float | xr.DataArray) -> str:
    return f"{round(float(value), 4) + 0.0:+.4f}"  # no minus zero


def judge(
    key: Key[Array, ""],
    predictors: dict[str, Predictor],
    tuned: set[str],
    prior: Task,
    target: Task,
    steps: int,
    trained_length: int,
    sequences: int,
    longest: int = 1000,
) -> Iterator[Judged]:
    """Each predictor's ledger and effective prior; `tuned`: those whose weights were tuned."""
    for name, each in predictors.items():
        own, other = jax.random.split(key)
        made = ledger(
            own,
            each,
            prior,
            target,
            steps,
            trained_length,
            tuned_weights=name in tuned,
            sequences=sequences,
            longest=longest,
        )
        yield Judged(
            name, made, effective_prior(each, target, steps, key=other, sequences=sequences)
        )


def has_tuned_weights(path: Path) -> bool:
    """Whether the run that made a predictor tuned its weights, by the spec.json of its folder."""
    file = path if path.is_file() else path / "predictor.safetensors"
    for folder in list(file.parents)[:2]:
        if (folder / "spec.json").exists():
            spec = json.loads(files.read_text(folder / "spec.json"))
            methods = (spec.get("experiment") or {}).get("methods", {})
            by_file = {slug(name): each for name, each in methods.items()}
            tuner = spec.get("tuner") or by_file.get(file.stem)
            made = from_json(tuner) if tuner else None
            return isinstance(made, Tuner) and made.group == "weights"
    return False


def write(folder: Path, table: xr.Dataset, judged: list[Judged]) -> None:
    """The dataset, the figure and the tables."""
    store.save(folder / "diagnosis.nc", table)
    store.write_figure(folder / "regret-by-length.png", figures.regret_by_length(table))
    _, headings, rows = by_length(table)
    each_row: list[dict[str, object]] = [dict(zip(headings, row, strict=True)) for row in rows]
    files.write_text(folder / "table.csv", to_csv(each_row))
    if not judged:
        return
    terms = [
        {
            "predictor": each.name,
            "term": str(term),
            "nats": float(each.ledger["nats"].sel(term=term)),
            "standard_error": float(each.ledger["standard_error"].sel(term=term)),
        }
        for each in judged
        for term in each.ledger["term"].values
    ]
    files.write_text(folder / "ledger.csv", to_csv(terms))
    priors = [
        {
            "predictor": each.name,
            "strength": each.prior.strength,
            "fit_error": each.prior.fit_error,
            **{f"pseudo_count_{s}": count for s, count in enumerate(each.prior.pseudo_counts)},
            "words": each.prior.words(),
        }
        for each in judged
    ]
    files.write_text(folder / "priors.csv", to_csv(priors))
