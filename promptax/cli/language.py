"""What `promptax lm` does: fetch a language model, write, chat, compress."""

import gzip
import lzma
from collections.abc import Iterator
from typing import Any

import jax

from promptax import files
from promptax.cli.flags import Chat, Compress, Decompress, Fetch, Speaking, Write
from promptax.cli.printing import console, print_rows, say
from promptax.formats.fetch import fetch_smollm2
from promptax.language.adapters import load_adapter
from promptax.language.text_model import TextModel
from promptax.language.tokenizer import Message
from promptax.progress import Bar
from promptax.specs import check

GROUP = "lm"


def fetch(args: Fetch, command: str) -> None:
    """Get the weights."""
    del args, command
    say(f"{fetch_smollm2(say)} has the hash that is expected")


def write(args: Write, command: str) -> None:
    """Go on with a text."""
    del command
    model = _model(args)
    console.print(args.text, end="", highlight=False, markup=False, soft_wrap=True)
    _show(model.write(jax.random.key(args.seed), args.text, args.length, **_filters(args)))


def chat(args: Chat, command: str) -> None:
    """Talk to a model."""
    del command
    model = _model(args)
    key, said = jax.random.key(args.seed), args.message or _asked()
    messages: list[Message] = []
    while said:
        messages.append({"role": "user", "content": said})
        key, own = jax.random.split(key)
        reply = _show(model.reply(own, messages, args.length, **_filters(args)))
        messages.append({"role": "assistant", "content": reply})
        said = "" if args.message else _asked()


def compress(args: Compress, command: str) -> None:
    """A text file, smaller."""
    del command
    raw = files.read_bytes(args.file)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected a text in UTF-8; {args.file} is none at byte {error.start:,}. Other "
            "files are for xz."
        ) from error
    model = TextModel.named(args.model)
    check(
        model.tokenizer.decode(model.tokens(text)) == text, "Expected a text that its tokens spell."
    )
    data = model.compress(text, args.context, callbacks=(Bar("compressing"),))
    files.write_bytes(args.out, data)
    sizes = {args.model: data, "xz": lzma.compress(raw, preset=9), "gzip": gzip.compress(raw, 9)}
    rows = [(name, f"{len(each):,}", f"{8 * len(each) / max(1, len(text)):.3f}")
            for name, each in {"as it is": raw, **sizes}.items()]  # fmt: skip
    print_rows(f"{len(text):,} characters", ("", "bytes", "bits per character"), rows)


def decompress(args: Decompress, command: str) -> None:
    """The text again."""
    del command
    data = files.read_bytes(args.file)
    text = TextModel.named(args.model).decompress(data, callbacks=(Bar("decompressing"),))
    files.write_bytes(args.out, text.encode())
    say(f"{len(text):,} characters in {args.out}")


def _model(args: Speaking) -> TextModel:
    model = TextModel.named(args.model)
    if not args.adapter:
        return model
    return TextModel(load_adapter(args.adapter, model.predictor), model.tokenizer)


def _filters(args: Speaking) -> dict[str, Any]:
    names = ("temperature", "top_k", "top_p", "typical_p")
    return {name: getattr(args, name) for name in names}


def _asked() -> str:
    try:
        return console.input("[bold]you:[/bold] ").strip()
    except EOFError:
        return ""


def _show(pieces: Iterator[str]) -> str:
    """Print pieces as they come; together they are returned."""
    said = []
    for piece in pieces:
        console.print(piece, end="", highlight=False, markup=False, soft_wrap=True)
        said.append(piece)
    say("")
    return "".join(said)


COMMANDS: dict[str, tuple[type, Any]] = {
    f"{GROUP} fetch": (Fetch, fetch),
    f"{GROUP} write": (Write, write),
    f"{GROUP} chat": (Chat, chat),
    f"{GROUP} compress": (Compress, compress),
    f"{GROUP} decompress": (Decompress, decompress),
}
