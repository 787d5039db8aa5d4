"""Go on with a text."""

import dataclasses

import jax
import tyro

from promptax.cli.printing import write
from promptax.cli.speaking import Speaking, opened, print_pieces


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Speaking):
    """The text, and how the next tokens are picked."""

    text: tyro.conf.Positional[str]
    """The text."""
    opened_by: str = ""
    """The token that opens it, such as "<|endoftext|>" for prose; by default the model's own."""


def run(flags: Flags, command: str) -> None:
    """Print the text, and what the model writes after it."""
    del command
    model = opened(flags.text_model(), flags.opened_by)
    write(flags.text)
    key = jax.random.key(flags.seed)
    print_pieces(model.write(key, flags.text, flags.length, **flags.filters()))
