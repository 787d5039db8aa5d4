"""Measure what an update costs here: a share of the matrix product's peak, or its growth."""

import dataclasses

from promptax.cli.printing import print_rows
from promptax.experiments import bench
from promptax.predictors import Architecture
from promptax.specs import check


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """What is measured, and how often."""

    network: Architecture
    """Architecture: its name, JSON, or @FILE."""
    growth: bool = False
    """Show how the cost grows with length, width, symbols, repetitions, prompt and sequences."""
    updates: int = 10
    """Updates in each round."""
    rounds: int = 5
    """Rounds, in turns; medians are shown."""


def run(flags: Flags, command: str) -> None:
    """Print milliseconds: of each kind of update, or by size."""
    del command
    check(
        not flags.network.trained,
        f"Expected a network to train from its beginning; {type(flags.network).__name__} has "
        "weights that others trained, and updates of 256 sequences take minutes and gigabytes.",
    )
    if flags.growth:
        _print_growth(flags)
    else:
        _print_shares(flags)


def _print_growth(flags: Flags) -> None:
    for size, contenders in bench.growth(flags.network):
        by_number = {str(number): contender for number, contender in contenders.items()}
        seconds = bench.in_turns(by_number, 5, flags.rounds)
        first = next(iter(seconds.values()))
        rows = [(n, f"{1e3 * time:.1f}", f"{time / first:.2f}") for n, time in seconds.items()]
        print_rows(f"one update, by {size}", (size, "milliseconds", "ratio"), rows)


def _print_shares(flags: Flags) -> None:
    jobs = {job: bench.ours(flags.network, job) for job in bench.JOBS}  # what cannot be is refused
    peak = bench.matrix_product_peak()
    rows = []
    for job, seconds in bench.in_turns(jobs, flags.updates, flags.rounds).items():
        work = bench.work(flags.network, job)
        rate = None if work is None else work / seconds
        share = ("–", "–") if rate is None else (f"{rate / 1e9:.0f}", f"{rate / peak:.0%}")
        rows.append((job, f"{1e3 * seconds:.1f}", *share))
    title = f"{type(flags.network).__name__}: matrix products here reach {peak / 1e9:.0f} GFLOP/s"
    print_rows(title, ("one update of", "milliseconds", "GFLOP/s", "of the peak"), rows)
