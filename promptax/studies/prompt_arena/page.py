"""The page: for each track its table, figures and words, and what each search does."""

import inspect
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr

from promptax.report.pages.study import Part
from promptax.studies.prompt_arena import figures
from promptax.studies.prompt_arena.conditions import (
    EVALUATIONS,
    EXACT,
    LONG,
    NETWORK,
    SAMPLED,
    entrants,
)
from promptax.studies.prompt_arena.reading import (
    JUDGING,
    KINDS,
    Reader,
    Row,
    choose_label,
    judge_label,
    mean_gaps,
    table,
)

_START = (
    "A prompt of a few symbols is put before what a predictor reads, so that it predicts one "
    "target better. Which prompt is the best? Here the predictor is exact and the prompts are few, "
    "so that the loss behind every one of them is known, and with it the best. The searches do not "
    "know it. Each has the same budget, and says at any time which prompt it would take.\n\n"
    "The gap of a prompt is how much more is lost behind it than behind the best one: 0 is the "
    "best prompt, 1 is as bad as a random one (the median of all possible ones). Hard instances "
    "are made so that going downhill gets stuck; easy ones are controls. On a plateau most prompts "
    "are impossible and lose infinitely much, so that no change of one symbol says where to go; "
    "on an open plateau they may win, and lose what the uniform prediction does. Every run on an "
    "exact predictor draws names for the symbols, so that none of them is the first."
)
_ABOUT = {
    EXACT: (
        "Does the search search? An evaluation gives a prompt's expected loss without noise, "
        "over all sequences. Cost counts evaluations; a gradient costs three."
    ),
    SAMPLED: (
        "Does it cope with noise? Losses are means over batches of drawn sequences. Cost counts "
        "tokens: every symbol that is read is one, three where a derivative goes through it. What "
        "a search recommends is judged afterwards on exact losses, which it never sees."
    ),
    NETWORK: (
        "And on a network? It learned to predict what the exact predictor knows. It reads prompts "
        "of 6 symbols, so that the loss behind all 4,096 is computed. Cost counts tokens. Rates "
        "are not raced here. All runs on a prior have one network: intervals are over what "
        "searches draw, not over networks. What gradients tune on it stands below, at equal tokens."
    ),
}
_COLUMNS = (
    "The order: how often a run has a smaller gap than a run of another search on the same "
    "instance, over all others; a tie counts half (“wins” in leaderboard.csv). Place: searches "
    "with the same number are not told apart from the first of them: the 95 % interval of the "
    "chance that the one has the smaller gap contains one half.\n\n"
    "Gap: at the end of the budget, the mean over the middle half of all runs, with a 95 % "
    "interval; above 10, or with no prompt at all, it counts as 10. Hard, easy and so on: the "
    "share of runs on such instances that end at a best prompt. Cost: what is expected to be spent "
    "until a best prompt, if runs that fail are begun anew: the geometric mean over instances; in "
    "brackets on how many of them a run ever found one, if not on all.\n\n"
    "What each search does is told at the end of the page."
)
_RATES = (
    "Some searches have a number that suits one target and not another, such as a learning rate. "
    "Their gaps at the default; with several values raced, which is paid inside the budget; and at "
    "the best of these values, which nobody knows beforehand, so that it is not ranked."
)
_BESIDE = {
    SAMPLED: (
        "Rows of weights over symbols, tuned by gradients on the same batches, at equal tokens. A "
        "prompt of symbols is a special case, so that a gap may be below 0: better than every "
        "prompt of symbols. These are ranked with nothing. An exact predictor has no embedding and "
        "no weights to tune: see the network. Weights of a softmax are never 0: such a row counts "
        "a little of each symbol, and rules out every component with a zero. On hard instances "
        "only the component without zeros is left, however they are tuned."
    ),
    NETWORK: (
        "At equal tokens: rows of a prompt that may be anything (soft), weights over symbols "
        "(simplex) or any numbers for symbols (real), two soft prompts as a mixture, a low-rank "
        "change of the weights, all weights, and two short prompts of symbols as a mixture. A gap "
        "below 0 is better than every prompt of 6 symbols. These are ranked with nothing."
    ),
}


_CHOSEN = (
    "Each was run at several learning rates. The rate is taken that is best on every second run, "
    "and the other runs judge it, with a 95 % interval; so is the search taken that stands beside "
    "them. What was read at the other rates is not charged, so that tuners have the advantage of a "
    "choice that others paid."
)
_LEARNING_RATE = "learning rate"
_MORE = "docs/searches.md says when to take which."


def parts(results: Mapping[str, xr.DataTree]) -> list[Part]:
    """What this is, and a part for each track of which there are results."""
    reader = Reader(results)
    tracks = [t for t in reader.tracks() if reader.searches(t) and reader.instances(t)]
    about = [Part("What this is", _START, ())] if tracks else []
    tuned = [_beside(reader, track) for track in tracks if reader.beside(track)]
    told = [_describe_searches(reader, tracks)] if tracks else []
    return [*about, *(part for track in tracks for part in _of_track(reader, track)), *tuned, *told]


def _of_track(reader: Reader, track: str) -> Iterator[Part]:
    """The part of a track, and what its rates do, if any were tried."""
    rows = table(reader, track)
    yield _part(reader, track, rows)
    lines = _rates(rows)
    if lines:
        yield Part(f"Rates in the {track} track", _RATES, (), lines)


