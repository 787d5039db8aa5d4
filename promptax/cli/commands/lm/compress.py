"""Compress a text file by a model's predictions, without loss; say its size beside gzip's and
xz's."""

import dataclasses
import gzip
import lzma

from promptax import files
from promptax.cli.coding import Coding
from promptax.cli.printing import print_rows
from promptax.progress import Bar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Coding):
    """What is compressed, where to, by which model."""

    context: int = 1024
    """After so many tokens the model starts afresh."""


def run(flags: Flags, command: str) -> None:
    """Write the compressed file; print its size."""
    del command
    flags.expect_apart()
    raw = files.read_bytes(flags.file)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected a text in UTF-8; {flags.file} is none at byte {error.start:,}. Other "
            "files are for xz."
        ) from error
    model = flags.text_model()
    data = model.compress(text, flags.context, callbacks=(Bar("compressing"),))
    files.write_bytes(flags.out, data)
    sizes = {
        "as it is": len(raw),
        flags.model: len(data),
        "xz": len(lzma.compress(raw, preset=9)),
        "gzip": len(gzip.compress(raw, 9)),
    }
    count = max(1, len(text))
    rows = [(name, f"{size:,}", f"{8 * size / count:.3f}") for name, size in sizes.items()]
    print_rows(f"{len(text):,} characters", ("", "bytes", "bits per character"), rows)
