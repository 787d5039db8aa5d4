"""Run folders: what every command leaves behind, so that the next one, and people, can use it.

spec.json   what was run: specs, seed, command, versions, platform

What else is in a folder says who writes it: `experiment_folder`, `studies.study_folder`, `cli`.
"""

import json
import time
from pathlib import Path
from typing import Any

from promptax import files, platforms, store
from promptax.experiments.groups import slug
from promptax.specs import check, from_json, to_json
from promptax.steering import Tuner

CHECKPOINT = "checkpoint.safetensors"


def unused_name(stem: str) -> str:
    """A folder's name that is not taken: stem, stem-2, …"""
    number = 1
    while Path(stem if number == 1 else f"{stem}-{number}").exists():
        number += 1
    return stem if number == 1 else f"{stem}-{number}"


def reserve(out: str, overwrite: bool, resume: bool) -> tuple[Path, store.Checkpoint]:
    """The folder of a fit, new or (`resume`) that of an earlier run, and its checkpoint.

    Raises:
        ValueError: there is nothing to resume, or the folder is taken (`files.new_run_folder`).
    """
    folder = Path(out)
    if resume:
        check(
            (folder / CHECKPOINT).exists(),
            f"Expected the checkpoint of an earlier run at {folder / CHECKPOINT} to resume; there "
            "is none. Start anew: --overwrite in place of --resume.",
        )
    else:
        folder = files.new_run_folder(folder, overwrite)
    return folder, store.Checkpoint(folder / CHECKPOINT)


def has_tuned_weights(path: Path) -> bool:
    """Whether the run that made a predictor tuned its weights, by the spec.json of its folder."""
    file = path if path.is_file() else path / "predictor.safetensors"
    for folder in list(file.parents)[:2]:
        if (folder / "spec.json").exists():
            spec = json.loads(files.read_text(folder / "spec.json"))
            methods = (spec.get("experiment") or {}).get("methods", {})
            by_file = {slug(name): tuner for name, tuner in methods.items()}
            description = spec.get("tuner") or by_file.get(file.stem)
            tuner = from_json(description) if description else None
            return isinstance(tuner, Tuner) and tuner.group == "weights"
    return False


def write_spec(folder: Path, command: str, seed: int, **what: Any) -> None:
    """spec.json: what was run, and on what."""
    written = {"command": command, "seed": seed, **{k: to_json(v) for k, v in what.items()}}
    written |= {
        "environment": platforms.environment(),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    files.write_text(folder / "spec.json", json.dumps(written, indent=1))


def details_of(spec: dict, what: str) -> dict[str, str]:
    """What is needed to make the same page again, from spec.json."""
    return {
        "command": spec["command"],
        "seed": str(spec["seed"]),
        "started": spec["started"],
        **{name: str(value) for name, value in spec["environment"].items()},
        what: json.dumps(spec.get(what)),
    }
