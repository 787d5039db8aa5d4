"""Talk to a model: with a message, one reply; without, in turns until an empty line."""

import dataclasses

import jax
import tyro

from promptax.cli.printing import complaints
from promptax.cli.speaking import Speaking, print_pieces
from promptax.language.tokenizer import Message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Speaking):
    """What to say, and how the tokens of a reply are picked."""

    message: tyro.conf.Positional[str] = ""
    """What to say to it."""


def run(flags: Flags, command: str) -> None:
    """Print replies; each sees everything that was said before."""
    del command
    model = flags.text_model()
    key, message = jax.random.key(flags.seed), flags.message or _ask()
    messages: list[Message] = []
    while message:
        messages.append({"role": "user", "content": message})
        key, reply_key = jax.random.split(key)
        reply = print_pieces(model.reply(reply_key, messages, flags.length, **flags.filters()))
        messages.append({"role": "assistant", "content": reply})
        message = "" if flags.message else _ask()


def _ask() -> str:
    """A line from the user; the question is no result, and goes to standard error."""
    complaints.print("you:", style="bold", end=" ")
    try:
        return input().strip()
    except EOFError:
        return ""
