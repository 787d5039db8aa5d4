"""Kept numbers of Genewein et al. 2025, with those of further runs, judged again.

    python benchmarks/judge_again.py docs/results/genewein_2025/paper runs/more/numbers.csv

At the paper's sizes conditions are run over days, in several folders that nobody keeps. What is
kept of them is numbers.csv: regret of every repetition after 50 and after 200 steps. This adds the
rows of further runs to it, and writes claims.csv and printed.csv from all of them. Claims that rest
on more than those regrets (internal states, losses, what is forgotten) keep the rows they have.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import xarray as xr

from promptax import files
from promptax.report.table import to_csv
from promptax.studies.genewein_2025 import Genewein2025
from promptax.studies.study_folder import check_rows

Row = dict[str, str]
STEPS = (50, 200)


def read(path: Path) -> list[Row]:
    """The rows of a table."""
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def merged(kept: Sequence[Row], more: Iterable[Sequence[Row]]) -> list[Row]:
    """The kept rows and those of conditions that they do not have."""
    rows = list(kept)
    for table in more:
        have = {row["condition"] for row in rows}
        rows += [row for row in table if row["condition"] not in have]
    return rows


def results(rows: Sequence[Row]) -> dict[str, xr.DataTree]:
    """Trees as a study has them: regret [predictor, repetition, time], diverged."""
    condition = lambda row: row["condition"]  # noqa: E731
    return {
        name: xr.DataTree(children={"target": xr.DataTree(_dataset(list(some)))})
        for name, some in groupby(sorted(rows, key=condition), condition)
    }


def _dataset(rows: Sequence[Row]) -> xr.Dataset:
    names = list(dict.fromkeys(row["predictor"] for row in rows))
    most = 1 + max(int(row["repetition"]) for row in rows)
    regret = np.full((len(names), most, len(STEPS)), np.nan)
    diverged = np.full((len(names), most), -1)
    for row in rows:
        at = names.index(row["predictor"]), int(row["repetition"])
        regret[at] = [float(row[f"regret_{steps}"] or "nan") for steps in STEPS]
        diverged[at] = int(row["diverged"] or -1)
    return xr.Dataset(
        {
            "regret": (("predictor", "repetition", "time"), regret),
            "diverged": (("predictor", "repetition"), diverged),
        },
        coords={"predictor": names, "time": list(STEPS)},
    )


def judged(claims: Iterable[Row], earlier: Iterable[Row]) -> list[Row]:
    """New rows; the earlier one where a number rests on what is not kept."""
    known = {(row["claim"], row["number_of"]): row for row in earlier}
    rows = []
    for row in claims:
        old = known.get((row["claim"], row["number_of"]))
        rows.append(old if old and int(row["seeds"]) < int(old["seeds"]) else row)
    for _, some in groupby(rows, lambda row: row["claim"]):
        of_claim = list(some)
        verdicts = {row["verdict"] for row in of_claim}
        verdict = next((v for v in ("fails", "undecided") if v in verdicts), "not run")
        for row in of_claim:
            row["claim_verdict"] = "holds" if verdicts == {"holds"} else verdict
    return rows


def main() -> None:
    """Merge, judge, write."""
    folder, *more = map(Path, sys.argv[1:])
    rows = merged(read(folder / "numbers.csv"), map(read, more))
    trees, study = results(rows), Genewein2025()
    text = to_csv(check_rows(study.claims(trees)))
    claims = judged(list(csv.DictReader(text.splitlines())), read(folder / "claims.csv"))
    files.write_text(folder / "numbers.csv", to_csv([dict(row) for row in rows]))
    files.write_text(folder / "claims.csv", to_csv([dict(row) for row in claims]))
    files.write_text(folder / "printed.csv", to_csv(study.comparison(trees)))
    print(f"{len(trees)} conditions")


if __name__ == "__main__":
    main()
