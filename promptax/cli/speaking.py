"""What commands share that speak as a language model: flags, the model, how text is shown."""

import dataclasses
import sys
from collections.abc import Iterator
from typing import Any

from promptax.cli.printing import lost_output, write
from promptax.language.adapters import load_adapter
from promptax.language.text_model import TextModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speaking:
    """The flags of everything that samples text."""

    model: str = "smollm2"
    """smollm2, a folder in the Hugging Face format, or a GGUF file."""
    adapter: str = ""
    """Folder of an adapter (PEFT) to steer it with; none by default."""
    length: int = 200
    """At most so many tokens."""
    temperature: float = 0.7
    """Divides log probabilities; 0 is greedy."""
    top_k: int | None = None
    """Sample from that many most probable tokens."""
    top_p: float | None = 0.95
    """Sample from the fewest most probable tokens with that mass."""
    typical_p: float | None = None
    """Sample from the tokens of most typical surprise with that mass."""
    seed: int = 0
    """Makes the samples."""

    def text_model(self) -> TextModel:
        """The model, behind its adapter if there is one."""
        model = TextModel.named(self.model)
        if not self.adapter:
            return model
        return TextModel(load_adapter(self.adapter, model.predictor), model.tokenizer)

    def filters(self) -> dict[str, Any]:
        """How tokens are picked, as `promptax.generate` takes it."""
        names = ("temperature", "top_k", "top_p", "typical_p")
        return {name: getattr(self, name) for name in names}


def opened(model: TextModel, token: str) -> TextModel:
    """The model behind another begin token, or as it is where none was named."""
    return model.opened_by(token) if token else model


def print_pieces(pieces: Iterator[str]) -> str:
    """Print pieces of text as they come, and nothing else; a terminal gets a last line's end.

    Returns the whole text. It ends early where nobody reads it any more.
    """
    spoken = []
    for piece in pieces:
        write(piece)
        spoken.append(piece)
        if lost_output:
            break
    if sys.stdout.isatty():
        write("\n")
    return "".join(spoken)
