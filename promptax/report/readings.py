"""One sentence per figure: what it shows in this run.

Every word is computed. Orderings are looked up, never presumed; two values whose difference is
below two standard errors are called equal *within error*; repetitions that diverged are named.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import xarray as xr

from promptax.report import summaries, wording
from promptax.report.wording import nats


@dataclasses.dataclass(frozen=True)
class _Row:
    """A predictor's median regret in nats and its standard error."""

    name: str
    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.name} ({nats(self.value)})"

    def is_apart(self, another: "_Row") -> bool:
        """Whether the two differ by more than two standard errors (and more than rounding)."""
        noise = 2 * float(np.hypot(self.error, another.error))
        return abs(self.value - another.value) > max(noise, 1e-9)


def gist(results: xr.Dataset) -> str:
    """The best of each group after the tuning length, and how near it comes to the optimum: what
    `headline` says, in few numbers."""
    length = summaries.evaluated_lengths(results)[0]
    rows = _rows(results, length)
    kinds = _finished(results, rows)
    methods = {group: members for group, members in kinds.items() if group != "baselines"}
    if not methods:
        return headline(results)
    bayes = _bayes(results, rows)
    clauses = [_nearness(group, members, bayes) for group, members in methods.items()]
    start = f"On “{summaries.target_name(results)}”, after {wording.count(length, 'token')}, "
    return start + ", and ".join(clauses) + _diverged(results) + "."


def headline(results: xr.Dataset) -> str:
    """Who is best after the tuning length, how far from the optimum, and how the others stand."""
    length = summaries.evaluated_lengths(results)[0]
    rows = _rows(results, length)
    kinds = _finished(results, rows)
    if not kinds:
        return f"On “{summaries.target_name(results)}” no predictor finished." + _diverged(results)
    bayes = _bayes(results, rows)
    group, members = next(iter(kinds.items()))
    clauses = [_best_of(group, members, bayes)]
    clauses += [
        _range_of(its, names, bayes)
        for its, names in kinds.items()
        if its not in (group, "baselines")
    ]
    start = f"On “{summaries.target_name(results)}”, after {wording.count(length, 'token')}, "
    return start + "; ".join(clauses) + _diverged(results) + "."


def regret_bars(results: xr.Dataset, lengths: Sequence[int] | None = None) -> str:
    """Which predictors reach the target's Bayes optimum within error at each length."""
    wanted = summaries.evaluated_lengths(results, lengths)
    if summaries.find(results, summaries.TARGET_BAYES) is None:
        text = "; ".join(_lowest_at(results, length) for length in wanted)
    else:
        clauses = "; ".join(_reaching(results, length) for length in wanted)
        text = f"within error of the target’s Bayes optimum: {clauses}"
    return wording.sentence(text + _diverged(results))


def regret_over_time(results: xr.Dataset) -> str:
    """How regret grows from the tuning length to the end, and who ends above the untuned one."""
    first, *later = summaries.evaluated_lengths(results)
    shown = summaries.steered(results)
    if not later:
        return wording.sentence(_lowest_at(results, first) + _diverged(results))
    last = later[-1]
    before, after = _rows(results, first), _rows(results, last)
    growth = sorted(
        (after[name].value - before[name].value, name)
        for name in shown
        if name in before and name in after
    )
    if not growth:
        return wording.sentence("no predictor finished" + _diverged(results))
    span = f"from {first} to {last} tokens"
    if growth[-1][0] - growth[0][0] < 0.005:
        text = f"{span} the regret of {_all_of(len(growth))} grows by {nats(growth[0][0])} nats"
    else:
        text = (
            f"{span} regret grows most for {growth[-1][1]} ({wording.signed(growth[-1][0])} nats) "
            f"and least for {growth[0][1]} ({wording.signed(growth[0][0])})"
        )
    return wording.sentence(text + _against_untuned(results, after, last) + _diverged(results))


