"""What the arena must show, as numbers with bounds that were set before it was run.

Names: A for all, E for the easy controls, H for the hard instances, P for plateaus, N for networks.
An instance is no sample of anything: what is judged is the worst of them, and no median can hide
it.
"""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from promptax.steering import SoftPrompt
from promptax.steering.searches.wrappers.restarted import Restarted
from promptax.studies.judging import Check, Checks, Claim, ClaimList
from promptax.studies.prompt_arena.conditions import EVALUATIONS, EXACT, LONG, NETWORK
from promptax.studies.prompt_arena.reading import SOLVED, Reader, choose_label, judge_label

ROUNDING = 1e-4  # nats: float32 means of losses of some 10 nats differ from float64 by 1e-6
ALWAYS = 0.95  # of the runs
BUDGET = EVALUATIONS[LONG]
CLAIMS = ClaimList[Reader]()


def claims(results: Mapping[str, xr.DataTree]) -> tuple[Claim, ...]:
    """All claims, judged on what was measured so far."""
    return CLAIMS.claims(Reader(results))


def worst_shares(reader: Reader, kind: str) -> dict[str, float]:
    """Of each search, the share of solved runs on the instance of that kind where it solves
    least; empty if nothing was measured."""
    if EXACT not in reader.tracks() or not reader.instances(EXACT, kind):
        return {}
    searches = reader.searches(EXACT)
    return {search: min(reader.solved_shares(EXACT, search, kind)) for search in searches}


@CLAIMS.enter("A1", "No search reports less than the best prompt loses.", "exhaustion")
def _none_below_the_minimum(reader: Reader) -> Checks:
    """What a search says of itself is judged here: what it recommends stands in the same table as
    the minimum, and could not be below it."""
    least = reader.least_said(EXACT) if EXACT in reader.tracks() else {}
    instance = min(least, key=least.__getitem__, default="")
    what = f"least reported loss less that of the best prompt, nats{_at(instance)}"
    yield _judged(what, [least[name] for name in least if name == instance], least=-ROUNDING)


@CLAIMS.enter("E1", "Easy controls are easy: every search nearly always solves them.", "convexity")
def _easy_is_easy(reader: Reader) -> Checks:
    shares = worst_shares(reader, "easy")
    short = [search for search, share in shares.items() if share < ALWAYS]
    what = f"least share of runs that end at a best prompt; below it: {', '.join(short) or 'none'}"
    yield _judged(what, sorted(shares.values())[:1], least=ALWAYS)


@CLAIMS.enter(
    "H1", f"With restarts hard instances can be solved in {BUDGET:,} evaluations.", "1 - (1-p)^r"
)
def _hard_can_be_solved(reader: Reader) -> Checks:
    """Of searches that are begun anew the one whose worst instance is the best. A smaller budget
    has no room for restarts, and says nothing."""
    prefix = f"{Restarted.__name__} "
    shares = {s: v for s, v in worst_shares(reader, "hard").items() if s.startswith(prefix)}
    if shares and reader.budgets(EXACT)[-1] < BUDGET:
        shares = {}
    winner = max(shares, key=shares.__getitem__, default="")
    what = f"share of solved runs on the worst instance{_at(winner)}"
    yield _judged(what, [shares[s] for s in shares if s == winner], least=0.9)


@CLAIMS.enter("H2", "And they are hard: most searches do not solve most of them.", "the generator")
def _hard_is_hard(reader: Reader) -> Checks:
    values = []
    if EXACT in reader.tracks() and reader.instances(EXACT, "hard") and reader.searches(EXACT):
        searches = reader.searches(EXACT)
        shares = [reader.solved_shares(EXACT, search, "hard") for search in searches]
        values = [float(np.median(shares, axis=0).max())]
    what = "share of solved runs of the median search, on the instance where it is largest"
    yield _judged(what, values, most=0.5)


@CLAIMS.enter("P1", "On a plateau most searches stay, and some still find the way.", "exhaustion")
def _plateaus_can_be_left(reader: Reader) -> Checks:
    """Searches whose worst plateau is judged, out of those where impossible prompts lose infinitely
    much. Open ones have another rule, and are another kind."""
    shares = worst_shares(reader, "plateau")
    half = [float(np.median(list(shares.values())))] if shares else []
    what = "share of solved runs of the median search, on its worst plateau"
    yield _judged(what, half, most=0.5)
    winner = max(shares, key=shares.__getitem__, default="")
    what = f"share of solved runs on the worst plateau, the best search{_at(winner)}"
    yield _judged(what, sorted(shares.values())[-1:], least=0.5)


@CLAIMS.enter(
    "N1", "On a network soft rows reach what no prompt of symbols does.", "Genewein et al. 2025"
)
def _soft_rows_go_below(reader: Reader) -> Checks:
    """At the rate that is best on every second run; the others judge it: over all networks their
    middle half, of which the whole interval must lie below 0."""
    values = []
    if NETWORK in reader.tracks() and reader.instances(NETWORK):
        labels = reader.tuners(NETWORK).get(SoftPrompt.__name__)
        if labels:
            label = choose_label(reader, NETWORK, labels)
            values = [judge_label(reader, NETWORK, label)[1][1]]
    what = (
        "upper end of the 95 % interval of the soft prompt's gap, in possible prompts' median gap; "
        "its rate was chosen by other runs"
    )
    yield _judged(what, values, most=-SOLVED)


def _judged(
    what: str, values: list[float], least: float = -math.inf, most: float = math.inf
) -> Check:
    """A check of what was measured, of which one value is enough."""
    return Check(what, tuple(values), least=least, most=most, exact=bool(values))


def _at(name: str) -> str:
    """Whose number it is, where there is one."""
    return f" ({name})" if name else ""
