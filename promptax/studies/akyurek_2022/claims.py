"""What Akyürek et al. 2022, Garg et al. 2022 and von Oswald et al. 2023 claim of networks on linear
regression.

Distances are mean squared differences of predictions, over all answers of a sequence; "normalised"
is divided by the variance of a noiseless answer, which is the number of weights that are not 0.
Bounds are those of our list of claims, written before anything was measured. Those of e2 (4 of 5),
of e5 besides the error after 2 d answers (0.05, 5 times), of o1 (0.01) and o2 (0.99) are ours,
written before anything was measured: the papers print figures.
"""

import json

import numpy as np
import xarray as xr

from promptax.experiments.training import DISTANCES, NETWORK, PROBES
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
SPARSE = "sparse weights · no noise"
AVERAGING, NEIGHBOURS, EXACT = "averaging", "3 nearest neighbours", "exact Bayes"
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


def dimensions(results: Results) -> int:
    """How many numbers x has: the variance of an answer without noise, where no weight is 0."""
    return int(json.loads(results.final(POINTS).attrs["source"])["dimensions"])


def probed(results: Results, quantity: str) -> xr.Dataset:
    """What a linear map of the internal state that says most explains of a quantity, and of what it
    explains for another sequence's: means over the quantity's numbers."""
    probes = results.tree[POINTS + PROBES].to_dataset()
    named = [str(name) for name in probes.quantity.values if str(name).startswith(quantity)]
    means = probes.sel(quantity=named).mean("quantity")
    return means.isel(internal=int(np.argmax(means["explained"].values)))


def squared_errors(results: Results, predictor: str = NETWORK) -> xr.DataArray:
    """The mean squared error by `answers`, how many were read, over an answer's variance."""
    source = json.loads(results.final(POINTS).attrs["source"])
    errors = results.tree[POINTS + DISTANCES].to_dataset()["squared_error"]
    behind = errors.sel(predictor=predictor).values[1::2] / source["nonzero"]
    return xr.DataArray(behind, {"answers": np.arange(len(behind))}, "answers")


def error_ratio(results: Results, predictor: str) -> float:
    """How many times as large as the network's an error is after 2 d answers."""
    end = 2 * dimensions(results)
    ours, theirs = (squared_errors(results, name)[end] for name in (NETWORK, predictor))
    return float(theirs / ours)


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
    "e4",
    "Hidden states hold XᵀY and the weights of least squares: a linear map finds them, and not "
    "those of another sequence.",
    "Akyürek et al. 2022, Figure 4; direction alone",
)
def _probes(reader: Reader) -> Checks:
    """Least squares is ridge regression with a penalty of 1e-4, `LEAST_RATIO`."""
    for quantity, word in (("XᵀY", "XᵀY"), ("weight", f"weights of {matching(NOISELESS)}")):

        def gain(results: Results, quantity: str = quantity) -> float:
            return float(probed(results, quantity)["selectivity"])

        what = f"{word}: error of the control minus error of the probe, as shares of the variance"
        yield positive(what, reader.numbers(name_of(NOISELESS), gain))


@CLAIMS.enter(
    "e5",
    "Where few weights are not 0, and which ones is unknown, a network does as well as least "
    "squares, or better; averaging and nearest neighbours are far worse.",
    "Garg et al. 2022, sparse linear functions",
)
def _sparse(reader: Reader) -> Checks:
    """0.05 after 2 d answers is of our list of claims; 0.05 above least squares and 5 times are
    ours. All were written before anything was measured."""

    def after(results: Results) -> float:
        return float(squared_errors(results)[2 * dimensions(results)])

    def above(results: Results) -> float:
        count = 2 * dimensions(results) + 1
        ours, theirs = (
            squared_errors(results, name)[:count] for name in (NETWORK, matching(NOISELESS))
        )
        return float((ours - theirs).mean())

    yield reader.check("normalised squared error after 2 d answers", SPARSE, after, most=0.05)
    what = f"mean over 0 to 2 d answers: normalised squared error above {matching(NOISELESS)}"
    yield reader.check(what, SPARSE, above, most=0.05)
    for name in (AVERAGING, NEIGHBOURS):

        def ratio(results: Results, name: str = name) -> float:
            return error_ratio(results, name)

        what = f"error of {name} over that of the network, after 2 d answers"
        yield reader.check(what, SPARSE, ratio, least=5.0)


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
