"""The groups of results of an experiment: their names, what is in them, and what is read out."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import xarray as xr

from promptax.experiments.measurement import Stage
from promptax.fit.fitted import Fitted
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated
from promptax.report.summaries import evaluated_lengths

UNTUNED = "untuned"  # the predictor that was not steered
PRETRAINING = "pretraining"  # the group beside those of the targets
STATES, ON_PRIOR = ".states", ".prior"  # what groups are called that belong to a target's


def slug(name: str) -> str:
    """A target's or method's name as the name of a group or file."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


class Steered(NamedTuple):
    """One network steered to one target.

    `results`: regret and tuning losses of every predictor; `states`: internal states in two
    dimensions, None where predictors have none; `on_prior`: regret to exact Bayes on the
    pretraining task, None if it was not asked for; `predictors`, by name.
    """

    results: xr.Dataset
    states: xr.Dataset | None
    on_prior: xr.Dataset | None
    predictors: dict[str, Predictor | Repeated]


def groups_of(stage: Fitted | Steered) -> Iterator[Stage]:
    """The names and the results of the pretraining's group, or of a target's groups."""
    if isinstance(stage, Fitted):
        yield PRETRAINING, stage.history
        return
    name = slug(stage.results.attrs["target"])
    yield name, stage.results
    if stage.states is not None:
        yield name + STATES, stage.states
    if stage.on_prior is not None:
        yield name + ON_PRIOR, stage.on_prior


def target_groups(tree: xr.DataTree) -> list[str]:
    """The groups of a tree of results that hold a target's regret."""
    return [name for name in tree.children if name != PRETRAINING and "." not in name]


def regret_rows(tree: xr.DataTree) -> list[dict[str, object]]:
    """Regret in nats of every repetition, at the lengths that are reported; `diverged`: the step of
    tuning at which it did, empty if it did not."""
    return [row for name in target_groups(tree) for row in _rows_of_target(tree[name].to_dataset())]


def _rows_of_target(results: xr.Dataset) -> Iterator[dict[str, object]]:
    lengths = evaluated_lengths(results)
    for predictor in results.predictor.values.tolist():
        for repetition in results.repetition.values.tolist():
            curve = results.sel(predictor=predictor, repetition=repetition)
            diverged = int(curve["diverged"]) if "diverged" in curve else -1
            if diverged < 0 and math.isnan(float(curve["regret"][-1])):
                continue  # there are fewer repetitions of this predictor
            row: dict[str, object] = {"predictor": predictor, "repetition": repetition}
            for length in lengths:
                end = curve.sel(time=length)
                row[f"regret_{length}"] = float(end["regret"])
                row[f"standard_error_{length}"] = float(end["standard_error"])
            yield {**row, "diverged": diverged if diverged >= 0 else ""}
