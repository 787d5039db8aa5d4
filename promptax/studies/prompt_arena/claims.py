"""What the arena must show, as numbers with bounds that were set before it was run.

Names: A for all, E for the easy controls, H for the hard instances. Values are one for each
instance; runs within it are pooled.
"""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from promptax.studies.judging import Check, Checks, Claim, ClaimList
from promptax.studies.prompt_arena.conditions import EXACT, SAMPLED
from promptax.studies.prompt_arena.reading import SOLVED, Reader

ROUNDING = 1e-6  # nats: recommendations are judged in float64
CLAIMS = ClaimList[Reader]()


def claims(results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
    """All claims, judged on what was measured so far."""
    return CLAIMS.claims(Reader(results))


def best_shares(reader: Reader, kind: str) -> tuple[float, ...]:
    """On each instance of a kind, the share of solved runs of the search that solves most over all
    of them."""
    if EXACT not in reader.tracks() or not reader.instances(EXACT, kind):
        return ()
    searches = reader.searches(EXACT)
    best = max(searches, key=lambda search: reader.solved(EXACT, search, kind))
    gaps = reader.gaps(EXACT, best, kind)
    return tuple(float((runs[:, -1] <= SOLVED).mean()) for runs in gaps)


@CLAIMS.enter("A1", "No search recommends a prompt better than the best.", "exhaustion")
def _none_below_the_minimum(reader: Reader) -> Checks:
    yield _least_gap(reader, EXACT)


@CLAIMS.enter("A2", "Nor does one that reads drawn sequences.", "exhaustion")
def _none_below_the_minimum_of_samples(reader: Reader) -> Checks:
    yield _least_gap(reader, SAMPLED)


def _least_gap(reader: Reader, track: str) -> Check:
    measured = track in reader.tracks() and reader.searches(track)
    least = tuple(reader.least_gaps(track)) if measured else ()
    return Check("the least gap of all runs, nats", least, least=-ROUNDING)


@CLAIMS.enter("E1", "Easy controls are easy: some search always solves them.", "convexity")
def _easy_is_easy(reader: Reader) -> Checks:
    shares = best_shares(reader, "easy")
    yield Check("share of runs that end at a best prompt", shares, least=0.95)


@CLAIMS.enter("H1", "With restarts hard instances can be solved within the budget.", "1 - (1-p)^r")
def _hard_can_be_solved(reader: Reader) -> Checks:
    shares = best_shares(reader, "hard")
    yield Check("share of runs that end at a best prompt", shares, least=0.9)


@CLAIMS.enter("H2", "And they are hard: most searches do not solve most of them.", "the generator")
def _hard_is_hard(reader: Reader) -> Checks:
    values = ()
    if EXACT in reader.tracks() and (hard := reader.instances(EXACT, "hard")):
        shares = [
            [(gaps[:, -1] <= SOLVED).mean() for gaps in reader.gaps(EXACT, search, "hard")]
            for search in reader.searches(EXACT)
        ]
        values = tuple(np.median(shares, axis=0).tolist()) if shares else ()
        assert len(values) in (0, len(hard))
    yield Check("share of solved runs of the median search", values, most=0.9)
