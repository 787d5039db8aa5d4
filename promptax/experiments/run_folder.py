"""Run folders: what every command leaves behind, so that the next one, and people, can use it.

spec.json   what was run: specs, seed, command, versions, platform

What else is in a folder says who writes it: `experiment_folder`, `studies.study_folder`, `cli`.
"""

import json
import time
from pathlib import Path
from typing import Any

from promptax import files, platforms
from promptax.specs import to_json


def write_spec(folder: Path, command: str, seed: int, **what: Any) -> None:
    """spec.json: what was run, and on what."""
    about = {"command": command, "seed": seed, **{k: to_json(v) for k, v in what.items()}}
    about |= {"environment": platforms.environment(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    files.write_text(folder / "spec.json", json.dumps(about, indent=1))


def details_of(spec: dict, what: str) -> dict[str, str]:
    """What is needed to make the same page again, from spec.json."""
    return {
        "command": spec["command"],
        "seed": str(spec["seed"]),
        "started": spec["started"],
        **{name: str(value) for name, value in spec["environment"].items()},
        what: json.dumps(spec.get(what)),
    }
