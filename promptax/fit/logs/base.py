"""Logs: callbacks that hear the numbers of a fit while it runs.

The loops of `fit` and `steering` report about twice a second. What a log hears then is on the host
already: no number is fetched for it, and the fit stays what it is, bit for bit.
"""

import abc
import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from promptax import platforms
from promptax.fit.cost import UNITS, Cost

MOST_LINES = 200_000  # of one fit: about 40 MB of metrics.jsonl
Line = dict[str, float | int | None]


class Metrics(NamedTuple):
    """What is known of the steps `begin` + 1 to `begin` + n of a fit, as far as they are done.

    `steps`: how many the fit will take; of a search with a budget, how many are foretold.
    `loss` [repetition, step]: in nats per sequence, before that step's update; NaN where a
    repetition took no step. `rate` [repetition, step]: the learning rate; None where there is none.
    `cost`: what was spent up to and including each of these steps.
    """

    begin: int
    steps: int
    loss: Float[np.ndarray, "repetition step"]
    rate: Float[np.ndarray, "repetition step"] | None
    cost: Cost

    @property
    def end(self) -> int:
        """The last step that is done."""
        return self.begin + self.loss.shape[1]

    def lines(self, most: int = MOST_LINES) -> Iterator[Line]:
        """A flat dict for each step and repetition: `step`, `steps`, `repetition`, `loss`, `rate`
        and the parts of the cost; None stands for what is not finite. Of a fit with more than
        `most` steps times repetitions only every second, third, … step, its first and its last."""
        for step in self._steps(most):
            for repetition in range(len(self.loss)):
                yield self._line(step, repetition)

    def means(self) -> Iterator[tuple[int, dict[str, float]]]:
        """The same steps: each with `loss`, `rate` and the parts of the cost, mean over those
        repetitions that have such a number."""
        for step in self._steps(MOST_LINES):
            rows = [self._line(step, repetition) for repetition in range(len(self.loss))]
            names = [name for name in rows[0] if name not in ("step", "steps", "repetition")]
            means = {name: _mean([row[name] for row in rows]) for name in names}
            yield step, {name: mean for name, mean in means.items() if mean is not None}

    def _steps(self, most: int) -> Iterator[int]:
        stride = -(-self.steps * len(self.loss) // most) or 1
        for step in range(self.begin + 1, self.end + 1):
            if step % stride == 0 or step in (1, self.steps):
                yield step

    def _line(self, step: int, repetition: int) -> Line:
        at = repetition, step - self.begin - 1
        numbers = {"loss": self.loss[at]} | ({} if self.rate is None else {"rate": self.rate[at]})
        numbers |= {name: getattr(self.cost, name)[at] for name in UNITS if name != "updates"}
        head = {"step": step, "steps": self.steps, "repetition": repetition}
        return head | {name: _plain(number) for name, number in numbers.items()}


class Log(abc.ABC):
    """A callback that hears the numbers of a fit; put it among the `callbacks` of `pretrain` or
    `tune`.

    To implement one: `hear(metrics)`. Optional: `close()`, `fail()`. An error in `hear` ends the
    fit, after its checkpoint is saved.
    """

    def __call__(self, done: int, total: int, note: str = "") -> bool:
        """Nothing: how far the fit is shows in what it hears."""
        del done, total, note
        return False

    @abc.abstractmethod
    def hear(self, metrics: Metrics) -> None:
        """Take in what is new. The first call has `begin` 0 and all steps that are done already:
        none, or those of a run that is resumed. Each later call begins where the last one ended."""

    def close(self) -> None:
        """The fit is over, or was stopped."""
        return None  # most have nothing to close

    def fail(self) -> None:
        """The fit ended by an error; `close`, unless that says something else to the reader."""
        self.close()


class Logs:
    """The logs among the callbacks of one fit; a context that closes them at its end.

    What a fit has reached is worth more than a line about it. So a log that fails only asks the
    loop to save and to leave; its error is raised at the end of the context.
    """

    def __init__(self, callbacks: Sequence[Any] | None) -> None:
        logs = [callback for callback in callbacks or () if isinstance(callback, Log)]
        self.logs = logs if platforms.leads() else []
        self.told = 0
        self.failure: Exception | None = None

    def __enter__(self) -> "Logs":
        return self

    def start(self, done: int, metrics: Callable[[int, int], Metrics]) -> None:
        """Tell all logs of the steps that a resumed run has done. There is nothing to save yet, so
        a log that fails raises at once."""
        self._tell(done, metrics)

    def tell(self, end: int, metrics: Callable[[int, int], Metrics]) -> bool:
        """Tell all logs of the steps up to `end` that they have not heard of. Returns whether one
        failed: the loop then saves and leaves.

        `metrics(begin, end)` says what is known of these steps; it is called if there are logs.
        """
        try:
            self._tell(end, metrics)
        except Exception as failure:  # whatever it is, it is raised on leaving
            self.failure = failure
        return self.failure is not None

    def _tell(self, end: int, metrics: Callable[[int, int], Metrics]) -> None:
        if self.logs:
            news = metrics(self.told, end)
            for log in self.logs:
                log.hear(news)
        self.told = end

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        is_whole = error is None and self.failure is None
        with contextlib.ExitStack() as stack:  # it calls all of these, last first, if one fails too
            stack.callback(self._complain)
            for log in reversed(self.logs):
                stack.callback(log.close if is_whole else log.fail)

    def _complain(self) -> None:
        if self.failure is not None:
            raise self.failure


def package_of(module: str, extra: str) -> Any:
    """A package that a log writes with, imported when such a log is made.

    Raises:
        ImportError: it is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"Expected the package {module} for this log; it is not installed. "
            f"{platforms.how_to_install(extra)}"
        ) from error


def _mean(numbers: Sequence[Any]) -> float | None:
    """The mean of those that are there, None if none is."""
    there = [number for number in numbers if number is not None]
    return sum(there) / len(there) if there else None


def _plain(number: Any) -> float | int | None:
    """A number as JSON has it: whole where it is whole, None where it is not finite. Single
    precision keeps the shortest digits that say which number it is."""
    value = float(number) if isinstance(number, float) else float(str(number))
    if not np.isfinite(value):
        return None
    return int(value) if isinstance(number, float) and value.is_integer() else value
