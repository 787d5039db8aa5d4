"""The folder of a study: its results, and what is made of them at any time.

spec.json       the study, its scale, the command, versions, platform
conditions.json the file of each condition, by its name
conditions/, pretraining/, unfinished/   see `sweeps`
page.html       claims, figures, printed numbers beside ours
claims.csv      every number that a claim speaks of
printed.csv     every printed number beside ours
NAME.csv        tables of the study's own (`Study.tables`)
numbers.csv     what was measured in every condition, such as the regret of every repetition
"""

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from promptax import files, platforms
from promptax.experiments.conditions import Condition, Measurements, result_path
from promptax.experiments.run_folder import details_of, read_spec, write_spec
from promptax.progress import INDEX, STUDY_MARK
from promptax.report import to_csv, wording
from promptax.report.pages.study import study_page, tally
from promptax.specs import check, from_json, to_json
from promptax.studies import Study
from promptax.studies.judging import Check, Claim, in_words

EARLIER = "earlier_environments"  # in spec.json: where results were measured before, if elsewhere
TABLES = ("claims", "numbers", "printed")  # of every study: no table of its own has such a name
LOCK = ".spec.lock"  # held while spec.json is read, changed and written


def at_work(folder: Path) -> contextlib.AbstractContextManager[bool]:
    """Be one of the processes that have a study's folder in work, for those who watch it."""
    return files.alone(folder / STUDY_MARK, shared=True)


