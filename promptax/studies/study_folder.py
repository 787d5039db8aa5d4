"""The folder of a study: its results, and what is made of them at any time.

spec.json       the study, its scale, the command, versions, platform
conditions.json the file of each condition, by its name
conditions/, pretraining/, unfinished/   see `sweeps`
page.html       claims, figures, printed numbers beside ours
claims.csv      every number that a claim speaks of
printed.csv     every printed number beside ours
numbers.csv     regret of every repetition of every condition
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from promptax import files
from promptax.experiments.conditions import Condition, Measurements, result_path
from promptax.experiments.groups import target_groups
from promptax.experiments.run_folder import details_of, write_spec
from promptax.report import to_csv, wording
from promptax.report.pages.study import study_page, tally
from promptax.report.summaries import evaluated_lengths
from promptax.specs import check, from_json, to_json
from promptax.studies import Study
from promptax.studies.judging import Check, Claim, in_words


def begin(folder: Path, command: str, study: Study, scale: str) -> None:
    """spec.json of a study's folder, which holds one study at one scale and no other."""
    spec = folder / "spec.json"
    if spec.exists():
        there = json.loads(files.read_text(spec))
        described = {**to_json(study), "scale": scale}
        other = {**there.get("study", {}), "scale": there.get("scale")}
        differ = {name for name in described | other if described.get(name) != other.get(name)}

        def tell(study: dict[str, Any]) -> str:
            return ", ".join(f"{name}={study.get(name)}" for name in sorted(differ))

        check(
            not differ,
            f"Expected a folder of the same study; {folder} holds one with {tell(other)}, and this "
            f"one has {tell(described)}. Choose another --out.",
        )
    write_spec(folder, command, 0, study=study, scale=scale)


def write_index(folder: Path, conditions: dict[str, Condition]) -> None:
    """Write conditions.json: the file of each condition, by its name."""
    index = {name: result_path(Path(), condition).name for name, condition in conditions.items()}
    files.write_text(folder / "conditions.json", json.dumps(index, indent=1))


def report(folder: Path) -> tuple[Path, tuple[Claim, ...]]:
    """Write the page and the tables from what was measured so far; the page's path, the claims."""
    spec = json.loads(files.read_text(folder / "spec.json"))
    study = from_json(spec["study"])
    assert isinstance(study, Study)
    results = Measurements(study.conditions(spec["scale"]), folder)
    claims, comparison = study.claims(results), study.comparison(results)
    claim_rows = [_claim(claim) for claim in claims]
    compared = [{**row, "what": _place(row)} for row in comparison]
    title = f"{study.title or type(study).__name__} ({spec['scale']} scale)"
    wanted = len(study.conditions(spec["scale"]))
    summary = (
        f"{tally(claim_rows)} {len(results)} of {wording.count(wanted, 'condition')} were run."
    )
    details, parts = details_of(spec, "study"), study.parts(results)
    page = study_page(title, summary, claim_rows, compared, parts, details, study.judged)
    files.write_text(folder / "claims.csv", to_csv(_check_rows(claims)))
    files.write_text(folder / "numbers.csv", to_csv(numbers(results)))
    if comparison:
        files.write_text(folder / "printed.csv", to_csv(comparison))
    return files.write_text(folder / "page.html", page), claims


def _place(row: Mapping[str, object]) -> str:
    """Where a compared number stands: everything that says so, in words."""
    said = ("steps", "printed", "ours", "between_repetitions", "between_pretrainings")
    columns = {*said, "pretrainings", "diverged", "tolerance", "agrees"}
    return ", ".join(str(value) for name, value in row.items() if name not in columns)


def _claim(claim: Claim) -> dict[str, object]:
    """A claim as words, for the page."""
    return {
        "claim": claim.name,
        "text": claim.text,
        "source": claim.source,
        "verdict": claim.verdict,
        "tentative": claim.tentative,
        "checks": [
            {
                "what": check.what,
                "number": _found(check),
                "expected": check.expected,
                "printed": "" if check.printed is None else f"{check.printed:g}",
                "seeds": _seeds(check),
                "verdict": in_words(check),
            }
            for check in claim.checks
        ],
    }


def _found(check: Check) -> str:
    if not check.values:
        return "–"
    digits = f"{check.number:.4g}" if check.exact else f"{check.number:.3f}"
    error = check.standard_error
    return digits if check.exact or math.isnan(error) else f"{digits} ± {error:.3f}"


def _seeds(check: Check) -> str:
    if check.exact:
        return "exact"
    have = str(len(check.values))
    wanted = f" of {check.seeds_to_decide}" if check.verdict == "undecided" else ""
    return f"{have}{wanted}{f', {check.diverged} diverged' if check.diverged else ''}"


def _check_rows(claims: tuple[Claim, ...]) -> list[dict[str, object]]:
    return [
        {
            "claim": claim.name,
            "claim_verdict": claim.verdict,
            "number_of": check.what,
            "number": check.number,
            "standard_error": check.standard_error,
            "least": check.least,
            "most": check.most,
            "printed": "" if check.printed is None else check.printed,
            "seeds": len(check.values),
            "diverged": check.diverged,
            "seeds_to_decide": check.seeds_to_decide,
            "verdict": check.verdict,
            "tentative": check.tentative,
        }
        for claim in claims
        for check in claim.checks
    ]


def numbers(results: Mapping[str, xr.DataTree]) -> list[dict[str, object]]:
    """Regret in nats of every repetition of every condition, at the lengths that are reported;
    `diverged`: the step of tuning at which it did, if it did."""
    rows: list[dict[str, object]] = []
    for name, tree in results.items():
        for group in target_groups(tree):
            dataset = tree[group].to_dataset()
            for predictor in dataset.predictor.values.tolist():
                for repetition in dataset.repetition.values.tolist():
                    one = dataset.sel(predictor=predictor, repetition=repetition)
                    lost = int(one["diverged"]) if "diverged" in one else -1
                    if lost < 0 and math.isnan(float(one["regret"][-1])):
                        continue  # there are fewer repetitions of this predictor
                    row: dict[str, object] = {
                        "condition": name,
                        "predictor": predictor,
                        "repetition": repetition,
                    }
                    for length in evaluated_lengths(dataset):
                        at = one.sel(time=length)
                        row[f"regret_{length}"] = float(at["regret"])
                        row[f"standard_error_{length}"] = float(at["standard_error"])
                    rows.append({**row, "diverged": lost if lost >= 0 else ""})
    return rows
