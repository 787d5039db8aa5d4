"""Several fits, one after another, as one fit for those who log them."""

from collections.abc import Sequence

import numpy as np

from promptax.fit.cost import UNITS, Cost
from promptax.fit.logs.base import Log, Metrics
from promptax.progress import Callback


class Continued(Log):
    """Hands the numbers of several fits on to a log as those of one: steps and costs count on.

    `steps`: of all fits together. The log stays open between fits; who opened it closes it.

    Example: `whole = Continued(log, 30)`, then three fits of 10 steps with `callbacks=(whole,)`.
    """

    def __init__(self, log: Log, steps: int) -> None:
        self.log = log
        self.steps = steps
        self.before = self.done = 0  # steps of the fits before this one, and of all
        self.spent = self.total = dict.fromkeys(UNITS, np.zeros((1, 1)))  # until then: their costs

    def hear(self, metrics: Metrics) -> None:
        if metrics.begin == 0:  # a fit begins, or has done nothing so far
            self.before, self.spent = self.done, self.total
        cost = {name: np.asarray(getattr(metrics.cost, name)) for name in UNITS}
        cost = {name: curve + self.spent[name] for name, curve in cost.items()}
        self.log.hear(
            metrics._replace(begin=self.before + metrics.begin, steps=self.steps, cost=Cost(**cost))
        )
        if metrics.end > metrics.begin:
            self.done = self.before + metrics.end
            self.total = {name: curve[:, -1:] for name, curve in cost.items()}


def continued(callbacks: Sequence[Callback] | None, steps: int) -> Sequence[Callback] | None:
    """The callbacks of several fits with so many steps together, each log as a `Continued`.

    Raises:
        TypeError: callbacks that are no series.
    """
    if callbacks is None:
        return None
    return [
        Continued(callback, steps) if isinstance(callback, Log) else callback
        for callback in callbacks
    ]