def tuning_curves(results: xr.Dataset) -> str:
    """Where training loss ends, how far above its floor, and whether it was still falling."""
    ends = _tuning_ends(results)
    if not ends:
        return "No predictor was tuned by gradient steps."
    steps = results.sizes["step"]
    window = max(1, steps // 10)
    ranked = sorted((row for row, _ in ends), key=lambda row: row.value)
    when = (
        f"over the last {wording.count(window, 'step')} of {steps:,}"
        if steps > 1
        else "after one step"
    )
    text = f"{when} the mean training loss is {nats(ranked[0].value)} nats per sequence"
    if len(ranked) == 1:
        text += f" for {ranked[0].name}"
    elif ranked[0].is_apart(ranked[-1]):
        text += f" for {ranked[0].name}, the lowest, and {nats(ranked[-1].value)} for "
        text += f"{ranked[-1].name}, the highest"
    else:
        text += f" for {ranked[0].name} and within error of it for every other"
    floor = summaries.loss_floor(results)
    if floor is not None:
        text += f" (exact floor {nats(floor)})"
    falling = [row.name for row, slope in ends if slope < 0]
    rising = [row.name for row, slope in ends if slope > 0]
    text += f"; still falling at the end: {wording.listed(falling)}" if falling else ""
    text += f"; rising at the end: {wording.listed(rising)}" if rising else ""
    if not falling and not rising and window > 1:
        text += "; no curve still moves by more than its noise"
    return wording.sentence(text + _diverged(results))


def internal_states(states: xr.Dataset) -> str:
    """How far prompts carry the state from everything the untuned network visits."""
    background = _finite(states["background"].transpose("sample", "component").values)
    if len(background) < 2:
        return "There is no background to compare the internal states with."
    prompts = states["prompt_trajectory"].transpose("predictor", "prompt", "component").values
    paths = states["trajectory"].transpose("predictor", "sequence", "time", "component").values
    everyone = [str(name) for name in states["predictor"].values]
    prompted = _distances(dict(zip(everyone, prompts, strict=True)), background)
    is_step = np.isfinite(paths).all(axis=-1).any(axis=0)  # [sequence, time]: some end early
    last = np.maximum(is_step.sum(axis=-1) - 1, 0)
    ends = paths[:, np.arange(len(last)), last]
    arrived = _distances(dict(zip(everyone, ends, strict=True)), background)
    clauses = []
    if prompted:
        clauses.append(_farthest("while reading the prompt", prompted))
    if arrived:
        clauses.append(_farthest("after the last token", arrived))
    if not clauses:
        return "No internal state is finite."
    shares = np.atleast_1d(states.attrs.get("explained_variance", []))
    if shares.size:
        clauses.append(f"the two components hold {float(np.sum(shares)):.0%} of the variance")
    unit = "(medians, in multiples of the spread of the grey states)"
    clauses[0] = f"{clauses[0]} {unit}"
    return wording.sentence("; ".join(clauses))


def _finished(results: xr.Dataset, rows: dict[str, _Row]) -> dict[str, list[_Row]]:
    """The rows by group, without groups of which nobody finished."""
    kinds = {
        group: [rows[name] for name in members if name in rows]
        for group, members in summaries.groups(results).items()
    }
    return {group: members for group, members in kinds.items() if members}


def _nearness(group: str, members: list[_Row], bayes: _Row | None) -> str:
    """The best of a group, and its distance to the optimum."""
    best = min(members, key=lambda row: row.value)
    count = len(members)
    which = f"the best of {count}" if count > 1 else "the only"
    text = f"{which} {wording.noun(group, count)} ({best.name}) "
    if bayes is None:
        return f"{text}has a regret of {nats(best.value)} nats"
    if not best.is_apart(bayes):
        return f"{text}reaches the optimum within error"
    gap = best.value - bayes.value
    side = "above" if gap > 0 else "below"
    return f"{text}ends {nats(abs(gap))} nats {side} the optimum"


def _best_of(group: str, members: list[_Row], bayes: _Row | None) -> str:
    best, *others = sorted(members, key=lambda row: row.value)
    text = f"{best.name} has a regret of {nats(best.value)} nats"
    if others:
        text += f", the lowest of {len(members)} {wording.noun(group, 2)}"
    if bayes is not None and bayes.name != best.name:
        text += ", " + _against_bayes(best, bayes)
    level = [str(row) for row in others if not row.is_apart(best)]
    behind = [str(row) for row in others if row.is_apart(best)]
    text += f", level within error with {wording.listed(level)}" if level else ""
    text += f"{' and' if level else ','} ahead of {wording.listed(behind)}" if behind else ""
    return text


def _range_of(group: str, members: list[_Row], bayes: _Row | None) -> str:
    ranked = sorted(members, key=lambda row: row.value)
    low, high = ranked[0], ranked[-1]
    if len(members) == 1:
        return f"{low.name}, the only {wording.noun(group, 1)}, ends at {nats(low.value)}"
    text = (
        f"the {len(members)} {wording.noun(group, 2)} end between {nats(low.value)} ({low.name}) "
    )
    text += f"and {nats(high.value)} ({high.name})"
    if not low.is_apart(high):
        text += ", level within error"
    if bayes is not None:
        level = sum(not row.is_apart(bayes) for row in members)
        text += f", {wording.share(level, len(members))} of them within error of that optimum"
    return text


def _against_bayes(row: _Row, bayes: _Row) -> str:
    optimum = f"the target’s Bayes optimum ({nats(bayes.value)})"
    if not row.is_apart(bayes):
        return f"within error of {optimum}"
    gap = row.value - bayes.value
    if gap > 0:
        return f"{nats(gap)} above {optimum}"
    return f"{nats(-gap)} below {optimum}, which only chance or a mistake can bring about"


def _reaching(results: xr.Dataset, length: int) -> str:
    """Who is within error of the optimum at one length; if nobody, who is nearest."""
    rows = _rows(results, length)
    bayes = _bayes(results, rows)
    others = [rows[name] for name in summaries.steered(results) if name in rows]
    others = [row for row in others if bayes is None or row.name != bayes.name]
    if bayes is None or not others:
        return f"after {wording.count(length, 'token')}, nothing to compare"
    when = f"after {wording.count(length, 'token')} ({nats(bayes.value)})"
    level = [str(row) for row in others if not row.is_apart(bayes)]
    below = [str(row) for row in others if row.is_apart(bayes) and row.value < bayes.value]
    nearest = min(others, key=lambda row: abs(row.value - bayes.value))
    text = f"{when}, {wording.share(len(level), len(others))} of {len(others)}"
    text += f": {wording.listed(level)}" if level else f", nearest {nearest}"
    return text + (
        f", and below it by more than the error {wording.listed(below)}" if below else ""
    )


def _lowest_at(results: xr.Dataset, length: int) -> str:
    rows = _rows(results, length)
    shown = [rows[name] for name in summaries.steered(results) if name in rows]
    if not shown:
        return f"after {wording.count(length, 'token')} no predictor finished"
    best, *others = sorted(shown, key=lambda row: row.value)
    level = [str(row) for row in others if not row.is_apart(best)]
    text = f"after {wording.count(length, 'token')} the lowest regret is that of {best}"
    return text + (f", level within error with {wording.listed(level)}" if level else "")


def _against_untuned(results: xr.Dataset, rows: dict[str, _Row], length: int) -> str:
    untuned = rows.get(summaries.find(results, summaries.UNTUNED) or "")
    names = [name for name in summaries.steered(results) if name in rows]
    others = [rows[name] for name in names if untuned is not None and name != untuned.name]
    if untuned is None or not others:
        return ""
    above = [str(row) for row in others if row.is_apart(untuned) and row.value > untuned.value]
    who = f": {wording.listed(above)}" if above else ""
    ends = "ends" if len(above) <= 1 else "end"
    return (
        f"; at {length} tokens {wording.share(len(above), len(others))} of {len(others)} {ends} "
        f"above the untuned network ({nats(untuned.value)}) by more than the error{who}"
    )


def _tuning_ends(results: xr.Dataset) -> list[tuple[_Row, int]]:
    """Per tuned predictor its mean loss over the last tenth of steps, and where it is heading.

    The heading is the sign of the change from the tenth before, 0 if below three standard errors.
    """
    if "tuning_loss" not in results or not results.sizes.get("step", 0):
        return []
    loss = results["tuning_loss"].transpose("predictor", "repetition", "step").values
    window = max(1, loss.shape[2] // 10)
    ends: list[tuple[_Row, int]] = []
    for name, curves in zip(summaries.names(results), loss, strict=True):
        curves = curves[np.isfinite(curves[:, -2 * window :]).all(axis=1)]
        if not len(curves):
            continue
        last, before = curves[:, -window:], curves[:, -2 * window : -window]
        means = last.mean(axis=1)
        noise = float(last.std()) / np.sqrt(last.size)
        spread = float(means.std(ddof=1)) / np.sqrt(len(means)) if len(means) > 1 else 0.0
        change = float(np.mean(means - before.mean(axis=1))) if window > 1 else 0.0
        moving = abs(change) > max(3 * np.sqrt(2) * noise, 1e-6)
        row = _Row(name, float(np.median(means)), float(np.hypot(noise, spread)))
        ends.append((row, int(np.sign(change)) if moving else 0))
    return ends


def _farthest(when: str, distances: dict[str, float]) -> str:
    far, near = max(distances, key=distances.__getitem__), min(distances, key=distances.__getitem__)
    text = f"{when}, {far} lies {distances[far]:.2f} from the nearest grey state"
    if len(distances) > 1 and distances[far] - distances[near] >= 0.005:
        text += f", the farthest of {len(distances)}, and {near} {distances[near]:.2f}, the nearest"
    elif len(distances) > 1:
        text += f", like the other {len(distances) - 1}"
    return text


def _distances(points: dict[str, np.ndarray], background: np.ndarray) -> dict[str, float]:
    """Median distance to the nearest background state, in spreads (rms) of the background."""
    spread = float(np.sqrt(background.var(axis=0).sum())) or 1.0
    sample = background[:: max(1, len(background) // 20_000)]
    distances: dict[str, float] = {}
    for name, its in points.items():
        finite = _finite(its)
        if len(finite):
            nearest = [np.sqrt(((sample - point) ** 2).sum(axis=1)).min() for point in finite]
            distances[name] = float(np.median(nearest)) / spread
    return distances


def _rows(results: xr.Dataset, length: int) -> dict[str, _Row]:
    """The predictors with a finite median at this length."""
    at = summaries.summarise(results.sel(time=[length])).isel(time=0)
    values = zip(summaries.names(results), at["median"].values, at["error"].values, strict=True)
    return {name: _Row(name, float(v), float(e)) for name, v, e in values if np.isfinite(v)}


def _bayes(results: xr.Dataset, rows: dict[str, _Row]) -> _Row | None:
    return rows.get(summaries.find(results, summaries.TARGET_BAYES) or "")


def _diverged(results: xr.Dataset) -> str:
    summary = summaries.summarise(results)
    parts = [
        f"{int(row['diverged'])} of {int(row['started'])} of {name}"
        for name in summaries.names(results)
        if int((row := summary.sel(predictor=name))["diverged"])
    ]
    return f"; repetitions that diverged: {wording.listed(parts)}" if parts else ""


def _all_of(count: int) -> str:
    return "the only predictor" if count == 1 else f"all {count} predictors"


def _finite(points: np.ndarray) -> np.ndarray:
    return points[np.isfinite(points).all(axis=-1)]
