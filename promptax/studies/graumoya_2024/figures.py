"""The study's figures: how far all networks are from context-tree weighting, and every curve."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from promptax.report.figures import learning
from promptax.report.pages.study import Part
from promptax.studies.graumoya_2024.claims import PROGRAMS, TREES, WEIGHTING, trained_length
from promptax.studies.trainings import NETWORK, Reader, Results, parts_of_all

_ABOUT = (
    "Context-tree weighting is exact Bayes for these sources, so that no network can lose less on "
    "average. All networks were trained with the same sequences, as often and at the same rate."
)


def parts(reader: Reader) -> list[Part]:
    """All networks beside each other, then the curves of each training."""
    drawn = list(_excess(reader))
    sections = [Part("Larger and nearer?", _ABOUT, drawn)] if drawn else []
    return sections + parts_of_all(reader)


def distance_by_step(trainings: list[Results]) -> learning.Curve:
    """The looks, and how far the networks were from context-tree weighting: mean over seeds."""
    looks = [results.learning(TREES) for results in trainings]
    distances = [look["distance"].sel(algorithm=WEIGHTING).values for look in looks]
    return looks[0].step.values, np.mean(distances, axis=0)


def _excess(reader: Reader) -> Iterator[tuple[str, Figure]]:
    names = [name for name in reader.names() if PROGRAMS not in name]
    if not names:
        return
    by_time, by_step, said = {}, {}, []
    for name in names:
        trainings = list(reader.of(name).values())
        length = trained_length(trainings[0])
        finals = [results.final(TREES) for results in trainings]
        above = [
            final["regret"].sel(predictor=NETWORK) - final["regret"].sel(predictor=WEIGHTING)
            for final in finals
        ]
        excess = np.mean([curve.values for curve in above], axis=0)
        by_time[name] = finals[0].time.values, excess
        by_step[name] = distance_by_step(trainings)
        said.append(f"{name} {excess[length - 1]:.2f} and {excess[-1]:.2f}")
    steps = len(excess)
    yield (
        f"Nats above {WEIGHTING} after {length} and after {steps} symbols: {'; '.join(said)}.",
        learning.lines(
            f"Loss above {WEIGHTING}",
            {"": by_time},
            "time",
            "excess [nats]",
            f"Cumulative, mean over seeds. Sequences of training have {length} symbols; what comes "
            "behind them a network never saw.",
        ),
    )
    ends = ", ".join(f"{name} {distances[-1]:.3g}" for name, (_, distances) in by_step.items())
    yield (
        f"Nats for each symbol after the last update: {ends}.",
        learning.lines(
            f"Distance from {WEIGHTING}",
            {"": by_step},
            "updates",
            "distance [nats]",
            "Mean of the divergences to and from it, for each symbol. The axis is logarithmic.",
            log_up=True,
        ),
    )
