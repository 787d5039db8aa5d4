"""What a fit or a search costs, in one currency for all of them.

Tokens, not seconds: seconds depend on the machine. The loop of `fit` knows what an update reads
before it runs, so nothing is counted there while it computes; the problem that searches ask counts
what they ask for. No tuner counts its own.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from promptax.axes import labelled
from promptax.fit.objectives import Objective
from promptax.fit.settings import FitSettings
from promptax.protocol.predictor import Predictor
from promptax.specs import Record

if TYPE_CHECKING:
    import xarray as xr  # takes long to import; annotations alone need it here

UNITS = {
    "sequences": "sequences",
    "tokens_forward": "tokens",
    "tokens_backward": "tokens",
    "operations": "floating-point operations",
    "updates": "updates",
}

Curve = Float[np.ndarray, "repetition step"]


class Cost(Record):
    """What was spent up to and including each step, cumulative; every field [repetition, step].

    `sequences`: sequences read; one that is read behind each of 8 prompts counts 8 times, of a
        mixture of prompts too.
    `tokens_forward`: rows read by the predictor, whatever for. A prompt of 6 rows before a batch of
        256 sequences of 50 steps is 6 + 256 × 50, since it is read once for the whole batch. Rows
        that open every sequence are not counted, nor are keys and values, which nobody reads; a
        step that is not scored counts, and so does the last one, which large networks predict and
        need not read.
    `tokens_backward`: those of them through which a derivative was taken.
    `operations`: floating-point operations, an estimate: 2 W for a token forward (a product and a
        sum for each of the W weights that it meets), 2 W more for a token backward, and 2 for each
        tuned weight (Kaplan et al. 2020, arXiv 2001.08361, section 2.1: 6 W where all are tuned).
        NaN where the predictor does not say (`Predictor.reading_operations`).
    `updates`: steps of the loop.

    Not counted: the drawing of sequences, and what a member computes from losses.
    """

    sequences: Curve
    tokens_forward: Curve
    tokens_backward: Curve
    operations: Curve
    updates: Curve

    def labelled(self) -> "xr.Dataset":
        """The same numbers [repetition, step], each with its unit; steps count from 1."""
        repetitions, steps = np.shape(self.updates)
        coords = {"repetition": np.arange(repetitions), "step": np.arange(1, steps + 1)}
        variables = {
            name: (("repetition", "step"), np.asarray(getattr(self, name)), {"unit": unit})
            for name, unit in UNITS.items()
        }
        return labelled(variables, coords)

    def of_steps(self, steps: slice) -> "Cost":
        """The rows of these steps; they still count from the first one."""
        return Cost(**{name: np.asarray(getattr(self, name))[:, steps] for name in UNITS})

    def repeated(self, begin: int, end: int) -> "Cost":
        """The cost of one step, for each of the steps begin + 1 to end that cost the same."""
        times = np.arange(begin + 1, end + 1)
        return Cost(**{name: np.asarray(getattr(self, name)) * times for name in UNITS})

    def in_words(self) -> str:
        """The whole cost in a line, of one repetition."""
        total = {name: float(np.mean(values)) for name, values in self.final().items()}
        operations = total["operations"]
        words = [
            f"{total['updates']:,.0f} updates",
            f"{total['sequences']:,.0f} sequences",
            f"{total['tokens_forward']:,.0f} tokens forward",
            f"{total['tokens_backward']:,.0f} backward",
            *([] if np.isnan(operations) else [f"{operations:.2g} operations"]),
        ]
        return ", ".join(words) + (" for each repetition" if len(self.updates) > 1 else "")

    def final(self) -> dict[str, Float[np.ndarray, " repetition"]]:
        """What everything cost, by the name of the field; zeros where there were no steps."""
        curves = {name: np.asarray(getattr(self, name)) for name in UNITS}
        return {
            name: curve[:, -1] if curve.shape[1] else np.zeros(len(curve))
            for name, curve in curves.items()
        }


def cumulative(**steps: Any) -> Cost:
    """The cost of steps, from what each of them cost; every value [repetition, step]."""
    return Cost(**{name: np.cumsum(steps[name], axis=1, dtype=np.float64) for name in UNITS})


def cost_of_updates(
    predictor: Predictor,
    differentiated: Predictor,
    objective: Objective,
    settings: FitSettings,
    steps: int,
) -> Cost:
    """The cost of so many updates by gradients. All of them cost the same.

    `differentiated`: the predictor with those leaves alone for which there is a gradient.
    """
    assert settings.length is not None
    readings = objective.readings(settings.length)
    readers = predictor.readers()
    sequences = readings * settings.batch * readers
    tokens = readings * predictor.prompt_rows() + sequences * settings.length
    reading = predictor.reading_operations(1) / readers
    differentiated_reading = differentiated.reading_operations(1) / readers
    once = {
        "sequences": sequences,
        "tokens_forward": tokens,
        "tokens_backward": tokens,
        "operations": tokens * (2 * reading + differentiated_reading),
        "updates": 1,
    }
    shape = settings.repetitions, steps
    return cumulative(**{name: np.full(shape, value, float) for name, value in once.items()})


def nothing(repetitions: int) -> Cost:
    """The cost of no step."""
    return cumulative(**{name: np.zeros((repetitions, 0)) for name in UNITS})
