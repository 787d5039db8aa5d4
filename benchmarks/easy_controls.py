"""How surely each search of the arena finds the best prompt of an easy control, by evaluations.

    python benchmarks/easy_controls.py --out runs/easy_controls.md

Each search runs a hundred times on each easy instance of the arena's exact track, with its
defaults: prompts of 10 of 4 symbols, 2,048 evaluations without noise. A row says in how many runs
it ended at a best prompt, on the instance where these are fewest, and the first budget (a power of
two) at which 95 of 100 runs had got there on every instance. Keys are fixed: the table comes again.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from promptax.studies.prompt_arena.conditions import (
    EASY,
    EXACT,
    HINDSIGHT,
    SCALES,
    contests,
    easy_instance,
)
from promptax.studies.prompt_arena.contest import Contest
from promptax.studies.prompt_arena.reading import SOLVED

SURE = 0.95


def solved_by_budget(contest: Contest) -> np.ndarray:
    """The share of runs that have found a best prompt within each budget [budget]."""
    ((_, results),) = contest.stages(0)
    return (results["gap"].values / float(results["typical"]) <= SOLVED).mean(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--instances", type=int, default=len(EASY[SCALES["small"].shape]))
    parser.add_argument("--out", type=Path, help="file to write the table to")
    arguments = parser.parse_args()
    sizes = SCALES["small"]._replace(repetitions=arguments.runs)
    instances = [
        contests(sizes, EXACT, easy_instance(sizes.shape, seed))
        for seed in EASY[sizes.shape][: arguments.instances]
    ]
    labels = [label for label in instances[0] if not label.startswith(HINDSIGHT)]
    rows = ["| search | found, worst instance | 95 % within |", "| --- | --- | --- |"]
    for place, label in enumerate(labels, 1):
        shares = np.min([solved_by_budget(named[label]) for named in instances], axis=0)
        sure = instances[0][label].budgets()[shares >= SURE]
        within = f"{sure[0]:,.0f}" if len(sure) else "–"
        rows.append(
            f"| {label} | {shares[-1] * arguments.runs:.0f} of {arguments.runs} | {within} |"
        )
        print(f"{place} of {len(labels)}: {rows[-1]}", file=sys.stderr, flush=True)
        if arguments.out:
            arguments.out.write_text("\n".join(rows) + "\n", encoding="utf-8")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