def begin(folder: Path, command: str, study: Study, scale: str) -> str:
    """Write spec.json of a study's folder.

    A folder may be filled on several machines, and with several versions of what promptax uses:
    settings alone are the identity of a result. Where the folder was begun elsewhere, spec.json
    keeps that environment too.

    Returns:
        In words, in what the earlier environments differ from this one; "" where they do not.

    Raises:
        ValueError: the folder holds another study, or the same one at another scale.
        StoreError: nothing can be written there.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.alone(folder / LOCK))  # several processes may begin at once
        except OSError as error:
            raise files.StoreError(
                f"Expected a folder to write to at {folder}; got: {error}. Choose another --out."
            ) from error
        return _begin(folder, command, study, scale)


def _begin(folder: Path, command: str, study: Study, scale: str) -> str:
    """What `begin` does, while nobody else changes spec.json."""
    spec = folder / "spec.json"
    others: list[dict[str, Any]] = []
    if spec.exists():
        earlier = files.read_json(spec)
        described = {**to_json(study), "scale": scale}
        stored = {**earlier.get("study", {}), "scale": earlier.get("scale")}
        differ = {name for name in described | stored if described.get(name) != stored.get(name)}

        def tell(study: dict[str, Any]) -> str:
            return ", ".join(f"{name}={study.get(name)}" for name in sorted(differ))

        check(
            not differ,
            f"Expected a folder of the same study; {folder} holds one with {tell(stored)}, and "
            f"this one has {tell(described)}. Choose another --out.",
        )
        now = platforms.environment()
        environments = [*earlier.get(EARLIER, []), earlier.get("environment", {})]
        others = [environment for environment in environments if environment != now]
    elsewhere = {EARLIER: others} if others else {}
    write_spec(folder, command, 0, study=study, scale=scale, **elsewhere)
    return "; ".join(_differences(environment) for environment in others)


def _differences(environment: Mapping[str, Any]) -> str:
    """Where an environment differs from this one, such as "jax 0.10.2 (0.11.2 now)"; what only one
    of them tells of is "not told" in the other."""
    now, untold = platforms.environment(), "not told"
    names = [name for name in {**now, **environment} if environment.get(name) != now.get(name)]
    return ", ".join(
        f"{name} {environment.get(name, untold)} ({now.get(name, untold)} now)" for name in names
    )


def write_index(folder: Path, conditions: dict[str, Condition]) -> None:
    """Write conditions.json: the file of each condition, by its name."""
    index = {name: result_path(Path(), condition).name for name, condition in conditions.items()}
    files.write_json(folder / INDEX, index)


def write_page(folder: Path) -> tuple[Path, tuple[Claim, ...]]:
    """Write the page and the tables from what was measured so far.

    Returns:
        The page's path, and the claims as they stand now.

    Raises:
        ValueError: a table of the study's own has the name of one that every study has.
    """
    spec = read_spec(folder, "command", "seed", "started", "environment", "study", "scale")
    study = from_json(spec["study"])
    check(
        isinstance(study, Study) and isinstance(spec["scale"], str),
        f"Expected a study and its scale in {folder}/spec.json; got {spec['study']!r:.60} and "
        f"{spec['scale']!r:.60}. The file was edited, or is no study's: copy the folder again.",
    )
    conditions = study.conditions(spec["scale"])
    results = Measurements(conditions, folder)
    claims, comparison = study.claims(results), study.comparison(results)
    tables = study.tables(results)
    taken = [name for name in tables if name.casefold() in TABLES]
    check(
        not taken,
        f"Expected tables of {type(study).__name__} with names of their own; got {taken}. Every "
        f"study has {', '.join(TABLES)}. Rename them.",
    )
    claim_rows = [_claim(claim) for claim in claims]
    compared = [{**row, "what": _place(row)} for row in comparison]
    title = f"{study.title or type(study).__name__} ({spec['scale']} scale)"
    wanted = wording.count(len(conditions), "condition")
    summary = f"{tally(claim_rows)} {len(results)} of {wanted} were run."
    details, parts = details_of(spec, "study"), study.parts(results)
    if spec.get(EARLIER):
        details["measured before with"] = json.dumps(spec[EARLIER])
    page = study_page(title, summary, claim_rows, compared, parts, details, study.judged)
    files.write_text(folder / "claims.csv", to_csv(check_rows(claims)))
    files.write_text(folder / "numbers.csv", to_csv(numbers(conditions, results)))
    for name, rows in tables.items():
        files.write_text(folder / f"{name}.csv", to_csv(rows))
    if comparison:
        files.write_text(folder / "printed.csv", to_csv(comparison))
    return files.write_text(folder / "page.html", page), claims


def _place(row: Mapping[str, object]) -> str:
    """Where a compared number stands in the paper, in words: network, target, method."""
    numbers = ("steps", "printed", "ours", "between_repetitions", "between_pretrainings")
    compared = {*numbers, "pretrainings", "diverged", "tolerance", "agrees"}
    return ", ".join(str(value) for name, value in row.items() if name not in compared)


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
                "number": _number_in_words(check),
                "expected": check.expected,
                "printed": "" if check.printed is None else f"{check.printed:g}",
                "seeds": _seeds_in_words(check),
                "verdict": in_words(check),
            }
            for check in claim.checks
        ],
    }


def _number_in_words(check: Check) -> str:
    if not check.values:
        return "–"
    digits = f"{check.number:.4g}" if check.exact else f"{check.number:.3f}"
    error = check.standard_error
    return digits if check.exact or math.isnan(error) else f"{digits} ± {error:.3f}"


def _seeds_in_words(check: Check) -> str:
    if check.exact:
        return "exact"
    have = len(check.values)
    is_short = check.verdict == "undecided" and have < check.seeds_to_decide
    wanted = f" of {check.seeds_to_decide}" if is_short else ""  # none decides a tie
    return f"{have}{wanted}{f', {check.diverged} diverged' if check.diverged else ''}"


def check_rows(claims: tuple[Claim, ...]) -> list[dict[str, object]]:
    """claims.csv: a row for each number of each claim."""
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


def numbers(
    conditions: Mapping[str, Condition], results: Mapping[str, xr.DataTree]
) -> list[dict[str, object]]:
    """What each measurement tells of its results (`Measurement.numbers`), with the condition's name
    in the first column."""
    return [
        {"condition": name, **row}
        for name, tree in results.items()
        for row in conditions[name].experiment.numbers(tree)
    ]
