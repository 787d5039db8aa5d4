"""Write figures, table and page of a demo's or study's folder again from its results."""

import dataclasses
from pathlib import Path

import tyro

from promptax import files
from promptax.cli.printing import say
from promptax.experiments import experiment_folder
from promptax.specs import check
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
    spec = files.read_json(folder / "spec.json")
    writer = " ".join(str(spec.get("command", "")).split()[:2])
    check(
        not writer or not spec.keys().isdisjoint(("experiment", "study")),
        f"Expected the folder of a demo or a study, which alone have a page; {folder} was written "
        f"by {writer}.",
    )
    write_page = study_folder.write_page if "study" in spec else experiment_folder.write_page
    page = write_page(folder)
    say(str(page[0] if isinstance(page, tuple) else page))
