"""The flags that `promptax lm compress` and `promptax lm decompress` share."""

import dataclasses

import tyro


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """The flags of compression."""

    file: tyro.conf.Positional[str]
    """What to read."""
    out: str
    """File to write."""
    model: str = "smollm2"
    """smollm2, a folder in the Hugging Face format, or a GGUF file."""
