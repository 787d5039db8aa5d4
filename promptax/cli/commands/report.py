"""Write figures, table and page of a run folder again from its results."""

import dataclasses
from pathlib import Path

import tyro

from promptax import files
from promptax.cli.printing import say
from promptax.experiments import experiment_folder
from promptax.studies import study_folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Whose report is written."""

    folder: tyro.conf.Positional[str]
    """Run folder of a demo or a study."""


def run(flags: Flags, command: str) -> None:
    """Write the report; print the page's path."""
    del command
    folder = Path(flags.folder)
    of_study = "study" in files.read_json(folder / "spec.json")
    say(
        str(
            study_folder.write_page(folder)[0] if of_study else experiment_folder.write_page(folder)
        )
    )
