"""Numbers out of the results: curves, tables and rankings, track by track."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from promptax.analysis.anytime import (
    expected_running_time,
    improvement_interval,
    interquartile_mean,
    on_front,
    probability_of_improvement,
    profile,
    running_times,
    share_reached,
    stratified_interval,
)
from promptax.studies.prompt_arena.conditions import BESIDE, HINDSIGHT, name_of
from promptax.studies.prompt_arena.contest import GROUP

TARGETS = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-5)
"""Gaps, in gaps of the median random prompt; the last one stands for 0: losses are float32."""
SOLVED = TARGETS[-1]
NOTHING = 1e6  # the gap before anything is recommended, or behind an impossible prompt: infinite


class Row(NamedTuple):
    """A search in a track: its line in the table.

    `place`: those that are not told apart from the first one of a place share it. `hindsight`: the
    gap at the best of all rates, which is known only afterwards; NaN where none is tried.
    """

    search: str
    place: int
    gap: float
    interval: tuple[float, float]
    solved: dict[str, float]  # by kind of instance: the share of runs that end at a best prompt
    running_time: float
    area: float
    behind_first: float  # probability of improvement of the track's first search over this one
    hindsight: float


class Reader:
    """Reads results by track, instance and search; what is not there is empty."""

    def __init__(self, results: Mapping[str, xr.DataTree]) -> None:
        self.results = results
        self.names = [name.split(" · ") for name in results]

    def tracks(self) -> list[str]:
        """The tracks of which there are results."""
        return list(dict.fromkeys(name[0] for name in self.names))

    def searches(self, track: str) -> list[str]:
        """The searches that were run on every instance of a track that anybody was run on."""
        instances = self.instances(track)
        runs = {(name[1], name[2]) for name in self.names if name[0] == track}
        return [
            label
            for label in self.labels(track)
            if not label.startswith((HINDSIGHT, BESIDE))
            and all((instance, label) in runs for instance in instances)
        ]

    def labels(self, track: str) -> list[str]:
        """Everything that was run in a track."""
        return list(dict.fromkeys(name[2] for name in self.names if name[0] == track))

    def beside(self, track: str) -> list[str]:
        """What gradients tuned, shown beside the searches."""
        return [label for label in self.labels(track) if label.startswith(BESIDE)]

    def at_other_rates(self, track: str, search: str) -> list[str]:
        """A search at the rates that are not its default."""
        prefix = f"{HINDSIGHT}{search.split(', ')[0]}, "
        return [label for label in self.labels(track) if label.startswith(prefix)]

    def instances(self, track: str, kind: str = "") -> list[str]:
        """The instances of a track, of one kind: "hard", "easy"; "" for all."""
        names = dict.fromkeys(name[1] for name in self.names if name[0] == track)
        return [name for name in names if name.startswith(kind)]

    def contest(self, track: str, instance: str, search: str) -> xr.Dataset:
        """The results of one search on one instance."""
        return self.results[name_of(track, instance, search)][GROUP].to_dataset()

    def budgets(self, track: str) -> np.ndarray:
        """What had been spent where the recommendations are judged."""
        first = next(name for name in self.names if name[0] == track)
        return self.contest(*first)["budget"].values

    def gaps(self, track: str, search: str, kind: str = "") -> list[np.ndarray]:
        """Gaps [run, budget] on each instance where it was run, in gaps of the median random
        prompt."""
        out = []
        for instance in self.instances(track, kind):
            if name_of(track, instance, search) not in self.results:
                continue
            contest = self.contest(track, instance, search)
            gaps = contest["gap"].values / float(contest["typical"])
            if not search.startswith(BESIDE):  # what is below 0 there is rounding
                gaps = np.maximum(gaps, 0.0)
            out.append(np.minimum(gaps, NOTHING))
        return out

    def least_said(self, track: str) -> dict[str, float]:
        """What the runs on each instance report at least, less the loss of the best prompt, nats;
        all that was run as a search, whether it is ranked or not."""
        out: dict[str, float] = {}
        for instance in self.instances(track):
            for label in self.labels(track):
                there = name_of(track, instance, label) in self.results
                if there and not label.startswith(BESIDE):
                    said = float(self.contest(track, instance, label)["said"].min())
                    out[instance] = min(said, out.get(instance, np.inf))
        return out

    def solved_shares(self, track: str, search: str, kind: str) -> list[float]:
        """The share of runs on each instance of a kind that end at a best prompt."""
        return [float((gaps[:, -1] <= SOLVED).mean()) for gaps in self.gaps(track, search, kind)]

    def solved(self, track: str, search: str, kind: str) -> float:
        """The mean of these shares; NaN if there is no such instance."""
        shares = self.solved_shares(track, search, kind)
        return float(np.mean(shares)) if shares else float("nan")


def table(reader: Reader, track: str) -> list[Row]:
    """All searches of a track, the smallest interquartile mean of gaps first; of equal ones the one
    whose run-time distribution has more area below it."""
    searches = reader.searches(track)
    last = {search: [gaps[:, -1] for gaps in reader.gaps(track, search)] for search in searches}
    gap = {search: interquartile_mean(np.concatenate(last[search])) for search in searches}
    area = {search: float(curve.mean()) for search, curve in reached(reader, track).items()}
    ordered = sorted(searches, key=lambda search: (round(gap[search], 6), -area[search]))
    budgets, rows, place, first = reader.budgets(track), [], 0, ""
    for number, search in enumerate(ordered):
        if not first or improvement_interval(last[first], last[search])[0] > 0.5:
            place, first = number + 1, search
        curves = reader.gaps(track, search)
        times = np.concatenate([running_times(gaps, budgets, 0.01) for gaps in curves])
        rows.append(
            Row(
                search,
                place,
                gap[search],
                stratified_interval(last[search], interquartile_mean),
                {kind: reader.solved(track, search, kind) for kind in ("hard", "easy")},
                expected_running_time(times, float(budgets[-1])),
                area[search],
                probability_of_improvement(last[ordered[0]], last[search]),
                best_in_hindsight(reader, track, search),
            )
        )
    return rows


def best_in_hindsight(reader: Reader, track: str, search: str) -> float:
    """The smallest interquartile mean of gaps over all rates; NaN where only one was tried."""
    others, base = reader.at_other_rates(track, search), search.split(", ")[0]
    if not others or base not in reader.searches(track):
        return float("nan")
    return min(final_gap(reader, track, label) for label in [base, *others])


def final_gap(reader: Reader, track: str, label: str) -> float:
    """The interquartile mean of gaps at the end of the budget."""
    return interquartile_mean(np.concatenate([gaps[:, -1] for gaps in reader.gaps(track, label)]))


def leaderboard(reader: Reader) -> list[dict[str, object]]:
    """The rows of leaderboard.csv: both tracks, never mixed."""
    return [
        {
            "track": track,
            "place": row.place,
            "search": row.search,
            "gap": row.gap,
            "gap_low": row.interval[0],
            "gap_high": row.interval[1],
            "best_in_hindsight": row.hindsight,
            "first_is_better": row.behind_first,
            "solved_hard": row.solved["hard"],
            "solved_easy": row.solved["easy"],
            "expected_running_time": row.running_time,
            "area": row.area,
        }
        for track in reader.tracks()
        for row in table(reader, track)
    ]


def reached(reader: Reader, track: str) -> dict[str, np.ndarray]:
    """The share of (run, target) pairs that are reached [budget], of each search."""
    return {s: share_reached(reader.gaps(track, s), TARGETS) for s in reader.searches(track)}


def profiles(reader: Reader, track: str, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """The share of runs that end with a gap of at most each threshold, of each search."""
    return {
        search: profile(np.concatenate([g[:, -1] for g in reader.gaps(track, search)]), thresholds)
        for search in reader.searches(track)
    }


def means(reader: Reader, track: str) -> dict[str, np.ndarray]:
    """The interquartile mean of gaps [budget] of each search."""
    return {search: mean_gaps(reader, track, search) for search in reader.searches(track)}


def mean_gaps(reader: Reader, track: str, label: str) -> np.ndarray:
    """The interquartile mean of gaps [budget]."""
    runs = np.concatenate(reader.gaps(track, label))
    return np.array([interquartile_mean(gaps) for gaps in runs.T])


def front(reader: Reader, track: str) -> list[tuple[str, float, float]]:
    """The searches, budgets and gaps that no other search beats in both, the cheapest first."""
    budgets = reader.budgets(track)
    curves = means(reader, track)
    points = [(s, float(b), float(g)) for s, c in curves.items() for b, g in zip(budgets, c)]  # noqa: B905
    cost, gap = (np.array([point[i] for point in points]) for i in (1, 2))
    best = [point for point, stays in zip(points, on_front(cost, gap), strict=True) if stays]
    return sorted({point[1:]: point for point in best}.values(), key=lambda point: point[1])
