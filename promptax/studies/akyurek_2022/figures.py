"""The study's figures: distance from every ridge regression by noise, and all curves."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from promptax.report.figures import learning
from promptax.report.pages.study import Part
from promptax.studies.akyurek_2022.claims import RATIOS, name_of, ridges
from promptax.studies.trainings import Reader, curves

_ABOUT = (
    "One curve for each network. It should be lowest where the penalty is the network's own noise. "
    "At the left is a penalty of 0.0001, which stands for least squares."
)

STANDS_AT = 0.01  # where the least penalty is drawn, so that the others have room


def parts(reader: Reader) -> list[Part]:
    """Nearest penalties, then the curves of each training."""
    drawn = list(_penalties(reader))
    sections = [Part("Which penalty?", _ABOUT, drawn)] if drawn else []
    return sections + [
        Part(name.capitalize(), "", curves(reader.of(name), with_regret=False))
        for name in reader.names()
    ]


def _penalties(reader: Reader) -> Iterator[tuple[str, Figure]]:
    across = [STANDS_AT, *RATIOS[1:]]
    rows, nearest = {}, []
    for ratio in RATIOS:
        by_seed = [ridges(results) for results in reader.of(name_of(ratio)).values()]
        if by_seed:
            means = np.mean([list(distances.values()) for distances in by_seed], axis=0)
            rows[name_of(ratio)] = across, means
            nearest.append(f"{name_of(ratio)}: {list(by_seed[0])[int(np.argmin(means))]}")
    if rows:
        figure = learning.lines(
            "Distance from ridge regression, by penalty",
            {"": rows},
            "penalty",
            "squared difference",
            "Mean over all answers of the squared difference of predictions. Both axes are "
            "logarithmic, but for the penalty at the left, which lies further out.",
            log_across=True,
            log_up=True,
        )
        names = ["least squares", *(f"{ratio:.2g}" for ratio in RATIOS[1:])]
        figure.axes[0].set_xticks(across, names)
        yield f"Nearest: {'; '.join(nearest)}.", figure
