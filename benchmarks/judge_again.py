"""Kept numbers of Genewein et al. 2025, with those of further runs, judged again.

    python benchmarks/judge_again.py docs/results/genewein_2025/paper runs/more
    python benchmarks/printed_table.py docs/results/genewein_2025/paper/printed.csv

At the paper's sizes conditions are run over days, in several folders that nobody keeps. What is
kept of them is numbers.csv: regret of every repetition after 50 and after 200 steps. This adds the
rows of further runs, and writes claims.csv and printed.csv from all of them. A row is kept already
if it has the same condition, predictor and repetition; it must have the same numbers then, and the
runs the same seed, scale and settings, but for the numbers of pretraining seeds and repetitions,
each of which is the same however many there are, and for the methods that were asked for. Claims
that rest on more than those regrets (internal states, losses, what is forgotten) keep the rows they
have.
"""

import argparse
import csv
import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from promptax import files
from promptax.report.tables import to_csv
from promptax.studies.genewein_2025 import Genewein2025
from promptax.studies.judging import verdict_of
from promptax.studies.study_folder import check_rows

Row = dict[str, str]
STEPS = (50, 200)
COUNTS = {"pretraining_seeds", "repetitions", "methods"}  # of what rows themselves say
NAMES = ("condition", "predictor", "repetition")


def read(path: Path) -> list[Row]:
    """The rows of a table."""
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def settings_of(folder: Path) -> dict[str, Any]:
    """What numbers depend on, of what a run folder says of itself."""
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    study = {name: value for name, value in spec["study"].items() if name not in COUNTS}
    return {"seed": spec["seed"], "scale": spec["scale"], "study": study}


def check_settings(kept: Path, run: Path) -> None:
    """Refuse a run that was made in another way than what is kept."""
    expected, got = settings_of(kept), settings_of(run)
    if got != expected:
        raise SystemExit(f"Expected a run with {expected}, as in {kept}; got {got} in {run}.")


def merge(tables: Iterable[Sequence[Row]]) -> list[Row]:
    """The rows of all tables, each once, in the order of conditions."""
    rows: dict[tuple[str, ...], Row] = {}
    for table in tables:
        for row in table:
            name = tuple(row[column] for column in NAMES)
            if rows.setdefault(name, row) != row:
                raise SystemExit(
                    f"Expected one set of numbers for {', '.join(name)}; got two: {rows[name]} and "
                    f"{row}. Leave out one of the runs."
                )
    conditions = list(dict.fromkeys(row["condition"] for row in rows.values()))
    return sorted(rows.values(), key=lambda row: conditions.index(row["condition"]))


def trees_of(rows: Sequence[Row]) -> dict[str, xr.DataTree]:
    """Results as a study has them: regret [predictor, repetition, time], diverged."""
    in_order = sorted(rows, key=lambda row: row["condition"])
    return {
        name: xr.DataTree(children={"target": xr.DataTree(_dataset(list(of_condition)))})
        for name, of_condition in groupby(in_order, lambda row: row["condition"])
    }


def _dataset(rows: Sequence[Row]) -> xr.Dataset:
    names = list(dict.fromkeys(row["predictor"] for row in rows))
    repetitions = 1 + max(int(row["repetition"]) for row in rows)
    regret = np.full((len(names), repetitions, len(STEPS)), np.nan)
    diverged = np.full((len(names), repetitions), -1)
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


def judge(claims: Iterable[Row], earlier: Iterable[Row]) -> list[Row]:
    """New rows; the earlier one where a number rests on what is not kept."""
    earlier_rows = {(row["claim"], row["number_of"]): row for row in earlier}
    rows = []
    for row in claims:
        before = earlier_rows.get((row["claim"], row["number_of"]))
        rows.append(before if before and int(row["seeds"]) < int(before["seeds"]) else row)
    for _, rows_of_claim in groupby(rows, lambda row: row["claim"]):
        of_claim = list(rows_of_claim)
        verdict = verdict_of({row["verdict"] for row in of_claim})
        for row in of_claim:
            row["claim_verdict"] = verdict
    return rows


def main() -> None:
    """Merge, judge, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kept", type=Path, help="folder of what is kept")
    parser.add_argument("run", type=Path, nargs="*", help="run folders to add")
    asked = parser.parse_args()
    for run in asked.run:
        check_settings(asked.kept, run)
    kept = read(asked.kept / "numbers.csv")
    rows = merge([kept, *(read(run / "numbers.csv") for run in asked.run)])
    trees, study = trees_of(rows), Genewein2025()
    text = to_csv(check_rows(study.claims(trees)))
    claims = judge(list(csv.DictReader(text.splitlines())), read(asked.kept / "claims.csv"))
    files.write_text(asked.kept / "numbers.csv", to_csv([dict(row) for row in rows]))
    files.write_text(asked.kept / "claims.csv", to_csv([dict(row) for row in claims]))
    files.write_text(asked.kept / "printed.csv", to_csv(study.comparison(trees)))
    print(f"{len(rows) - len(kept)} rows were added; {len(trees)} conditions are kept now")


if __name__ == "__main__":
    main()
