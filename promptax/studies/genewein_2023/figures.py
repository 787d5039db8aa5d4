"""The study's figures: curves of every training, and regret around the switches."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from promptax.report.figures import learning
from promptax.report.pages.study import Part
from promptax.studies.genewein_2023.claims import SHIFTS
from promptax.studies.trainings import Reader, parts_of_all

_AROUND = (
    "What is lost at each step of a segment, on sequences that switch at regular times, which the "
    "networks were not trained on. Mean over the segments behind the first one, as far as the "
    "sequences of training reach. Exact predictors of the sources of training are dashed, and so "
    "is that of the shifts, which knows when they come (bayes)."
)


def parts(reader: Reader, sizes: dict[str, tuple[int, int]]) -> list[Part]:
    """Regret around the switches, then the curves of each training. `sizes`: the depth and the
    period of every scale; the length of what was measured tells which one it is."""
    drawn = list(_around(reader, {2 * 2**depth: period for depth, period in sizes.values()}))
    sections = [Part("Around a switch", _AROUND, drawn)] if drawn else []
    return sections + parts_of_all(reader)


def _around(reader: Reader, period_of: dict[int, int]) -> Iterator[tuple[str, Figure]]:
    for name in reader.names():
        finals = [results.final(SHIFTS) for results in reader.of(name).values()]
        period = period_of[finals[0].sizes["time"]]
        folded = {
            predictor: np.mean([fold(final, predictor, period) for final in finals], axis=0)
            for predictor in finals[0].predictor.values.tolist()
            if predictor != "oracle"
        }
        steps = np.arange(1, period + 1)
        said = ", ".join(f"{who} {row[0]:.2f} and {row[-1]:.2f}" for who, row in folded.items())
        yield (
            f"{name}: nats lost at the first and at the last step of a segment: {said}.",
            learning.lines(
                f"Around a switch · {name}",
                {"": {who: (steps, row) for who, row in folded.items()}},
                "step of the segment",
                "regret [nats per step]",
                f"Segments of {period} steps.",
                dashed=[who for who in folded if who != learning.FIRST],
            ),
        )


def fold(final: xr.Dataset, predictor: str, period: int) -> np.ndarray:
    """Mean regret of each step of a segment [time], nats, in the first half of the sequences and
    behind the first segment."""
    steps = final["per_step"].sel(predictor=predictor).values
    last = len(steps) // 2 // period
    return steps[period : last * period].reshape(-1, period).mean(axis=0)
