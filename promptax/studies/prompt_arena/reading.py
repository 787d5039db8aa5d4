"""Numbers out of the results: curves, tables and rankings, track by track."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

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

TARGETS = (1.0, 0.5, 0.2, 0.1, 0.05, 1e-5)
"""Gaps, in gaps of the median possible prompt; the last one stands for 0: losses are float32. Of
hard instances only one composition lies below 0.02, so that smaller targets would be one event."""
SOLVED = TARGETS[-1]
NOTHING = 10.0  # larger gaps count as this, infinite ones too: of an impossible prompt, or of none
KINDS = ("hard", "easy", "plateau", "open", "network")
"""Of instances, by the first word of their names. Open: a plateau where impossible prompts win."""
DIGITS = 9  # of gaps: what differs by less is rounding, and a tie
ALL, CHOOSING, JUDGING = slice(None), slice(0, None, 2), slice(1, None, 2)
"""Runs: all of them; every second one, by which one of several labels is chosen; and the others, by
which it is then judged. Who chooses and judges by the same runs finds luck."""


class Row(NamedTuple):
    """A search in a track: its line in the table.

    `place`: those that are not told apart from the first one of a place share it. `wins`: how often
    a run of it has a smaller gap than one of any other search, by which they are ordered.
    `running_time`: what is expected to be spent until a best prompt, the geometric mean over the
    instances where that was ever found, which are `reached` of `instances`; +inf if there is none.
    `hindsight`: the gap at the best of all rates, which is known only afterwards; NaN where none is
    tried.
    """

    search: str
    place: int
    wins: float
    gap: float
    interval: tuple[float, float]
    solved: dict[str, float]  # by kind of instance: the share of runs that end at a best prompt
    running_time: float
    reached: int
    instances: int
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
        """The searches that are ranked."""
        return [label for label in self.labels(track) if not label.startswith((HINDSIGHT, BESIDE))]

    def labels(self, track: str) -> list[str]:
        """Everything that was run in a track."""
        return list(dict.fromkeys(name[2] for name in self.names if name[0] == track))

    def beside(self, track: str) -> list[str]:
        """What gradients tuned, shown beside the searches."""
        return [label for label in self.labels(track) if label.startswith(BESIDE)]

    def tuners(self, track: str) -> dict[str, list[str]]:
        """What gradients tuned, by name, and its labels: one for each learning rate."""
        out: dict[str, list[str]] = {}
        for label in self.beside(track):
            out.setdefault(label.removeprefix(BESIDE).split(", ")[0], []).append(label)
        return out

    def at_other_rates(self, track: str, search: str) -> list[str]:
        """A search at the rates that are not its default."""
        prefix = f"{HINDSIGHT}{search.split(', ')[0]}, "
        return [label for label in self.labels(track) if label.startswith(prefix)]

    def instances(self, track: str, kind: str = "") -> list[str]:
        """The instances of a track on which everything was run, of one of `KINDS`; "" for all. Only
        there are all held against the same."""
        missing = self.incomplete(track)
        return [
            name
            for name in self._begun(track)
            if name not in missing and (not kind or name.split()[0] == kind)
        ]

    def incomplete(self, track: str) -> list[str]:
        """The instances of which a study that was stopped has only a part. They are left out."""
        labels = self.labels(track)
        return [
            instance
            for instance in self._begun(track)
            if any(name_of(track, instance, label) not in self.results for label in labels)
        ]

    def _begun(self, track: str) -> list[str]:
        """The instances of a track on which anything was run."""
        return list(dict.fromkeys(name[1] for name in self.names if name[0] == track))

    def contest(self, track: str, instance: str, search: str) -> xr.Dataset:
        """The results of one search on one instance."""
        return self.results[name_of(track, instance, search)][GROUP].to_dataset()

    def budgets(self, track: str) -> np.ndarray:
        """What had been spent where the recommendations are judged."""
        first = next(name for name in self.names if name[0] == track)
        return self.contest(*first)["budget"].values

    def gaps(self, track: str, search: str, kind: str = "") -> list[np.ndarray]:
        """Gaps [run, budget] on each instance, in gaps of the median possible prompt."""
        out = []
        for instance in self.instances(track, kind):
            contest = self.contest(track, instance, search)
            gaps = contest["gap"].values / float(contest["typical"])
            if not search.startswith(BESIDE):  # what is below 0 there is real
                gaps = np.where(gaps <= SOLVED, 0.0, np.round(gaps, DIGITS))
            out.append(np.minimum(gaps, NOTHING))
        return out

    def of_runs(self, track: str, search: str, name: str) -> list[np.ndarray]:
        """A number of every run on each instance, such as what it spent."""
        names = self.instances(track)
        return [self.contest(track, instance, search)[name].values for instance in names]

    def least_said(self, track: str) -> dict[str, float]:
        """What the runs on each instance report at least, less the loss of the best prompt, nats;
        all that was run as a search, whether it is ranked or not."""
        out: dict[str, float] = {}
        for instance in self._begun(track):
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
    """All searches of a track, those first that win most often against the others.

    A search shares the place of the one before it unless the interval of the probability that the
    first one of that place has the smaller gap excludes one half.
    """
    searches = reader.searches(track)
    last = {search: [gaps[:, -1] for gaps in reader.gaps(track, search)] for search in searches}
    wins = {search: mean_wins(last, search) for search in searches}
    area = {search: float(curve.mean()) for search, curve in reached(reader, track).items()}
    ordered = sorted(searches, key=lambda search: (-round(wins[search], DIGITS), -area[search]))
    rows, place, first = [], 0, ""
    for number, search in enumerate(ordered):
        low, high = improvement_interval(last[first], last[search]) if first else (1.0, 1.0)
        if not low <= 0.5 <= high:
            place, first = number + 1, search
        times = running_times_by_instance(reader, track, search)
        finite = [time for time in times if np.isfinite(time)]
        rows.append(
            Row(
                search,
                place,
                wins[search],
                interquartile_mean(np.concatenate(last[search])),
                stratified_interval(last[search], interquartile_mean),
                {kind: reader.solved(track, search, kind) for kind in KINDS},
                float(np.exp(np.mean(np.log(finite)))) if finite else float("inf"),
                len(finite),
                len(times),
                area[search],
                probability_of_improvement(last[ordered[0]], last[search]),
                best_in_hindsight(reader, track, search),
            )
        )
    return rows


def mean_wins(last: Mapping[str, list[np.ndarray]], search: str) -> float:
    """How often a run of the search has a smaller gap than one of another, over all others; a tie
    counts half, and so does a search that is alone."""
    chances = [
        probability_of_improvement(last[search], gaps)
        for other, gaps in last.items()
        if other != search
    ]
    return float(np.mean(chances)) if chances else 0.5


def running_times_by_instance(reader: Reader, track: str, search: str) -> list[float]:
    """What is expected to be spent until a best prompt on each instance, with restarts."""
    budgets, spent = reader.budgets(track), reader.of_runs(track, search, "spent")
    return [
        expected_running_time(running_times(gaps, budgets, SOLVED), runs)
        for gaps, runs in zip(reader.gaps(track, search), spent, strict=True)
    ]


def best_in_hindsight(reader: Reader, track: str, search: str) -> float:
    """The smallest interquartile mean of gaps over all rates; NaN where only one was tried."""
    others, base = reader.at_other_rates(track, search), search.split(", ")[0]
    if not others or base not in reader.searches(track):
        return float("nan")
    return min(final_gap(reader, track, label) for label in [base, *others])


def final_gaps(
    reader: Reader, track: str, label: str, runs: slice = ALL
) -> list[Float[np.ndarray, " _run"]]:
    """Gaps [run] at the end of the budget, on each instance."""
    return [gaps[runs, -1] for gaps in reader.gaps(track, label)]


def final_gap(reader: Reader, track: str, label: str, runs: slice = ALL) -> float:
    """The interquartile mean of gaps at the end of the budget."""
    return interquartile_mean(np.concatenate(final_gaps(reader, track, label, runs)))


def choose_label(reader: Reader, track: str, labels: Sequence[str]) -> str:
    """The label with the least gap on every second run. It is to be judged by the others."""
    return min(labels, key=lambda label: final_gap(reader, track, label, CHOOSING))


def judge_label(reader: Reader, track: str, label: str) -> tuple[float, tuple[float, float]]:
    """The gap of a label that was chosen, on the runs that did not choose it, and its interval."""
    gaps = final_gaps(reader, track, label, JUDGING)
    return interquartile_mean(np.concatenate(gaps)), stratified_interval(gaps, interquartile_mean)


def leaderboard(reader: Reader) -> list[dict[str, object]]:
    """The rows of leaderboard.csv: both tracks, never mixed. What was spent is the mean of runs,
    evaluations or tokens; tokens of a derivative count in both directions; seconds are those of all
    runs, with what was compiled, and for information alone."""
    return [
        {
            "track": track,
            "place": row.place,
            "search": row.search,
            "wins": row.wins,
            "gap": row.gap,
            "gap_low": row.interval[0],
            "gap_high": row.interval[1],
            "best_in_hindsight": row.hindsight,
            "first_is_better": row.behind_first,
            **{f"solved_{kind}": row.solved[kind] for kind in KINDS},
            "expected_running_time_to_a_best_prompt": row.running_time,
            "instances_where_it_was_found": row.reached,
            "instances": row.instances,
            "area": row.area,
            **{
                name: float(np.mean(np.concatenate(reader.of_runs(track, row.search, name))))
                for name in ("spent", "tokens_forward", "tokens_backward")
            },
            "seconds": float(np.sum(reader.of_runs(track, row.search, "elapsed"))),
        }
        for track in reader.tracks()
        if reader.instances(track)
        for row in table(reader, track)
    ]


def reached(reader: Reader, track: str) -> dict[str, np.ndarray]:
    """The share of (instance, target) pairs that are reached [budget], of each search; those that
    stop early are begun anew."""
    budgets = reader.budgets(track)
    return {
        search: share_reached(
            reader.gaps(track, search), reader.of_runs(track, search, "spent"), budgets, TARGETS
        )
        for search in reader.searches(track)
    }


def profiles(reader: Reader, track: str, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """The share of runs that end with a gap of at most each threshold, of each search."""
    return {
        search: profile(np.concatenate([g[:, -1] for g in reader.gaps(track, search)]), thresholds)
        for search in reader.searches(track)
    }


def means(reader: Reader, track: str) -> dict[str, np.ndarray]:
    """The interquartile mean of gaps [budget] of each search."""
    return {search: mean_gaps(reader, track, search) for search in reader.searches(track)}


def mean_gaps(reader: Reader, track: str, label: str, runs: slice = ALL) -> np.ndarray:
    """The interquartile mean of gaps [budget]."""
    together = np.concatenate([gaps[runs] for gaps in reader.gaps(track, label)])
    return np.array([interquartile_mean(gaps) for gaps in together.T])


def front(reader: Reader, track: str) -> list[tuple[list[str], float, float]]:
    """Budgets and gaps that no other search beats in both, the cheapest first, and the searches
    that have them, of which there may be several."""
    curves = means(reader, track)
    names: dict[tuple[float, float], list[str]] = {}
    for search, curve in curves.items():
        for budget, gap in zip(reader.budgets(track), curve, strict=True):
            if gap < NOTHING:
                names.setdefault((float(budget), round(float(gap), DIGITS)), []).append(search)
    points = sorted(names)
    cost, gap = (np.array([point[axis] for point in points]) for axis in (0, 1))
    stays = on_front(cost, gap)
    return [(names[point], *point) for point, leads in zip(points, stays, strict=True) if leads]
