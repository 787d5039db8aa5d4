"""The flags that `promptax lm compress` and `promptax lm decompress` share."""

import dataclasses
from pathlib import Path

import tyro

from promptax import files
from promptax.cli.speaking import opened
from promptax.formats import fetch
from promptax.language.text_model import TextModel
from promptax.language.tokenizer import SMOLLM2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """The flags of compression."""

    file: tyro.conf.Positional[str]
    """What to read."""
    out: str
    """File to write."""
    model: str = SMOLLM2
    """smollm2, a folder in the Hugging Face format, or a GGUF file."""
    opened_by: str = ""
    """The token that opens the text, the same for both ways, such as "<|endoftext|>" for prose; by
    default the model's own."""

    def text_model(self) -> TextModel:
        """The model, behind that token."""
        return opened(TextModel.named(self.model), self.opened_by)

    def expect_apart(self) -> None:
        """Complain if nothing can be written there, or it replaces what is read: the text, or a
        model's file."""
        files.expect_place(files.path_of(self.out))
        out = files.real_path(files.path_of(self.out))
        for word, path in ((self.file, files.path_of(self.file)), (self.model, self._model_path())):
            if path is None:
                continue
            read = files.real_path(path)
            files.expect(
                not out.is_relative_to(read),
                f"Expected --out that the command does not read; {self.out} would replace "
                f"{'a file of ' * (out != read)}{word}. Choose another name.",
            )

    def _model_path(self) -> Path | None:
        """Where the model is: SmolLM2 is a name and no path; None if it was not fetched yet."""
        if self.model != SMOLLM2:
            return files.path_of(self.model)
        try:
            return fetch.smollm2_path()
        except FileNotFoundError:
            return None
