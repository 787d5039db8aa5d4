"""Go on with a text."""

import dataclasses

import jax
import tyro

from promptax.cli.printing import write
from promptax.cli.speaking import Speaking, print_pieces


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Speaking):
    """The text, and how the next tokens are picked."""

    text: tyro.conf.Positional[str]
    """The text."""


def run(flags: Flags, command: str) -> None:
    """Print the text, and what the model writes after it."""
    del command
    model = flags.text_model()
    write(flags.text)
    key = jax.random.key(flags.seed)
    print_pieces(model.write(key, flags.text, flags.length, **flags.filters()))
