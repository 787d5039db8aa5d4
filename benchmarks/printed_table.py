"""The printed numbers beside a study's own, as tables in Markdown.

    python benchmarks/printed_table.py runs/genewein2025-paper/printed.csv

A table for each network and target: cumulative regret in nats, the median over repetitions, then
over pretrained networks, ± the standard deviation between those networks. A number in italics
agrees with the printed one within the spread between networks alone; one in bold neither so nor
within 0.1 nats or a fifth.
"""

import csv
import sys
from itertools import groupby
from pathlib import Path

from promptax.report import wording

Row = dict[str, str]


def tables(rows: list[Row]) -> str:
    """Markdown, a table for each network, variant and target."""
    place = lambda row: (row["network"], row["variant"], row["target"])  # noqa: E731
    return "\n".join(_table(", ".join(name), list(some)) for name, some in groupby(rows, place))


def _table(title: str, rows: list[Row]) -> str:
    steps = sorted({int(row["steps"]) for row in rows})
    methods = dict.fromkeys(row["method"] for row in rows)
    found = {(row["method"], int(row["steps"])): row for row in rows}
    heads = [f"{steps[0]} steps: ours", "printed"]
    heads += [text for n in steps[1:] for text in (f"{n}: ours", "printed")]
    networks = max((int(it["pretrainings"]) for it in rows if it["agrees"] != "exact"), default=0)
    title += f" ({wording.count(networks, 'network')})" * (networks > 0)
    lines = [f"| {title} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for method in methods:
        cells = [cell for n in steps for cell in _cells(found.get((method, n)))]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cells(row: Row | None) -> tuple[str, str]:
    if row is None:
        return "–", "–"
    ours = wording.nats(float(row["ours"]))
    if row["agrees"] != "exact" and row["pretrainings"] != "1":
        ours += f" ± {wording.nats(float(row['between_pretrainings']))}"
    mark = {"no": "**", "within the spread": "*"}.get(row["agrees"], "")
    return f"{mark}{ours}{mark}", wording.nats(float(row["printed"]))


if __name__ == "__main__":
    with Path(sys.argv[1]).open(newline="", encoding="utf-8") as lines:
        print(tables(list(csv.DictReader(lines))))
