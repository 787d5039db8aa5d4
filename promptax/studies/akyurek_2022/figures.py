"""The study's figures: distance from every ridge regression by noise, and all curves."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from promptax.experiments.training import NETWORK
from promptax.report.figures import learning
from promptax.report.pages.study import Part
from promptax.studies.akyurek_2022.claims import (
    AVERAGING,
    EXACT,
    LINEAR,
    NEIGHBOURS,
    NOISELESS,
    ONE_LAYER,
    RATIOS,
    SPARSE,
    cosine,
    dimensions,
    gradient_steps,
    matching,
    name_of,
    ridges,
    squared_errors,
)
from promptax.studies.trainings import Reader, Results, parts_of_all

_ABOUT = (
    "One curve for each network. It should be lowest where the penalty is the network's own noise. "
    "At the left is a penalty of 0.0001, which stands for least squares."
)

_STEPS = (
    "The answers of one step of gradient descent from zero, at several rates. A layer of linear "
    "attention can be such a step; without noise, deeper networks should be far from all of them."
)

_SPARSE = (
    "Which weights are not 0 is drawn anew for each sequence. Least squares, here ridge regression "
    "with a penalty of 0.0001, does not use that there are few; exact Bayes does."
)

STANDS_AT = 0.01  # where the least penalty is drawn, so that the others have room


def parts(reader: Reader) -> list[Part]:
    """Nearest penalties and gradient steps, then the curves of each training."""
    asked = {
        "Which penalty?": (_ABOUT, list(_penalties(reader))),
        "Which rate?": (_STEPS, list(_rates(reader))),
        "Few weights that are not 0?": (_SPARSE, list(_errors(reader))),
    }
    sections = [Part(heading, text, drawn) for heading, (text, drawn) in asked.items() if drawn]
    return sections + parts_of_all(reader, with_regret=False)


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


def _rates(reader: Reader) -> Iterator[tuple[str, Figure]]:
    rows, said = {}, []
    for name in (LINEAR, ONE_LAYER, name_of(NOISELESS)):
        trainings = list(reader.of(name).values())
        if trainings:
            means = _mean_distances(trainings)
            rows[name] = [float(step.split()[-1]) for step in means], list(means.values())
            said.append(f"{name}: {nearest_in_words(trainings)}")
    if rows:
        yield (
            f"{'; '.join(said)}.",
            learning.lines(
                "Distance from one gradient step, by rate",
                {"": rows},
                "rate",
                "squared difference",
                "Mean over all answers of the squared difference of predictions. Both axes are "
                "logarithmic.",
                log_across=True,
                log_up=True,
            ),
        )


def _errors(reader: Reader) -> Iterator[tuple[str, Figure]]:
    trainings = list(reader.of(SPARSE).values())
    if not trainings:
        return
    rows, said, end = {}, [], 2 * dimensions(trainings[0])
    for name in (NETWORK, EXACT, matching(NOISELESS), AVERAGING, NEIGHBOURS):
        by_seed = [squared_errors(results, name) for results in trainings]
        means = np.mean([curve.values for curve in by_seed], axis=0)
        rows[name] = by_seed[0].answers.values, means
        said.append(f"{name} {means[end]:.2g}")
    yield (
        f"After {end} answers: {', '.join(said)}.",
        learning.lines(
            "Squared error, over the variance of an answer",
            {"": rows},
            "answers",
            "squared error",
            "Mean over sequences, and over seeds. The axis is logarithmic.",
            log_up=True,
        ),
    )


def _mean_distances(trainings: list[Results]) -> dict[str, float]:
    """The distance from each gradient step, mean over seeds."""
    by_seed = [gradient_steps(results) for results in trainings]
    return {step: float(np.mean([distances[step] for distances in by_seed])) for step in by_seed[0]}


def nearest_in_words(trainings: list[Results]) -> str:
    """The gradient step that the mean curve is nearest to, and means over seeds there."""
    means = _mean_distances(trainings)
    nearest = min(means, key=lambda step: means[step])
    share = means[nearest] / dimensions(trainings[0])
    mean_cosine = np.mean([cosine(results, nearest) for results in trainings])
    return (
        f"nearest to {nearest}, squared difference {share:.2g} of an answer's variance, cosine of "
        f"the derivatives {mean_cosine:.3f}"
    )
