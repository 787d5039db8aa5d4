"""Make the text again."""

import dataclasses

from promptax import files
from promptax.cli.coding import Coding
from promptax.cli.printing import say
from promptax.progress import Bar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Coding):
    """What was compressed, where its text goes, and the model that compressed it."""


def run(flags: Flags, command: str) -> None:
    """Write the text; print how long it is."""
    del command
    flags.expect_apart()
    data = files.read_bytes(flags.file)
    model = flags.text_model()
    try:
        text = model.decompress(data, callbacks=(Bar("decompressing"),))
    except ValueError as error:
        raise ValueError(f"{flags.file}: {error}") from error
    files.write_bytes(flags.out, text.encode())
    say(f"{len(text):,} characters in {flags.out}")
