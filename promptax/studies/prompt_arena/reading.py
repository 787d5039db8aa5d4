"""Numbers out of the results: curves, tables and rankings, track by track."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from promptax.analysis.anytime import (
    expected_running_time,
    interquartile_mean,
    on_front,
    running_times,
    share_reached,
    stratified_interval,
)
from promptax.studies.prompt_arena.contest import GROUP

TARGETS = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-5)
"""Gaps, in gaps of the median random prompt; the last one stands for 0: losses are float32."""
SOLVED = TARGETS[-1]


class Row(NamedTuple):
    """A search in a track: its place in the table."""

    search: str
    gap: float
    interval: tuple[float, float]
    solved: dict[str, float]  # by kind of instance: the share of runs that end at a best prompt
    running_time: float
    area: float


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
        searches = dict.fromkeys(name[2] for name in self.names if name[0] == track)
        return [s for s in searches if all((instance, s) in runs for instance in instances)]

    def instances(self, track: str, kind: str = "") -> list[str]:
        """The instances of a track, of one kind: "hard", "easy"; "" for all."""
        names = dict.fromkeys(name[1] for name in self.names if name[0] == track)
        return [name for name in names if name.startswith(kind)]

    def contest(self, track: str, instance: str, search: str) -> xr.Dataset:
        """The results of one search on one instance."""
        return self.results[f"{track} · {instance} · {search}"][GROUP].to_dataset()

    def budgets(self, track: str) -> np.ndarray:
        """What had been spent where the recommendations are judged."""
        first = next(name for name in self.names if name[0] == track)
        return self.contest(*first)["budget"].values

    def gaps(self, track: str, search: str, kind: str = "") -> list[np.ndarray]:
        """Gaps [run, budget] on each instance, in gaps of the median random prompt."""
        out = []
        for instance in self.instances(track, kind):
            contest = self.contest(track, instance, search)
            gaps = np.maximum(contest["gap"].values, 0.0) / float(contest["typical"])
            out.append(np.minimum(gaps, 1e6))  # impossible prompts lose infinitely much
        return out

    def least_gaps(self, track: str) -> list[float]:
        """The least gap that any search ended with on each instance, nats, not floored at 0."""
        return [
            min(float(self.contest(track, i, s)["gap"].min()) for s in self.searches(track))
            for i in self.instances(track)
        ]

    def solved(self, track: str, search: str, kind: str) -> float:
        """The share of runs on instances of a kind that end at a best prompt; NaN if none ran."""
        shares = [(gaps[:, -1] <= SOLVED).mean() for gaps in self.gaps(track, search, kind)]
        return float(np.mean(shares)) if shares else float("nan")


def table(reader: Reader, track: str) -> list[Row]:
    """All searches of a track, the smallest interquartile mean of gaps first; of equal ones the one
    that solves more."""
    budgets = reader.budgets(track)
    rows = []
    for search in reader.searches(track):
        curves = reader.gaps(track, search)
        last = [gaps[:, -1] for gaps in curves]
        times = np.concatenate([running_times(gaps, budgets, 0.01) for gaps in curves])
        rows.append(
            Row(
                search,
                interquartile_mean(np.concatenate(last)),
                stratified_interval(last, interquartile_mean),
                {kind: reader.solved(track, search, kind) for kind in ("hard", "easy")},
                expected_running_time(times, float(budgets[-1])),
                float(share_reached(curves, TARGETS).mean()),
            )
        )
    return sorted(rows, key=lambda row: (round(row.gap, 6), -row.area))


def leaderboard(reader: Reader) -> list[dict[str, object]]:
    """The rows of leaderboard.csv: both tracks, never mixed. `place`: searches whose intervals
    overlap that of the place's first one share it."""
    rows = []
    for track in reader.tracks():
        place, first = 0, None
        for number, row in enumerate(table(reader, track)):
            if first is None or row.interval[0] > first.interval[1]:
                place, first = number + 1, row
            rows.append(
                {
                    "track": track,
                    "place": place,
                    "search": row.search,
                    "gap": row.gap,
                    "gap_low": row.interval[0],
                    "gap_high": row.interval[1],
                    "solved_hard": row.solved["hard"],
                    "solved_easy": row.solved["easy"],
                    "expected_running_time": row.running_time,
                    "area": row.area,
                }
            )
    return rows


def means(reader: Reader, track: str) -> dict[str, np.ndarray]:
    """The interquartile mean of gaps [budget] of each search."""
    curves = {s: np.concatenate(reader.gaps(track, s)) for s in reader.searches(track)}
    return {s: np.array([interquartile_mean(c) for c in gaps.T]) for s, gaps in curves.items()}


def front(reader: Reader, track: str) -> list[tuple[str, float, float]]:
    """The searches, budgets and gaps that no other search beats in both, the cheapest first."""
    budgets = reader.budgets(track)
    curves = means(reader, track)
    points = [(s, float(b), float(g)) for s, c in curves.items() for b, g in zip(budgets, c)]  # noqa: B905
    cost, gap = (np.array([point[i] for point in points]) for i in (1, 2))
    best = [point for point, stays in zip(points, on_front(cost, gap), strict=True) if stays]
    return sorted({point[1:]: point for point in best}.values(), key=lambda point: point[1])