def _rates(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The gaps of searches that have a rate."""
    gaps = {row.search: row.gap for row in rows}
    lines = []
    for row in rows:
        base, _, rate = row.search.removesuffix(" raced").partition(", ")
        if rate and base in gaps:
            lines.append(
                {
                    "search": base,
                    "rate": rate,
                    "default": f"{gaps[base]:.3f}",
                    "raced": f"{row.gap:.3f}",
                    "hindsight": f"{row.hindsight:.3f}",
                }
            )
    return lines


def _describe_searches(reader: Reader, tracks: Sequence[str]) -> Part:
    """What each search does: the first sentence of its class's docstring, and under which other
    labels it entered. A plugin's class is known where it is imported."""
    labels = {label for track in tracks for label in reader.searches(track)}
    others: dict[type, list[str]] = {}
    for label, search in entrants(LONG.prompt_length, EVALUATIONS[LONG]).items():
        if label in labels:
            kind = type(search)
            others.setdefault(kind, []).extend([label] if label != kind.__name__ else [])
    lines = []
    for kind, names in others.items():
        also = f" (in the tables: {', '.join(names)})" if names else ""
        lines.append(f"{kind.__name__}{also}: {first_sentence(kind)}")
    return Part("What each search does", "\n\n".join([*lines, _MORE]), ())


def first_sentence(kind: type) -> str:
    """The first sentence of a class's docstring, on one line."""
    text = " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".") + "."


def _part(reader: Reader, track: str, rows: Sequence[Row]) -> Part:
    unit = "evaluations" if track == EXACT else "tokens"
    order = [row.search for row in rows]
    first = min(figures.NAMED, len(rows))
    named = f"the {first} first searches of the table by name, the others in grey"
    drawn = [
        (
            f"The gap by cost (middle half of all runs): {named}.",
            figures.gaps(reader, track, order, unit),
        ),
        (
            "Aims reached by cost, gaps of 1 down to 0 on every instance; runs that stop early are "
            f"begun anew: {named}. Higher is better.",
            figures.aims(reader, track, order, unit),
        ),
        (
            f"Runs that end with at most such a gap: {named}. Higher is better.",
            figures.runs_by_gap(reader, track, order),
        ),
        (
            "Who leads at which cost: nothing else has a smaller gap for as little.",
            figures.pareto(reader, track, unit),
        ),
    ]
    about = f"{_ABOUT[track]}\n\n{_first(rows)}\n\n{_COLUMNS}{_name_left_out(reader, track)}"
    return Part(f"{track.capitalize()} track", about, drawn, _lines(rows))


def _lines(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The table of a track, in words; of the kinds of instances those that the track has."""
    kinds = [kind for kind in KINDS if not all(np.isnan(row.solved[kind]) for row in rows)]
    return [
        {
            "search": row.search,
            "place": str(row.place),
            "gap": f"{row.gap:.3f}",
            "95 %": f"{row.interval[0]:.2f}–{row.interval[1]:.2f}",
            **{kind: _share(row.solved[kind]) for kind in kinds},
            "cost": _cost(row),
        }
        for row in rows
    ]


def _first(rows: Sequence[Row]) -> str:
    """What came out, in a sentence."""
    ahead = [row.search for row in rows if row.place == 1]
    if len(ahead) == 1:
        return f"First is {ahead[0]}."
    return f"First are {', '.join(ahead)}, which are not told apart."


def _cost(row: Row) -> str:
    """What a best prompt is expected to cost, and where it never comes."""
    if not row.reached:
        return "never"
    where = "" if row.reached == row.instances else f" ({row.reached}/{row.instances})"
    return f"{row.running_time:,.0f}{where}"


def _name_left_out(reader: Reader, track: str) -> str:
    """What is said of instances that are not complete."""
    missing = reader.incomplete(track)
    if not missing:
        return ""
    return f"\n\nNot complete yet, and left out: {', '.join(missing)}."


def _share(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.0%}"


def _beside(reader: Reader, track: str) -> Part:
    """What gradients tune, and the best search: each was chosen by every second run, and is judged
    by the others."""
    tuners = reader.tuners(track)
    chosen = {name: choose_label(reader, track, labels) for name, labels in tuners.items()}
    search = choose_label(reader, track, reader.searches(track))
    chosen[f"{search} (search)"] = search
    judged = {name: judge_label(reader, track, label) for name, label in chosen.items()}
    order = sorted(judged, key=lambda name: judged[name][0])
    rows = [
        {
            "what": name,
            "learning rate": chosen[name].partition(f"{_LEARNING_RATE} ")[2] or "–",
            "gap": f"{judged[name][0]:.3f}",
            "95 %": "{:.2f} to {:.2f}".format(*judged[name][1]),
        }
        for name in order
    ]
    curves = {name: mean_gaps(reader, track, label, JUDGING) for name, label in chosen.items()}
    figure = figures.curves_by_cost(
        reader, track, curves, order, "tokens", "Tuned by gradients", logarithmic=False
    )
    reading = (
        "The gap by cost: of each tuner at the rate that was chosen, and of the search that was. 0 "
        "is the best prompt of symbols."
    )
    heading = f"Beside the {track} track: what gradients tune"
    about = f"{_BESIDE[track]}\n\n{_CHOSEN}"
    return Part(heading, about, [(reading, figure)], rows)
