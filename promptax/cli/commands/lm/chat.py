"""Talk to a model: with a message, one reply; without, in turns until an empty line."""

import dataclasses

import jax
import tyro

from promptax.cli.printing import complaints, note
from promptax.cli.speaking import Speaking, print_pieces
from promptax.language.text_model import TextModel
from promptax.language.tokenizer import Message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Speaking):
    """What to say, and how the tokens of a reply are picked."""

    message: tyro.conf.Positional[str] = ""
    """What to say to it."""


def run(flags: Flags, command: str) -> None:
    """Print replies; each sees everything that was said before, but for the oldest messages of a
    chat that outgrew the model's trained context."""
    del command
    model = flags.text_model()
    key, message = jax.random.key(flags.seed), flags.message or _ask()
    messages: list[Message] = []
    while message:
        messages.append({"role": "user", "content": message})
        messages = _newest(model, messages, flags.length)
        key, reply_key = jax.random.split(key)
        reply = print_pieces(model.reply(reply_key, messages, flags.length, **flags.filters()))
        messages.append({"role": "assistant", "content": reply})
        message = "" if flags.message else _ask()


def _newest(model: TextModel, messages: list[Message], length: int) -> list[Message]:
    """The newest messages that leave room for a reply of so many tokens in what the model was
    trained to read; it is said what was left out. At least the last one stays."""
    kept = messages
    while len(kept) > 1 and not model.has_room(kept, length):
        kept = kept[2:]  # a question and its answer
    if len(kept) < len(messages):
        note(
            f"(The model no longer sees the first {len(messages) - len(kept)} messages: the chat "
            f"and a reply of {length:,} tokens are more than it was trained to read.)"
        )
    return kept


def _ask() -> str:
    """A line from the user; the question is no result, and goes to standard error."""
    complaints.print("you:", style="bold", end=" ")
    try:
        return input().strip()
    except EOFError:
        return ""
