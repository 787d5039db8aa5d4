"""One folder takes the place of another, and no content is lost on the way, even by a kill."""

import os
import shutil
from pathlib import Path

from promptax import files

ASIDE = ".old"  # how the name ends of a folder that is being replaced


def replace_folder(old: Path, new: Path) -> None:
    """Give the folder `new` the name of the folder `old`, whose content, if any, is then removed.

    A process that is killed between the two new names leaves the old content beside: `put_aside`.

    Raises:
        files.StoreError: a folder cannot take another name there; both are what they were.
    """
    aside = files.beside(old, ASIDE)
    try:
        if old.exists():
            os.replace(old, aside)
        try:
            os.replace(new, old)
        except OSError:
            if aside.exists():
                os.replace(aside, old)
            raise
    except OSError as error:
        raise files.StoreError(
            f"Expected to put {new} in place of {old}; got: {error}. Both are what they were: move "
            "them by hand."
        ) from error
    shutil.rmtree(aside, ignore_errors=True)


def put_aside(folder: Path) -> list[Path]:
    """Earlier contents of that folder that a killed `replace_folder` left; the latest come first.

    They may be all that there is, until there is whole content of that name.
    """
    return sorted(
        files.left_beside(folder, ASIDE), key=lambda path: path.stat().st_mtime, reverse=True
    )
