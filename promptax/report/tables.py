"""Results as rows: one per predictor, numbers in full precision; also as CSV."""

import csv
import io
from collections.abc import Sequence

import xarray as xr

from promptax.doors import door
from promptax.report import summaries

FORMULAS = tuple("=+-@\t\r")  # how formulas begin
_COLUMNS = {"regret": "median", "standard_error": "standard_error", "low": "low", "high": "high"}


@door
def table(results: xr.Dataset, lengths: Sequence[int] | None = None) -> list[dict[str, object]]:
    """One row per predictor, in the order given: who it is, and its regret at each length.

    For a length of 50 tokens the columns are `regret_50` (median over repetitions),
    `standard_error_50` (from the finite number of sequences), `low_50` and `high_50` (quartiles
    over repetitions), all cumulative and in nats; NaN where no repetition finished. `repetitions`
    counts those started, `diverged` those that diverged. `found` is the prompt that was found,
    where the results carry such a coordinate; `cost_tokens_forward` and its like say what a
    repetition's tuning cost, where the results know it.

    Raises:
        TypeError: no Dataset.
        KeyError: it lacks regrets, as what `evaluate` returns does: take `promptax.regret` of it.
        ValueError: a length that was not evaluated.
    """
    wanted = summaries.evaluated_lengths(results, lengths)
    summary = summaries.summarise(results)
    groups = summaries.groups(results)
    group_of = {name: group for group, members in groups.items() for name in members}
    costs = [str(name) for name in results.data_vars if str(name).startswith("cost_")]
    rows: list[dict[str, object]] = []
    for index, name in enumerate(summaries.names(results)):
        predictor_summary = summary.isel(predictor=index)
        row: dict[str, object] = {"predictor": name, "group": group_of[name]}
        for length in wanted:
            at = predictor_summary.sel(time=length)
            row |= {f"{column}_{length}": float(at[part]) for column, part in _COLUMNS.items()}
        row |= {
            "repetitions": int(predictor_summary["started"]),
            "diverged": int(predictor_summary["diverged"]),
        }
        if "found" in results.coords:
            row["found"] = str(results["found"].values[index])
        for cost in costs:
            row[cost] = float(results[cost].isel(predictor=index).mean())
        rows.append(row)
    return rows


def to_csv(rows: Sequence[dict[str, object]]) -> str:
    """Rows as comma-separated text with a header; an undefined number is an empty field.

    A word that a spreadsheet would take for a formula gets an apostrophe before it.

    Raises:
        TypeError: no series of dicts.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _cell(value) for column, value in row.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    """A value as it is written: nothing for NaN, and words that no spreadsheet computes."""
    if value != value:
        return ""
    if not isinstance(value, str) or value[:1] not in FORMULAS:
        return value
    try:
        float(value.replace("−", "-"))
    except ValueError:
        return f"'{value}"
    return value
