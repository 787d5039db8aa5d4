"""What Wurgaft et al. 2025 claim of pools of dice, as numbers with bounds.

Bounds are those of our list of claims, written before anything was measured: at least 0.9 for the
correlation, of which the authors' runs have 0.987 and more; below 0.06 for the total variation, of
which they have 0.032 in the mean; signs for what is said in words. The
bounds of d3 (0.9, 0.1 and 0.05), of d3 transience (0.5) and that of held-out pools in d1 (0) are
ours, written before anything was measured.
"""

import functools
import json
import re
from typing import NamedTuple

import numpy as np
import xarray as xr

from promptax.analysis.memorise_or_generalise import (
    compressed_bits,
    hierarchical_fit,
    relative_position,
)
from promptax.specs import from_json
from promptax.studies.judging import Check, Checks, ClaimList, positive
from promptax.studies.trainings import Reader, Results
from promptax.tasks import FinitePool
from promptax.tasks.pools.drawing import tables_of

POOL, NEW = "dice of the pool", "new dice"  # sources
MEMORISING, GENERALISING = "memorising", "generalising"  # algorithms
CODE_BITS = 8_000.0
"""What a program takes that reads symbols and predicts, without any pool: the sources of the two
predictors here compress to about a thousand bytes each. Both have it, and yet it matters: the model
weighs K^β, and only with β = 1 does what both have cancel. With β below 1 a larger code makes a
pool look cheaper, so that β was fitted for this one."""
HALFWAY = 0.5  # of the way from generalising to memorising; ours
Row = tuple[float, ...]
CLAIMS = ClaimList[Reader]()


def name_of(size: int, widening: int | None = None) -> str:
    """The name of a training."""
    wide = "" if widening is None else f" with a perceptron {widening} × as wide"
    return f"pool of {size}{wide}"


def pools(reader: Reader) -> list[str]:
    """The names of what was trained with the usual perceptron, small pools first."""
    plain = [name for name in reader.names() if re.fullmatch(r"pool of \d+", name)]
    return sorted(plain, key=size_of)


def size_of(name: str) -> int:
    """How many dice the pool of that name has."""
    return int(name.split()[2])


class Path(NamedTuple):
    """Where a network stood at every look but the one before any update.

    `position`: 1 at memorising, 0 at generalising; `to_memorising` and `to_generalising`: distances
    of the network, as shares of that between the two; `steps`: updates.
    """

    position: np.ndarray
    to_memorising: np.ndarray
    to_generalising: np.ndarray
    steps: np.ndarray


def path(results: Results, source: str = POOL) -> Path:
    """Where a network stood while it was trained."""
    learned = results.learning(source).isel(step=slice(1, None))
    between = results.distance(source, GENERALISING, MEMORISING)
    near, far = (
        learned["distance"].sel(algorithm=name).values / between
        for name in (MEMORISING, GENERALISING)
    )
    return Path(relative_position(near, far, 1.0), near, far, learned["step"].values)


def end(results: Results) -> float:
    """Where a network stands after its last update."""
    return float(path(results).position[-1])


def halfway(results: Results) -> float:
    """The first look, in updates, from which on a network memorises: it is nearer to memorising
    than to generalising, and less than half as far from it as the two are apart. NaN: none."""
    taken = path(results)
    memorises = (taken.position >= HALFWAY) & (taken.to_memorising < HALFWAY)
    lasting = np.logical_and.accumulate(memorises[::-1])[::-1]
    return float(taken.steps[np.argmax(lasting)]) if lasting.any() else float("nan")


def advantage(results: Results) -> float:
    """Nats for a sequence by which memorising beats generalising on the pool."""
    return results.regret(POOL, GENERALISING) - results.regret(POOL, MEMORISING)


def pool_of(results: Results) -> FinitePool:
    """The pool that the network was trained on, as it was stored with what was measured."""
    pool = from_json(json.loads(results.final(POOL).attrs["source"]))
    assert isinstance(pool, FinitePool)
    return pool


def pool_bits(pool: FinitePool) -> float:
    """What a pool of dice takes to write down, with the code that reads it."""
    return CODE_BITS + compressed_bits(np.asarray(tables_of(pool.source, pool.size, pool.seed)))


def fit(trainings: dict[str, Results]) -> xr.Dataset:
    """The hierarchical model of one seed's trainings (`hierarchical_fit`)."""
    drawn = [pool_of(results) for results in trainings.values()]
    paths = [path(results) for results in trainings.values()]
    return _fit(
        tuple(tuple(taken.position.tolist()) for taken in paths),
        tuple(advantage(results) for results in trainings.values()),
        tuple(pool_bits(pool) for pool in drawn),
        tuple(float(pool.size) for pool in drawn),
        tuple(paths[0].steps.tolist()),
    )


@functools.lru_cache(maxsize=16)  # claims and figures speak of the same fits, which take seconds
def _fit(
    positions: tuple[tuple[float, ...], ...],
    advantages: Row,
    bits: Row,
    sizes: Row,
    steps: Row,
) -> xr.Dataset:
    return hierarchical_fit(
        np.array(positions),
        np.array(advantages),
        np.array(bits),
        CODE_BITS,
        np.array(sizes),
        np.array(steps, float),
    )


