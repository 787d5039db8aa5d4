"""Damage every kind of file that promptax reads, and see what becomes of it.

    python benchmarks/damage.py --mutants 2000 --out runs/damage.md
    python benchmarks/damage.py --only gguf --number 17

A mutant is a file that was cut, had a bit flipped, blocks swapped, overwritten or doubled, is of
another kind, or claims what is not so (`mutants`). Each is opened in a process that is watched:
after 20 s, or above 1 GB, it is ended (`trials`). What may become of it:

    refused     an error of promptax that names the file
    as before   the damage changed nothing that is read
    taken       other content was read. Nobody can tell in a file without a digest, or if it is
                another whole file; forbidden in what promptax wrote ("changed"), and where the end
                of the file is missing ("half")

Everything else is forbidden too: an error of another library ("raw"), one that does not name the
file ("unnamed"), no end, and more than 1 GB. The exit code is 1 if anything forbidden was seen; the
second command tries a single mutant again, and shows its error.
"""

import argparse
import collections
import dataclasses
import functools
import hashlib
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import mutants
import numpy as np
import trials
import whole_files
import xarray as xr

from promptax import files

FORBIDDEN = ("raw", "unnamed", "changed", "half", *trials.ENDED)
TEXTS = (".txt", ".jsonl")  # half a text is a text


def fingerprint(thing: Any) -> str:
    """A digest of what was read: the same for the same content."""
    digest = hashlib.sha256()
    _add(digest, thing)
    return digest.hexdigest()


def _add(digest: Any, thing: Any) -> None:
    digest.update(type(thing).__name__.encode())
    if isinstance(thing, xr.DataTree):
        thing = {node.path: node.to_dataset() for node in thing.subtree}
    if isinstance(thing, xr.Dataset | xr.DataArray):
        digest.update(repr(thing.to_dict()).encode())
    elif isinstance(thing, np.ndarray | jax.Array):
        array = np.asarray(thing)
        digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    elif dataclasses.is_dataclass(thing):
        _add(digest, {f.name: getattr(thing, f.name, None) for f in dataclasses.fields(thing)})
    elif isinstance(thing, dict):
        for key in sorted(thing, key=repr):
            digest.update(repr(key).encode())
            _add(digest, thing[key])
    elif isinstance(thing, list | tuple):
        for part in thing:
            _add(digest, part)
    else:
        digest.update(repr(thing).encode())


# --- in a worker ----------------------------------------------------------------------------


@functools.cache
def place() -> Path:
    """The worker's own copy of all whole files."""
    folder = Path(tempfile.mkdtemp(prefix="damage-"))
    whole_files.write_all(folder)
    return folder


@functools.cache
def before(kind: str) -> str:
    """The fingerprint of what is read where nothing is damaged; "" of a kind that is refused."""
    try:
        return fingerprint(whole_files.KINDS[kind].read(place() / kind))
    except files.StoreError:
        if not whole_files.KINDS[kind].is_refused:  # mutants of it would say nothing
            raise
        return ""


@functools.cache
def samples() -> list[bytes]:
    """A whole file of every kind."""
    return [
        (place() / name / kind.names[0]).read_bytes() for name, kind in whole_files.KINDS.items()
    ]


def attempt(job: dict[str, Any]) -> tuple[str, str]:
    """Damage a file, read it, and put it back; the verdict, and what the error says."""
    kind, path = whole_files.KINDS[job["kind"]], place() / job["kind"] / job["name"]
    whole, folder = path.read_bytes(), place() / job["kind"]
    seed = [job["seed"]] if job["seed"] else []  # the first ones are drawn as they always were
    random = np.random.default_rng([*seed, job["number"], *job["kind"].encode()])
    wanted = before(job["kind"])
    if kind.damage is None:
        damage, data = mutants.mutant(random, whole, samples())
    else:
        damage, data = "crafted", kind.damage(random, whole)
    path.write_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = fingerprint(kind.read(folder))
    except Exception as error:
        return _verdict(error, folder, path), f"{damage}: {trials.shown(error)}"
    finally:
        path.write_bytes(whole)
    if got == wanted:
        return "as before", damage
    if kind.is_ours and damage != "foreign":  # which is another whole file
        return "changed", damage
    return "half" if damage == "cut" and path.suffix not in TEXTS else "taken", damage


def _verdict(error: Exception, folder: Path, path: Path) -> str:
    if not trials.is_told(error) and not (isinstance(error, OSError) and error.filename):
        return "raw"
    names = str(folder), str(path)
    return "refused" if any(name in str(error) for name in names) else "unnamed"


# --- in the first process -------------------------------------------------------------------


def jobs_of(count: int, only: str = "", seed: int = 0) -> list[dict[str, Any]]:
    """What is damaged: every file of every kind equally often, kind by kind in turn."""
    chosen = {name: kind for name, kind in whole_files.KINDS.items() if only in name}
    jobs = []
    for number in range(-(-count // len(chosen))):
        for name, kind in chosen.items():
            file = kind.names[number % len(kind.names)]
            jobs.append({"kind": name, "name": file, "number": number, "seed": seed})
    return jobs[:count]


def table_of(outcomes: list[tuple[dict[str, Any], trials.Outcome]]) -> str:
    """A row for each kind: what became of its mutants, the longest time, the most memory."""
    headings = ("file", "mutants", "refused", "as before", "taken", "forbidden", "longest, s",
                "most, MB")  # fmt: skip
    rows = []
    for kind in whole_files.KINDS:
        seen = [outcome for job, outcome in outcomes if job["kind"] == kind]
        rows.append(_row(kind, seen)) if seen else None
    rows.append(_row("all", [outcome for _, outcome in outcomes]))
    return trials.as_table(headings, rows)


def _row(name: str, seen: list[trials.Outcome]) -> tuple[Any, ...]:
    counts = collections.Counter(outcome.verdict for outcome in seen)
    forbidden = sum(counts[verdict] for verdict in FORBIDDEN)
    longest = max(outcome.seconds for outcome in seen)
    most = max(outcome.grown for outcome in seen) / 1e6
    told = (counts[verdict] for verdict in ("refused", "as before", "taken"))
    return name, len(seen), *told, forbidden, f"{longest:.1f}", f"{most:.0f}"


def main() -> None:
    """Try all mutants, print and save the table, then what must not be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="kinds whose names contain this")
    parser.add_argument("--number", type=int, help="try a single mutant of each kind in --only")
    parser.add_argument("--seed", type=int, default=0, help="others than the usual mutants")
    parser.add_argument("--out", type=Path, help="file to write the table to")
    given = parser.parse_args()
    jobs = jobs_of(given.mutants, given.only, given.seed)
    if given.number is not None:
        jobs = [job for job in jobs if job["number"] == given.number]
    outcomes, bad = [], 0
    for job, outcome in trials.run(__file__, jobs, given.workers):
        outcomes.append((job, outcome))
        bad += outcome.verdict in FORBIDDEN
        if outcome.verdict in FORBIDDEN or given.number is not None:
            where = f"{job['kind']}, {job['name']}, number {job['number']}"
            print(f"{outcome.verdict}: {where}: {outcome.message}", flush=True)
    table = table_of(outcomes)
    print(table)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(table)
    sys.exit(bad > 0)


def prepare() -> None:
    """Everything that the first trial of a kind would otherwise pay for."""
    for kind in whole_files.KINDS:
        before(kind)
    samples()


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        trials.serve(attempt, prepare)
    else:
        main()
