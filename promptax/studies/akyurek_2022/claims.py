"""What Akyürek et al. 2022 and von Oswald et al. 2023 claim of networks on linear regression.

Distances are mean squared differences of predictions, over all answers of a sequence; "normalised"
is divided by the variance of a noiseless answer, which is the number of dimensions. Bounds are
those of our list of claims, written before anything was measured. Those of e2 (4 of 5), o1 (0.01)
and o2 (0.99) are ours, written before anything was measured: the papers print figures.
"""

import json

import numpy as np

from promptax.experiments.training import DISTANCES, NETWORK
from promptax.studies.judging import Check, Checks, ClaimList, positive
from promptax.studies.trainings import Reader, Results

POINTS = "points"  # the source
RATIOS = (0.0, 1 / 16, 1 / 9, 1 / 4, 4 / 9)  # variance of the noise over that of the weights
NOISELESS = 0.0
LEAST_RATIO = 1e-4
"""What stands for no noise, of which there is no density. Bayes at that noise is ridge regression
with this penalty and not quite least squares, whose error has no finite mean where as many points
are seen as there are dimensions, or one more: so claims speak of that ridge regression."""
LEAST_SQUARES = "least squares"  # on the curves alone
ONE_LAYER, LINEAR = "one layer · no noise", "linear attention · no noise"
CLAIMS = ClaimList[Reader]()


def name_of(ratio: float) -> str:
    """The name of a training."""
    return f"noise {ratio:.4g}"


def ridge_name(ratio: float) -> str:
    """Ridge regression with that penalty."""
    return f"ridge {ratio:.4g}"


def step_name(rate: float) -> str:
    """A gradient step with that rate."""
    return f"gradient step {rate:.4g}"


def matching(ratio: float) -> str:
    """The algorithm whose answers are the means of exact Bayes at that noise: ridge regression with
    the ratio as its penalty, and with `LEAST_RATIO` where there is no noise."""
    return ridge_name(max(ratio, LEAST_RATIO))


def ridges(results: Results) -> dict[str, float]:
    """The network's distance from each ridge regression, the least penalty first."""
    return {name: results.distance(POINTS, name) for name in map(matching, RATIOS)}


def gradient_steps(results: Results) -> dict[str, float]:
    """The network's distance from a gradient step at each rate."""
    names = [str(n) for n in results.distances(POINTS).algorithm.values if "step" in str(n)]
    return {name: results.distance(POINTS, name) for name in names}


def nearest_step(results: Results) -> tuple[str, float]:
    """The gradient step that a network is nearest to, and the distance."""
    distances = gradient_steps(results)
    best = min(distances, key=lambda name: distances[name])
    return best, distances[best]


def cosine(results: Results, step: str = "") -> float:
    """Of the derivatives of the last answer in its question: the network's, and those of the
    gradient step of that name; of the one that it is nearest to where none is named."""
    tree = results.tree[POINTS + DISTANCES].to_dataset()
    against = step or nearest_step(results)[0]
    return float(tree["cosine"].sel(predictor=NETWORK, algorithm=against))


def dimensions(results: Results) -> float:
    """How many numbers x has: the variance of an answer without noise."""
    return float(json.loads(results.final(POINTS).attrs["source"])["dimensions"])


@CLAIMS.enter(
    "e1",
    "Without noise a network in context does what least squares does, also with fewer points than "
    "dimensions.",
    "Akyürek et al. 2022, section 4.1",
)
def _least_squares(reader: Reader) -> Checks:
    """Least squares is ridge regression with a penalty of 1e-4, `LEAST_RATIO`."""
    best = matching(NOISELESS)

    def distance(results: Results) -> float:
        return results.distance(POINTS, best) / dimensions(results)

    what = f"normalised distance from {best}"
    yield reader.check(what, name_of(NOISELESS), distance, most=0.02)


@CLAIMS.enter(
    "e2",
    "With noise a network is nearest to the ridge regression whose penalty is the variance of the "
    "noise over that of the weights.",
    "Akyürek et al. 2022, Figure 2",
)
def _ridge(reader: Reader) -> Checks:
    """At least 4 of 5 is ours, written before anything was measured."""
    by_seed = reader.of_all([name_of(ratio) for ratio in RATIOS])
    right = []
    for trainings in by_seed:
        nearest = []
        for ratio in RATIOS:
            distances = ridges(trainings[name_of(ratio)])
            nearest.append(min(distances, key=lambda name: distances[name]) == matching(ratio))
        right.append(float(sum(nearest)))
    yield Check("noises, of 5, whose nearest ridge is the right one", tuple(right), least=4.0)


@CLAIMS.enter(
    "e3",
    "One layer does not go so far: it is nearer to a gradient step than deeper networks are.",
    "Akyürek et al. 2022, section 4.3; direction alone",
)
def _one_layer(reader: Reader) -> Checks:
    """Least squares is ridge regression with a penalty of 1e-4, `LEAST_RATIO`."""
    best = matching(NOISELESS)
    by_seed = reader.of_all([ONE_LAYER, name_of(NOISELESS)])
    shares = []
    for trainings in by_seed:
        one, deep = (
            nearest_step(results)[1] / results.distance(POINTS, best)
            for results in trainings.values()
        )
        shares.append(float(np.log(deep / one)))
    what = f"log of (distance from a gradient step over that from {best}), deep minus one layer"
    yield positive(what, tuple(shares))


@CLAIMS.enter(
    "o1",
    "A trained layer of linear attention predicts what one gradient step predicts.",
    "von Oswald et al. 2023, Figure 2: difference of predictions",
)
def _one_step(reader: Reader) -> Checks:
    """0.01 is ours, written before anything was measured."""

    def distance(results: Results) -> float:
        return nearest_step(results)[1] / dimensions(results)

    yield reader.check("normalised distance from the nearest step", LINEAR, distance, most=0.01)


@CLAIMS.enter(
    "o2",
    "It has learned the weights of that step: the derivatives of the answer in the question have "
    "one direction.",
    "von Oswald et al. 2023, Figure 2: cosine of sensitivities",
)
def _one_direction(reader: Reader) -> Checks:
    """0.99 is ours, written before anything was measured."""
    yield reader.check("mean cosine with the nearest step", LINEAR, cosine, least=0.99)