def mean_variation(trainings: dict[str, Results]) -> float:
    """The total variation between networks and the hierarchical model of one seed's trainings, on
    sequences of their pools: mean over pools, and over all looks but the one before any update.

    The model mixes both references with its weight of the moment. Between two weights that were
    looked at, a line is taken, which never lies below the true value."""
    weight = fit(trainings)["weight"].values  # [pool_size, step]
    means = []
    for results, row in zip(trainings.values(), weight, strict=True):
        variation = results.learning(POOL)["variation"].isel(step=slice(1, None))
        seen = variation.transpose("step", "weight").values
        known = variation["weight"].values
        means.append(np.mean([np.interp(w, known, v) for w, v in zip(row, seen, strict=True)]))
    return float(np.mean(means))


def complete(reader: Reader) -> list[dict[str, Results]]:
    """Seeds that have a network for every pool; none if there are fewer than three pools."""
    names = pools(reader)
    return reader.of_all(names) if len(names) >= 3 else []


@CLAIMS.enter(
    "d1",
    "A learner who weighs memorising against generalising, with three numbers, stands where the "
    "networks stand.",
    "Wurgaft et al. 2025, section 4; the authors' results, balls and urns",
)
def _hierarchical(reader: Reader) -> Checks:
    """The bound of 0 for pools held out is ours, written before anything was measured."""
    fits = [fit(trainings).attrs for trainings in complete(reader)]
    for word, key in (
        ("correlation of its weight with the measured position", "correlation"),
        ("the same for pools that it was not fitted to", "held_out_correlation"),
    ):
        values = tuple(float(attributes[key]) for attributes in fits)
        least = 0.9 if key == "correlation" else 0.0
        yield Check(word, values, least=least, printed=0.992 if least else None)


@CLAIMS.enter(
    "d2",
    "The learner's mixture of memorising and generalising says what the networks say.",
    "Wurgaft et al. 2025, section 4; the authors' results, balls and urns",
)
def _mixture_predicts(reader: Reader) -> Checks:
    """Of the fit of d1: its three numbers were chosen for positions, not for predictions."""
    values = tuple(mean_variation(trainings) for trainings in complete(reader))
    what = "total variation between network and model, mean over pools and looks"
    yield Check(what, values, most=0.06, printed=0.032, is_strict=True)


@CLAIMS.enter(
    "d3", "Networks memorise small pools, and generalise from large ones.", "Figure 2, abstract"
)
def _small_pools_are_memorised(reader: Reader) -> Checks:
    """Its three bounds are ours, written before anything was measured: the paper prints figures."""
    seeds = complete(reader)
    ends = [[end(results) for results in by_name.values()] for by_name in seeds]
    smallest, largest = (tuple(row[which] for row in ends) for which in (0, -1))
    yield Check("smallest pool: position at the end, 1 is memorising", smallest, least=0.9)
    yield Check("largest pool: position at the end, 0 is generalising", largest, most=0.1)
    rises = tuple(float(np.max(np.diff(row))) for row in ends)
    yield Check("largest rise of the position at the end, to a larger pool", rises, most=0.05)


@CLAIMS.enter(
    "d3 transience",
    "Generalising comes first and passes: there are pools that are memorised at the end, and whose "
    "network generalised before.",
    "Figure 2, transience; sign alone",
)
def _generalising_passes(reader: Reader) -> Checks:
    """At one look of the first quarter the network is nearer to generalising, and less than half as
    far from it as the two references are apart: an untrained network is nearer to it too, but far
    from both. The half is ours, written before anything was measured. A seed that memorised no
    pool says nothing, and is left out; d3 holds that small pools are memorised."""
    least = []
    for trainings in complete(reader):
        memorised = [results for results in trainings.values() if np.isfinite(halfway(results))]
        if memorised:
            least.append(min(_least_of_both(path(results)) for results in memorised))
    what = (
        "pools that are memorised at the end: least of the first quarter of looks, of position or "
        "distance from generalising (as a share of that between both), whichever is larger"
    )
    yield Check(what, tuple(least), most=HALFWAY)


def _least_of_both(taken: Path) -> float:
    """How near a network came to generalising at first, by position and by distance at once."""
    first = slice(0, 1 + len(taken.steps) // 4)
    return float(np.maximum(taken.position, taken.to_generalising)[first].min())


@CLAIMS.enter(
    "d4",
    "The time that it takes to memorise grows faster than the pool.",
    "abstract: superlinear trend",
)
def _superlinear(reader: Reader) -> Checks:
    """A seed that memorised fewer than two pools after the first look has no slope, and is left
    out."""
    slopes = []
    for trainings in complete(reader):
        first = path(next(iter(trainings.values()))).steps[0]
        times = {size_of(name): halfway(results) for name, results in trainings.items()}
        # what was memorised at the first look may have been so long before
        seen = {size: time for size, time in times.items() if time > first}
        if len(seen) >= 2:
            slopes.append(_slope(seen))
    yield Check("slope of log updates to memorise over log size", tuple(slopes), least=1.0)


@CLAIMS.enter("d5", "A larger perceptron memorises earlier.", "Figure 6, direction alone")
def _larger_memorises_earlier(reader: Reader) -> Checks:
    wide = [name for name in reader.names() if "perceptron" in name]
    gains = []
    for name in wide:
        for trainings in reader.of_all([name, name_of(size_of(name))]):
            means = [float(path(results).position.mean()) for results in trainings.values()]
            gains.append(means[0] - means[1])
    yield positive("mean position, larger above smaller perceptron", tuple(gains))


def _slope(times: dict[int, float]) -> float:
    """Of a line through (log size, log time)."""
    sizes, updates = np.log(list(times)), np.log(list(times.values()))
    return float(np.polyfit(sizes, updates, 1)[0])
