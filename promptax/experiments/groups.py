"""The groups of results of an experiment, by name."""

from typing import NamedTuple

import xarray as xr

from promptax.experiments.experiment import PRETRAINING, slug
from promptax.fit.fitted import Fitted
from promptax.protocol.predictor import Predictor
from promptax.protocol.repeated import Repeated

STATES, ON_PRIOR = ".states", ".prior"  # groups of results that belong to a target's


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


class Measured:
    """The groups of results of an experiment, as its stages come in."""

    def __init__(self) -> None:
        self.groups: dict[str, xr.Dataset] = {}

    def add(self, stage: "Fitted | Steered") -> None:
        """Results of the pretraining, or of one target."""
        if isinstance(stage, Fitted):
            self.groups[PRETRAINING] = stage.losses.to_dataset(name="loss")
            return
        name = slug(stage.results.attrs["target"])
        self.groups[name] = stage.results
        for suffix, more in {STATES: stage.states, ON_PRIOR: stage.on_prior}.items():
            if more is not None:
                self.groups[name + suffix] = more

    def tree(self) -> xr.DataTree:
        """All groups so far."""
        return xr.DataTree.from_dict(self.groups)


def target_groups(tree: xr.DataTree) -> list[str]:
    """The groups of a tree of results that hold a target's regret."""
    return [name for name in tree.children if name != PRETRAINING and "." not in name]
